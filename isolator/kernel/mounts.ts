/**
 * Where cgroup2 and bpffs are mounted: read from /proc/self/mountinfo, nothing assumed. Mesos agents mostly run on
 * hybrid hosts (cgroup2 at /sys/fs/cgroup/unified beside v1 controllers); newer distributions have cgroup2 only.
 */
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync } from "node:fs";
import { IsolatorError } from "../errors.js";
import { errnoName, lastErrno, libc } from "./native.js";

export interface Mount {
  id: number;
  /** Id of the mount that this one's mount point is in. */
  parent: number;
  /** Root of the mount within its file system: "/" unless a subtree is mounted (as in a container). */
  root: string;
  /** Mount point, absolute. */
  path: string;
  /** File system type: "cgroup2", "bpf", "cgroup", ... */
  type: string;
  readOnly: boolean;
  /** Options of the file system itself, comma-separated: for cgroup v1 its controllers. */
  superOptions: string;
}

export type CgroupLayout = "pure" | "hybrid" | "none";

export const BPFFS = "/sys/fs/bpf";

const LOCK_EX = 2;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;

/** Mounts of this process's namespace, also those that others hide. */
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
      const [id, parent, , root, path, options] = fields;
      const type = fields[dash + 1];
      if (dash < 6 || root === undefined || path === undefined || options === undefined || type === undefined)
        return [];
      const superOptions = fields[dash + 3] ?? "";
      const readOnly = [...options.split(","), ...superOptions.split(",")].includes("ro");
      return [
        {
          id: Number(id),
          parent: Number(parent),
          root: unescape(root),
          path: unescape(path),
          type,
          readOnly,
          superOptions,
        },
      ];
    });
}

function isAtOrAbove(path: string, other: string): boolean {
  return path === other || other.startsWith(path === "/" ? path : `${path}/`);
}

/**
 * Whether a path leads there: nothing is mounted over it, nor over a directory above it. The order of lines says
 * nothing of that, since mounts can be moved; parents do.
 */
function isVisible(mount: Mount, mounts: readonly Mount[]): boolean {
  const isParent = (child: Mount, other: Mount): boolean => other.id === child.parent && other !== child;
  if (mounts.some((over) => isParent(over, mount) && over.path === mount.path)) return false;
  for (let at: Mount | undefined = mount; at;) {
    const { parent, path }: Mount = at;
    // Had the other been there first, this one would be in it and not beside it.
    const covers = (other: Mount): boolean =>
      other.parent === parent && other.id !== parent && other !== at && isAtOrAbove(other.path, path);
    if (mounts.some(covers)) return false;
    at = mounts.find((other) => other.id === parent && other !== at);
  }
  return true;
}

/** The cgroup2 mount that is in sight (not hidden by another one), writable ones first. */
export function findCgroup2(mounts: Mount[]): Mount | undefined {
  const visible = mounts.filter((mount) => mount.type === "cgroup2" && isVisible(mount, mounts));
  return visible.find((mount) => !mount.readOnly && mount.root === "/") ?? visible[0];
}

/** "pure" where cgroup2 is the only hierarchy mounted, "hybrid" beside v1 hierarchies, "none" without cgroup2. */
export function cgroupLayout(mounts: Mount[]): CgroupLayout {
  if (!findCgroup2(mounts)) return "none";
  return mounts.some((mount) => mount.type === "cgroup") ? "hybrid" : "pure";
}

/** Without v1 hierarchies, /sys/fs/cgroup is a directory of sysfs, where nobody can make another. */
const HOW_TO_MOUNT = {
  pure: "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
  hybrid: "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
} as const;

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
        `Mount it: ${HOW_TO_MOUNT[mounts.some(({ type }) => type === "cgroup") ? "hybrid" : "pure"]}`,
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
  return mounts.some((mount) => mount.type === "bpf" && mount.path === BPFFS && isVisible(mount, mounts));
}

/**
 * Mounts bpffs at /sys/fs/bpf where it is missing (systemd does it, other inits may not).
 * @returns true when it had to be mounted
 * @throws no-bpffs
 */
export function ensureBpffs(): boolean {
  if (hasBpffs()) return false;
  // Two instances may begin at once, and a second mount would hide the pins of the first.
  const lock = openSync("/sys/fs", constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    libc().flock(lock, LOCK_EX);
    if (hasBpffs()) return false;
    mountBpffs();
    return true;
  } finally {
    closeSync(lock);
  }
}

function mountBpffs(): void {
  try {
    mkdirSync(BPFFS, { recursive: true });
  } catch {
    // mount() says what is wrong.
  }
  if (libc().mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") !== 0) {
    throw new IsolatorError(
      "no-bpffs",
      `no bpffs is mounted at ${BPFFS}, and mounting one failed with ${errnoName(lastErrno())}. ` +
        `Programs are kept there between runs. Mount it: mount -t bpf bpf ${BPFFS}`,
    );
  }
}
