/** What an agent says of a container that its policy depends on, taken from Mesos's messages and bounded. */
import { IsolatorError, messageOf } from "../errors.js";
import { parseRate } from "../features/bandwidth.js";
import { mergeRanges, type PortRange } from "../features/ports.js";
import type { PortMapping } from "../features/remap.js";
import { mesos } from "../mesos/messages.js";
import { mappingsOf } from "./remap.js";

const MAX_PORT = 65535n;
/** Of a container: more than an agent offers in practice, and each costs time in claim(). */
const MAX_RANGES = 1024;
const MAX_LABELS = 128;
/** Bytes, of a key and of a value. */
const MAX_LABEL_SIZE = 1024;

/** Plain data, which JSON keeps as it is: stored with a container, so that a reload can judge it again. */
export interface ContainerFacts {
  /** Merged and sorted. Undefined: a nested container with no resources of its own, which has its parent's. */
  ports?: PortRange[];
  /** It asks for a network of its own by name. Whether the agent gives it one is seen only at isolate(). */
  ownNetwork: boolean;
  nested: boolean;
  /** Roles that its resources are allocated to: one, in what a master sends. Given by the master. */
  roles: string[];
  /** Given by the master. */
  frameworkId?: string;
  /** That its framework has authenticated as with the master: no agent tells it, only a master's stream. */
  principal?: string;
  /** Chosen by the framework. */
  executorId?: string;
  /** Chosen by users: as a path, "/shop/cart". */
  appId?: string;
  /** Chosen by users. A label without a value has "". */
  labels: [key: string, value: string][];
  /** The scalar resource network_bandwidth, whose unit is the configuration's. Undefined: it has none. */
  networkBandwidth?: number;
  /** Undefined: not known. */
  cpus?: number;
  /** Bytes/s that its labels ask for. Chosen by users. */
  rateLabels?: { egress?: number; ingress?: number };
  /** Undefined: none. */
  remap?: PortMapping[];
  /** Labels left out, since there were too many or too long ones. */
  labelsIgnored: number;
}

/** What the tasks of a container say, where only the agent's API tells. Chosen by users. */
export interface TaskFacts {
  labels: [key: string, value: string][];
  appId?: string;
}

function bad(name: string, why: string): IsolatorError {
  return new IsolatorError(
    "bad-argument",
    `the ports of container ${name} cannot be used: ${why}. Mesos's ports are ranges between 1 and ${MAX_PORT}`,
  );
}

/**
 * All of the ports: reservations come as entries of their own.
 * @param name of the container, for errors
 * @throws bad-argument
 */
export function portsOf(resources: readonly mesos.Resource[], name: string): PortRange[] {
  const ranges = resources
    .filter((resource) => resource.name === "ports")
    .flatMap(({ type, ranges }) => {
      if (type !== mesos.Value.Type.RANGES)
        throw bad(name, `the resource has type ${mesos.Value.Type[type]}`);
      return ranges?.range ?? [];
    });
  if (ranges.length > MAX_RANGES)
    throw bad(name, `there are ${ranges.length} ranges, more than ${MAX_RANGES}`);
  return mergeRanges(
    ranges.map(({ begin, end }) => {
      if (begin < 1n || end > MAX_PORT || end < begin) throw bad(name, `there is a range ${begin}-${end}`);
      return { begin: Number(begin), end: Number(end) };
    }),
  );
}

function scalarOf(resources: readonly mesos.Resource[], name: string): number | undefined {
  const values = resources
    .filter((resource) => resource.name === name)
    .map(({ scalar }) => scalar?.value ?? 0);
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) : undefined;
}

/** More than any unit makes sense with. */
const MAX_SCALAR = 1e12;

/**
 * What of the resources the bandwidth goes by.
 * @param name of the container, for errors
 * @throws bad-argument
 */
