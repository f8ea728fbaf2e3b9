/**
 * Where the agent listens, by its handshake. Kept on disk: a daemon that starts again judges containers before an agent
 * says who it is, and must not take their connections to it for others meanwhile.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentAddress } from "../config/policy.js";
import { IsolatorError, messageOf, systemCode } from "../errors.js";

const NAME = "agent.json";

/** @param directory of the instance's state @returns undefined where it is not known, or damaged */
export function readAgentAddress(directory: string): AgentAddress | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(directory, NAME), "utf8"));
    const { ip, port } = (value ?? {}) as Partial<Record<keyof AgentAddress, unknown>>;
    return typeof ip === "string" && typeof port === "number" ? { ip, port } : undefined;
  } catch (error) {
    if (systemCode(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw new IsolatorError(
      "state-failed",
      `${join(directory, NAME)} cannot be read: ${messageOf(error)}`,
      error,
    );
  }
}

/** Whole or not at all. @throws state-failed */
export function writeAgentAddress(directory: string, { ip, port }: AgentAddress): void {
  const file = join(directory, NAME);
  try {
    writeFileSync(`${file}.new`, JSON.stringify({ ip, port }), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw new IsolatorError("state-failed", `${file} cannot be written: ${messageOf(error)}`, error);
  }
}
