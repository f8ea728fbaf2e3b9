/**
 * What `break-glass` has switched off: a file for an instance, one for a container, each with the word "audit" or
 * "detach". Whoever applies a policy looks there first, so that it stays off when a daemon starts again. Where no file can
 * be written a daemon that lives is told, and keeps it in mind.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import type { Policy } from "../features/policy.js";
import { isNestedKey } from "./record.js";
import { stateError } from "./records.js";

/** audit: what would be refused is only reported. detach: the programs are taken away, nothing is judged or counted. */
export const GLASS_MODES = ["audit", "detach"] as const;
export type GlassMode = (typeof GLASS_MODES)[number];

const NAME = "break-glass";

/** @param directory of an instance's state, or of a container's record */
export function readGlass(directory: string): GlassMode | undefined {
  const file = join(directory, NAME);
  try {
    // Nearly always there is none, and an exception costs ten times what this does.
    if (!statSync(file, { throwIfNoEntry: false })) return undefined;
    const text = readFileSync(file, "utf8").trim();
    // Somebody wrote it to stop enforcement: a word that is not known still means that.
    return GLASS_MODES.find((mode) => mode === text) ?? "audit";
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw new IsolatorError("state-failed", `${file} cannot be read: ${messageOf(error)}`, error);
  }
}

/** Of records by their key, and of all by "". undefined: back to the policy. */
export type GlassWords = ReadonlyMap<string, GlassMode | undefined>;

/** What could not be written down: it counts before the files, for as long as this process lives. */
export class UnwrittenGlass {
  private readonly words = new Map<string, GlassMode | undefined>();

  /** @param directory as of readGlass() @throws state-failed */
  read(key: string, directory: string): GlassMode | undefined {
    return this.words.has(key) ? this.words.get(key) : readGlass(directory);
  }

  /** Forgets what was said of a container and all that is nested in it, or of everything, and takes these instead. */
  replace(key: string | undefined, words: GlassWords): void {
    for (const known of this.words.keys())
      if (key === undefined || known === key || isNestedKey(known, key)) this.words.delete(known);
    for (const [each, mode] of words) this.words.set(each, mode);
  }

  /** A container of another life has this key from now on. */
  forget(key: string): void {
    this.words.delete(key);
  }
}

/** A policy as it is to be enforced. */
export function throughGlass(policy: Policy, mode: GlassMode | undefined): Policy {
  return mode === undefined ? policy : { ...policy, enforce: "audit" };
}

/** @param mode undefined: back to the policy @throws state-failed */
export function writeGlass(directory: string, mode: GlassMode | undefined): void {
  const file = join(directory, NAME);
  try {
    if (mode === undefined) {
      rmSync(file, { force: true });
      return;
    }
    writeFileSync(`${file}.new`, `${mode}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw stateError(file, error);
  }
}