export function bandwidthOf(
  resources: readonly mesos.Resource[],
  name: string,
): Pick<ContainerFacts, "networkBandwidth" | "cpus"> {
  const asked = scalarOf(resources, "network_bandwidth");
  const cpus = scalarOf(resources, "cpus");
  if (asked !== undefined && !(asked > 0 && asked <= MAX_SCALAR)) {
    throw new IsolatorError(
      "bad-argument",
      `container ${name} has ${asked} of the resource network_bandwidth: give it more than 0 and at most ${MAX_SCALAR}, ` +
        "or none at all",
    );
  }
  return {
    ...(asked === undefined ? {} : { networkBandwidth: asked }),
    ...(cpus === undefined ? {} : { cpus }),
  };
}

export const RATE_LABELS = { egress: "network_egress_rate", ingress: "network_ingress_rate" } as const;

/** What labels ask for; `bad`: what is wrong with those that are no rate. */
export function rateLabelsOf(labels: ContainerFacts["labels"]): {
  rates: Pick<ContainerFacts, "rateLabels">;
  bad: string[];
} {
  const rates: { egress?: number; ingress?: number } = {};
  const bad: string[] = [];
  for (const side of ["egress", "ingress"] as const) {
    const found = labels.find(([key]) => key === RATE_LABELS[side])?.[1];
    if (found === undefined) continue;
    try {
      rates[side] = parseRate(found);
    } catch (error) {
      bad.push(`label ${RATE_LABELS[side]}: ${messageOf(error)}`);
    }
  }
  const none = rates.egress === undefined && rates.ingress === undefined;
  return { rates: none ? {} : { rateLabels: rates }, bad };
}

/** @throws bad-argument where one is no rate */
function wholeRateLabelsOf(
  labels: ContainerFacts["labels"],
  name: string,
): Pick<ContainerFacts, "rateLabels"> {
  const { rates, bad } = rateLabelsOf(labels);
  if (bad.length > 0) throw new IsolatorError("bad-argument", `container ${name}, ${bad.join("; ")}`);
  return rates;
}

/** The roles that resources are allocated to, each once. */
export function rolesOf(resources: readonly mesos.Resource[]): string[] {
  return [...new Set(resources.flatMap(({ allocation_info }) => allocation_info?.role ?? []))];
}

function labelsOf(
  sources: readonly (mesos.Labels | undefined)[],
): Pick<ContainerFacts, "labels" | "labelsIgnored"> {
  const given = sources.flatMap((source) => source?.labels ?? []);
  const fits = (text: string): boolean => Buffer.byteLength(text) <= MAX_LABEL_SIZE;
  // A command task's are in both.
  const seen = new Set<string>();
  const labels: [string, string][] = [];
  let ignored = 0;
  for (const { key, value = "" } of given) {
    if (!fits(key) || !fits(value)) {
      ignored++;
      continue;
    }
    const id = JSON.stringify([key, value]);
    if (seen.has(id)) continue;
    if (labels.length === MAX_LABELS) {
      ignored++;
      continue;
    }
    seen.add(id);
    labels.push([key, value]);
  }
  return { labels, labelsIgnored: ignored };
}

/** Marathon writes the app's id as a host name into DiscoveryInfo.name: "cart.shop" is "/shop/cart". */
function appIdOf(text: string | undefined): string | undefined {
  if (text === undefined || text === "" || Buffer.byteLength(text) > MAX_LABEL_SIZE) return undefined;
  return `/${text.split(".").reverse().join("/")}`;
}

/**
 * What a ContainerConfig says. Ports come from its resources alone: a nested container's executor_info is a copy of its
 * root's, with the whole pod's.
 * @param name of the container, for errors
 * @param parent of a nested container: true where its facts are not known; else what the container has not itself
 *   (roles, framework, executor, network) is its parent's
 * @throws bad-argument
 */
