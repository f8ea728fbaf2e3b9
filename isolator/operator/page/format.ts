/** Numbers as people read them. */
import type { LimitUnit } from "../wire.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "1.5 MiB"; a dash where it is not known. */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return "–";
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
}

export function formatRate(bytes: number | null | undefined): string {
  return bytes === null || bytes === undefined ? "–" : `${formatBytes(bytes)}/s`;
}

export function formatCount(count: number | null | undefined): string {
  return count === null || count === undefined ? "–" : count.toLocaleString("en");
}

export function formatUsed(used: number, most: number, unit: LimitUnit): string {
  const format = unit === "bytes/s" ? formatRate : formatCount;
  return `${format(used)} of ${format(most)}`;
}

/** "12:03:09", of this browser's zone. @param time ms since the epoch */
export function formatClock(time: number): string {
  return new Date(time).toLocaleTimeString("en-GB");
}
