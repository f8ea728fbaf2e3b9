/** What the daemon knows, as messages. Text that came from a task is escaped where it becomes part of one. */
import type { SourceSummary } from "../cluster/cluster.js";
import type { ServiceDirectory, ServiceView } from "../cluster/services.js";
import type { Container } from "../containers/container.js";
import type { Entry } from "../containers/registry.js";
import type { IsolatorEvent } from "../containers/event-log.js";
import { ephemeralPorts, fairShare, type HeldView, type HostDestination } from "../containers/held.js";
import { formatId } from "../containers/names.js";
import type { ContainerRecord } from "../containers/records.js";
import { type BandwidthPolicy, type BandwidthUsage, type BandwidthUse } from "../features/bandwidth.js";
import { REASONS, type Reason, type Usage } from "../features/accounting.js";
import { MAX_LIMIT, type ConnectionRule } from "../features/connections.js";
import { formatDestination, ruleName } from "../features/egress.js";
import { escapeUntrusted, type Denial } from "../features/events.js";
import type { EnforceMode, Policy } from "../features/policy.js";
import { toResourceStatistics, type ContainerStatistics } from "../features/statistics.js";
import type { FileMode, FilesPolicy } from "../features/files.js";
import type { MarkingPolicy, MarkingValues } from "../features/marking.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { bpf_isolator, fromContainerId, type mesos } from "../mesos/messages.js";

const { State } = bpf_isolator.ContainerSummary;
/** The protocol's word for each; a container whose rules are off is as good as audited. */
const ENFORCEMENT: Record<EnforceMode, bpf_isolator.Enforcement> = {
  on: bpf_isolator.Enforcement.ON,
  audit: bpf_isolator.Enforcement.AUDIT,
  off: bpf_isolator.Enforcement.OFF,
};

function toDirection(use: BandwidthUse): bpf_isolator.Bandwidth.Direction {
  return {
    ...(use.rate > 0 ? { rate: BigInt(use.rate) } : {}),
    ...(use.measured > 0 ? { measured: BigInt(use.measured) } : {}),
    throttled_ms: BigInt(use.throttled),
    dropped: use.droppedPackets,
    marked: use.marked,
  };
}

/** @param usage undefined: its programs have not told, so it is what the policy says */
function toBandwidth(policy: BandwidthPolicy, usage: BandwidthUsage | undefined): bpf_isolator.Bandwidth {
  const { egress, ingress, weight } = policy;
  const asked = (limit: { rate: number } | undefined): bpf_isolator.Bandwidth.Direction =>
    limit ? { rate: BigInt(limit.rate) } : {};
  return {
    egress: { ...asked(egress), ...(usage ? toDirection(usage.egress) : {}) },
    ingress: { ...asked(ingress), ...(usage ? toDirection(usage.ingress) : {}) },
    ...(weight === undefined ? {} : { weight }),
  };
}

function toCounts(counts: Record<Reason, bigint>): bpf_isolator.Count[] {
  return REASONS.filter((reason) => counts[reason] > 0n).map((name) => ({ name, count: counts[name] }));
}

function toMarking({ destinations, change, wrongDscp, ...values }: MarkingPolicy): bpf_isolator.Marking {
  return {
    ...toMarkingValues(values),
    ...(destinations
      ? {
          destinations: destinations.map(({ to, ...own }) => ({
            to: formatDestination(to),
            marking: toMarkingValues(own),
          })),
        }
      : {}),
    ...(change === "deny" ? { change } : {}),
    ...(wrongDscp === "count" ? {} : { wrong_dscp: wrongDscp }),
  };
}

function toMarkingValues({ dscp, mark, priority }: MarkingValues): bpf_isolator.Marking {
  return {
    ...(dscp === undefined ? {} : { dscp }),
    ...(mark === undefined ? {} : { mark: mark.value, mark_mask: mark.mask }),
    ...(priority === undefined ? {} : { priority }),
  };
}

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

/** The mark stands for the class id of Mesos's cgroups/net_cls, which there is not with cgroup2. */
export function toContainerStatus({ id, container }: Entry): mesos.ContainerStatus {
  const mark = container?.policy.marking?.mark;
  return {
    container_id: fromContainerId(id),
    ...(mark ? { cgroup_info: { net_cls: { classid: mark.value } } } : {}),
  };
}

/** Shown of a list of paths. */
const MAX_MISSING = 100;

function toFileRules({ rules, errno }: FilesPolicy, missing: readonly string[]): bpf_isolator.FileRules {
  const count = (mode: FileMode): number => rules.filter((rule) => rule.mode === mode).length;
  return {
    ...{ deny: count("deny"), readonly: count("readonly"), allow: count("allow"), errno_name: errno },
    ...(missing.length > 0 ? { missing: missing.slice(0, MAX_MISSING) } : {}),
  };
}

