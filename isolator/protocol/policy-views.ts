/** What holds for a container, as messages. */
import type { BandwidthPolicy, BandwidthUsage, BandwidthUse } from "../features/bandwidth.js";
import { formatDestination } from "../features/egress.js";
import type { FileMode, FilesPolicy } from "../features/files.js";
import type { MarkingPolicy, MarkingValues } from "../features/marking.js";
import type { EnforceMode, Policy } from "../features/policy.js";
import { bpf_isolator } from "../mesos/messages.js";

/** The protocol's word for each; a container whose rules are off is as good as audited. */
export const ENFORCEMENT: Record<EnforceMode, bpf_isolator.Enforcement> = {
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

/** Shown of a list of paths. */
const MAX_MISSING = 100;

function toFileRules({ rules, errno }: FilesPolicy, missing: readonly string[]): bpf_isolator.FileRules {
  const count = (mode: FileMode): number => rules.filter((rule) => rule.mode === mode).length;
  return {
    ...{ deny: count("deny"), readonly: count("readonly"), allow: count("allow"), errno_name: errno },
    ...(missing.length > 0 ? { missing: missing.slice(0, MAX_MISSING) } : {}),
  };
}

export function policyFields(
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
