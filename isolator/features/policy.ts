/** A container's policy: what all features ask for, and the kernel's form of it (struct policy in bpf/layout.h). */
import { encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { escapeFlags, escapeHooks, openWays, type EscapeMode } from "./escape.js";
import type { ExtraProtocol, PortsPolicy } from "./ports.js";
import { openSockets, socketFlags, socketHooks, type SocketsPolicy } from "./sockets.js";

export const ENFORCE_MODES = ["on", "audit"] as const;

/** "audit" reports what "on" refuses, and refuses nothing. */
export type EnforceMode = (typeof ENFORCE_MODES)[number];

export interface Policy extends PortsPolicy {
  enforce: EnforceMode;
  /** Undefined: all are allowed. */
  sockets?: SocketsPolicy;
  /** Undefined: "deny", with no word of what the kernel cannot refuse. */
  escape?: EscapeMode;
}

const escapeOf = ({ escape = "deny" }: Policy): EscapeMode => escape;

/** Hooks whose programs every container has, where the kernel has BPF LSM. */
const ALWAYS = ["socket_listen"];

/**
 * Names of the hooks of BPF LSM that the policy has a use for. Programs on others are not attached: each costs every
 * process of the machine that comes by it a look at its cgroup.
 */
export function lsmHooksOf(policy: Policy): ReadonlySet<string> {
  return new Set([...ALWAYS, ...socketHooks(policy.sockets), ...escapeHooks(escapeOf(policy))]);
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

const EPHEMERAL_VALUES = {
  allow: ephemeral.EPHEMERAL_ALLOW,
  clients: ephemeral.EPHEMERAL_CLIENTS,
  deny: ephemeral.EPHEMERAL_DENY,
};

/** Value of policy.ring where nobody reads the container's events. */
export const NO_RING: number = layouts.enums.ring_slot.NO_RING;

/**
 * @param cgroupId of the container's node
 * @param level 0 for a root container, 1 for its child, ...
 * @param ring index in event_rings
 */
export function encodePolicy(policy: Policy, cgroupId: bigint, level: number, ring: number): Uint8Array {
  return encode(layouts.structs.policy, {
    cgroup_id: cgroupId,
    level,
    flags: policy.allowProtocols.reduce(
      (bits, protocol) => bits | PROTOCOL_FLAGS[protocol],
      (policy.ports ? 0 : flags.POLICY_INHERIT_PORTS) |
        socketFlags(policy.sockets) |
        escapeFlags(escapeOf(policy)),
    ),
    enforcement: policy.enforce === "audit" ? enforcement.ENFORCE_AUDIT : enforcement.ENFORCE_ON,
    ephemeral: EPHEMERAL_VALUES[policy.ephemeral],
    ring,
    reserved: 0,
  });
}