function policyFields(
  policy: Policy,
  missing: readonly string[] = [],
  bandwidth?: BandwidthUsage,
): Partial<bpf_isolator.ContainerSummary> {
  return {
    ...(policy.ports
      ? { ports: policy.ports.map(({ begin, end }) => ({ begin: BigInt(begin), end: BigInt(end) })) }
      : { inherits_ports: true }),
    enforcement: ENFORCEMENT[policy.enforce],
    ...(policy.classes ? { classes: policy.classes } : {}),
    ...(policy.remap
      ? {
          port_mappings: policy.remap.map(({ containerPort, hostPort, protocol }) => ({
            container_port: containerPort,
            host_port: hostPort,
            ...(protocol === undefined ? {} : { protocol }),
          })),
        }
      : {}),
    ...(policy.marking ? { marking: toMarking(policy.marking) } : {}),
    ...(policy.bandwidth ? { bandwidth: toBandwidth(policy.bandwidth, bandwidth) } : {}),
    ...(policy.egress
      ? { egress_rules: policy.egress.rules.length, egress_default: policy.egress.byDefault }
      : {}),
    ...(policy.files ? { files: toFileRules(policy.files, missing) } : {}),
  };
}

function usageFields(statistics: ContainerStatistics, time: number): Partial<bpf_isolator.ContainerSummary> {
  const { usage } = statistics;
  return {
    statistics: toResourceStatistics(statistics, time),
    denied: toCounts(usage.denied),
    audited: toCounts(usage.audited),
    events_lost: usage.eventsLost,
  };
}

function egressFieldsOf(container: Container): Partial<bpf_isolator.ContainerSummary> {
  const hits = container.counts.egressHits();
  if (hits.length === 0) return {};
  const { egress } = container.policy;
  return {
    egress_counts: hits.map(({ rule, denied, audited }) => ({
      rule: ruleName(egress, rule),
      denied,
      audited,
    })),
  };
}

function networkOf({ config, container }: Entry): string | undefined {
  if (!container?.policy.ownNetwork) return undefined;
  const named = config?.container_info?.network_infos?.find(({ name }) => name !== undefined && name !== "");
  return escapeUntrusted(named?.name ?? "its own");
}

/** How far a container is: the one place that says so. */
export function stateOf({
  container,
  shares,
  recovered,
  cleaning,
}: Entry): bpf_isolator.ContainerSummary.State {
  if (!container) return shares ? State.ISOLATED : State.UNMANAGED;
  if (cleaning) return State.CLEANING;
  if (recovered) return State.RECOVERED;
  return container.record.stage === "isolated" ? State.ISOLATED : State.PREPARED;
}

function connectionFields(
  policy: Policy,
  held: ReturnType<HeldView["of"]>,
): Partial<bpf_isolator.ContainerSummary> {
  const connections = toConnections(policy, held);
  return connections ? { connections } : {};
}

/** A container of the daemon. @param time seconds since the epoch */
export function toSummary(entry: Entry, time: number, held: HeldView): bpf_isolator.ContainerSummary {
  const { container, config } = entry;
  const network = networkOf(entry);
  const bandwidth = container?.counts.bandwidth();
  const ids = {
    framework_id: config?.executor_info?.framework_id?.value,
    executor_id: config?.executor_info?.executor_id.value,
    task_id: config?.task_info?.task_id.value,
  };
  return {
    container_id: fromContainerId(entry.id),
    state: stateOf(entry),
    origin: "agent",
    ...Object.fromEntries(Object.entries(ids).filter(([, value]) => value !== undefined)),
    ...(config?.container_class === undefined ? {} : { container_class: config.container_class }),
    ...(network === undefined ? {} : { network }),
    ...(container
      ? {
          ...policyFields(container.policy, container.enforcement.missingPaths(), bandwidth),
          ...egressFieldsOf(container),
          ...usageFields(container.counts.statistics(), time),
          ...connectionFields(container.policy, held.of(container.cgroupId)),
          ...(container.glass ? { break_glass: container.glass } : {}),
          pids: container.node.allPids().length,
          prepared_at: container.record.started,
          cgroup: container.node.path,
        }
      : {}),
    ...(entry.shares
      ? {
          inherits_ports: true,
          enforcement: ENFORCEMENT[entry.shares.policy.enforce],
          cgroup: entry.shares.node.path,
        }
      : {}),
  };
}

