/** Attempts on files (test/helpers/files.c) in containers, and what came of them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import type { Container } from "../../isolator/containers/container.js";
import type { FileErrno, FileMode, FilesPolicy } from "../../isolator/features/files.js";
import { makeRules } from "../../isolator/features/files.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import type { Cell } from "./instance.js";
import { sh } from "./network.js";
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

/** What the shell says of what a rule refuses with EACCES. */
export const DENIED = "Permission denied";

export function write(path: string, text = "secret\n"): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

type Box = Pick<Cell, "container"> | Container;

const nodeOf = (box: Box): CgroupNode => ("container" in box ? box.container : box).node;

/** Runs a shell command in a container. @returns what it said, or its last line where it failed */
export async function shell(box: Box, command: string): Promise<string> {
  const { status, stdout, stderr } = await execute(inNode(nodeOf(box), ["sh", "-c", command]));
  return status === 0
    ? stdout.trim() || "ok"
    : (stderr.trim().split("\n").at(-1)?.replace(/.*: /, "") ?? "failed");
}

/** Runs shell commands in a container, each by itself. @returns of each what shell() would */
export async function shells(box: Box, ...commands: string[]): Promise<string[]> {
  const each = commands.map((command) => `out=$( (${command}) 2>&1 ); echo "$? $(echo "$out" | tail -n 1)"`);
  const { stdout } = await execute(inNode(nodeOf(box), ["sh", "-c", each.join("\n")]));
  const lines = stdout.replace(/\n$/, "").split("\n");
  return lines.map((line) => {
    const said = line.slice(line.indexOf(" ") + 1);
    return line.startsWith("0 ") ? said || "ok" : said.replace(/.*: /, "");
  });
}

/** A directory of a test file's own, with what it mounts there, until its tests are over. Not on a tmpfs. */
export class TestFiles {
  readonly root = mkdtempSync("/var/tmp/isolator-files-");
  private readonly mounted: string[] = [];

  constructor() {
    after(() => {
      for (const point of this.mounted.reverse()) sh("umount", "-l", point);
      rmSync(this.root, { recursive: true, force: true });
    });
  }

  path(...names: string[]): string {
    return join(this.root, ...names);
  }

  /** To be called after enterOwnMounts(). @param options of mount */
  mount(point: string, type: string, ...options: string[]): void {
    mkdirSync(point, { recursive: true });
    sh("mount", "-t", type, ...options, type, point);
    this.mounted.push(point);
  }

  /** @param make makes a file system in an image: its first words, the image comes after */
  mountImage(point: string, size: string, make: string): void {
    sh("sh", "-c", `truncate -s ${size} ${point}.image && ${make} ${point}.image && modprobe loop`);
    mkdirSync(point, { recursive: true });
    sh("mount", "-o", "loop", `${point}.image`, point);
    this.mounted.push(point);
  }
}
