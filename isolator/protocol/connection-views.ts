/** Connections that containers hold, as messages. */
import { ephemeralPorts, fairShare, type HeldView, type HostDestination } from "../containers/held.js";
import { MAX_LIMIT, type ConnectionRule } from "../features/connections.js";
import type { Policy } from "../features/policy.js";
import { bpf_isolator } from "../mesos/messages.js";

/** Destinations in a summary and in the daemon's status. */
const TOP = 10;

/** A first rule that says so of one place: the agent's own address is such a one. */
function uncounted(rule: ConnectionRule | undefined): { uncounted?: string } {
  const { cidr, ports = [] } = rule?.to ?? {};
  const [only] = ports;
  if (rule?.limit !== "none" || cidr === undefined || !only || ports.length > 1 || only.begin !== only.end)
    return {};
  return { uncounted: `${cidr.includes(":") ? `[${cidr}]` : cidr}:${only.begin}` };
}

function toConnections(
  policy: Policy,
  held: ReturnType<HeldView["of"]>,
): bpf_isolator.Connections | undefined {
  if (!policy.connections || !held) return undefined;
  const { max, total, ports, fair, rules } = policy.connections;
  return {
    ...{ held: held.held, live: held.live, shared: held.shared },
    ...(max === undefined ? {} : { limit: max }),
    ...(total === undefined ? {} : { limit_total: total }),
    ...(ports === undefined ? {} : { ports: held.ports }),
    ...(ports === undefined || ports === MAX_LIMIT ? {} : { limit_ports: ports }),
    ...(fair ? { share: fairShare(ephemeralPorts()) } : {}),
    ...uncounted(rules?.[0]),
    top: held.top
      .slice(0, TOP)
      .map(({ protocol, address, port, held: count }) => ({ protocol, address, port, held: count })),
  };
}

/** The host's view. */
export function toHostDestinations(all: readonly HostDestination[]): bpf_isolator.HeldDestination[] {
  return all.slice(0, TOP);
}

export function connectionFields(
  policy: Policy,
  held: ReturnType<HeldView["of"]>,
): Partial<bpf_isolator.ContainerSummary> {
  const connections = toConnections(policy, held);
  return connections ? { connections } : {};
}
