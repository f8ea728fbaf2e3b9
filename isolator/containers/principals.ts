/**
 * Principals of frameworks, which only a master's stream tells. Kept on disk: a daemon that starts again judges containers
 * before it has heard of the master, and must not put them into other classes meanwhile.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";

export const PRINCIPALS_FILE = "principals.json";
/** Of a cluster: more than one has. */
const MOST = 100_000;

/** By framework id. */
export type Principals = ReadonlyMap<string, string>;

/** @param directory of the instance's state @returns none where they are not known, or damaged @throws state-failed */
export function readPrincipals(directory: string): Principals {
  const file = join(directory, PRINCIPALS_FILE);
  try {
    const value: unknown = JSON.parse(readFileSync(file, "utf8"));
    const pairs = Array.isArray(value) ? (value as unknown[]) : [];
    return new Map(
      pairs.flatMap((pair): [string, string][] => {
        const [id, principal] = Array.isArray(pair) ? (pair as unknown[]) : [];
        return typeof id === "string" && typeof principal === "string" ? [[id, principal]] : [];
      }),
    );
  } catch (error) {
    if (systemCode(error) === "ENOENT" || error instanceof SyntaxError) return new Map();
    throw new IsolatorError("state-failed", `${file} cannot be read: ${messageOf(error)}`, error);
  }
}

/** Whole or not at all. @throws state-failed */
export function writePrincipals(directory: string, principals: Principals): void {
  const file = join(directory, PRINCIPALS_FILE);
  try {
    writeFileSync(`${file}.new`, JSON.stringify([...principals].slice(0, MOST)), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw new IsolatorError("state-failed", `${file} cannot be written: ${messageOf(error)}`, error);
  }
}
