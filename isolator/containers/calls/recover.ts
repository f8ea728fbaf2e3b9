/** mesos::slave::Isolator::recover(): the agent's word on which of its containers there are. */
import { messageOf } from "../../errors.js";
import { CgroupNode } from "../../kernel/cgroup.js";
import type { mesos } from "../../mesos/messages.js";
import { formatId, type ContainerId } from "../names.js";
import { agentNode } from "../placement.js";
import { nodeNames, recordKey } from "../record.js";
import { enterShared, enterUnmanaged } from "./entering.js";
import type { Parts } from "./parts.js";

export interface RecoveredState {
  id: ContainerId;
  state: Pick<mesos.slave.ContainerState, "pid">;
}

/** Containers that the agent does not name are removed: it would never clean them up. */
export async function recover(
  parts: Parts,
  states: readonly RecoveredState[],
  orphans: readonly ContainerId[],
): Promise<void> {
  const known = [...states.map(({ id }) => id), ...orphans];
  const names = new Set(known.map(formatId));
  for (const { id, state } of states) recoverOne(parts, id, Number(state.pid));
  const gone = parts.registry.list().filter(({ name }) => !names.has(name));
  for (const entry of gone.reverse()) {
    parts.log.add("removed", entry.name, "the agent does not know it any more: removed");
    await parts.cleanups.cleanup(entry.id);
  }
  await removeStrays(parts, known);
}

function recoverOne(parts: Parts, id: ContainerId, pid: number): void {
  const entry = parts.registry.find(id);
  if (entry) entry.recovered = true;
  else if (sharesNode(parts, id)) enterShared(parts, id);
  else if (!isSession(parts, id, pid)) {
    const why = "it was launched without bpf-isolator, so it is under no policy until it is launched again";
    enterUnmanaged(parts, id, why);
  }
}

/** What could not be taken up is the agent's to judge too. */
async function removeStrays(
  { registry, instance, log, cleanups }: Parts,
  known: readonly ContainerId[],
): Promise<void> {
  const keys = new Set([...known, ...registry.list().map(({ id }) => id)].map(recordKey));
  for (const key of instance.records.keys().reverse()) {
    if (keys.has(key)) continue;
    const name = nodeNames(key).join(".");
    try {
      if (!instance.records.isAgents(key)) continue;
      await cleanups.removeUnknown(key);
      log.add("removed", name, "the agent does not know it, and neither does this daemon: removed");
    } catch (error) {
      const what = `the agent does not know it, and it cannot be removed: ${messageOf(error)}`;
      log.add("warning", name, what);
    }
  }
}

/** Whether a nested container that is not known has no node in its parent's tree, which is the agent's. */
function sharesNode({ registry, instance, judgement }: Parts, id: ContainerId): boolean {
  const above = registry.nearestAbove(id);
  const container = above?.container ?? above?.shares;
  if (!container?.isAgents) return false;
  const { agentRoot } = judgement.config.cgroup;
  return CgroupNode.open(agentNode(instance.cgroup2, agentRoot, id)) === undefined;
}

/** Whether a nested container that is not known is a DEBUG one: its process is in the node of one that is. */
function isSession({ registry }: Parts, id: ContainerId, pid: number): boolean {
  const node = registry.nearestAbove(id)?.container?.node;
  return node?.allPids().includes(pid) ?? false;
}
