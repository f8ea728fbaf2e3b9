/** The machine's processes, as /proc has them. */
import { readdirSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";

export interface ProcessInfo {
  pid: number;
  parent: number;
  /** Pid of the session's leader. The kernel gives that number to nobody else while the session has a process. */
  session: number;
  /** Clock ticks since boot: with the pid the identity of a process. */
  started: bigint;
  /** Name, of the process's own choice. */
  name: string;
}

/** Undefined where the process is gone meanwhile, or only waits for its parent to take note of its end. */
export function readProcess(pid: number): ProcessInfo | undefined {
  try {
    return parseStat(pid, readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return undefined;
  }
}

/** Parses /proc/PID/stat (proc_pid_stat(5)): the name is in brackets and may have brackets in it. */
export function parseStat(pid: number, text: string): ProcessInfo | undefined {
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const [state = "Z", parent, , session] = fields;
  if (end < 0 || state === "Z" || state === "X") return undefined;
  return {
    pid,
    parent: Number(parent),
    session: Number(session),
    started: BigInt(fields[19] ?? 0),
    name: text.slice(text.indexOf("(") + 1, end),
  };
}

function pidsOf(names: readonly string[]): number[] {
  return names.filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Ids of all processes, with nobody waiting for them: some ms where there are thousands. */
export async function listProcesses(): Promise<number[]> {
  return pidsOf(await readdir("/proc"));
}

/** The order of their starts: a parent comes before its children. */
export function byAge(a: ProcessInfo, b: ProcessInfo): number {
  return a.started === b.started ? a.pid - b.pid : a.started < b.started ? -1 : 1;
}

/** All processes, oldest first. About 20 µs each. */
export function readProcesses(): ProcessInfo[] {
  return pidsOf(readdirSync("/proc"))
    .flatMap((pid) => readProcess(pid) ?? [])
    .sort(byAge);
}

function enter<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}

/** All processes as they were a moment ago, by what one may look for. */
export class ProcessTable {
  private readonly byPid = new Map<number, ProcessInfo>();
  private readonly byParent = new Map<number, ProcessInfo[]>();
  private readonly bySession = new Map<number, ProcessInfo[]>();

  static read(): ProcessTable {
    const table = new ProcessTable();
    for (const process of readProcesses()) table.add(process);
    return table;
  }

  add(process: ProcessInfo): void {
    this.byPid.set(process.pid, process);
    enter(this.byParent, process.parent, process);
    enter(this.bySession, process.session, process);
  }

  find(pid: number): ProcessInfo | undefined {
    return this.byPid.get(pid);
  }

  childrenOf(pid: number): readonly ProcessInfo[] {
    return this.byParent.get(pid) ?? [];
  }

  inSession(session: number): readonly ProcessInfo[] {
    return this.bySession.get(session) ?? [];
  }
}

/** Path of a process's cgroup2 node as seen from this process's cgroup namespace ("/a/b"), or undefined. */
export function cgroupPathOf(pid: number): string | undefined {
  try {
    return /^0::(\/.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "latin1"))?.[1];
  } catch {
    return undefined;
  }
}
