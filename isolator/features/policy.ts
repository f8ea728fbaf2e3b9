/** A container's policy: what all features ask for, and the kernel's form of it (struct policy in bpf/layout/policy.h). */
import { decode, encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import {
  connectionFields,
  connectionFlags,
  connectionHooks,
  isConnections,
  type ConnectionsPolicy,
} from "./connections.js";
import { bandwidthFlags, bandwidthHooks, isBandwidth, type BandwidthPolicy } from "./bandwidth.js";
import { egressFields, egressFlags, egressHooks, isEgress, type EgressPolicy } from "./egress.js";
import { isMemberships, type Membership } from "./classes.js";
import {
  decodeMarking,
  isMarking,
  markingFields,
  markingFlags,
  markingHooks,
  type MarkingPolicy,
} from "./marking.js";
import {
  decodeFiles,
  fileFields,
  fileFlags,
  fileHooks,
  isFiles,
  type FileFilter,
  type FilesPolicy,
} from "./files.js";
import { ESCAPE_MODES, escapeFlags, escapeHooks, openWays, type EscapeMode } from "./escape.js";
import {
  EPHEMERAL_MODES,
  EXTRA_PROTOCOLS,
  isPortRange,
  type EphemeralMode,
  type ExtraProtocol,
  type PortsPolicy,
} from "./ports.js";
import { isMappings, remapFields, remapFlags, remapHooks, type PortMapping } from "./remap.js";
import { isServices, serviceFields, serviceFlagsOf, serviceHooks, type ServicesPolicy } from "./services.js";
import { openSockets, socketFlags, socketHooks, socketsOf, type SocketsPolicy } from "./sockets.js";

export const ENFORCE_MODES = ["on", "audit", "off"] as const;

/** "audit" reports and counts what "on" refuses, and refuses nothing; "off" counts it only. */
export type EnforceMode = (typeof ENFORCE_MODES)[number];

export interface Policy extends PortsPolicy {
  enforce: EnforceMode;
  /** In the order of the configuration. Undefined: none. */
  classes?: Membership[];
  /** Undefined: packets are as the task makes them, or for a nested container as its parent's marking says. */
  marking?: MarkingPolicy;
  /** Undefined: all are allowed. */
  sockets?: SocketsPolicy;
  /** Undefined: "deny", with no word of what the kernel cannot refuse. */
  escape?: EscapeMode;
  /** Undefined: not counted. */
  connections?: ConnectionsPolicy;
  /** Undefined: not limited, and not measured. */
  bandwidth?: BandwidthPolicy;
  /** Checked by checkMappings(). Undefined: none of its own; a nested container's parent may have some for it too. */
  remap?: PortMapping[];
  /** Undefined: everywhere. */
  egress?: EgressPolicy;
  /** Undefined: virtual addresses are addresses like any other. */
  services?: ServicesPolicy;
  /** Undefined: all are allowed, as far as the system allows them. */
  files?: FilesPolicy;
}

/** Whether a value is a policy as far as whoever uses one relies on it: one that was stored may be damaged. */
export function isPolicy(value: unknown): value is Policy {
  if (typeof value !== "object" || value === null) return false;
  const policy = value as Partial<Record<keyof Policy, unknown>>;
  const { ports, judged, allowProtocols, sockets, escape, classes, marking, connections } = policy;
  const { bandwidth, remap, egress, files, services } = policy;
  return (
    ENFORCE_MODES.includes(policy.enforce as EnforceMode) &&
    EPHEMERAL_MODES.includes(policy.ephemeral as EphemeralMode) &&
    Array.isArray(allowProtocols) &&
    (ports === undefined || (Array.isArray(ports) && ports.every(isPortRange))) &&
    (judged === undefined || isPortRange(judged)) &&
    (sockets === undefined || (typeof sockets === "object" && sockets !== null)) &&
    (classes === undefined || isMemberships(classes)) &&
    (marking === undefined || isMarking(marking)) &&
    (connections === undefined || isConnections(connections)) &&
    (bandwidth === undefined || isBandwidth(bandwidth)) &&
    (remap === undefined || isMappings(remap)) &&
    (egress === undefined || isEgress(egress)) &&
    (services === undefined || isServices(services)) &&
    (files === undefined || isFiles(files)) &&
    (escape === undefined || ESCAPE_MODES.includes(escape as EscapeMode))
  );
}

const escapeOf = ({ escape = "deny" }: Policy): EscapeMode => escape;

/** Hooks whose programs every container has, where the kernel has BPF LSM. */
const ALWAYS = ["socket_listen"];

/**
 * Names of the hooks that the policy has a use for, of those that are not for every policy. Programs on others are not
 * attached: one of BPF LSM costs every process of the machine that comes by it a look at its cgroup, one at setsockopt()
 * every such call of the container.
 */
export function hooksOf(policy: Policy): ReadonlySet<string> {
  return new Set([
    ...ALWAYS,
    ...socketHooks(policy.sockets),
    ...escapeHooks(escapeOf(policy)),
    ...markingHooks(policy.marking),
    ...connectionHooks(policy.connections),
    ...bandwidthHooks(policy.bandwidth),
    ...remapHooks(policy.remap),
    ...egressHooks(policy.egress),
    ...serviceHooks(policy.services),
    ...fileHooks(policy.files),
  ]);
}

/**
 * What the policy asks by name to be refused and this kernel cannot refuse, in words.
 * @param has whether there is a program for a hook
 */
export function gapsOf(policy: Policy, has: (hook: string) => boolean): string[] {
  return [
    ...openSockets(policy.sockets, has),
    ...(policy.escape === undefined ? [] : openWays(policy.escape, has)),
  ];
}

/**
 * Whether processes that leave the node must be looked for: the policy denies that, and this kernel cannot refuse it.
 * @param has whether there is a program for a hook
 */
export function mustWatch(policy: Policy, has: (hook: string) => boolean): boolean {
  return openWays(escapeOf(policy), has).length > 0;
}

const { enforcement, ephemeral, policy_flags: flags } = layouts.enums;

const PROTOCOL_FLAGS: Record<ExtraProtocol, number> = {
  sctp: flags.POLICY_ALLOW_SCTP,
  dccp: flags.POLICY_ALLOW_DCCP,
};

/** The kernel's values of policy.enforcement. */
export const ENFORCEMENT_VALUES: Readonly<Record<EnforceMode, number>> = {
  on: enforcement.ENFORCE_ON,
  audit: enforcement.ENFORCE_AUDIT,
  off: enforcement.ENFORCE_OFF,
};

const EPHEMERAL_VALUES = {
  allow: ephemeral.EPHEMERAL_ALLOW,
  clients: ephemeral.EPHEMERAL_CLIENTS,
  deny: ephemeral.EPHEMERAL_DENY,
};

/** Value of policy.ring where nobody reads the container's events. */
export const NO_RING: number = layouts.enums.ring_slot.NO_RING;

function flagsOf(policy: Policy): number {
  const bits = [
    policy.ports ? 0 : flags.POLICY_INHERIT_PORTS,
    policy.ownNetwork ? flags.POLICY_ANY_PORT : 0,
    ...policy.allowProtocols.map((protocol) => PROTOCOL_FLAGS[protocol]),
    socketFlags(policy.sockets),
    escapeFlags(escapeOf(policy)),
    connectionFlags(policy.connections),
    bandwidthFlags(policy.bandwidth),
    remapFlags(policy.remap),
    egressFlags(policy.egress),
    serviceFlagsOf(policy.services),
    markingFlags(policy.marking),
    fileFlags(policy.files),
  ];
  return bits.reduce((all, bit) => all | bit, 0);
}

/**
 * @param cgroupId of the container's node
 * @param level 0 for a root container, 1 for its child, ...
 * @param ring index in event_rings
 * @param filter of the policy's rules for files; without, each file is looked up
 */
export function encodePolicy(
  policy: Policy,
  cgroupId: bigint,
  level: number,
  ring: number,
  filter?: FileFilter,
): Uint8Array {
  return encode(layouts.structs.policy, {
    cgroup_id: cgroupId,
    level,
    flags: flagsOf(policy),
    enforcement: ENFORCEMENT_VALUES[policy.enforce],
    ephemeral: EPHEMERAL_VALUES[policy.ephemeral],
    ring,
    judge_begin: policy.judged?.begin ?? 0,
    judge_end: policy.judged?.end ?? 0,
    ...connectionFields(policy.connections),
    ...markingFields(policy.marking),
    ...remapFields(policy.remap),
    ...egressFields(policy.egress),
    ...serviceFields(policy.services),
    ...fileFields(policy.files, filter),
  });
}

function keyOf<K extends string>(values: Record<K, number>, value: number, otherwise: K): K {
  const found = Object.entries<number>(values).find(([, candidate]) => candidate === value);
  return found ? (found[0] as K) : otherwise;
}

/**
 * What encodePolicy() was given, but for the ports, mappings, connections and rules for destinations, which are not in it. A policy that was never written is one that
 * allows nothing.
 */
export function decodePolicy(bytes: Uint8Array): Policy & { inheritsPorts: boolean } {
  const value = decode(layouts.structs.policy, bytes);
  const has = (bit: number): boolean => (value.flags & bit) !== 0;
  const marking = decodeMarking(value);
  const files = decodeFiles(value);
  return {
    enforce: keyOf(ENFORCEMENT_VALUES, value.enforcement, "on"),
    ephemeral: keyOf(EPHEMERAL_VALUES, value.ephemeral, "deny"),
    allowProtocols: EXTRA_PROTOCOLS.filter((protocol) => has(PROTOCOL_FLAGS[protocol])),
    ...(has(flags.POLICY_ANY_PORT) ? { ownNetwork: true } : {}),
    sockets: socketsOf(value.flags),
    ...(has(flags.POLICY_DENY_ESCAPE) ? {} : { escape: "allow" }),
    ...(value.judge_end > 0 ? { judged: { begin: value.judge_begin, end: value.judge_end } } : {}),
    ...(marking ? { marking } : {}),
    ...(files ? { files } : {}),
    inheritsPorts: has(flags.POLICY_INHERIT_PORTS),
  };
}
