/** `bpf-isolator status`: the daemon itself. */
import { bpf_isolator, codecs } from "../mesos/messages.js";
import { withDaemon, type DaemonOptions } from "./daemon.js";
import { renderEvent } from "./events.js";
import {
  countsText,
  destinationsText,
  formatBytes,
  formatDuration,
  formatTime,
  printable,
  table,
  toAsciiJson,
  type Row,
} from "./table.js";

/** Of the newest events and of the destinations; `events` and --json have more. */
const SHOWN = 5;

/** "current, 12 endpoints, heard of 3 s ago, from 10.1.2.3:5050"; what is wrong with it on lines of its own. */
function sourceText(source: bpf_isolator.EndpointSource): string {
  const { state = "?", endpoints = 0n, age, where = "", error, duplicates = 0n, ignored = [] } = source;
  const heard = age === undefined ? "" : `, heard of ${formatDuration(age)} ago`;
  const lines = [
    ...(error === undefined ? [] : [error]),
    ...(duplicates > 0n ? [`${duplicates} of them are claimed more than once: the newest holds`] : []),
    ...ignored.map(({ name = "", count = 0n }) => `ignored: ${count} ${name}`),
  ];
  return [`${state}, ${endpoints} endpoints${heard}, from ${where}`, ...lines].map(printable).join("\n");
}

function containersText(counts: readonly bpf_isolator.Count[] = []): string {
  const parts = counts
    .filter(({ count = 0n }) => count > 0n)
    .map(({ name = "", count = 0n }) => `${count} ${printable(name)}`);
  return parts.length > 0 ? parts.join(", ") : "none";
}

function agentText(agent: bpf_isolator.Call.Handshake | undefined): string {
  if (!agent) return "none has said who it is";
  const { name = "unnamed", version = "", mesos_version, agent_address: address } = agent;
  const where = address ? ` at ${address.ip ?? address.hostname ?? ""}:${address.port}` : "";
  const mesos = mesos_version === undefined ? "" : `, Mesos ${mesos_version}`;
  return printable(`${name} ${version}${mesos}${where}`);
}

/** Lines of an error are kept: each is a mistake of its own. */
function configText({ config_file, config_error, config_read_at }: bpf_isolator.DaemonStatus): string {
  const file = config_file === undefined ? "all at their defaults" : printable(config_file);
  const read = config_read_at === undefined ? "" : `, read ${formatTime(config_read_at)}`;
  const lines =
    config_error === undefined ? [] : ["the file as it is now is NOT in use:", ...config_error.split("\n")];
  return [`${file}${read}`, ...lines.map(printable)].join("\n");
}

/** What could not be put right stands on a line of its own. */
function selfCheckText(check: bpf_isolator.SelfCheck, now: number): string {
  const { time = now, containers = 0, repaired = 0n, failures = [] } = check;
  const right = containers - failures.length;
  return [
    `programs and policy of ${right} of ${containers} right, ${formatDuration(Math.max(0, now - time))} ago; repaired ${repaired}`,
    ...failures.map(({ container = "", message = "" }) => printable(`${container}: ${message}`)),
  ].join("\n");
}

function servicesRows({
  services = 0,
  backends = 0,
  avoided = 0,
  without = 0,
  ignored = [],
  error,
}: bpf_isolator.ServiceTotals): Row[] {
  if (services === 0 && ignored.length === 0 && error === undefined) return [];
  const parts = [
    `${services}, with ${backends} backends`,
    ...(avoided > 0 ? [`${avoided} avoided`] : []),
    ...(without > 0 ? [`${without} without a backend`] : []),
    ...(ignored.length > 0 ? [`left out: ${countsText(ignored)}`] : []),
    ...(error === undefined ? [] : [error]),
  ];
  return [["services", printable(parts.join("; "))]];
}

/** What is to be said of a daemon besides its newest events. @param now seconds since the epoch */
export function statusRows(status: bpf_isolator.DaemonStatus, now: number): Row[] {
  const {
    version = "?",
    instance = "?",
    pid = 0,
    started_at,
    memory_bytes = 0n,
    calls = 0,
    streams = 0,
  } = status;
  const { streams_dropped = 0n } = status;
  const up = started_at === undefined ? "" : `, up ${formatDuration(Math.max(0, now - started_at))}`;
  const optional = (name: string, value: string | undefined): Row[] =>
    value === undefined ? [] : [[name, printable(value)]];
  return [
    ["daemon", `bpf-isolator ${printable(version)}, process ${pid}${up}`],
    ["instance", printable(instance)],
    ["agent", agentText(status.agent)],
    ["containers", containersText(status.containers)],
    ["configuration", configText(status)],
    ...optional("operators", status.operator_address && `http://${status.operator_address}/`),
    ...optional("break-glass", status.break_glass && `${status.break_glass}, for all containers`),
    ...(status.endpoint_sources ?? []).map((source): Row => [
      `endpoints: ${printable(source.name ?? "")}`,
      sourceText(source),
    ]),
    ...optional("endpoints", status.endpoints_error),
    ...(status.services ? servicesRows(status.services) : []),
    ["memory", formatBytes(memory_bytes)],
    [
      "calls",
      `${calls} under way, ${streams} streams${streams_dropped > 0n ? `; ${streams_dropped} streams ended since their client did not read` : ""}`,
    ],
    ...(status.self_check ? [["self-check", selfCheckText(status.self_check, now)] as const] : []),
    ...(status.destinations?.length
      ? [["connections", destinationsText(status.destinations.slice(0, SHOWN))] as const]
      : []),
    ...optional("kernel", status.kernel),
    ...optional("programs", status.programs),
  ];
}

/**
 * @param now seconds since the epoch
 * @returns text that ends with a newline
 */
export function renderStatus(status: bpf_isolator.DaemonStatus, now: number): string {
  const events = (status.events ?? []).slice(-SHOWN);
  return (
    table(statusRows(status, now)) +
    (events.length > 0
      ? `\nThe newest events:\n${events.map((event) => `  ${renderEvent(event)}\n`).join("")}`
      : "")
  );
}

/** @returns exit status @throws as withDaemon() */
export async function status(options: DaemonOptions): Promise<number> {
  const answer = await withDaemon(options.instance, (client) =>
    client.call({ type: bpf_isolator.Call.Type.GET_STATUS }),
  );
  const facts = answer.get_status?.status ?? {};
  const json = (): object => {
    const { get_status } = codecs.Response.toJson({ get_status: { status: facts } }) as {
      get_status: { status: object };
    };
    return { version: 1, daemon: get_status.status };
  };
  process.stdout.write(options.json ? `${toAsciiJson(json(), 2)}\n` : renderStatus(facts, Date.now() / 1000));
  return 0;
}
