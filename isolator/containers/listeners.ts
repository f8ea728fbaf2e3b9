/** Which sockets of a container listen on some ports: for the ones that an update has taken away. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { escapeUntrusted } from "../features/events.js";
import type { PortRange } from "../features/ports.js";
import type { CgroupNode } from "../kernel/cgroup.js";

export interface Listener {
  protocol: "tcp" | "udp";
  port: number;
  pid: number;
  /** Process name, printable characters only. */
  process: string;
}

/** TCP_LISTEN, and for UDP what is not connected (TCP_CLOSE), as /proc/net/tcp and udp have them. */
const WAITING = { tcp: "0A", udp: "07" } as const;

function lines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").slice(1);
  } catch {
    return [];
  }
}

/** Inode → port of the sockets that wait on one of the ports, in the network namespace of a process. */
function waiting(pid: number, ports: readonly PortRange[]): Map<string, Pick<Listener, "protocol" | "port">> {
  const found = new Map<string, Pick<Listener, "protocol" | "port">>();
  for (const protocol of ["tcp", "udp"] as const) {
    for (const line of [
      ...lines(`/proc/${pid}/net/${protocol}`),
      ...lines(`/proc/${pid}/net/${protocol}6`),
    ]) {
      // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
      const fields = line.trim().split(/\s+/);
      const port = Number.parseInt(fields[1]?.split(":")[1] ?? "", 16);
      const inode = fields[9];
      if (fields[3] !== WAITING[protocol] || inode === undefined) continue;
      if (ports.some(({ begin, end }) => port >= begin && port <= end)) found.set(inode, { protocol, port });
    }
  }
  return found;
}

function socketsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

/** Sockets of the container that listen, or receive from anybody, on one of the ports; each once. */
export function findListeners(node: CgroupNode, ports: readonly PortRange[]): Listener[] {
  const byNamespace = new Map<string, ReturnType<typeof waiting>>();
  const listeners = new Map<string, Listener>();
  for (const pid of node.allPids()) {
    let namespace: string;
    let comm: string;
    try {
      namespace = readlinkSync(`/proc/${pid}/ns/net`);
      comm = readFileSync(`/proc/${pid}/comm`, "latin1").trimEnd();
    } catch {
      continue;
    }
    const sockets = byNamespace.get(namespace) ?? waiting(pid, ports);
    byNamespace.set(namespace, sockets);
    if (sockets.size === 0) continue;
    for (const inode of socketsOf(pid)) {
      const socket = sockets.get(inode);
      if (socket && !listeners.has(inode))
        listeners.set(inode, { ...socket, pid, process: escapeUntrusted(comm) });
    }
  }
  return [...listeners.values()];
}
