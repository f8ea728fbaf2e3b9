/** mesos::slave::Isolator::update(). */
import { bandwidthOf, portsOf, tasksAreUntold, withoutBandwidth } from "../../config/facts.js";
import { IsolatorError } from "../../errors.js";
import type { mesos } from "../../mesos/messages.js";
import { formatId, type ContainerId } from "../names.js";
import type { Parts } from "./parts.js";

/**
 * Ports change at once. What listens already stays, and is told.
 * @param onUntold called where only the agent's API can tell of its tasks
 * @throws no-container, port-owned, bad-argument
 */
export async function update(
  { registry, judgement }: Parts,
  id: ContainerId,
  requests: readonly mesos.Resource[],
  onUntold: () => void,
): Promise<void> {
  const name = formatId(id);
  const entry = registry.named(name);
  if (!entry)
    throw new IsolatorError("no-container", `container ${name} is not known here: it was never prepared`);
  const { container } = entry;
  if (!container || entry.cleaning) return;
  const ports = portsOf(requests, name);
  if (entry.facts) entry.facts = { ...withoutBandwidth(entry.facts), ports, ...bandwidthOf(requests, name) };
  const policy = entry.facts
    ? judgement.policyOf(entry.facts)
    : container.policy.ownNetwork
      ? container.policy
      : { ...container.policy, ports };
  await judgement.apply(container, policy);
  entry.recovered = false;
  // A custom executor has another task.
  if (entry.config && tasksAreUntold(entry.config, false)) {
    entry.taskOldSince = performance.now();
    onUntold();
  }
}
