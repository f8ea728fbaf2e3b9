/** Events of the programs in words and as data. Names that come from a task are escaped. */
import { isIPv6 } from "node:net";
import type { KernelEvent } from "../kernel/events.js";
import { REASONS, type Reason } from "./accounting.js";

/** What was refused, or reported only. */
export interface Denial {
  event: "denied" | "audited" | "reported";
  container: string;
  reason: Reason;
  /** Undefined, like family and port, where it is about no socket. */
  protocol?: string;
  family?: string;
  /** Local address asked for, or of a connection the remote one; undefined where the hook does not know it. */
  address?: string;
  port?: number;
  pid: number;
  uid: number;
  /** Process name, printable characters only. */
  process: string;
  /** Of "bind": the port that the task asked for, where a mapping made it `port`. */
  askedPort?: number;
  /** Of "marking": the option of setsockopt(). */
  option?: string;
  /** Of "marking": of a packet, which has no process. */
  dscp?: number;
  /** Of "egress": number of the rule that decided, from 1; 8191: the default. */
  rule?: number;
  /** Of "egress": of a raw or ping socket, which has no process. */
  packet?: true;
  /** Nothing was refused, but nothing reaches the socket. */
  unreachable?: true;
  /** Container that the port belongs to, if any; for "cgroup" the one whose node was the goal. */
  owner?: string;
  /** Nanoseconds since boot, suspend included. */
  time: string;
}

const PROTOCOLS: Record<number, string> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  58: "icmpv6",
  132: "sctp",
  136: "udplite",
  262: "mptcp",
};
const AF_INET6 = 10;
const FAMILIES: Record<number, string> = {
  2: "ipv4",
  [AF_INET6]: "ipv6",
  17: "packet",
  40: "vsock",
  44: "xdp",
};
const OPTIONS: Record<number, string> = {
  1: "IP_TOS",
  12: "SO_PRIORITY",
  36: "SO_MARK",
  67: "IPV6_TCLASS",
};
/** Families whose protocol numbers are IPPROTO_*. */
const INTERNET = ["ipv4", "ipv6"];

