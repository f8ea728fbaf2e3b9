/**
 * A cgroup node that lives for one round of probes. It is locked (flock) by the process that made it, so that what a
 * killed one left is known from what another is using.
 */
import { closeSync, constants, openSync, rmdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import { IsolatorError } from "../errors.js";
import { cgroupRoot, CgroupNode, children } from "./cgroup.js";
import { libc } from "./native.js";

/** No instance's name begins with a dot. */
const PREFIX = ".probe-";
const LOCK_EX = 2;
const LOCK_NB = 4;

export class ProbeNode {
  private constructor(
    private readonly node: CgroupNode,
    /** File descriptor of its directory: what programs are attached to. */
    readonly fd: number,
  ) {}

  get path(): string {
    return this.node.path;
  }

  /** cgroup id */
  get id(): bigint {
    return this.node.id;
  }

  /**
   * Makes a node, and removes those of killed processes.
   * @param cgroup2 mount point
   * @throws cgroup-failed
   */
  static create(cgroup2: string): ProbeNode {
    const path = cgroupRoot(cgroup2, PREFIX + randomBytes(6).toString("hex"));
    for (const stale of children(dirname(path)).filter((child) => basename(child).startsWith(PREFIX))) {
      try {
        ProbeNode.lock(stale)?.remove();
      } catch {
        // Its task has not ended yet: for the next one.
      }
    }
    CgroupNode.create(path);
    const made = ProbeNode.lock(path);
    // Another process took it for a killed one's between the two calls.
    return made ?? ProbeNode.create(cgroup2);
  }

  private static lock(path: string): ProbeNode | undefined {
    const node = CgroupNode.open(path);
    if (!node) return undefined;
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch {
      return undefined;
    }
    if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0 && CgroupNode.open(path)) return new ProbeNode(node, fd);
    closeSync(fd);
    return undefined;
  }

  /** Removes it, and the directory above it unless that is in use. */
  remove(): void {
    try {
      rmdirSync(this.path);
    } catch (error) {
      if (CgroupNode.open(this.path)) {
        throw new IsolatorError(
          "cgroup-failed",
          `the cgroup ${this.path} of a probe cannot be removed: it holds processes ${this.node.pids().join(", ")}`,
          error,
        );
      }
    } finally {
      closeSync(this.fd);
    }
    try {
      rmdirSync(dirname(this.path));
    } catch {
      // Instances have nodes in it.
    }
  }

  /** Path of a file of the node. */
  file(name: string): string {
    return join(this.path, name);
  }
}
