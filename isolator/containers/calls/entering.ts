/** How containers come to be known: made by prepare(), taken up from a daemon before this one, or told of by recover(). */
import {
  factsOf,
  withoutBandwidth,
  withTask,
  type ContainerFacts,
  type TaskFacts,
} from "../../config/facts.js";
import { messageOf } from "../../errors.js";
import { formatPorts } from "../../features/ports.js";
import { codecs, type mesos } from "../../mesos/messages.js";
import type { Container } from "../container.js";
import { formatId, type ContainerId } from "../names.js";
import { recordKey } from "../records.js";
import { parentOf, type Entry } from "../registry.js";
import type { Parts } from "./parts.js";

type Prepared = Pick<Entry, "config" | "bytes">;

/** One that has a policy, or is on its way out. */
export function enter(parts: Parts, entry: Entry): void {
  parts.registry.add(entry);
  parts.notices.shortcomings(entry, parts.judgement.config.trustedRoles);
  parts.rounds.add(entry);
}

/** One that is under no policy. */
export function enterUnmanaged(parts: Parts, id: ContainerId, why: string, more: Prepared = {}): void {
  const name = formatId(id);
  parts.registry.add({ ...more, id, name, container: undefined, recovered: true, cleaning: false });
  parts.log.add("unmanaged", name, why);
}

/** One that is nested in a container whose node its processes share. */
export function enterShared(parts: Parts, id: ContainerId, more: Prepared = {}): void {
  const name = formatId(id);
  const above = parts.registry.nearestAbove(id);
  const shares = above?.container ?? above?.shares;
  if (!shares) return;
  const states = { container: undefined, recovered: false, cleaning: false };
  parts.registry.add({ ...more, ...states, id, name, shares });
  const ports = shares.policy.ports ?? [];
  parts.log.add(
    "shares_node",
    name,
    `the agent has made no cgroup for it, and it runs in that of ${shares.name}: it may do what that one may, with ` +
      `the ports of the whole pod${ports.length > 0 ? ` (${formatPorts(ports)})` : ""}`,
  );
}

/** One of an earlier daemon. @param bytes of its ContainerConfig; undefined: there are none */
export function enterTakenUp(parts: Parts, container: Container, bytes: Uint8Array | undefined): void {
  const { id, name, record } = container;
  const entry: Entry = {
    ...{ id, name, container },
    ...{ recovered: true, cleaning: record.stage === "cleaning" },
  };
  try {
    if (bytes) Object.assign(entry, { bytes, ...readAgain(parts, container, bytes) });
  } catch (error) {
    const what = `its ContainerConfig cannot be read again, its policy stays: ${messageOf(error)}`;
    parts.log.add("warning", name, what);
  }
  enter(parts, entry);
}

/** What prepare() and update() have told of a container. */
function readAgain(
  { instance, registry }: Parts,
  container: Container,
  bytes: Uint8Array,
): { config: mesos.slave.ContainerConfig; facts: ContainerFacts; task: TaskFacts | undefined } {
  const parentId = parentOf(container.id);
  const parent = parentId && registry.find(parentId);
  const config = codecs.ContainerConfig.decode(bytes);
  const facts = factsOf(config, container.name, parent ? (parent.facts ?? true) : undefined);
  const { ports, ownNetwork, bandwidth } = container.policy;
  // In a network of its own its policy has none of them.
  if (ports && !ownNetwork) facts.ports = ports;
  if (!ownNetwork) facts.ownNetwork = false;
  const asked = bandwidth?.asked;
  const known: ContainerFacts = asked
    ? {
        ...withoutBandwidth(facts),
        ...(asked.resource === undefined ? {} : { networkBandwidth: asked.resource }),
        ...(asked.cpus === undefined ? {} : { cpus: asked.cpus }),
      }
    : facts;
  const task = instance.records.readTask(recordKey(container.id));
  return { config, facts: task ? withTask(known, task) : known, task };
}
