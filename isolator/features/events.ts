/** Events of the programs in words and as data. Names that come from a task are escaped. */
import { isIPv6 } from "node:net";
import type { FileDetail, KernelEvent } from "../kernel/events.js";
import { layouts } from "../kernel/gen/layout.js";
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
  /** Its name: "egress[3]", "the default". */
  ruleName?: string;
  /** Of "egress": of a raw or ping socket, which has no process. */
  packet?: true;
  /** Nothing was refused, but nothing reaches the socket. */
  unreachable?: true;
  /** Of "file". */
  file?: FileAccess;
  /** Container that the port belongs to, if any; for "cgroup" the one whose node was the goal. */
  owner?: string;
  /** Nanoseconds since boot, suspend included. */
  time: string;
}

/** What was asked for of a file. */
export interface FileAccess {
  operation: FileOperation;
  /** "deny" or "readonly": the rule; "disconnected", "too_deep", "pin", "subvolume": what stands for one. */
  rule: string;
  /** Printable characters only; undefined where it could not be had. */
  path?: string;
  /** The path is as its file system has it, from that one's root; long ones lack their beginning. */
  within?: true;
  /** Number of the file system's device, as major:minor. */
  device: string;
  /** 0 for what is not there yet. */
  inode: string;
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
  "connections_ports",
];

const { file_operation: operations, file_verdict: verdicts } = layouts.enums;

/** Names of enum file_operation, as they are told: "open_write". */
type FileOperation = keyof typeof OPERATION_TEXT;

/** In words, with what follows before the path. */
const OPERATION_TEXT = {
  open: "open of",
  open_write: "open for writing of",
  exec: "exec of",
  create: "creation of",
  mkdir: "mkdir of",
  mknod: "mknod of",
  symlink: "symlink at",
  link: "link to",
  unlink: "unlink of",
  rmdir: "rmdir of",
  rename: "rename of",
  attributes: "change of attributes of",
  xattr: "change of extended attributes of",
  umount: "unmounting of",
} as const;

function nameIn(values: Readonly<Record<string, number>>, value: number): string {
  const found = Object.entries(values).find(([, candidate]) => candidate === value);
  return (found?.[0] ?? "FILE_OPEN").replace(/^FILE_/, "").toLowerCase();
}

const textOf = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString("latin1");
};

function toFileAccess({ ino, dev, operation, verdict, seen, begin, path }: FileDetail): FileAccess {
  const text = escapeUntrusted(textOf(seen ? path : path.subarray(begin)));
  return {
    operation: nameIn(operations, operation) as FileOperation,
    rule: nameIn(verdicts, verdict),
    ...(text === "" ? {} : { path: text }),
    ...(seen ? {} : { within: true }),
    device: `${dev >>> 20}:${dev & 0xfffff}`,
    inode: ino.toString(),
  };
}

const RULE_TEXT: Record<string, string> = {
  disconnected: "found by its handle, so that nobody knows where it is",
  too_deep: "too deep to be judged",
  pin: "the isolator's own",
  subvolume: "a subvolume in it, whichever",
};

function describeFile({ file }: Denial): string {
  if (!file) return "access to a file";
  const { operation, rule, path, within, device } = file;
  const where = path ?? `inode ${file.inode}`;
  return `${OPERATION_TEXT[operation]} ${where}${within ? ` on device ${device}` : ""} (${RULE_TEXT[rule] ?? rule})`;
}

/**
 * @param nameOf name of the container with this cgroup id
 * @param ruleOf name of a rule of egress of that container, by its number
 */
export function toDenial(
  event: KernelEvent,
  nameOf: (cgroupId: bigint) => string | undefined,
  ruleOf: (cgroupId: bigint, rule: number) => string | undefined = () => undefined,
): Denial {
  const reason = REASONS[event.reason] ?? "bind";
  const ipv6 = event.family === AF_INET6;
  const comm = Buffer.from(event.comm).toString("latin1");
  const owner =
    event.owner === 0n
      ? undefined
      : (nameOf(event.owner) ?? (reason === "cgroup" ? undefined : `with cgroup id ${event.owner}`));
  const known = KNOWN_ADDRESS.includes(reason);
  const ruleName = reason === "egress" ? ruleOf(event.cgroup_id, event.rule) : undefined;
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
    ...(event.file ? { file: toFileAccess(event.file) } : {}),
    ...(event.unreachable ? { unreachable: true } : {}),
    ...(reason === "egress" ? { rule: event.rule, ...(event.packet ? { packet: true } : {}) } : {}),
    ...(ruleName === undefined ? {} : { ruleName }),
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
    ruleName,
  } = denial;
  const at =
    address !== undefined
      ? `${isIPv6(address) ? `[${address}]` : address}:${port}`
      : port === 0
        ? "a kernel-chosen port"
        : `port ${port}`;
  const by = ruleName === undefined ? "" : `, by rule ${ruleName}`;
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
    case "connections_ports":
      return `${port === 0 ? `socket() or bind(0) ${protocol}` : `connect() ${protocol} ${at}`}, over the limit for ports that the kernel chooses`;
    case "bandwidth":
      return `${protocol === "" ? "packets" : `${protocol} packets`}${port === 0 ? "" : ` of ${at}`}, over the limit of the bandwidth`;
    case "egress":
      return packet
        ? `a ${protocol} packet to ${address ?? "an unknown address"}${by}`
        : `connect() or send ${protocol} to ${at}${by}`;
    case "service":
      return `connect() or send ${protocol} to ${at}, which has no backend`;
    case "file":
      return describeFile(denial);
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
