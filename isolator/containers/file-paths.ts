/** Which inodes the paths of file rules are, in this process's mount namespace, and which are not there. */
import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { dirname } from "node:path";
import { systemCode } from "../errors.js";
import { isStricter, parentsOf, type FileIdentity, type FileMode, type FileRule } from "../features/files.js";
import type { KernelFile } from "../kernel/identify.js";
import { readMounts } from "../kernel/mounts.js";

/** Of the kernel (include/uapi/asm-generic/fcntl.h), the same for x86-64 and arm64; Node has no name for it. */
const O_PATH = 0o10000000;
/** Open at a time. */
const AT_ONCE = 128;

export interface RuledInode extends FileIdentity {
  mode: FileMode;
}

export interface Resolved {
  /** By inodeKey(). */
  inodes: Map<string, RuledInode>;
  /** Paths that are not there. */
  missing: string[];
  /** Directories whose change may lead a path elsewhere, with the names in them that matter. */
  directories: Map<string, Set<string>>;
}

export function inodeKey({ dev, ino, generation }: FileIdentity): string {
  return `${dev}:${ino}:${generation}`;
}

interface Wanted {
  path: string;
  mode: FileMode;
  /** The symlink itself, where it is one. */
  itself: boolean;
}

interface Opened extends Wanted {
  fd: number;
  /** Without symlinks. */
  real: string;
}

function tryOpen(wanted: Wanted): Opened | undefined {
  const flags = O_PATH | (wanted.itself ? constants.O_NOFOLLOW : 0);
  try {
    const fd = openSync(wanted.path, flags);
    return { ...wanted, fd, real: readlinkSync(`/proc/self/fd/${fd}`) };
  } catch (error) {
    // Too many open files are this process's trouble and no word on the path.
    if (systemCode(error) === "EMFILE" || systemCode(error) === "ENFILE") throw error;
    return undefined;
  }
}

/**
 * Finds the inodes of rules: of the files and directories that the paths lead to, of the symlinks that they end with, and
 * of what is mounted below them.
 * @param identify asks the kernel for inode and device of open files
 */
export function resolveRules(
  rules: readonly FileRule[],
  identify: (fds: readonly number[]) => KernelFile[],
): Resolved {
  const found: Resolved = { inodes: new Map(), missing: [], directories: new Map() };
  const reals = new Map<string, FileMode>();
  const wanted = rules.flatMap((rule): Wanted[] => [
    { ...rule, itself: true },
    { ...rule, itself: false },
  ]);
  resolveSome(wanted, identify, found, (opened) => {
    watch(found, opened.path);
    watch(found, opened.real);
    if (!opened.itself) reals.set(opened.real, stricter(opened.mode, reals.get(opened.real)));
  });
  resolveSome(mountsBelow(reals), identify, found, () => undefined);
  found.missing = found.missing.filter((path, i, all) => all.indexOf(path) === i);
  for (const path of found.missing) watch(found, path);
  return found;
}

function stricter(mode: FileMode, other: FileMode | undefined): FileMode {
  return other !== undefined && isStricter(other, mode) ? other : mode;
}

function resolveSome(
  wanted: readonly Wanted[],
  identify: (fds: readonly number[]) => KernelFile[],
  found: Resolved,
  onOpened: (opened: Opened) => void,
): void {
  for (let at = 0; at < wanted.length; at += AT_ONCE) {
    const opened: Opened[] = [];
    try {
      for (const each of wanted.slice(at, at + AT_ONCE)) {
        const open = tryOpen(each);
        if (open) opened.push(open);
        else if (!each.itself) found.missing.push(each.path);
      }
      const files = identify(opened.map(({ fd }) => fd));
      opened.forEach((open, i) => {
        const file = files[i];
        // 0: closed since, which cannot be.
        if (!file || file.ino === 0n) return;
        const key = inodeKey(file);
        const mode = stricter(open.mode, found.inodes.get(key)?.mode);
        found.inodes.set(key, { ...file, mode });
        onOpened(open);
      });
    } finally {
      for (const { fd } of opened) closeSync(fd);
    }
  }
}

/**
 * Mount points below paths, each with what the nearest rule above says: the way up from a file ends at the root of its file
 * system. Automounts are left as they are.
 */
function mountsBelow(reals: ReadonlyMap<string, FileMode>): Wanted[] {
  const points = new Set(
    readMounts()
      .filter(({ type }) => type !== "autofs")
      .map(({ path }) => path),
  );
  return [...points].flatMap((path): Wanted[] => {
    if (reals.has(path)) return [];
    const above = parentsOf(path).findLast((parent) => reals.has(parent));
    const mode = above === undefined ? undefined : reals.get(above);
    return mode === undefined || mode === "allow" ? [] : [{ path, mode, itself: true }];
  });
}

/** Notes every directory on the way to a path, with the name that leads on. */
function watch({ directories }: Resolved, path: string): void {
  for (let at = path; at !== "/"; at = dirname(at)) {
    const directory = dirname(at);
    const names = directories.get(directory) ?? new Set();
    names.add(at.slice(directory === "/" ? 1 : directory.length + 1));
    directories.set(directory, names);
  }
}
