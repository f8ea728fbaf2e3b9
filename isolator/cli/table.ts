/** What commands print for people and for scripts: tables, numbers, names that somebody else chose. */
import { formatRate } from "../features/bandwidth.js";
import { formatClasses } from "../features/classes.js";
import { formatFiles } from "../features/files.js";
import { formatDestination } from "../features/connections.js";
import { formatMarking } from "../features/marking.js";
import { formatPorts } from "../features/ports.js";
import { formatMappings, parseRemapProtocol } from "../features/remap.js";
import type { bpf_isolator, mesos } from "../mesos/messages.js";

export type Row = readonly [name: string, value: string];

/** Names and values, one a line; a value of several lines goes on below its beginning. */
export function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  const indent = " ".repeat(width + 4);
  return rows
    .map(([name, value]) => `  ${name.padEnd(width)}  ${value.replaceAll("\n", `\n${indent}`)}\n`)
    .join("");
}

/**
 * Columns as wide as they have to be, the head first.
 * @param right indexes of the columns of numbers
 */
export function columns(rows: readonly (readonly string[])[], right: readonly number[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const cell = (text: string, i: number): string =>
    right.includes(i) ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
  return rows.map((row) => `${row.map(cell).join("  ").trimEnd()}\n`).join("");
}

/** Text that somebody else chose, with all but printable ASCII as the \xNN of its bytes: nothing for a terminal to do. */
export function printable(text: string): string {
  return text.replaceAll(/[^ -~]+/g, (part) =>
    [...Buffer.from(part)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""),
  );
}

/** JSON for a terminal and a pipe alike: the same data, in ASCII. */
export function toAsciiJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** "1.5 MiB". */
export function formatBytes(bytes: bigint): string {
  let value = Number(bytes);
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
}

/** "3 d 4 h", "4 h 5 min", "5 min 6 s", "6 s". @param seconds not negative */
export function formatDuration(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return first < 0
    ? "0 s"
    : parts
        .slice(first, first + 2)
        .map(([count, unit]) => `${count} ${unit}`)
        .join(" ");
}

/** @param seconds since the epoch */
export function formatTime(seconds: number | undefined): string {
  const date = new Date((seconds ?? NaN) * 1000);
  return Number.isNaN(date.getTime()) ? "at an unknown time" : date.toISOString();
}

/** "root.child", as Mesos writes it; not escaped. */
export function nameOf(id: mesos.ContainerID | undefined): string {
  const names: string[] = [];
  for (let level = id; level; level = level.parent) names.unshift(level.value);
  return names.join(".");
}

/** "31000-31005", "none", "parent's", "own network blue". */
export function portsText(container: bpf_isolator.ContainerSummary): string {
  const { network, inherits_ports, ports = [] } = container;
  if (network !== undefined) return `own network ${printable(network)}`.trimEnd();
  if (inherits_ports) return "parent's";
  return formatPorts(ports.map(({ begin, end }) => ({ begin: Number(begin), end: Number(end) })));
}

/** "80:31000,53:31001/udp"; "none". */
export function mappingsText(mappings: readonly mesos.NetworkInfo.PortMapping[] = []): string {
  return formatMappings(
    mappings.map(({ container_port, host_port, protocol }) => {
      const only = parseRemapProtocol(protocol);
      return {
        containerPort: container_port,
        hostPort: host_port,
        ...(only === undefined ? {} : { protocol: only }),
      };
    }),
  );
}

const ENFORCEMENT: Record<bpf_isolator.Enforcement, string> = { 1: "on", 2: "audit", 3: "off" };

/** "on", "audit", "off", "none" where it has no policy at all; and what the operator switched off. */
export function enforcementText({ enforcement, break_glass }: bpf_isolator.ContainerSummary): string {
  const text = enforcement === undefined ? "none" : ENFORCEMENT[enforcement];
  return break_glass === undefined ? text : `${text}, but break-glass: ${printable(break_glass)}`;
}

/** "production, batch (claimed)"; "none". */
export function classesText(classes: readonly bpf_isolator.ClassMembership[] = []): string {
  return formatClasses(
    classes.map(({ name = "", claimed }) => ({ name: printable(name), ...(claimed ? { claimed } : {}) })),
  );
}

function markingValuesText({ dscp, mark, mark_mask, priority }: bpf_isolator.Marking): string {
  return formatMarking({
    ...(dscp === undefined ? {} : { dscp }),
    ...(mark === undefined || mark_mask === undefined ? {} : { mark: { value: mark, mask: mark_mask } }),
    ...(priority === undefined ? {} : { priority }),
  });
}

/** "DSCP AF21, mark 0x10/0xff, priority 3; to class storage: DSCP EF; changes refused; wrong DSCP dropped"; "none". */
export function markingText(marking: bpf_isolator.Marking): string {
  const { destinations = [], change, wrong_dscp } = marking;
  const wrong = wrong_dscp === "drop" ? "dropped" : wrong_dscp === "rewrite" ? "rewritten" : undefined;
  return [
    markingValuesText(marking),
    ...destinations.map(({ to = "", marking: own = {} }) => `to ${to}: ${markingValuesText(own)}`),
    ...(change === "deny" ? ["changes refused"] : []),
    ...(wrong === undefined ? [] : [`wrong DSCP ${wrong}`]),
  ].join("; ");
}

/** "egress 96.5Mbit of 100Mbit (throttled 12 s, dropped 3), ingress 0 of 1Gbit"; "none". */
export function limitsText({ egress, ingress, weight }: bpf_isolator.Bandwidth): string {
  const limit = (name: string, direction: bpf_isolator.Bandwidth.Direction = {}): string[] => {
    const { rate, measured = 0n, throttled_ms = 0n, dropped = 0n } = direction;
    if (rate === undefined) return [];
    const now = measured > 0n ? formatRate(Number(measured)) : "0";
    const much = [
      ...(throttled_ms > 0n ? [`throttled ${Number(throttled_ms) / 1000} s`] : []),
      ...(dropped > 0n ? [`dropped ${dropped}`] : []),
    ];
    const more = much.length > 0 ? ` (${much.join(", ")})` : "";
    return [`${name} ${now} of ${formatRate(Number(rate))}${more}`];
  };
  const parts = [
    ...limit("egress", egress),
    ...limit("ingress", ingress),
    ...(weight === undefined ? [] : [`weight ${weight}`]),
  ];
  return parts.length > 0 ? parts.join(", ") : "none";
}

/** "limit 100Mbit, now 96.5Mbit, throttled 12 s, dropped 3, marked 0". */
export function directionText(direction: bpf_isolator.Bandwidth.Direction = {}): string {
  const { rate, measured = 0n, throttled_ms = 0n, dropped = 0n, marked = 0n } = direction;
  const limit = rate === undefined ? "no limit" : `limit ${formatRate(Number(rate))}`;
  const now = measured > 0n ? formatRate(Number(measured)) : "0";
  return `${limit}, now ${now}, throttled ${Number(throttled_ms) / 1000} s, dropped ${dropped}, marked ${marked}`;
}

/** "3 to tcp 10.1.2.3:5432 (12 % of the host's ports)", one a line. */
export function destinationsText(all: readonly bpf_isolator.HeldDestination[]): string {
  return all
    .map(({ protocol = "", address = "", port = 0, held = 0, containers = 0, share }) => {
      const of = share === undefined ? "" : `, ${(share * 100).toFixed(1)} % of the host's ports`;
      const who =
        share === undefined ? "" : `, of ${containers === 1 ? "1 container" : `${containers} containers`}`;
      return `${held} to ${printable(formatDestination({ protocol, address, port }))}${who}${of}`;
    })
    .join("\n");
}

/** "12 held (10 live) of 100; to a destination at most 50". */
export function connectionsText({
  held = 0,
  live = 0,
  shared = 0,
  limit,
  limit_total,
  ports,
  limit_ports,
  share,
  uncounted,
}: bpf_isolator.Connections): string {
  return [
    `${held} held${held === live ? "" : `, ${live} of them live`}`,
    ...(shared > 0 ? [`${shared} without a count of their own`] : []),
    ...(limit === undefined ? [] : [`at most ${limit} to a destination`]),
    ...(limit_total === undefined ? [] : [`at most ${limit_total} in all`]),
    ...(ports === undefined ? [] : [`${ports} ports that the kernel chose`]),
    ...(limit_ports === undefined ? [] : [`at most ${limit_ports} of these`]),
    ...(share === undefined ? [] : [`its share of a destination: at most ${share}`]),
    ...(uncounted === undefined ? [] : [`none counted to ${printable(uncounted)}`]),
  ].join("; ");
}

/** Of denials, what was refused: source_port can only be reported. */
export function totalCount(counts: readonly bpf_isolator.Count[] = []): bigint {
  return counts.reduce((sum, { name, count = 0n }) => (name === "source_port" ? sum : sum + count), 0n);
}

/** "2 (bind 1, listen 1)". */
export function countsText(counts: readonly bpf_isolator.Count[] = []): string {
  const parts = counts
    .filter(({ name, count = 0n }) => count > 0n && name !== "source_port")
    .map(({ name = "", count = 0n }) => `${printable(name)} ${count}`);
  return parts.length > 0 ? `${totalCount(counts)} (${parts.join(", ")})` : "0";
}

/** "deny 2, readonly 1" */
export function filesText({ deny = 0, readonly = 0, allow = 0 }: bpf_isolator.FileRules): string {
  return formatFiles({ deny, readonly, allow });
}