export function factsOf(
  config: mesos.slave.ContainerConfig,
  name: string,
  parent?: ContainerFacts | true,
): ContainerFacts {
  const resources = config.resources ?? [];
  const inherited = parent === true ? undefined : parent;
  const roles = rolesOf(resources);
  const frameworkId = config.executor_info?.framework_id?.value ?? inherited?.frameworkId;
  const executorId = config.executor_info?.executor_id.value ?? inherited?.executorId;
  const { task_info: task, executor_info: executor } = config;
  const appId = appIdOf(task?.discovery?.name ?? executor?.discovery?.name) ?? inherited?.appId;
  const labels = labelsOf([task?.labels, executor?.labels]);
  const networks = config.container_info?.network_infos ?? [];
  const ports = parent && resources.length === 0 ? undefined : portsOf(resources, name);
  const remap = mappingsOf(config, parent !== undefined, ports, inherited?.remap ?? [], name);
  return {
    ...(ports ? { ports } : {}),
    ...(remap.length > 0 ? { remap } : {}),
    // A nested container joins its parent's network unless it names one itself.
    ownNetwork: networks.some((network) => Boolean(network.name)) || (inherited?.ownNetwork ?? false),
    nested: parent !== undefined,
    roles: roles.length > 0 ? roles : (inherited?.roles ?? []),
    ...(frameworkId === undefined ? {} : { frameworkId }),
    ...(executorId === undefined ? {} : { executorId }),
    ...(appId === undefined ? {} : { appId }),
    ...labels,
    ...bandwidthOf(resources, name),
    // A nested container's executor_info is its root's, which is under that already.
    ...(parent ? {} : wholeRateLabelsOf(labels.labels, name)),
  };
}

/**
 * What a master says of a task: the same as an agent would of its container, but for the labels of pods' tasks, which no
 * agent shows. An executor's own labels the master tells only with its first state, so they are left out.
 * @throws bad-argument
 */
export function factsOfTask(task: mesos.v1.master.Task): ContainerFacts {
  const resources = task.resources ?? [];
  const appId = appIdOf(task.discovery?.name);
  return {
    ports: portsOf(resources, task.task_id.value),
    ownNetwork: (task.container?.network_infos ?? []).some((network) => Boolean(network.name)),
    nested: false,
    roles: rolesOf(resources),
    frameworkId: task.framework_id.value,
    // A command task's executor is named as the task is, and the master leaves that out.
    executorId: task.executor_id?.value ?? task.task_id.value,
    ...(appId === undefined ? {} : { appId }),
    ...labelsOf([task.labels]),
  };
}

/**
 * @param labels of each task in the container
 * @param discovery name of its DiscoveryInfo
 */
export function taskFacts(
  labels: readonly (mesos.Labels | undefined)[],
  discovery: string | undefined,
): TaskFacts {
  const appId = appIdOf(discovery);
  return { labels: labelsOf(labels).labels, ...(appId === undefined ? {} : { appId }) };
}

/** Facts of a container with those of its tasks. */
export function withTask(facts: ContainerFacts, task: TaskFacts): ContainerFacts {
  const known = new Set(facts.labels.map((label) => JSON.stringify(label)));
  const added = task.labels.filter((label) => !known.has(JSON.stringify(label)));
  const labels = [...facts.labels, ...added];
  return {
    ...facts,
    ...(task.appId === undefined ? {} : { appId: task.appId }),
    labels: labels.slice(0, MAX_LABELS),
    // Its own labels, where it is nested: the others are its root's.
    ...rateLabelsOf(facts.nested ? task.labels : labels).rates,
    labelsIgnored: facts.labelsIgnored + Math.max(0, labels.length - MAX_LABELS),
  };
}

/** Whether a container's tasks are its agent's to tell: tasks of a pod, and those of a custom executor. */
export function tasksAreUntold(config: mesos.slave.ContainerConfig, nested: boolean): boolean {
  const { task_info: task, executor_info: executor } = config;
  if (task || !executor) return false;
  return nested || executor.type !== mesos.ExecutorInfo.Type.DEFAULT;
}

/** Facts without those of bandwidth that update() gives anew. */
export function withoutBandwidth(facts: ContainerFacts): ContainerFacts {
  const rest = { ...facts };
  delete rest.networkBandwidth;
  delete rest.cpus;
  return rest;
}
