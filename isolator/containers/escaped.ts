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
import { byAge, cgroupPathOf, ProcessTable, readProcess, type ProcessInfo } from "../kernel/processes.js";
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
   * @param table all processes of the machine as they were a moment ago: read once for all containers
   */
  look(table: ProcessTable = ProcessTable.read()): EscapedProcess[] {
    const inside = new Set(this.node.allPids());
    const came = this.thatCame(table, inside);
    const known = new Map(came.map(({ pid, started }) => [pid, started]));
    const escaped: EscapedProcess[] = [];
    for (const { pid, started, name } of came.filter(({ pid }) => !inside.has(pid)).sort(byAge)) {
      const cgroup = cgroupPathOf(pid);
      // Gone, or moved in since the node was read.
      if (cgroup === undefined || this.isInside(cgroup) || this.told.get(pid) === started) continue;
      // Its number may be another process's since the table was read.
      if (readProcess(pid)?.started !== started) continue;
      this.told.set(pid, started);
      escaped.push({ pid, process: escapeUntrusted(name), cgroup: escapeUntrusted(cgroup) });
    }
    // Put in the node since the processes were read.
    for (const [pid, started] of this.known)
      if (!table.find(pid) && readProcess(pid)?.started === started) known.set(pid, started);
    this.known = known;
    this.forget(table);
    return escaped;
  }

  /** Processes that are in the node, or came from it: few of all. */
  private thatCame(table: ProcessTable, inside: ReadonlySet<number>): ProcessInfo[] {
    const found = new Set<ProcessInfo>();
    const add = (processes: readonly ProcessInfo[]): void => {
      for (const process of processes) found.add(process);
    };
    for (const pid of inside) {
      const process = table.find(pid);
      if (process) found.add(process);
    }
    for (const [pid, started] of this.known) {
      const process = table.find(pid);
      if (process?.started === started) found.add(process);
    }
    for (const session of this.sessions) add(table.inSession(session));
    // What is added is come to too.
    for (const { pid, session } of found) {
      add(table.childrenOf(pid));
      if (session !== pid || !inside.has(pid)) continue;
      this.sessions.add(session);
      add(table.inSession(session));
    }
    return [...found];
  }

  private isInside(cgroup: string): boolean {
    const path = join(this.cgroup2, cgroup);
    return path === this.node.path || path.startsWith(`${this.node.path}/`);
  }

  /** Numbers that other processes and sessions may get. */
  private forget(table: ProcessTable): void {
    for (const [pid, started] of this.told) if (table.find(pid)?.started !== started) this.told.delete(pid);
    for (const session of this.sessions)
      if (table.inSession(session).length === 0) this.sessions.delete(session);
  }
}
