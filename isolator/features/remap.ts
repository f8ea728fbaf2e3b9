/**
 * Remap: bind() to a port of the task's choice gives the port that the container has for it. The kernel's side is
 * bpf/remap.h; README.md, "Port mappings", is the user's.
 */
import { IsolatorError } from "../errors.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatPorts, mergeRanges, subtractRanges, type PortRange } from "./ports.js";

export const REMAP_PROTOCOLS = ["tcp", "udp"] as const;
export type RemapProtocol = (typeof REMAP_PROTOCOLS)[number];

/** Names are those of Mesos and Marathon. */
export interface PortMapping {
  /** What the task asks for, 1 to 65535. */
  containerPort: number;
  /** What it gets. */
  hostPort: number;
  /** tcp: MPTCP too; udp: UDP-Lite too. Undefined: both, as Mesos's ports are. */
  protocol?: RemapProtocol;
}

/** Of a container: as many as it may have ranges of ports. */
const MAX_MAPPINGS = 1024;
const MAX_PORT = 65535;

/** "80:31000/tcp"; no protocol means both. */
export function formatMapping({ containerPort, hostPort, protocol }: PortMapping): string {
  return `${containerPort}:${hostPort}${protocol === undefined ? "" : `/${protocol}`}`;
}

/** "80:31000,53:31001/udp"; "none". */
export function formatMappings(mappings: readonly PortMapping[] = []): string {
  return mappings.length > 0 ? mappings.map(formatMapping).join(",") : "none";
}

function bad(why: string): IsolatorError {
  return new IsolatorError("bad-argument", `the port mappings cannot be used: ${why}`);
}

/** @param what the number is, for the message @throws bad-argument */
export function requirePort(port: number, what: string): number {
  if (Number.isInteger(port) && port >= 1 && port <= MAX_PORT) return port;
  throw bad(`${what} ${port} is not between 1 and ${MAX_PORT}`);
}

/**
 * The protocols that a text names: "tcp", "udp", "udp,tcp"; nothing means both.
 * @returns as PortMapping.protocol has it
 * @throws bad-argument
 */
export function parseRemapProtocol(text = ""): RemapProtocol | undefined {
  const names = text
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  for (const name of names) {
    if (!REMAP_PROTOCOLS.some((known) => known === name))
      throw bad(
        `there is a protocol ${JSON.stringify(name.slice(0, 20))}: give tcp or udp, or none for both`,
      );
  }
  const found = REMAP_PROTOCOLS.filter((known) => names.includes(known));
  return found.length === 1 ? found[0] : undefined;
}

/**
 * Parses "80:31000,53:31001/udp".
 * @throws bad-argument
 */
export function parseMappings(text: string): PortMapping[] {
  const parts = text.split(",");
  requireFew(parts.length);
  return parts.map((part) => {
    const [, from, to, protocol] = /^(\d{1,6}):(\d{1,6})(?:\/(tcp|udp))?$/i.exec(part.trim()) ?? [];
    if (from === undefined || to === undefined) {
      throw bad(
        `${JSON.stringify(part.slice(0, 30))} is no mapping: give container port and host port, as in 80:31000 or 53:31001/udp`,
      );
    }
    const only = parseRemapProtocol(protocol);
    return {
      containerPort: requirePort(Number(from), "container port"),
      hostPort: requirePort(Number(to), "host port"),
      ...(only === undefined ? {} : { protocol: only }),
    };
  });
}

function requireFew(count: number): void {
  if (count > MAX_MAPPINGS) throw bad(`there are ${count}, more than ${MAX_MAPPINGS}`);
}

function protocolsOf({ protocol }: PortMapping): readonly RemapProtocol[] {
  return protocol === undefined ? REMAP_PROTOCOLS : [protocol];
}

/**
 * That no port is mapped twice: what bind() and getsockname() are to say must be one port.
 * @returns those that change something
 * @throws bad-argument
 */
