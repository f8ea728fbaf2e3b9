/** What a Mesos agent asks of a daemon, for containers by their number: recorded messages, with ids and ports of ours. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { bpf_isolator, codecs, mesos } from "../../../isolator/mesos/messages.js";
import { bytesOf, readTrace } from "../../support/traces.js";
import { isAlive } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { FIRST_PORT, PORTS_EACH } from "./fleet.js";
import { requestOf } from "./wire.js";

const { Type } = bpf_isolator.Call;
/** s. Tasks of a benchmark that was killed do not stay for ever. */
const TASK_LIFE = 1800;

/** First port of a container. */
export function firstPort(container: number): number {
  return FIRST_PORT + container * PORTS_EACH;
}

/** The id of a container: as long as an agent's. */
export function idOf(container: number): mesos.ContainerID {
  return { value: `782ff0b0-6c38-4a00-858e-${container.toString(16).padStart(12, "0")}` };
}

function recordedConfig(): mesos.slave.ContainerConfig {
  const recorded = readTrace("command-task").find(({ method }) => method === "prepare")?.container_config;
  if (!recorded) throw new Error("the recorded calls of command-task have no prepare");
  return codecs.ContainerConfig.decode(bytesOf(recorded));
}

const RECORDED = recordedConfig();

/** A recorded command task's, with ports of the container's own. */
export function configOf(container: number): mesos.slave.ContainerConfig {
  const [begin, end] = [firstPort(container), firstPort(container + 1) - 1];
  const ports: mesos.Resource = {
    name: "ports",
    type: mesos.Value.Type.RANGES,
    ranges: { range: [{ begin: BigInt(begin), end: BigInt(end) }] },
  };
  const others = (RECORDED.resources ?? []).filter(({ name }) => name !== "ports");
  return { ...RECORDED, resources: [...others, ports] };
}

/** Requests, encoded once: that is the agent's work, not the daemon's. */
export const REQUESTS = {
  handshake: (): Buffer =>
    requestOf({ type: Type.HANDSHAKE, handshake: { name: "bench:daemon", protocol_versions: [1] } }),
  prepare: (container: number): Buffer =>
    requestOf({
      type: Type.PREPARE,
      prepare: { container_id: idOf(container), container_config: configOf(container) },
    }),
  isolate: (container: number, pid: number): Buffer =>
    requestOf({ type: Type.ISOLATE, isolate: { container_id: idOf(container), pid } }),
  watch: (container: number): Buffer =>
    requestOf({ type: Type.WATCH, watch: { container_id: idOf(container) } }),
  usage: (container: number): Buffer =>
    requestOf({ type: Type.USAGE, usage: { container_id: idOf(container) } }),
  cleanup: (container: number): Buffer =>
    requestOf({ type: Type.CLEANUP, cleanup: { container_id: idOf(container) } }),
  recover: (containers: readonly number[]): Buffer =>
    requestOf({
      type: Type.RECOVER,
      recover: {
        states: containers.map((container) => ({
          container_id: idOf(container),
          executor_info: configOf(container).executor_info,
          pid: 1n,
          directory: "/",
        })),
      },
    }),
  getStatus: (): Buffer => requestOf({ type: Type.GET_STATUS }),
  list: (): Buffer => requestOf({ type: Type.LIST }),
} as const;

/** Starts processes for containers, which only wait; `cleanup` ends those that are left. */
export async function startTasks(count: number, cleanup: Cleanup): Promise<number[]> {
  const script = 'i=0; while [ $i -lt "$0" ]; do sleep "$1" & echo $!; i=$((i + 1)); done; exec >&-; wait';
  const shell = spawn("/bin/sh", ["-c", script, String(count), String(TASK_LIFE)], {
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  cleanup.add("ending tasks", () => {
    // Its group: all that it started, wherever that was moved.
    if (shell.pid !== undefined && shell.exitCode === null) process.kill(-shell.pid, "SIGKILL");
  });
  const pids: number[] = [];
  for await (const line of createInterface({ input: shell.stdout })) {
    pids.push(Number(line));
    // The tasks have the pipe too: its end does not come.
    if (pids.length === count) break;
  }
  return pids;
}

/** Ends a process as Mesos's launcher does before the isolators clean up, and waits until it is gone. */
export async function endTask(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  while (isAlive(pid)) await sleep(1);
}
