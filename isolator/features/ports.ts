/**
 * Ports: which ones a container may use, and what it may do with those that the kernel chooses.
 * The kernel's side is bpf/ports.h; README.md, "Ports", is the user's.
 */
import { IsolatorError } from "../errors.js";

/** An inclusive range of ports, host byte order, 1 to 65535. */
export interface PortRange {
  begin: number;
  end: number;
}

export const EPHEMERAL_MODES = ["allow", "clients", "deny"] as const;
export type EphemeralMode = (typeof EPHEMERAL_MODES)[number];

/** Protocols with ports of their own that no bind hook covers, so they are refused unless allowed. */
export const EXTRA_PROTOCOLS = ["sctp", "dccp"] as const;
export type ExtraProtocol = (typeof EXTRA_PROTOCOLS)[number];

export interface PortsPolicy {
  /** Sorted, not overlapping, not adjacent. Undefined: the parent's, for a nested container. */
  ports?: PortRange[];
  ephemeral: EphemeralMode;
  allowProtocols: ExtraProtocol[];
  /** A network namespace of its own, where the host's ports mean nothing: neither ports nor protocols are judged. */
  ownNetwork?: boolean;
  /** Ports outside of this range that nobody owns are as good as the container's own. Undefined: all are judged. */
  judged?: PortRange;
}

/** No container needs more, and each is one entry of a list that a person has to read. */
const MAX_RANGES = 1024;
const MAX_PORT = 65535;

function bad(text: string, why: string): IsolatorError {
  const shown = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return new IsolatorError(
    "bad-argument",
    `bad ports ${JSON.stringify(shown)}: ${why}. Give ports and ranges, as in 31000-31005,31010`,
  );
}

function parsePort(text: string, whole: string): number {
  if (!/^\d{1,6}$/.test(text)) throw bad(whole, `${JSON.stringify(text.slice(0, 20))} is not a port number`);
  const port = Number(text);
  if (port < 1 || port > MAX_PORT) throw bad(whole, `${port} is not between 1 and ${MAX_PORT}`);
  return port;
}

/**
 * Parses "31000-31005,31010".
 * @returns ranges as PortsPolicy.ports has them
 * @throws bad-argument
 */
export function parsePorts(text: string): PortRange[] {
  const parts = text.split(",");
  if (parts.length > MAX_RANGES) throw bad(text, `${parts.length} ranges are more than ${MAX_RANGES}`);
  return mergeRanges(
    parts.map((part) => {
      const trimmed = part.trim();
      if (trimmed === "") throw bad(text, text.trim() === "" ? "it is empty" : "a range in it is empty");
      const [first = "", last, ...rest] = trimmed.split("-");
      if (rest.length > 0) throw bad(text, `${JSON.stringify(trimmed.slice(0, 20))} is not a range`);
      const begin = parsePort(first, text);
      const end = last === undefined ? begin : parsePort(last, text);
      if (end < begin) throw bad(text, `the range ${begin}-${end} ends before it begins`);
      return { begin, end };
    }),
  );
}

/** Whether a value is a PortRange, in all of what that says. */
export function isPortRange(value: unknown): value is PortRange {
  if (typeof value !== "object" || value === null) return false;
  const { begin, end } = value as Partial<Record<keyof PortRange, unknown>>;
  const isPort = (port: unknown): port is number =>
    Number.isInteger(port) && Number(port) >= 1 && Number(port) <= MAX_PORT;
  return isPort(begin) && isPort(end) && begin <= end;
}

/** The same ports as sorted ranges that neither overlap nor touch. */
export function mergeRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const { begin, end } of [...ranges].sort((a, b) => a.begin - b.begin)) {
    const last = merged.at(-1);
    if (last && begin <= last.end + 1) last.end = Math.max(last.end, end);
    else merged.push({ begin, end });
  }
  return merged;
}

/** Every port of the ranges. */
export function listPorts(ranges: readonly PortRange[]): number[] {
  return ranges.flatMap(({ begin, end }) => Array.from({ length: end - begin + 1 }, (_, i) => begin + i));
}

/** "31000-31005,31010"; "none" for no ports. */
export function formatPorts(ranges: readonly PortRange[]): string {
  if (ranges.length === 0) return "none";
  return ranges.map(({ begin, end }) => (begin === end ? `${begin}` : `${begin}-${end}`)).join(",");
}

/** Ports that are in both. */
export function intersectRanges(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  return mergeRanges(
    a.flatMap((x) =>
      b.flatMap((y) => {
        const begin = Math.max(x.begin, y.begin);
        const end = Math.min(x.end, y.end);
        return begin <= end ? [{ begin, end }] : [];
      }),
    ),
  );
}

/** Ports of `a` that are not in `b`. */
export function subtractRanges(a: readonly PortRange[], b: readonly PortRange[]): PortRange[] {
  let left = mergeRanges(a);
  for (const { begin, end } of b) {
    left = left.flatMap((range) => {
      if (end < range.begin || begin > range.end) return [range];
      const before = { begin: range.begin, end: begin - 1 };
      const after = { begin: end + 1, end: range.end };
      return [before, after].filter((part) => part.begin <= part.end);
    });
  }
  return left;
}
