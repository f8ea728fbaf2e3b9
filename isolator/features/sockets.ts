/**
 * Sockets: kinds that a container may be denied. The kernel's side is bpf/sockets.h; README.md, "Sockets", is the user's.
 */
import { layouts } from "../kernel/gen/layout.js";

/**
 * raw: SOCK_RAW of IPv4 and IPv6, which ping sockets are not. packet, vsock, xdp: the address families AF_PACKET, AF_VSOCK
 * and AF_XDP. received: sockets of any family but unix and netlink that were made outside of the container and come in by
 * SCM_RIGHTS or pidfd_getfd().
 */
export const SOCKET_KINDS = ["raw", "packet", "vsock", "xdp", "received"] as const;
export type SocketKind = (typeof SOCKET_KINDS)[number];

/** Kinds that are not named are allowed. */
export type SocketsPolicy = Partial<Record<SocketKind, "allow" | "deny">>;

const { policy_flags: flags } = layouts.enums;

interface Kind {
  flag: number;
  /** Name of the hook that refuses it. */
  hook: string;
  /** For messages. */
  text: string;
}

const KINDS: Record<SocketKind, Kind> = {
  raw: { flag: flags.POLICY_DENY_RAW, hook: "sock_create", text: "raw sockets" },
  packet: { flag: flags.POLICY_DENY_PACKET, hook: "socket_create", text: "packet sockets" },
  vsock: { flag: flags.POLICY_DENY_VSOCK, hook: "socket_create", text: "vsock sockets" },
  xdp: { flag: flags.POLICY_DENY_XDP, hook: "socket_create", text: "XDP sockets" },
  received: {
    flag: flags.POLICY_DENY_RECEIVED,
    hook: "file_receive",
    text: "sockets that come from outside of the container",
  },
};

/** Whether sockets of a kind send where no rule of egress is asked. */
export function passesRules(kind: SocketKind): boolean {
  return kind === "packet" || kind === "xdp" || kind === "received";
}

/**
 * What is denied, so that the same rules are the same policy.
 * @param given by the operator
 * @param rules whether the container has rules of egress: then what goes round them is denied, unless it is given
 */
export function socketsFor(given: SocketsPolicy, rules: boolean): SocketsPolicy {
  const denied = SOCKET_KINDS.filter(
    (kind) => (given[kind] ?? (rules && passesRules(kind) ? "deny" : "allow")) === "deny",
  );
  return Object.fromEntries(denied.map((kind) => [kind, "deny"]));
}

function denied(policy: SocketsPolicy = {}): Kind[] {
  return SOCKET_KINDS.filter((kind) => policy[kind] === "deny").map((kind) => KINDS[kind]);
}

/** Bits of enum policy_flags. */
export function socketFlags(policy?: SocketsPolicy): number {
  return denied(policy).reduce((bits, { flag }) => bits | flag, 0);
}

/** What socketFlags() was given. @param bits of enum policy_flags */
export function socketsOf(bits: number): SocketsPolicy {
  const named = SOCKET_KINDS.filter((kind) => (bits & KINDS[kind].flag) !== 0);
  return Object.fromEntries(named.map((kind) => [kind, "deny"]));
}

/** Names of the hooks that the policy needs. */
export function socketHooks(policy?: SocketsPolicy): string[] {
  return [...new Set(denied(policy).map(({ hook }) => hook))];
}

/**
 * What the policy denies and nobody refuses.
 * @param has whether there is a program for a hook
 */
export function openSockets(policy: SocketsPolicy | undefined, has: (hook: string) => boolean): string[] {
  return denied(policy)
    .filter(({ hook }) => !has(hook))
    .map(({ text }) => text);
}
