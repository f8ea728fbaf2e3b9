/** mesos::slave::Isolator::prepare(). */
import { factsOf, tasksAreUntold } from "../../config/facts.js";
import { IsolatorError } from "../../errors.js";
import { mustTakeNetRaw, withoutNetRaw } from "../../features/net-raw.js";
import type { Policy } from "../../features/policy.js";
import { requireWithin } from "../../features/remap.js";
import { codecs, mesos } from "../../mesos/messages.js";
import type { Container } from "../container.js";
import { formatId, type ContainerId } from "../names.js";
import { placementOf } from "../placement.js";
import { prepareContainer } from "../preparation.js";
import { parentOf, type Entry } from "../registry.js";
import { enter, enterShared, enterUnmanaged } from "./entering.js";
import type { Parts } from "./parts.js";

/**
 * @param onUntold called where only the agent's API can tell of its tasks
 * @returns what to add to the launch
 * @throws conflict where the container is there with another ContainerConfig; port-owned, bad-argument, no-container
 */
export async function prepare(
  parts: Parts,
  id: ContainerId,
  config: mesos.slave.ContainerConfig,
  onUntold: () => void,
): Promise<mesos.slave.ContainerLaunchInfo | undefined> {
  // A session or a check in its parent's node: nothing of its own, and isolate() finds the parent by its id.
  if (config.container_class === mesos.slave.ContainerClass.DEBUG && id.length > 1) return undefined;
  const { instance, judgement } = parts;
  const name = formatId(id);
  const bytes = codecs.ContainerConfig.encode(config);
  const existing = parts.registry.named(name);
  if (existing) {
    requireSame(existing, bytes);
    const { record } = existing.container ?? existing.shares ?? {};
    return record?.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
  }
  const parent = findParent(parts, id);
  const above = parent?.container ?? parent?.shares;
  if (parent && !above) {
    const why = `it is nested in ${parent.name}, which is under no policy, and so is it`;
    enterUnmanaged(parts, id, why, { config, bytes });
    return undefined;
  }
  const placement = placementOf(judgement.config.cgroup, instance.cgroup2, id, above);
  if (placement.kind === "shared") {
    enterShared(parts, id, { config, bytes });
    return above?.record.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
  }
  const facts = factsOf(config, name, parent ? (parent.facts ?? true) : undefined);
  const { version } = judgement;
  const policy = judgement.policyOf(facts);
  requireMappings(policy, name, above?.policy);
  const launchInfo = launchInfoFor(parts, policy, above, config, name);
  const container = await prepareContainer(instance, {
    ...{ id, source: "agent", config: bytes, ring: parts.ring },
    policy,
    ...(above ? { parent: above } : {}),
    ...(placement.kind === "agent" ? { agentNode: placement.path } : {}),
    withoutNetRaw: launchInfo !== undefined,
    onTakeOver: (ports, owner) => {
      parts.notices.tookOver(name, ports, owner);
    },
  });
  const entry: Entry = {
    ...{ id, name, container, facts, config, bytes },
    ...{ recovered: false, cleaning: false },
  };
  enter(parts, entry);
  // What all others were judged by meanwhile did not find it.
  if (judgement.version !== version) await judgement.judgeAgain(entry);
  if (tasksAreUntold(config, id.length > 1)) onUntold();
  return launchInfo;
}

/** A request may be sent again. @throws conflict */
function requireSame(existing: Entry, bytes: Uint8Array): void {
  const why = existing.cleaning
    ? "is still on its way out"
    : existing.bytes && Buffer.compare(existing.bytes, bytes) === 0
      ? undefined
      : "is there already, with another ContainerConfig";
  if (why === undefined) return;
  throw new IsolatorError(
    "conflict",
    `container ${existing.name} ${why}: clean it up first, or give another id`,
  );
}

/** What a container is nested in; undefined: nothing. @throws no-container, conflict */
function findParent({ registry }: Parts, id: ContainerId): Entry | undefined {
  const parentId = parentOf(id);
  if (!parentId) return undefined;
  const parent = registry.find(parentId);
  if (!parent) {
    throw new IsolatorError(
      "no-container",
      `container ${formatId(id)} is nested in ${formatId(parentId)}, which is not known here: it was never prepared, or is gone`,
    );
  }
  if (parent.cleaning) {
    throw new IsolatorError(
      "conflict",
      `container ${formatId(id)} is nested in ${parent.name}, which is on its way out`,
    );
  }
  return parent;
}

/**
 * That all host ports are the container's: before it starts, not when it first binds one. Where nothing is enforced, what
 * is outside is reported at bind() as ever.
 * @param parent policy of what it is nested in
 * @throws bad-argument
 */
export function requireMappings({ enforce, remap, ports }: Policy, name: string, parent?: Policy): void {
  const all = ports ?? parent?.ports;
  if (enforce !== "on" || !remap || !all) return;
  try {
    requireWithin(remap, all);
  } catch (error) {
    if (!(error instanceof IsolatorError)) throw error;
    throw new IsolatorError(error.code, `container ${name}: ${error.message}`, error);
  }
}

/** @param above what it is nested in, whose policy holds for it too @throws bad-argument */
function launchInfoFor(
  { instance, judgement }: Parts,
  policy: Policy,
  above: Container | undefined,
  config: mesos.slave.ContainerConfig,
  name: string,
): mesos.slave.ContainerLaunchInfo | undefined {
  const asked =
    judgement.config.netRaw === "take" && mustTakeNetRaw(policy, (hook) => instance.loaded.has(hook));
  return asked || above?.record.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
}

/** What prepare() would answer of DEBUG containers in one: modules do not ask. */
export function sessionLaunchInfo(
  { registry }: Parts,
  id: ContainerId,
): mesos.slave.ContainerLaunchInfo | undefined {
  const entry = registry.find(id);
  const container = entry?.container ?? entry?.shares;
  return container?.record.withoutNetRaw
    ? withoutNetRaw({ command_info: {}, directory: "" }, formatId(id))
    : undefined;
}
