/** A container's node in the cgroup v2 tree. */
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  write,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { IsolatorError, messageOf, systemCode } from "../errors.js";

const POLL_MS = 5;

const writeOffLoop = promisify(write) as (fd: number, text: string) => Promise<unknown>;

/** Directory that holds the nodes of an instance. */
export function cgroupRoot(cgroup2: string, instance: string): string {
  return join(cgroup2, "bpf-isolator", instance);
}

export class CgroupNode {
  /** @param knownId undefined: to be asked */
  private constructor(
    readonly path: string,
    private knownId?: bigint,
  ) {}

  /**
   * Makes the node and the directories above it.
   * @throws cgroup-failed, also when it exists already
   */
  static create(path: string): CgroupNode {
    try {
      makeDirectory(path);
    } catch (error) {
      throw new IsolatorError(
        "cgroup-failed",
        `the cgroup ${path} cannot be made: ${messageOf(error)}`,
        error,
      );
    }
    return new CgroupNode(path);
  }

  /** The node at `path`, or undefined where there is none. */
  static open(path: string): CgroupNode | undefined {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found?.isDirectory() ? new CgroupNode(path, found.ino) : undefined;
  }

  /** The kernel's cgroup id: on 64-bit kernels (5.5 and newer) it is the directory's inode number. */
  get id(): bigint {
    return (this.knownId ??= statSync(this.path, { bigint: true }).ino);
  }

  /** Runs `use` with a file descriptor of the directory. */
  withFd<T>(use: (fd: number) => T): T {
    const fd = openSync(this.path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Process ids in the node itself, not in nodes below. */
  pids(): number[] {
    return this.read("cgroup.procs").split("\n").filter(Boolean).map(Number);
  }

  /** Process ids in the node and in nodes below. */
  allPids(): number[] {
    return [...this.pidsIfAny(), ...children(this.path).flatMap((path) => new CgroupNode(path).allPids())];
  }

  private pidsIfAny(): number[] {
    try {
      return this.pids();
    } catch (error) {
      // Removed meanwhile; or threaded, and its processes are listed in a node above.
      if (["ENOENT", "ENODEV", "ENOTSUP", "EOPNOTSUPP"].includes(systemCode(error) ?? "")) return [];
      throw error;
    }
  }

  /** Whether any process lives in the node or below: not where it is gone. */
  populated(): boolean {
    try {
      return /^populated 1$/m.test(this.read("cgroup.events"));
    } catch (error) {
      if (systemCode(error) === "ENOENT" || systemCode(error) === "ENODEV") return false;
      throw error;
    }
  }

  /** CPU time of the node and below, in microseconds. */
  cpuUsage(): number {
    return Number(/^usage_usec (\d+)$/m.exec(this.read("cpu.stat"))?.[1] ?? 0);
  }

  /** Moves a process, all of its threads, into the node. */
  add(pid: number): void {
    writeFileSync(join(this.path, "cgroup.procs"), `${pid}`);
  }

  /**
   * The same, off the event loop: the kernel may wait for an RCU grace period, 10 ms and more, whenever none has been
   * moved for a while (cgroup_threadgroup_rwsem; kernel 6.18).
   */
  async move(pid: number): Promise<void> {
    const fd = this.openProcs();
    try {
      await writeOffLoop(fd, `${pid}`);
    } finally {
      closeSync(fd);
    }
  }

  /** A file descriptor that moves the process whose id is written to it into the node. The caller closes it. */
  openProcs(): number {
    return openSync(join(this.path, "cgroup.procs"), constants.O_WRONLY);
  }

  /** Kills all processes in the node and below (cgroup.kill, kernel 5.14), forks in progress included. */
  kill(): void {
    writeFileSync(join(this.path, "cgroup.kill"), "1");
  }

  /**
   * Waits until no process is in the node or below.
   * @param timeout ms
   * @throws cgroup-failed
   */
  async emptied(timeout = 10_000): Promise<void> {
    const deadline = Date.now() + timeout;
    while (this.populated()) {
      if (Date.now() > deadline) {
        throw new IsolatorError(
          "cgroup-failed",
          `processes in ${this.path} do not end: ${this.pids().join(", ")}. Look at their state in /proc/PID/status`,
        );
      }
      await sleep(POLL_MS);
    }
  }

  /**
   * Kills what runs there, waits until it is gone, and removes the node with the nodes below it. Missing is fine.
   * @param timeout ms
   * @throws cgroup-failed when processes do not go (in uninterruptible sleep) or somebody keeps moving new ones in
   */
  async remove(timeout = 10_000): Promise<void> {
    const deadline = Date.now() + timeout;
    for (;;) {
      try {
        removeTree(this.path);
        return;
      } catch (error) {
        if (systemCode(error) === "ENOENT" || systemCode(error) === "ENODEV") return;
        if (systemCode(error) === "EBUSY" && this.populated()) this.kill();
        if (systemCode(error) !== "EBUSY" || Date.now() > deadline) {
          throw new IsolatorError(
            "cgroup-failed",
            `the cgroup ${this.path} cannot be removed: ${messageOf(error)}. ` +
              `Processes in it: ${this.pids().join(", ") || "none"}`,
            error,
          );
        }
      }
      await sleep(POLL_MS);
    }
  }

  private read(file: string): string {
    return readFileSync(join(this.path, file), "utf8");
  }
}

/**
 * The node that this process is in.
 * @param cgroup2 mount point
 * @throws cgroup-failed where it is not below the mount point (another cgroup namespace)
 */
export function ownNode(cgroup2: string): CgroupNode {
  const path = /^0::(\/.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  const node = path?.startsWith("/..") === false ? CgroupNode.open(join(cgroup2, path)) : undefined;
  if (!node) {
    throw new IsolatorError(
      "cgroup-failed",
      `the cgroup of this process (${path ?? "none"}) is not below ${cgroup2}: run it in the cgroup namespace of that mount`,
    );
  }
  return node;
}

/** With those above it. @throws EEXIST */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    mkdirSync(path, { mode: 0o755 });
  }
}

function removeTree(path: string): void {
  try {
    // Nearly always there is none below it.
    rmdirSync(path);
  } catch (error) {
    const below = systemCode(error) === "EBUSY" ? children(path) : [];
    if (below.length === 0) throw error;
    for (const child of below) removeTree(child);
    rmdirSync(path);
  }
}

/** Links of a node with none below it: its own two (kernfs counts one more for each, kernfs_refresh_inode()). */
const NO_CHILDREN = 2;

/** Paths of the nodes directly below one. Missing: none. */
export function children(path: string): string[] {
  // A node has some sixty files, which take long to list.
  const links = statSync(path, { throwIfNoEntry: false })?.nlink ?? NO_CHILDREN;
  if (links === NO_CHILDREN) return [];
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}
