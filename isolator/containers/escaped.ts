/**
 * Processes that came from a container and are not in its node any more, found without BPF LSM: nothing refuses the way
 * out there, and the rules do not hold outside.
 *
 * What is known of a process: it was put in the node, or was in it at an earlier look; or its parent is in the node, or
 * has left it; or its session was made in the node, which a daemon stays in though its parent is gone. One that leaves
 * between two looks and by the next has lost its parent, in a session that was not seen in the node, is not found.
 */
import { join } from "node:path";
import type { CgroupNode } from "../kernel/cgroup.js";
import { cgroupPathOf, readProcess, readProcesses, type ProcessInfo } from "../kernel/processes.js";
import { escapeUntrusted } from "../features/events.js";

export interface EscapedProcess {
  pid: number;
  /** Name, printable characters only. */
  process: string;
  /** Where it is now: path of its cgroup below the mount point of cgroup2, printable characters only. */
  cgroup: string;
}

export class EscapeWatch {
  /** Start by pid of all that came from the node and live. */
  private known = new Map<number, bigint>();
  private readonly sessions = new Set<number>();
  /** Start by pid of those told of. */
  private readonly told = new Map<number, bigint>();

  /**
   * @param node of the container; nested containers' nodes are below it, and what is there is inside
   * @param cgroup2 mount point
   */
  constructor(
    private readonly node: CgroupNode,
    private readonly cgroup2: string,
  ) {}

  /** Takes note of a process that was put or born in the node: it may be out again before the first look. */
  add(pid: number): void {
    const process = readProcess(pid);
    if (!process) return;
    this.known.set(pid, process.started);
    if (process.session === pid) this.sessions.add(pid);
  }

  /**
   * What is outside now and was not told of before.
   * @param processes all of the machine, oldest first, as they were a moment ago: read once for all containers, about
   *   20 µs a process
   */
  look(processes: readonly ProcessInfo[] = readProcesses()): EscapedProcess[] {
    const inside = new Set(this.node.allPids());
    const known = new Map<number, bigint>();
    const escaped: EscapedProcess[] = [];
    for (const process of processes) {
      const { pid, started, session } = process;
      if (inside.has(pid)) {
        known.set(pid, started);
        if (session === pid) this.sessions.add(session);
        continue;
      }
      if (!this.cameFromNode(process, known)) continue;
      known.set(pid, started);
      const cgroup = cgroupPathOf(pid);
      // Gone, or moved in since the node was read.
      if (cgroup === undefined || this.isInside(cgroup) || this.told.get(pid) === started) continue;
      this.told.set(pid, started);
      escaped.push({ pid, process: escapeUntrusted(process.name), cgroup: escapeUntrusted(cgroup) });
    }
    // Put in the node since the processes were read.
    const listed = new Set(processes.map(({ pid }) => pid));
    for (const [pid, started] of this.known) {
      if (!listed.has(pid) && readProcess(pid)?.started === started) known.set(pid, started);
    }
    this.known = known;
    this.forget(processes);
    return escaped;
  }

  /** @param found what was found in this look, parents before children */
  private cameFromNode({ pid, parent, session, started }: ProcessInfo, found: Map<number, bigint>): boolean {
    return this.known.get(pid) === started || found.has(parent) || this.sessions.has(session);
  }

  private isInside(cgroup: string): boolean {
    const path = join(this.cgroup2, cgroup);
    return path === this.node.path || path.startsWith(`${this.node.path}/`);
  }

  /** Numbers that other processes and sessions may get. */
  private forget(processes: readonly ProcessInfo[]): void {
    const live = new Map(processes.map(({ pid, started }) => [pid, started]));
    const sessions = new Set(processes.map(({ session }) => session));
    for (const [pid, started] of this.told) if (live.get(pid) !== started) this.told.delete(pid);
    for (const session of this.sessions) if (!sessions.has(session)) this.sessions.delete(session);
  }
}
