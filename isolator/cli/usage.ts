/** `bpf-isolator usage NAME`: all that is counted of a container. */
import { codecs, type bpf_isolator, type mesos } from "../mesos/messages.js";
import { containersOf, findContainer, type DaemonOptions } from "./daemon.js";
import { stateText, summaryToJson } from "./list.js";
import {
  classesText,
  connectionsText,
  countsText,
  directionText,
  destinationsText,
  enforcementText,
  filesText,
  formatBytes,
  mappingsText,
  markingText,
  nameOf,
  portsText,
  printable,
  table,
  toAsciiJson,
  type Row,
} from "./table.js";

/** Fields of ResourceStatistics that are told in rows of their own, or say nothing of the container's network. */
const TOLD = /^(timestamp|processes|threads|net_[rt]x_(packets|bytes|errors|dropped))$/;

function direction(packets = 0n, bytes = 0n, dropped = 0n): string {
  return `${packets} packets, ${bytes} bytes${bytes < 1024n ? "" : ` (${formatBytes(bytes)})`}, dropped ${dropped}`;
}

function fileRows(files: bpf_isolator.FileRules): Row[] {
  const missing = (files.missing ?? []).map(printable);
  return [
    ["files", `${filesText(files)}, ${files.errno_name ?? "EACCES"}`],
    ...(missing.length > 0 ? [["not there yet", missing.join(", ")] as const] : []),
  ];
}

/** "12 rules, else allow"; rules that have refused or reported something on lines of their own. */
function egressText({
  egress_rules = 0,
  egress_default = "",
  egress_counts = [],
}: bpf_isolator.ContainerSummary): string {
  const counts = egress_counts.map(
    ({ rule = "", denied = 0n, audited = 0n }) =>
      `${printable(rule)}: denied ${denied}${audited > 0n ? `, reported ${audited}` : ""}`,
  );
  return [`${egress_rules} rules, else ${printable(egress_default)}`, ...counts].join("\n");
}

/** What the kernel's own TCP counts are of a network namespace. */
function tcpText({ net_snmp_statistics: snmp }: mesos.ResourceStatistics): string | undefined {
  if (!snmp?.tcp_stats) return undefined;
  const { ActiveOpens = 0n, PassiveOpens = 0n, AttemptFails = 0n, EstabResets = 0n } = snmp.tcp_stats;
  const { CurrEstab = 0n, RetransSegs = 0n } = snmp.tcp_stats;
  return (
    `${CurrEstab} established; opened ${ActiveOpens}, accepted ${PassiveOpens}, failed ${AttemptFails}, ` +
    `reset ${EstabResets}, segments sent again ${RetransSegs}`
  );
}

/** @returns text that ends with a newline */
export function renderUsage(container: bpf_isolator.ContainerSummary): string {
  return `${printable(nameOf(container.container_id))}\n${table(usageRows(container))}`;
}

/** All that is to be said of a container besides its name. */
export function usageRows(container: bpf_isolator.ContainerSummary): Row[] {
  const statistics = container.statistics ?? { timestamp: 0 };
  const { net_rx_packets, net_rx_bytes, net_rx_dropped, net_tx_packets, net_tx_bytes, net_tx_dropped } =
    statistics;
  const { connections } = container;
  const optional = (name: string, value: string | undefined): Row[] =>
    value === undefined ? [] : [[name, printable(value)]];
  const sourcePort = (container.denied ?? []).find(({ name }) => name === "source_port")?.count ?? 0n;
  const others = Object.entries(codecs.ResourceStatistics.toJson(statistics))
    .filter(([name, value]) => !TOLD.test(name) && ["number", "string"].includes(typeof value))
    .map(([name, value]): Row => [name.replace(/^net_/, ""), printable(String(value))]);
  return [
    [
      "state",
      `${stateText(container)}, ${container.pids === 1 ? "1 process" : `${container.pids ?? 0} processes`}`,
    ],
    ["ports", portsText(container)],
    ...(container.port_mappings?.length
      ? [["mappings", mappingsText(container.port_mappings)] as const]
      : []),
    ["enforcement", enforcementText(container)],
    ...(container.classes?.length ? [["classes", classesText(container.classes)] as const] : []),
    ...(container.marking ? [["marking", markingText(container.marking)] as const] : []),
    ...(container.bandwidth
      ? ([
          ["egress", directionText(container.bandwidth.egress)],
          ["ingress", directionText(container.bandwidth.ingress)],
          ...(container.bandwidth.weight === undefined
            ? []
            : [["weight", `${container.bandwidth.weight}`] as const]),
        ] as const)
      : []),
    ...(container.egress_default === undefined ? [] : [["egress", egressText(container)] as const]),
    ...(container.files ? fileRows(container.files) : []),
    ...(connections ? [["connections", connectionsText(connections)] as const] : []),
    ...(connections?.top?.length ? [["most go to", destinationsText(connections.top)] as const] : []),
    ["received", direction(net_rx_packets, net_rx_bytes, net_rx_dropped)],
    ["sent", direction(net_tx_packets, net_tx_bytes, net_tx_dropped)],
    ["denied", countsText(container.denied)],
    ["would be denied", countsText(container.audited)],
    ...(sourcePort > 0n
      ? [["foreign source", `${sourcePort} connects from another container's port`] as const]
      : []),
    ["events lost", `${container.events_lost ?? 0n}`],
    ...optional("tcp", tcpText(statistics)),
    ...others,
    ...optional("framework", container.framework_id),
    ...optional("executor", container.executor_id),
    ...optional("task", container.task_id),
    ...optional("cgroup", container.cgroup),
  ];
}

/**
 * @param name of the container, or its beginning
 * @returns exit status
 * @throws no-container, bad-argument, and as containersOf()
 */
export async function usage(name: string, options: DaemonOptions): Promise<number> {
  const { containers, daemon } = await containersOf(options);
  const container = findContainer(containers, name, daemon);
  const json = (): object => ({ version: 1, daemon, ...summaryToJson(container) });
  process.stdout.write(options.json ? `${toAsciiJson(json(), 2)}\n` : renderUsage(container));
  return 0;
}
