/**
 * Whether the kernel may hand out tasks' ports as ephemeral ones: it does when they are within
 * net.ipv4.ip_local_port_range and not in net.ipv4.ip_local_reserved_ports. IPv6 uses the same two.
 */
import {
  formatPorts,
  intersectRanges,
  listPorts,
  mergeRanges,
  subtractRanges,
  type PortRange,
} from "./ports.js";

export const RANGE_SETTING = "net.ipv4.ip_local_port_range";
export const RESERVED_SETTING = "net.ipv4.ip_local_reserved_ports";

/** "32768\t60999" */
export function parseLocalRange(text: string): PortRange[] {
  const [begin, end] = text.split(/\s+/).map(Number);
  return begin && end ? [{ begin, end }] : [];
}

/** "8080,31000-31010", as the kernel writes it; empty for none. Port 0 may be reserved, and means nothing. */
export function parseReserved(text: string): PortRange[] {
  return mergeRanges(
    text
      .split(",")
      .filter((part) => part.trim() !== "")
      .map((part) => {
        const [begin = 0, end = begin] = part.split("-").map(Number);
        return { begin: Math.max(begin, 1), end };
      })
      .filter(({ begin, end }) => begin <= end),
  );
}

export interface Overlap {
  /** Task ports that the kernel may hand out to others. */
  ports: PortRange[];
  /** The command that keeps it from that, or null where that would leave it no port to choose. */
  fix: string | null;
}

/**
 * @param ports of the tasks
 * @param local value of ip_local_port_range
 * @param reserved value of ip_local_reserved_ports
 * @returns undefined where the kernel keeps off them
 */
export function findOverlap(
  ports: readonly PortRange[],
  local: string,
  reserved: string,
): Overlap | undefined {
  const range = parseLocalRange(local);
  const kept = parseReserved(reserved);
  const open = subtractRanges(intersectRanges(ports, range), kept);
  if (open.length === 0) return undefined;
  // All of the tasks' ports, so that it still holds after the range was changed.
  const merged = mergeRanges([...kept, ...ports]);
  const left = listPorts(subtractRanges(range, merged)).length;
  return { ports: open, fix: left > 0 ? `sysctl -w ${RESERVED_SETTING}=${formatPorts(merged)}` : null };
}
