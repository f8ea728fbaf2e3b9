/** Attempts on files (test/helpers/files.c) in containers, and what came of them. */
import { mkdirSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { FileErrno, FileMode, FilesPolicy } from "../../isolator/features/files.js";
import { makeRules } from "../../isolator/features/files.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { DIST, execute, inNode } from "./process.js";

const FILES = join(DIST, "test/helpers/files");

export type Kind = "read" | "change";

/** Directories for the attempts: those in `ruled` are for a rule. */
export interface Place {
  top: string;
  ruled: string;
  work: string;
}

/** "ok", "EACCES", ..., "impossible"; by name of the attempt. */
export type Results = Map<string, string>;

function nameOf(result: string | undefined): string {
  const number = Number(result);
  const known = Object.entries(constants.errno).find(([, value]) => value === number);
  return known?.[0] ?? result ?? "no result";
}

async function run(
  place: Place,
  kind: Kind | "prepare",
  names: readonly string[],
  node?: CgroupNode,
): Promise<Results> {
  const command = [FILES, place.ruled, place.work, kind, ...names];
  const { status, stdout, stderr } = await execute(node ? inNode(node, command) : command);
  if (status !== 0) throw new Error(`attempts on files: exit ${status}: ${stdout}${stderr}`);
  const lines = stdout.trim().split("\n").filter(Boolean);
  return new Map(lines.map((line) => [line.split(" ")[0] ?? "", nameOf(line.split(" ")[1])]));
}

/** Makes the files of attempts. @param names of the attempts; all if not given */
export async function makePlace(directory: string, ...names: string[]): Promise<Place> {
  const top = join(directory, "top");
  const place = { top, ruled: join(top, "ruled"), work: join(directory, "work") };
  mkdirSync(place.ruled, { recursive: true });
  mkdirSync(place.work);
  await run(place, "prepare", names);
  return place;
}

/** Makes attempts in a node; outside of every container where none is given. */
export function attemptFiles(
  place: Place,
  kind: Kind,
  node: CgroupNode | undefined,
  ...names: string[]
): Promise<Results> {
  return run(place, kind, names, node);
}

export function files(paths: Partial<Record<FileMode, string[]>>, errno: FileErrno = "EACCES"): FilesPolicy {
  return { rules: makeRules({ deny: [], readonly: [], allow: [], ...paths }), errno };
}
