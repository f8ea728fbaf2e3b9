/** Events of the programs in words and as data. Names that come from a task are escaped. */
import { isIPv6 } from "node:net";
import type { KernelEvent } from "../kernel/events.js";
import { REASONS, type Reason } from "./accounting.js";

/** What was refused, or reported only. */
export interface Denial {
  event: "denied" | "audited" | "reported";
  container: string;
  reason: Reason;
  protocol: string;
  family: "ipv4" | "ipv6";
  /** Local address asked for; undefined where the hook does not know it. */
  address?: string;
  port: number;
  pid: number;
  uid: number;
  /** Process name, printable characters only. */
  process: string;
  /** Nothing was refused, but nothing reaches the socket. */
  unreachable?: true;
  /** Container that the port belongs to, if any. */
  owner?: string;
  /** Nanoseconds since boot, suspend included. */
  time: string;
}

const PROTOCOLS: Record<number, string> = {
  6: "tcp",
  17: "udp",
  33: "dccp",
  132: "sctp",
  136: "udplite",
  262: "mptcp",
};
const AF_INET6 = 10;

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

/** @param nameOf name of the container with this cgroup id */
export function toDenial(event: KernelEvent, nameOf: (cgroupId: bigint) => string | undefined): Denial {
  const reason = REASONS[event.reason] ?? "bind";
  const ipv6 = event.family === AF_INET6;
  const comm = Buffer.from(event.comm).toString("latin1");
  const owner = event.owner === 0n ? undefined : (nameOf(event.owner) ?? `with cgroup id ${event.owner}`);
  const known = reason === "bind" || reason === "bind_zero";
  return {
    event: reason === "source_port" ? "reported" : event.audited ? "audited" : "denied",
    container: nameOf(event.cgroup_id) ?? event.cgroup_id.toString(),
    reason,
    protocol: PROTOCOLS[event.protocol] ?? `protocol ${event.protocol}`,
    family: ipv6 ? "ipv6" : "ipv4",
    ...(known ? { address: formatAddress(event.address, ipv6) } : {}),
    port: event.port,
    pid: event.pid,
    uid: event.uid,
    ...(event.unreachable ? { unreachable: true } : {}),
    process: escapeUntrusted(comm.slice(0, comm.indexOf("\0") >>> 0)),
    ...(owner === undefined ? {} : { owner }),
    time: event.time.toString(),
  };
}

function describeAction({ reason, protocol, address, port }: Denial): string {
  const at =
    address !== undefined
      ? `${isIPv6(address) ? `[${address}]` : address}:${port}`
      : port === 0
        ? "a kernel-chosen port"
        : `port ${port}`;
  switch (reason) {
    case "bind":
    case "bind_zero":
      return `bind() ${protocol} ${at}`;
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
  }
}

/** One line: what, by whom, why. */
export function describe(denial: Denial): string {
  const verb = { denied: "denied", audited: "would deny", reported: "cannot prevent" }[denial.event];
  const unreachable = denial.unreachable ? " (unreachable)" : "";
  const owner = denial.owner === undefined ? "" : `: the port belongs to container ${denial.owner}`;
  return `${verb} ${describeAction(denial)} by ${denial.process}[${denial.pid}]${unreachable}${owner}`;
}