/** Text from a task with everything but printable ASCII as \\xNN, so that it cannot play with a terminal or a log. */
export function escapeUntrusted(text: string): string {
  return [...Buffer.from(text, "latin1")]
    .map((byte) =>
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, "0")}`,
    )
    .join("");
}

function formatAddress(bytes: Uint8Array, ipv6: boolean): string {
  if (!ipv6) return bytes.subarray(0, 4).join(".");
  const words = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The platform's own shortening of zeroes (RFC 5952).
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}

/** Reasons whose event has an address: that asked for by bind(), or the destination. */
const KNOWN_ADDRESS: readonly Reason[] = [
  "bind",
  "bind_zero",
  "connections",
  "connections_total",
  "egress",
  "service",
];

/** @param nameOf name of the container with this cgroup id */
export function toDenial(event: KernelEvent, nameOf: (cgroupId: bigint) => string | undefined): Denial {
  const reason = REASONS[event.reason] ?? "bind";
  const ipv6 = event.family === AF_INET6;
  const comm = Buffer.from(event.comm).toString("latin1");
  const owner =
    event.owner === 0n
      ? undefined
      : (nameOf(event.owner) ?? (reason === "cgroup" ? undefined : `with cgroup id ${event.owner}`));
  const known = KNOWN_ADDRESS.includes(reason);
  const family = event.family === 0 ? undefined : (FAMILIES[event.family] ?? `family ${event.family}`);
  const internet = family !== undefined && INTERNET.includes(family);
  const marking =
    reason !== "marking"
      ? {}
      : event.option === 0
        ? { dscp: event.dscp }
        : { option: OPTIONS[event.option] ?? `option ${event.option}` };
  return {
    event: reason === "source_port" ? "reported" : event.audited ? "audited" : "denied",
    container: nameOf(event.cgroup_id) ?? event.cgroup_id.toString(),
    reason,
    ...(internet ? { protocol: PROTOCOLS[event.protocol] ?? `protocol ${event.protocol}` } : {}),
    ...(family === undefined ? {} : { family }),
    ...(known ? { address: formatAddress(event.address, ipv6) } : {}),
    ...(internet && reason !== "socket" ? { port: event.port } : {}),
    ...(event.asked_port > 0 ? { askedPort: event.asked_port } : {}),
    pid: event.pid,
    uid: event.uid,
    ...marking,
    ...(event.unreachable ? { unreachable: true } : {}),
    ...(reason === "egress" ? { rule: event.rule, ...(event.packet ? { packet: true } : {}) } : {}),
    process: escapeUntrusted(comm.slice(0, comm.indexOf("\0") >>> 0)),
    ...(owner === undefined ? {} : { owner }),
    time: event.time.toString(),
  };
}

function describeAction(denial: Denial): string {
  const {
    reason,
    protocol = "",
    family = "",
    address,
    port = 0,
    option,
    dscp = 0,
    askedPort,
    packet,
  } = denial;
  const at =
    address !== undefined
      ? `${isIPv6(address) ? `[${address}]` : address}:${port}`
      : port === 0
        ? "a kernel-chosen port"
        : `port ${port}`;
  switch (reason) {
    case "marking":
      return option === undefined
        ? `${protocol === "" ? "a" : `${family} ${protocol}`} packet with DSCP ${dscp}${port === 0 ? "" : ` from ${at}`}`
        : `setsockopt() of ${option}`;
    case "bind":
    case "bind_zero":
      return `bind() ${protocol} ${at}${askedPort === undefined ? "" : `, to which port ${askedPort} is mapped,`}`;
    case "chosen_port":
      return `bind(0) ${protocol}, for which the kernel chose ${at}`;
    case "sendmsg":
      return `send ${protocol} from the kernel-chosen ${at}`;
    case "listen":
      return `listen() ${protocol} ${at}`;
    case "protocol":
      return `socket() ${protocol}`;
    case "receive":
      return `an unconnected ${protocol} socket on the kernel-chosen ${at}`;
    case "source_port":
      return `connect() ${protocol}, for which the kernel chose the source ${at}`;
    case "socket":
      return `socket() ${protocol === "" ? family : `raw ${family} ${protocol}`}`;
    case "received":
      return `a socket from outside of the container (${protocol === "" ? family : `${protocol} ${at}`})`;
    case "cgroup":
      return "open of cgroup.procs or cgroup.threads outside of the container";
    case "clone":
      return "clone3() with CLONE_INTO_CGROUP";
    case "mount":
      return "mount of cgroup2 or bpffs";
    case "connections":
      return `connect() ${protocol} ${at}, over the limit for this destination`;
    case "connections_total":
      return `connect() ${protocol} ${at}, over the limit for all destinations`;
    case "egress":
      return packet
        ? `a ${protocol} packet to ${address ?? "an unknown address"}`
        : `connect() or send ${protocol} to ${at}`;
    case "service":
      return `connect() or send ${protocol} to ${at}, which has no backend`;
    case "file":
    case "bandwidth":
      return `something about ${reason}`;
    case "bpf":
      return "bpf() on the isolator's maps or programs, or with a program that could undo a refusal";
  }
}

/** One line: what, by whom, why. */
export function describe(denial: Denial): string {
  const verb = { denied: "denied", audited: "would deny", reported: "cannot prevent" }[denial.event];
  const unreachable = denial.unreachable ? " (unreachable)" : "";
  const whose = denial.reason === "cgroup" ? "the node is that of" : "the port belongs to";
  const owner = denial.owner === undefined ? "" : `: ${whose} container ${denial.owner}`;
  const who = denial.pid === 0 ? "" : ` by ${denial.process}[${denial.pid}]`;
  return `${verb} ${describeAction(denial)}${who}${unreachable}${owner}`;
}
