/** `bpf-isolator usage NAME`: all that is counted of a container. */
import { bpf_isolator, codecs, type mesos } from "../mesos/messages.js";
import { findContainer, listContainers, withDaemon, type DaemonOptions } from "./daemon.js";
import { stateText, summaryToJson } from "./list.js";
import {
  countsText,
  enforcementText,
  formatBytes,
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

/** @returns text that ends with a newline */
export function renderUsage(
  container: bpf_isolator.ContainerSummary,
  statistics: mesos.ResourceStatistics,
): string {
  const { net_rx_packets, net_rx_bytes, net_rx_dropped, net_tx_packets, net_tx_bytes, net_tx_dropped } =
    statistics;
  const optional = (name: string, value: string | undefined): Row[] =>
    value === undefined ? [] : [[name, printable(value)]];
  const sourcePort = (container.denied ?? []).find(({ name }) => name === "source_port")?.count ?? 0n;
  const others = Object.entries(codecs.ResourceStatistics.toJson(statistics))
    .filter(([name, value]) => !TOLD.test(name) && ["number", "string"].includes(typeof value))
    .map(([name, value]): Row => [name.replace(/^net_/, ""), printable(String(value))]);
  return (
    `${printable(nameOf(container.container_id))}\n` +
    table([
      ["state", `${stateText(container)}, ${container.pids ?? 0} processes`],
      ["ports", portsText(container)],
      ["enforcement", enforcementText(container)],
      ["received", direction(net_rx_packets, net_rx_bytes, net_rx_dropped)],
      ["sent", direction(net_tx_packets, net_tx_bytes, net_tx_dropped)],
      ["denied", countsText(container.denied)],
      ["would be denied", countsText(container.audited)],
      ...(sourcePort > 0n
        ? [["foreign source", `${sourcePort} connects from another container's port`] as const]
        : []),
      ["events lost", `${container.events_lost ?? 0n}`],
      ...others,
      ...optional("framework", container.framework_id),
      ...optional("executor", container.executor_id),
      ...optional("task", container.task_id),
      ...optional("cgroup", container.cgroup),
    ])
  );
}

/**
 * @param name of the container, or its beginning
 * @returns exit status
 * @throws no-container, bad-argument, and as withDaemon()
 */
export async function usage(name: string, options: DaemonOptions): Promise<number> {
  return withDaemon(options.instance, async (client) => {
    const container = findContainer(await listContainers(client), name);
    const answer = await client.call({
      type: bpf_isolator.Call.Type.USAGE,
      usage: { container_id: container.container_id },
    });
    const statistics = answer.usage?.statistics ?? { timestamp: Date.now() / 1000 };
    const json = (): object => ({
      version: 1,
      ...summaryToJson(container),
      statistics: codecs.ResourceStatistics.toJson(statistics),
    });
    process.stdout.write(options.json ? `${toAsciiJson(json(), 2)}\n` : renderUsage(container, statistics));
    return 0;
  });
}
