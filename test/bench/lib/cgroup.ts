/** cgroup v2 nodes of the benchmarks' own: <cgroup2>/bpf-isolator-bench-<pid>/nodes/<name>, as deep as the isolator's. */
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { requireCgroup2 } from "../../../isolator/kernel/mounts.js";
import type { Cleanup } from "./cleanup.js";

const PREFIX = "bpf-isolator-bench-";

/** Makes the root node of this benchmark, and removes those of benchmarks that were killed. */
export function makeRoot(cleanup: Cleanup): string {
  const mount = requireCgroup2();
  for (const name of readdirSync(mount)) {
    if (name.startsWith(PREFIX) && !isAlive(Number(name.slice(PREFIX.length))))
      removeTree(`${mount}/${name}`);
  }
  const root = `${mount}/${PREFIX}${process.pid}`;
  mkdirSync(root);
  cleanup.add(`removing ${root}`, async () => {
    // A process that has just ended may be in its node for some milliseconds more.
    for (let tries = 0; tries < 100 && !removeTree(root); tries++) await sleep(20);
    if (!removeTree(root)) throw new Error("a process is still in it");
  });
  return root;
}

/** Makes the node `name` below `root`, or takes the one that is there. */
export function makeNode(root: string, name: string): string {
  const node = `${root}/nodes/${name}`;
  mkdirSync(node, { recursive: true });
  return node;
}

/** Moves a process with all its threads. Its sockets stay with the node in which they were created. */
export function moveInto(node: string, pid: number): void {
  writeFileSync(`${node}/cgroup.procs`, String(pid));
}

/** The node that a process is in. */
export function nodeOf(pid: number): string {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1];
  if (path === undefined) throw new Error(`process ${pid} is in no cgroup2 node`);
  return requireCgroup2() + path;
}

/** CPU time that the kernel has charged to the node, in ns. cgroup2 counts it in each node, with or without the cpu
 * controller. */
export function cpuTime(node: string): number {
  const usage = /^usage_usec (\d+)$/m.exec(readFileSync(`${node}/cpu.stat`, "utf8"))?.[1];
  if (usage === undefined) throw new Error(`${node}/cpu.stat has no usage_usec`);
  return Number(usage) * 1000;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Removes a node and what is below it. @returns false when a process is still in one of them */
function removeTree(node: string): boolean {
  try {
    for (const entry of readdirSync(node, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(`${node}/${entry.name}`);
    }
    rmdirSync(node);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ENOENT";
  }
}
