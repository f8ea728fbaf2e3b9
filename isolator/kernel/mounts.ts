/**
 * Where cgroup2 and bpffs are mounted: read from /proc/self/mountinfo, nothing assumed. Mesos agents mostly run on
 * hybrid hosts (cgroup2 at /sys/fs/cgroup/unified beside v1 controllers); newer distributions have cgroup2 only.
 */
import { accessSync, constants, mkdirSync, readFileSync } from "node:fs";
import { IsolatorError } from "../errors.js";
import { errnoName, lastErrno, libc } from "./native.js";

export interface Mount {
  /** Root of the mount within its file system: "/" unless a subtree is mounted (as in a container). */
  root: string;
  /** Mount point, absolute. */
  path: string;
  /** File system type: "cgroup2", "bpf", "cgroup", ... */
  type: string;
  readOnly: boolean;
}

export type CgroupLayout = "pure" | "hybrid" | "none";

export const BPFFS = "/sys/fs/bpf";

/** Mounts of this process's namespace in mount order; a later mount at a path hides an earlier one. */
export function readMounts(file = "/proc/self/mountinfo"): Mount[] {
  return parseMountinfo(readFileSync(file, "utf8"));
}

/** Parses mountinfo (proc_pid_mountinfo(5)): the optional fields before "-" vary in number. */
export function parseMountinfo(text: string): Mount[] {
  const unescape = (field: string): string =>
    field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  return text
    .split("\n")
    .map((line) => line.split(" "))
    .flatMap((fields) => {
      const dash = fields.indexOf("-");
      const [root, path, options] = fields.slice(3, 6);
      const type = fields[dash + 1];
      if (dash < 6 || root === undefined || path === undefined || options === undefined || type === undefined)
        return [];
      const superOptions = fields[dash + 3] ?? "";
      const readOnly = [...options.split(","), ...superOptions.split(",")].includes("ro");
      return [{ root: unescape(root), path: unescape(path), type, readOnly }];
    });
}

/** What is mounted at `path`, that is the last mount there. */
function mountedAt(path: string, mounts: Mount[]): Mount | undefined {
  return mounts.findLast((mount) => mount.path === path);
}

/** The cgroup2 mount that is in sight (not hidden by a later mount at the same place), writable ones first. */
export function findCgroup2(mounts: Mount[]): Mount | undefined {
  const visible = mounts.filter(
    (mount) => mount.type === "cgroup2" && mountedAt(mount.path, mounts) === mount,
  );
  return visible.find((mount) => !mount.readOnly && mount.root === "/") ?? visible[0];
}

/** "pure" where cgroup2 is the only hierarchy mounted, "hybrid" beside v1 hierarchies, "none" without cgroup2. */
export function cgroupLayout(mounts: Mount[]): CgroupLayout {
  if (!findCgroup2(mounts)) return "none";
  return mounts.some((mount) => mount.type === "cgroup") ? "hybrid" : "pure";
}

/**
 * Mount point of cgroup2.
 * @throws no-cgroup2, cgroup2-read-only
 */
export function requireCgroup2(mounts: Mount[] = readMounts()): string {
  const mount = findCgroup2(mounts);
  if (!mount) {
    throw new IsolatorError(
      "no-cgroup2",
      "no cgroup2 file system is mounted here, and every container needs a node in one. " +
        "Mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
    );
  }
  let writable = !mount.readOnly;
  try {
    accessSync(mount.path, constants.W_OK);
  } catch {
    writable = false;
  }
  if (!writable) {
    throw new IsolatorError(
      "cgroup2-read-only",
      `cgroup2 at ${mount.path} is read-only, so no node can be made for a container. ` +
        `Remount it: mount -o remount,rw ${mount.path} (inside of another container: give that one a writable cgroup2)`,
    );
  }
  return mount.path;
}

/** Whether a bpffs is mounted at /sys/fs/bpf. */
export function hasBpffs(mounts: Mount[] = readMounts()): boolean {
  return mountedAt(BPFFS, mounts)?.type === "bpf";
}

/**
 * Mounts bpffs at /sys/fs/bpf where it is missing (systemd does it, other inits may not).
 * @returns true when it had to be mounted
 * @throws no-bpffs
 */
export function ensureBpffs(): boolean {
  if (hasBpffs()) return false;
  try {
    mkdirSync(BPFFS, { recursive: true });
  } catch {
    // mount() says what is wrong.
  }
  if (libc().mount("bpf", BPFFS, "bpf", 0, "mode=0700") !== 0) {
    throw new IsolatorError(
      "no-bpffs",
      `no bpffs is mounted at ${BPFFS}, and mounting one failed with ${errnoName(lastErrno())}. ` +
        `Programs are kept there between runs. Mount it: mount -t bpf bpf ${BPFFS}`,
    );
  }
  return true;
}
