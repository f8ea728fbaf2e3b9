/** A container's policy, from the configuration and what the agent says of the container. */
import { parseAddress } from "../features/addresses.js";
import type { ConnectionRule, ConnectionsPolicy } from "../features/connections.js";
import type { EnforceMode, Policy } from "../features/policy.js";
import { socketsFor } from "../features/sockets.js";
import type { ContainerFacts } from "./facts.js";
import { bandwidthFor } from "./bandwidth.js";
import { classesOf } from "./classes.js";
import { egressFor } from "./egress.js";
import { filesFor } from "./files.js";
import { limitsFor } from "./connections.js";
import { markingFor, withAsked } from "./marking.js";
import { holds, isAllocatedTo, isAnchored } from "./match.js";
import { servicesFor } from "./services.js";
import type { Config } from "./schema.js";
import type { Exemption } from "./exemptions.js";

/** Labels and executor id alone are chosen by whoever runs the task: they count for containers of trusted roles only. */
function matches(exemption: Exemption, facts: ContainerFacts, trustedRoles: readonly string[]): boolean {
  return (isAnchored(exemption) || isAllocatedTo(facts, trustedRoles)) && holds(exemption, facts);
}

/** How a container is enforced: the first exemption that matches, else what holds for all. */
export function enforcementFor(config: Config, facts: ContainerFacts): EnforceMode {
  const exemption = config.exemptions.find((entry) => matches(entry, facts, config.trustedRoles));
  return exemption?.enforce ?? config.enforce;
}

/** Where the agent listens, from its handshake. */
export interface AgentAddress {
  ip: string;
  port: number;
}

/** Executors live by their connection to the agent: it is under no limit. */
function exceptAgent(policy: ConnectionsPolicy, agent: AgentAddress | undefined): ConnectionsPolicy {
  if (!agent || !parseAddress(agent.ip)) return policy;
  const { ip, port } = agent;
  const rule: ConnectionRule = { to: { cidr: ip, ports: [{ begin: port, end: port }] }, limit: "none" };
  return { ...policy, rules: [rule, ...(policy.rules ?? [])] };
}

/**
 * The policy of a container. Pure: the same configuration and facts give the same policy, so that a re-sent prepare() is
 * known as one, and a reload tells which containers change.
 */
export function policyFor(config: Config, facts: ContainerFacts, agent?: AgentAddress): Policy {
  // In a network of its own the ports are other ports: none of the host's are the container's.
  const ports = facts.ownNetwork ? [] : facts.ports;
  const classes = classesOf(config.classes, facts, config.trustedRoles);
  const marking = withAsked(markingFor(config.marking, classes), facts, config.trustedRoles);
  const services = servicesFor(config.services, classes);
  const bandwidth = bandwidthFor(config.bandwidth, facts, classes, config.trustedRoles);
  const egress = egressFor(config.egress, classes, agent);
  const limits = limitsFor(config.connections, config.connectErrno, facts, config.trustedRoles);
  const connections = limits && { ...limits };
  // The host's ports are none of its own network's.
  if (facts.ownNetwork) delete connections?.fair;
  const files = filesFor(config.files, classes, facts);
  const sockets = socketsFor(config.sockets, egress !== undefined);
  return {
    ...(ports ? { ports } : {}),
    enforce: enforcementFor(config, facts),
    ephemeral: config.ephemeral,
    allowProtocols: config.allowProtocols,
    ...(Object.keys(sockets).length > 0 ? { sockets } : {}),
    ...(config.escape === undefined ? {} : { escape: config.escape }),
    ...(facts.ownNetwork ? { ownNetwork: true } : {}),
    ...(config.judged ? { judged: config.judged } : {}),
    ...(connections ? { connections: exceptAgent(connections, agent) } : {}),
    ...(facts.remap && config.remap === "on" && !facts.ownNetwork ? { remap: facts.remap } : {}),
    ...(classes.length > 0 ? { classes } : {}),
    ...(marking ? { marking } : {}),
    ...(bandwidth ? { bandwidth } : {}),
    ...(egress ? { egress } : {}),
    ...(services ? { services } : {}),
    ...(files ? { files } : {}),
  };
}
