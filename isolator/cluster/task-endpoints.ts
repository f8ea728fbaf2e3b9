/**
 * Which places are a task's, by what the master says of it.
 *
 * Believed is what Mesos has given it: the ports of its resources on its agent, and its address where it has a network of
 * its own. What a user writes (DiscoveryInfo's ports) adds nothing: who could claim another's port could pass for it.
 */
import { isIP } from "node:net";
import { factsOfTask, type ContainerFacts } from "../config/facts.js";
import { parseAddress } from "../features/addresses.js";
import { placeKey, type PlaceKey } from "../features/endpoints.js";
import { listPorts } from "../features/ports.js";
import { mesos } from "../mesos/messages.js";
import type { Ignored } from "./ignored.js";
import { vipsOf, type TaskVip, type TaskVips } from "./vips.js";

const { TaskState } = mesos.v1.master;
/** Addresses of a task's own. */
const MAX_ADDRESSES = 16;

/** Why something a master says was left out. */
export const IGNORED = {
  task: "tasks whose ports cannot be used",
  discovery: "ports in a DiscoveryInfo that are not the task's",
  address: "addresses of tasks that are an agent's",
} as const;

/** A task as far as its endpoints go by it. */
export interface KnownTask {
  /** "FRAMEWORK/TASK": neither has a slash. Unique in the cluster. */
  key: string;
  agent: string;
  framework: string;
  facts: ContainerFacts;
  running: boolean;
  /** What it claims of virtual addresses. */
  vips: readonly TaskVip[];
  /** It gets no new connections: it is being killed, or its health check fails. */
  draining: boolean;
  /** Of its own network, of 16 bytes each; empty: it has the agent's. */
  addresses: readonly Uint8Array[];
}

/** A task that is killed may still answer, and until it is gone its ports are nobody else's. */
export function isRunning(state: mesos.v1.master.TaskState | undefined): boolean {
  return state === TaskState.TASK_RUNNING || state === TaskState.TASK_KILLING;
}

/** Whether a task that runs is to get no new connections. @param healthy undefined: no check has said anything */
export function drains(state: mesos.v1.master.TaskState | undefined, healthy: boolean | undefined): boolean {
  return state === TaskState.TASK_KILLING || healthy === false;
}

const ENDED: ReadonlySet<mesos.v1.master.TaskState | undefined> = new Set([
  TaskState.TASK_FINISHED,
  TaskState.TASK_FAILED,
  TaskState.TASK_KILLED,
  TaskState.TASK_LOST,
  TaskState.TASK_ERROR,
  TaskState.TASK_DROPPED,
  TaskState.TASK_GONE,
  TaskState.TASK_GONE_BY_OPERATOR,
]);

/** No further state follows. TASK_UNREACHABLE is none of these: its agent may come back with it. */
export function hasEnded(state: mesos.v1.master.TaskState | undefined): boolean {
  return ENDED.has(state);
}

export function taskKey(framework: string, task: string): string {
  return `${framework}/${task}`;
}

/** Its addresses in networks that have a name: one without is the host's. Not those of Docker's bridge, one on each host. */
export function addressesOf(status: mesos.ContainerStatus | undefined): Uint8Array[] {
  return (status?.network_infos ?? [])
    .filter(({ name }) => Boolean(name))
    .flatMap(({ ip_addresses = [] }) => ip_addresses)
    .flatMap(({ ip_address = "" }) => parseAddress(ip_address) ?? [])
    .slice(0, MAX_ADDRESSES);
}

/** @returns undefined where it cannot be used, which is counted */
export function knowTask(task: mesos.v1.master.Task, ignored: Ignored): KnownTask | undefined {
  let facts: ContainerFacts;
  try {
    facts = factsOfTask(task);
  } catch {
    ignored.count(IGNORED.task);
    return undefined;
  }
  const { task_id, framework_id, agent_id, discovery, statuses = [] } = task;
  if (!facts.ownNetwork) {
    const foreign = (discovery?.ports?.ports ?? []).filter(
      ({ number }) => !(facts.ports ?? []).some(({ begin, end }) => number >= begin && number <= end),
    );
    if (foreign.length > 0) ignored.count(IGNORED.discovery, foreign.length);
  }
  return {
    key: taskKey(framework_id.value, task_id.value),
    agent: agent_id.value,
    framework: framework_id.value,
    facts,
    running: isRunning(task.state),
    vips: vipsOf(task, facts, ignored),
    draining: drains(task.state, statuses.at(-1)?.healthy),
    addresses: facts.ownNetwork ? addressesOf(statuses.at(-1)?.container_status) : [],
  };
}

/** What is known of an agent. */
export interface KnownAgent {
  /** By which tasks on it are reached, of 16 bytes each. */
  addresses: readonly Uint8Array[];
}

/** "slave(1)@10.1.2.3:5051" */
function addressOfPid(pid: string | undefined): Uint8Array | undefined {
  const host = /@\[?([^\]]+?)\]?:\d+$/.exec(pid ?? "")?.[1];
  return host === undefined ? undefined : parseAddress(host);
}

/**
 * @param attribute name of an attribute of agents that has more addresses of theirs, with blanks or commas between: the
 *   master knows one of each agent, of IPv4
 */
export function knowAgent(
  info: mesos.v1.master.AgentInfo,
  pid: string | undefined,
  attribute: string | undefined,
): KnownAgent {
  const more = (info.attributes ?? [])
    .filter(({ name }) => name === attribute)
    .flatMap(({ text }) => (text?.value ?? "").split(/[\s,]+/))
    .flatMap((address) => parseAddress(address) ?? []);
  const byPid = addressOfPid(pid);
  const byName = !byPid && isIP(info.hostname) ? parseAddress(info.hostname) : undefined;
  return { addresses: [byPid, byName, ...more].flatMap((address) => address ?? []) };
}

/**
 * @param agent undefined: not known yet
 * @param isAgents whether an address is an agent's, by its text
 */
export function placesOf(
  task: KnownTask,
  agent: KnownAgent | undefined,
  isAgents: (address: Uint8Array) => boolean,
  ignored: Ignored,
): PlaceKey[] {
  if (!task.running) return [];
  const ports = listPorts(task.facts.ports ?? []);
  const own = task.addresses.filter((address) => {
    if (!isAgents(address)) return true;
    ignored.count(IGNORED.address);
    return false;
  });
  return [
    ...(agent?.addresses ?? []).flatMap((address) => ports.map((port) => placeKey(address, port, 0))),
    ...own.map((address) => placeKey(address, 0, 0)),
  ];
}

/** What a running task claims of virtual addresses; undefined: nothing. */
export function claimsOf(task: KnownTask, agent: KnownAgent | undefined): TaskVips | undefined {
  const { running, vips, facts, addresses, draining } = task;
  if (!running || vips.length === 0) return undefined;
  return { facts, vips, draining, addresses: facts.ownNetwork ? addresses : (agent?.addresses ?? []) };
}