/** A container of a `run`, which no daemon looks after. */
export function toRunSummary(
  record: ContainerRecord,
  usage: Usage | undefined,
  glass: string | undefined,
  time: number,
  held: HeldView,
): bpf_isolator.ContainerSummary {
  const node = CgroupNode.open(record.cgroup);
  return {
    container_id: fromContainerId(record.id),
    state: record.source === "run" || record.stage === "isolated" ? State.ISOLATED : State.PREPARED,
    origin: record.source,
    ...policyFields(record.policy),
    ...(usage ? usageFields({ usage }, time) : {}),
    ...connectionFields(record.policy, held.of(BigInt(record.chain.at(-1) ?? 0))),
    ...(glass === undefined ? {} : { break_glass: glass }),
    pids: node?.allPids().length ?? 0,
    prepared_at: record.started,
    cgroup: record.cgroup,
  };
}

export function toEndpointSource(source: SourceSummary): bpf_isolator.EndpointSource {
  const { name, where, state, endpoints, age, error, duplicates, ignored } = source;
  return {
    ...{ name, where, state },
    endpoints: BigInt(endpoints),
    ...(age === undefined ? {} : { age }),
    ...(error === undefined ? {} : { error }),
    ...(duplicates === 0 ? {} : { duplicates: BigInt(duplicates) }),
    ignored: [...ignored].map(([kind, count]) => ({ name: kind, count: BigInt(count) })),
  };
}

function toDenialMessage(denial: Denial): bpf_isolator.Event.Denial {
  const { reason, protocol, family, address, port, pid, uid, process, unreachable, owner, time } = denial;
  const { option, dscp, askedPort, file } = denial;
  return {
    ...{ reason, protocol, family, port, pid, uid, process },
    ...(address === undefined ? {} : { address }),
    ...(unreachable ? { unreachable } : {}),
    ...(owner === undefined ? {} : { owner }),
    ...(option === undefined ? {} : { option }),
    ...(dscp === undefined ? {} : { dscp }),
    ...(askedPort === undefined ? {} : { asked_port: askedPort }),
    ...(denial.rule === undefined ? {} : { rule: denial.rule }),
    ...(file ? { file: { ...file, inode: BigInt(file.inode) } } : {}),
    ...(denial.ruleName === undefined ? {} : { rule_name: denial.ruleName }),
    boot_time: BigInt(time),
  };
}

/** @param idOf id of a container by its name, if it is known */
export function toEvent(
  event: IsolatorEvent,
  idOf: (name: string) => readonly [string, ...string[]] | undefined,
): bpf_isolator.Event {
  const { time, kind, container, message, count, denial } = event;
  const id = container === "" ? undefined : (idOf(container) ?? splitName(container));
  return {
    time: time / 1000,
    type: kind,
    ...(id ? { container_id: fromContainerId(id) } : {}),
    message,
    ...(denial ? { denial: toDenialMessage(denial) } : {}),
    ...(count === undefined ? {} : { lost: BigInt(count) }),
  };
}

/** Mesos's ids have no dot, so an agent's name is its id, also when the container is gone. */
function splitName(name: string): readonly [string, ...string[]] {
  const [root = name, ...nested] = name.split(".");
  return [root, ...nested];
}

/** Whether an event is about a container or one that is nested in it. */
export function isAbout(event: IsolatorEvent, id: readonly [string, ...string[]]): boolean {
  const name = formatId(id);
  return event.container === name || event.container.startsWith(`${name}.`);
}

/** A service with what is known of its backends. */
export function toService({ service, host, backends, misses }: ServiceView): bpf_isolator.Service {
  const { name, address, port, protocol } = service;
  return {
    ...(name === undefined ? {} : { name }),
    ...(host === undefined ? {} : { host }),
    ...{ address, port, protocol, misses },
    backends: backends.map(({ counts, state, weight = 1, ...at }) => ({
      ...{ address: at.address, port: at.port, weight, state, connections: counts.live },
      ...{ connects: counts.connects, refused: counts.refused, unanswered: counts.unanswered },
    })),
  };
}

export function toServiceTotals(directory: ServiceDirectory): bpf_isolator.ServiceTotals {
  const totals = { services: 0, backends: 0, avoided: 0, without: 0 };
  for (const { backends } of directory.list()) {
    const active = backends.filter(({ state }) => state !== "draining");
    totals.services++;
    totals.backends += active.length;
    totals.avoided += active.filter(({ state }) => state === "avoided").length;
    if (active.length === 0) totals.without++;
  }
  return {
    ...totals,
    ignored: [...directory.ignored].map(([name, count]) => ({ name, count: BigInt(count) })),
    ...(directory.problem === undefined ? {} : { error: directory.problem }),
  };
}