export function checkMappings(mappings: readonly PortMapping[]): PortMapping[] {
  requireFew(mappings.length);
  const seen = new Map<string, PortMapping>();
  for (const mapping of mappings) {
    for (const protocol of protocolsOf(mapping)) {
      for (const [what, port] of [
        ["container port", mapping.containerPort],
        ["host port", mapping.hostPort],
      ] as const) {
        const key = `${what} ${port}`;
        const other = seen.get(`${key} ${protocol}`);
        if (other) {
          throw bad(
            `${key} is there twice for ${protocol}, in ${formatMapping(other)} and ${formatMapping(mapping)}` +
              (other.protocol === mapping.protocol ? "" : " (one without a protocol is for both)"),
          );
        }
        seen.set(`${key} ${protocol}`, mapping);
      }
    }
  }
  return mappings.filter(({ containerPort, hostPort }) => containerPort !== hostPort);
}

/**
 * That all host ports are the container's.
 * @param ports as PortsPolicy.ports has them
 * @throws bad-argument
 */
export function requireWithin(mappings: readonly PortMapping[], ports: readonly PortRange[]): void {
  const outside = subtractRanges(hostPortsOf(mappings), ports);
  if (outside.length === 0) return;
  throw bad(
    `the host ports ${formatPorts(outside)} are not among the container's (${formatPorts(ports)}): ` +
      "map to ports that it has",
  );
}

/** The host ports of mappings, as PortsPolicy.ports has ports. */
export function hostPortsOf(mappings: readonly PortMapping[]): PortRange[] {
  return mergeRanges(mappings.map(({ hostPort }) => ({ begin: hostPort, end: hostPort })));
}

/** Those whose host port is among these ports. */
export function mappingsWithin(mappings: readonly PortMapping[], ports: readonly PortRange[]): PortMapping[] {
  return mappings.filter(({ hostPort }) =>
    ports.some(({ begin, end }) => begin <= hostPort && hostPort <= end),
  );
}

/** Whether a value that was stored is mappings. */
export function isMappings(value: unknown): value is PortMapping[] {
  const isPort = (port: unknown): boolean =>
    Number.isInteger(port) && Number(port) >= 1 && Number(port) <= MAX_PORT;
  return (
    Array.isArray(value) &&
    value.length <= MAX_MAPPINGS &&
    value.every((mapping: unknown) => {
      if (typeof mapping !== "object" || mapping === null) return false;
      const { containerPort, hostPort, protocol } = mapping as Partial<Record<keyof PortMapping, unknown>>;
      return (
        isPort(containerPort) &&
        isPort(hostPort) &&
        (protocol === undefined || REMAP_PROTOCOLS.includes(protocol as RemapProtocol))
      );
    })
  );
}

const { policy_flags: flags } = layouts.enums;
const AT_HAND: number = layouts.structs.policy.fields.remap_port.count;

/** Bits of enum policy_flags. */
export function remapFlags(mappings: readonly PortMapping[] = []): number {
  return mappings.length > 0 ? flags.POLICY_REMAP : 0;
}

/** Fields of struct policy: the first mappings. */
export function remapFields(mappings: readonly PortMapping[] = []) {
  const atHand = mappings.slice(0, AT_HAND);
  const bits = (protocol: RemapProtocol): number =>
    atHand.reduce((all, mapping, i) => all | (protocolsOf(mapping).includes(protocol) ? 1 << i : 0), 0);
  return {
    remap_port: atHand.map(({ containerPort }) => containerPort),
    remap_host: atHand.map(({ hostPort }) => hostPort),
    remap_tcp: bits("tcp"),
    remap_udp: bits("udp"),
    remap_more: mappings.length - atHand.length,
  };
}

/** Names of the hooks that the policy needs. */
export function remapHooks(mappings: readonly PortMapping[] = []): string[] {
  if (mappings.length === 0) return [];
  const both = ["connect", "recvmsg", "getsockname", "getpeername"].flatMap((name) => [
    `${name}4`,
    `${name}6`,
  ]);
  return [...both, "sock_ops_full"];
}
