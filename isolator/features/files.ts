/**
 * Files: paths that a container may not open, or not change. The kernel's side is bpf/files.h; README.md, "Files", is the
 * user's. Which inodes the paths are is found out in containers/files.ts.
 */
import { createHash } from "node:crypto";
import { constants } from "node:os";
import { IsolatorError } from "../errors.js";
import { encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";

export const FILE_MODES = ["deny", "readonly", "allow"] as const;
/** What a rule says of a path and of all that is below it, up to the next rule further down. */
export type FileMode = (typeof FILE_MODES)[number];

export const FILE_ERRNOS = ["EACCES", "EPERM"] as const;
export type FileErrno = (typeof FILE_ERRNOS)[number];

export interface FileRule {
  /** As parseFilePath() gives it. */
  path: string;
  mode: FileMode;
}

export interface FilesPolicy {
  /** Each path once, sorted. */
  rules: FileRule[];
  /** What is refused gives it. */
  errno: FileErrno;
  /** Where the rules are known by this only, since the record of the container was damaged: as fileSet() gives it. */
  set?: string;
}

/** Of one container. */
export const MAX_FILE_RULES = 4096;
/** PATH_MAX of the kernel, less the NUL. */
const MAX_PATH = 4095;
/** NAME_MAX. */
const MAX_NAME = 255;

function bad(path: string, why: string): IsolatorError {
  const shown = path.length > 80 ? `${path.slice(0, 80)}...` : path;
  return new IsolatorError("bad-argument", `bad path ${JSON.stringify(shown)}: ${why}`);
}

/**
 * A path as rules have it: absolute, without slashes that mean nothing. Whether it is there does not matter.
 * @throws bad-argument
 */
export function parseFilePath(text: string): string {
  if (text === "") throw bad(text, "it is empty");
  if (!text.startsWith("/")) throw bad(text, "it is relative: give the whole path, beginning with /");
  if (text.includes("\0")) throw bad(text, "it has a NUL in it");
  if (Buffer.byteLength(text) > MAX_PATH) throw bad(text, `it has more than ${MAX_PATH} bytes`);
  const names = text.split("/").filter((name) => name !== "");
  for (const name of names) {
    if (name === "." || name === "..") throw bad(text, `it has "${name}" in it: give the path without`);
    if (/^\*+$/.test(name))
      throw bad(text, "there are no patterns: a directory stands for all that is below it, so give that");
    if (Buffer.byteLength(name) > MAX_NAME) throw bad(text, `a name in it has more than ${MAX_NAME} bytes`);
  }
  return `/${names.join("/")}`;
}

const STRICTNESS: Record<FileMode, number> = { allow: 0, readonly: 1, deny: 2 };

export function isStricter(mode: FileMode, than: FileMode): boolean {
  return STRICTNESS[mode] > STRICTNESS[than];
}

/**
 * @param paths by mode, in any form that parseFilePath() takes
 * @throws bad-argument
 */
export function makeRules(paths: Readonly<Record<FileMode, readonly string[]>>): FileRule[] {
  const rules = new Map<string, FileMode>();
  for (const mode of FILE_MODES) {
    for (const text of paths[mode]) {
      const path = parseFilePath(text);
      const other = rules.get(path);
      if (other !== undefined && other !== mode)
        throw bad(path, `it is in ${other} and in ${mode}: give it once`);
      rules.set(path, mode);
    }
  }
  if (rules.size > MAX_FILE_RULES) {
    throw new IsolatorError(
      "bad-argument",
      `there are ${rules.size} paths in the rules for files: at most ${MAX_FILE_RULES} are possible`,
    );
  }
  return sortRules(rules);
}

export function sortRules(rules: ReadonlyMap<string, FileMode>): FileRule[] {
  return [...rules]
    .map(([path, mode]) => ({ path, mode }))
    .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** Every directory that a path is in, "/" first. */
export function parentsOf(path: string): string[] {
  const names = path.split("/").slice(1, -1);
  return path === "/" ? [] : ["/", ...names.map((_, i) => `/${names.slice(0, i + 1).join("/")}`)];
}

/** What rules say of a path, by the paths alone. */
export function modeOf(rules: ReadonlyMap<string, FileMode>, path: string): FileMode {
  return (
    [...parentsOf(path), path].reduceRight<FileMode | undefined>(
      (mode, at) => mode ?? rules.get(at),
      undefined,
    ) ?? "allow"
  );
}

/** Name of a set of rules, 16 hexadecimal digits: containers with the same rules have the same. */
export function fileSet({ rules, set }: FilesPolicy): string {
  return set ?? createHash("sha256").update(JSON.stringify(rules)).digest("hex").slice(0, 16);
}

/** The kernel's form of it. */
export function fileSetNumber(policy: FilesPolicy): bigint {
  return BigInt(`0x${fileSet(policy)}`);
}

/** An inode, as the kernel knows it: not always as stat() tells it. */
export interface FileIdentity {
  ino: bigint;
  dev: number;
  /** Another one for each file that gets the same number, one after the other. */
  generation: number;
}

export function fileKey(set: bigint, identity: FileIdentity): Uint8Array {
  const { ino, dev, generation } = identity;
  return encode(layouts.structs.file_key, { set, ino, dev, generation });
}

const { file_verdict: verdicts, policy_flags: flags } = layouts.enums;

export const FILE_VERDICTS: Readonly<Record<FileMode, number>> = {
  allow: verdicts.FILE_ALLOW,
  readonly: verdicts.FILE_READONLY,
  deny: verdicts.FILE_DENY,
};

/** Bit of policy.file_filter: file_bit() of bpf/files.h. */
function fileBit({ ino, dev }: Pick<FileIdentity, "ino" | "dev">): number {
  const folded = Number(ino & 0xffffffffn) ^ Number(ino >> 32n) ^ dev;
  return Math.imul(folded, 0x9e3779b1) >>> 25;
}

/** Value of policy.file_filter. */
export type FileFilter = bigint[];

/** Every file is looked up: right for any rules. */
export const WHOLE_FILTER: FileFilter = [0xffffffffffffffffn, 0xffffffffffffffffn];

export function filterOf(inodes: Iterable<FileIdentity>): FileFilter {
  const filter = [0n, 0n];
  for (const inode of inodes) {
    const bit = fileBit(inode);
    filter[bit >> 6] = (filter[bit >> 6] ?? 0n) | (1n << BigInt(bit & 63));
  }
  return filter;
}

/** Bits of enum policy_flags. */
export function fileFlags(policy?: FilesPolicy): number {
  return policy ? flags.POLICY_FILES : 0;
}

/** Fields of struct policy. */
export function fileFields(policy?: FilesPolicy, filter: FileFilter = WHOLE_FILTER) {
  return {
    file_errno: policy ? constants.errno[policy.errno] : 0,
    file_set: policy ? fileSetNumber(policy) : 0n,
    file_filter: policy ? filter : [0n, 0n],
    reserved: 0,
  };
}

/** What fileFlags() and fileFields() were given, but for the paths. */
export function decodeFiles(value: {
  flags: number;
  file_errno: number;
  file_set: bigint;
}): FilesPolicy | undefined {
  if ((value.flags & flags.POLICY_FILES) === 0) return undefined;
  const errno = FILE_ERRNOS.find((name) => constants.errno[name] === value.file_errno) ?? "EACCES";
  return { rules: [], errno, set: value.file_set.toString(16).padStart(16, "0") };
}

/** Names of the hooks that the policy needs. */
export function fileHooks(policy?: FilesPolicy): string[] {
  return policy ? ["file_open"] : [];
}

/** Why a container with rules for files cannot be where there are no programs for them. */
export const NO_FILES =
  "it has rules for files, which need BPF LSM, and this kernel runs no programs of it " +
  '("bpf-isolator check" says why, and what would help): leave the rules out, or start it on another machine';

/** Whether a stored value is a policy for files. */
export function isFiles(value: unknown): value is FilesPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { rules, errno, set } = value as Partial<Record<keyof FilesPolicy, unknown>>;
  return (
    Array.isArray(rules) &&
    rules.every(isRule) &&
    FILE_ERRNOS.includes(errno as FileErrno) &&
    (set === undefined || (typeof set === "string" && /^[0-9a-f]{16}$/.test(set)))
  );
}

function isRule(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { path, mode } = value as Partial<Record<keyof FileRule, unknown>>;
  return typeof path === "string" && path.startsWith("/") && FILE_MODES.includes(mode as FileMode);
}

/** "deny 2, readonly 1" @param counts of paths */
export function formatFiles(counts: Readonly<Record<FileMode, number>>): string {
  const some = FILE_MODES.filter((mode) => counts[mode] > 0);
  return some.map((mode) => `${mode} ${counts[mode]}`).join(", ");
}
