/** Containers, as messages. Text that came from a task is escaped where it becomes part of one. */
import type { Container } from "../containers/container.js";
import type { HeldView } from "../containers/held.js";
import type { ContainerRecord } from "../containers/record.js";
import type { Entry } from "../containers/registry.js";
import { REASONS, type Reason, type Usage } from "../features/accounting.js";
import { ruleName } from "../features/egress.js";
import { escapeUntrusted } from "../features/events.js";
import { toResourceStatistics, type ContainerStatistics } from "../features/statistics.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { bpf_isolator, fromContainerId, type mesos } from "../mesos/messages.js";
import { connectionFields } from "./connection-views.js";
import { ENFORCEMENT, policyFields } from "./policy-views.js";

const { State } = bpf_isolator.ContainerSummary;

function toCounts(counts: Record<Reason, bigint>): bpf_isolator.Count[] {
  return REASONS.filter((reason) => counts[reason] > 0n).map((name) => ({ name, count: counts[name] }));
}

/** The mark stands for the class id of Mesos's cgroups/net_cls, which there is not with cgroup2. */
export function toContainerStatus({ id, container }: Entry): mesos.ContainerStatus {
  const mark = container?.policy.marking?.mark;
  return {
    container_id: fromContainerId(id),
    ...(mark ? { cgroup_info: { net_cls: { classid: mark.value } } } : {}),
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
