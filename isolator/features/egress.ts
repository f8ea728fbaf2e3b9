/**
 * Egress: where a container may connect and send to, by ordered rules that name classes and blocks of addresses. The
 * kernel's side is bpf/egress.h; README.md, "Egress", is the user's. What the kernel has of the rules is in
 * egress-tables.ts.
 */
import { createHash } from "node:crypto";
import { constants } from "node:os";
import { encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { serviceClass } from "./classes.js";
import { ENDPOINT_PROTOCOLS, type EndpointProtocol } from "./endpoints.js";
import type { PortRange } from "./ports.js";

export const EGRESS_ACTIONS = ["allow", "deny", "audit"] as const;
export type EgressAction = (typeof EGRESS_ACTIONS)[number];

export const EGRESS_EXISTING = ["keep", "terminate"] as const;

export const EGRESS_ERRNOS = ["EPERM", "ECONNREFUSED", "EHOSTUNREACH", "EACCES"] as const;
export type EgressErrno = (typeof EGRESS_ERRNOS)[number];

/** Protocols that a rule may name. */
export const EGRESS_PROTOCOLS = ENDPOINT_PROTOCOLS;

/** All that is given must hold; nothing given is every destination. */
export interface EgressDestination {
  class?: string;
  /** Name of the service by which it is reached: "/web". Not with a class or a block. */
  service?: string;
  /** "10.0.0.0/8", or one address. Not with a class. */
  cidr?: string;
  ports?: PortRange[];
  protocol?: EndpointProtocol;
}

export interface EgressRule {
  /** For people: "egress[3]", "--deny-egress", "the agent". */
  name: string;
  to: EgressDestination;
  action: EgressAction;
}

/** Rules of one container: those whose `from` it is not are left out. */
export interface EgressPolicy {
  rules: EgressRule[];
  /** Where no rule fits. */
  byDefault: "allow" | "deny";
  /** Undefined: EPERM. */
  errno?: EgressErrno;
  /** Connections that exist, and that the rules come to deny, are ended. Undefined: they live on. */
  existing?: "terminate";
}

const { egress_sizes: sizes, egress_action: actions, policy_flags: flags } = layouts.enums;
const LEVELS = layouts.structs.termination.fields.chain.count;

/** Number of what holds where no rule fits. */
export const DEFAULT_RULE = sizes.EGRESS_RULES - 1;

/** Of enum egress_action. */
export const EGRESS_CODES: Readonly<Record<EgressAction, number>> = {
  allow: actions.EGRESS_ALLOW,
  deny: actions.EGRESS_DENY,
  audit: actions.EGRESS_AUDIT,
};

/** The class that a rule is about; a service is one too. */
export function classNamed({ class: name, service }: EgressDestination): string | undefined {
  return service === undefined ? name : serviceClass(service);
}

const sets = new WeakMap<EgressPolicy, bigint>();

/** Names a set of rules in the kernel: by what is in it, so that containers with the same rules share it. */
export function egressSet(policy: EgressPolicy): bigint {
  const known = sets.get(policy);
  if (known !== undefined) return known;
  const text = JSON.stringify([policy.rules.map(({ to, action }) => [to, action]), policy.byDefault]);
  const set = createHash("sha256").update(text).digest().readBigUInt64LE() | 1n;
  sets.set(policy, set);
  return set;
}

/** Bits of enum policy_flags. */
export function egressFlags(policy?: EgressPolicy): number {
  return policy ? flags.POLICY_EGRESS : 0;
}

/** Fields of struct policy. */
export function egressFields(policy?: EgressPolicy) {
  return {
    egress_set: policy ? egressSet(policy) : 0n,
    egress_classes: policy?.rules.some(({ to }) => classNamed(to) !== undefined) ? 1 : 0,
    egress_errno: policy ? constants.errno[policy.errno ?? "EPERM"] : 0,
  };
}

/** Value of terminations. @param chain cgroup ids from the root container down to this one */
export function encodeTermination(policy: EgressPolicy, chain: readonly bigint[]): Uint8Array {
  const { egress_set, egress_classes } = egressFields(policy);
  return encode(layouts.structs.termination, {
    set: egress_set,
    by_class: egress_classes,
    level: chain.length - 1,
    chain: Array.from({ length: LEVELS }, (_, i) => chain[i] ?? 0n),
  });
}

/** Names of the hooks that the policy needs. */
export function egressHooks(policy?: EgressPolicy): string[] {
  return policy ? ["connect4", "connect6", "egress_full"] : [];
}

/** Whether a stored value is a policy for egress. */
export function isEgress(value: unknown): value is EgressPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { rules, byDefault, existing } = value as Partial<Record<keyof EgressPolicy, unknown>>;
  return (
    Array.isArray(rules) &&
    (byDefault === "allow" || byDefault === "deny") &&
    (existing === undefined || existing === "terminate")
  );
}

/** Which rule, by its number. */
export function ruleName(policy: EgressPolicy | undefined, number: number): string {
  if (number === DEFAULT_RULE) return "the default";
  return policy?.rules[number - 1]?.name ?? (number === 0 ? "no rule" : `rule ${number}`);
}

/** "class web, tcp port 80", "10.0.0.0/8", "everything". */
export function formatDestination({
  class: name,
  service,
  cidr,
  ports,
  protocol,
}: EgressDestination): string {
  const parts = [
    name === undefined
      ? service === undefined
        ? (cidr ?? "everything")
        : `service ${service}`
      : `class ${name}`,
    ...(protocol === undefined ? [] : [protocol]),
    ...(ports === undefined
      ? []
      : [`ports ${ports.map(({ begin, end }) => (begin === end ? begin : `${begin}-${end}`)).join(",")}`]),
  ];
  return parts.join(", ");
}

/** How often a rule has spoken. */
export interface EgressHits {
  rule: number;
  denied: bigint;
  audited: bigint;
}

/** Every key that a container may have in egress_hits: the same bytes each time, good until the next. */
export function* hitKeys(
  cgroupId: bigint,
  { rules }: EgressPolicy,
): Generator<{ key: Uint8Array; rule: number; denied: boolean }> {
  const { fields } = layouts.structs.egress_hit;
  const key = encode(layouts.structs.egress_hit, { cgroup_id: cgroupId, rule: 0, action: 0 });
  const view = new DataView(key.buffer, key.byteOffset);
  for (let i = 0; i <= rules.length + 1; i++) {
    const rule = i > rules.length ? DEFAULT_RULE : i;
    view.setUint32(fields.rule.offset, rule, LITTLE);
    for (const denied of [true, false]) {
      view.setUint32(fields.action.offset, denied ? actions.EGRESS_DENY : actions.EGRESS_AUDIT, LITTLE);
      yield { key, rule, denied };
    }
  }
}
