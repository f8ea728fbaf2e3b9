/** A task in a trial container: proof that the programs not only load but act. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { IsolatorError } from "../errors.js";
import { decode, encode, u64Key } from "./codec.js";
import { layouts } from "./gen/layout.js";
import type { ProbeNode } from "./probe-node.js";
import type { TaskReport } from "./probe-task.js";
import type { Programs } from "./programs.js";

const TASK = fileURLToPath(new URL("./probe-task.js", import.meta.url));
/** Node alone takes 1.2 s to start on an emulated CPU. */
const TIMEOUT_MS = 30_000;

/**
 * Runs the probes' task in a node and waits for its end.
 * @throws launch-failed
 */
export function runTask(node: ProbeNode, what: "listen" | "ports"): TaskReport {
  const child = spawnSync(process.execPath, [TASK, node.path, what], {
    env: {},
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  if (child.status !== 0) {
    const why = child.error?.message ?? `exit status ${child.status ?? "none"}: ${child.stderr.trim()}`;
    throw new IsolatorError("launch-failed", `the task of the trial container failed: ${why}`);
  }
  return JSON.parse(child.stdout) as TaskReport;
}

export interface Trial {
  /** What bind() to a port gave: "ok" or the name of an errno. */
  bind: string;
  /** What connect() to the loopback address gave. */
  connect: string;
  /** Packets counted: sent and received. */
  packets: bigint;
}

/** A policy with no ports: every bind() to a port is refused, connect() is not. */
function noPorts(cgroupId: bigint): Uint8Array {
  const { enforcement, ephemeral, ring_slot } = layouts.enums;
  return encode(layouts.structs.policy, {
    cgroup_id: cgroupId,
    level: 0,
    flags: 0,
    enforcement: enforcement.ENFORCE_ON,
    ephemeral: ephemeral.EPHEMERAL_ALLOW,
    ring: ring_slot.NO_RING,
    judge_begin: 0,
    judge_end: 0,
    max_connections: 0,
    max_connections_total: 0,
    connections_errno: 0,
    connection_rules: 0,
    ...{ mark: 0, mark_mask: 0, priority: 0, tos: 0, marking_parts: 0, reserved: 0 },
    ...{
      remap_port: [],
      remap_host: [],
      remap_tcp: 0,
      remap_udp: 0,
      remap_more: 0,
      services_own: 0,
    },
    ...{ egress_set: 0n, egress_classes: 0, egress_errno: 0 },
    ...{ file_errno: 0, file_set: 0n, file_filter: [0n, 0n] },
  });
}

/**
 * Puts a task under the programs with a policy that gives it no ports.
 * @throws attach-failed, map-failed, launch-failed
 */
export function tryTask(node: ProbeNode, programs: Programs): Trial {
  programs.attach(node.fd, "trial");
  programs.map("policies").update(u64Key(node.id), noPorts(node.id));
  const report = runTask(node, "ports");
  const counters = programs.map("counters").lookupPerCpu(u64Key(node.id)) ?? [];
  const packets = counters
    .map((bytes) => decode(layouts.structs.counters, bytes))
    .reduce((sum, { rx_packets, tx_packets }) => sum + rx_packets + tx_packets, 0n);
  return { bind: report["bind"] ?? "", connect: report["connect"] ?? "", packets };
}
