/** `bpf-isolator list`: the containers of an instance. */
import { bpf_isolator, codecs, mesos } from "../mesos/messages.js";
import { paintFor, PLAIN, type Paint } from "./colours.js";
import { containersOf, type DaemonOptions } from "./daemon.js";
import {
  classesText,
  columns,
  enforcementText,
  filesText,
  limitsText,
  formatBytes,
  mappingsText,
  markingText,
  nameOf,
  portsText,
  printable,
  toAsciiJson,
  totalCount,
} from "./table.js";

type Summary = bpf_isolator.ContainerSummary;

const HEAD = ["CONTAINER", "STATE", "PORTS", "ENFORCE", "PIDS", "RECEIVED", "SENT", "DENIED", "AUDITED"];
/** Columns of numbers. */
const RIGHT = [4, 5, 6, 7, 8];
/** Columns at the end that are shown only where a container has something in them. */
const OPTIONAL: readonly { head: string; text: (container: Summary) => string }[] = [
  {
    head: "MAPPINGS",
    text: ({ port_mappings = [] }) => (port_mappings.length > 0 ? shorten(mappingsText(port_mappings)) : ""),
  },
  { head: "CLASSES", text: ({ classes = [] }) => (classes.length > 0 ? shorten(classesText(classes)) : "") },
  { head: "BANDWIDTH", text: ({ bandwidth }) => (bandwidth ? limitsText(bandwidth) : "") },
  { head: "CONNECTIONS", text: ({ connections }) => (connections ? `${connections.held ?? 0}` : "") },
  { head: "EGRESS", text: (container) => shorten(egressText(container)) },
  { head: "MARKING", text: ({ marking }) => (marking ? markingText(marking) : "") },
  { head: "FILES", text: ({ files }) => (files ? filesText(files) : "") },
];
/** "3 rules, else allow"; with what rules have refused: "egress[0] 12, the default 3 denied". */
function egressText({ egress_rules = 0, egress_default, egress_counts = [] }: Summary): string {
  if (egress_default === undefined) return "";
  const denials = egress_counts
    .filter(({ denied = 0n }) => denied > 0n)
    .map(({ rule = "", denied = 0n }) => `${printable(rule)} ${denied}`);
  const rules = `${egress_rules} rules, else ${printable(egress_default)}`;
  return denials.length === 0 ? rules : `${denials.join(", ")} denied`;
}

/** Characters of a list; --json has all. */
const MAX_LIST = 40;

function shorten(text: string): string {
  return text.length > MAX_LIST ? `${text.slice(0, MAX_LIST - 3)}...` : text;
}

/** "isolated", "recovered", ...; with what kind of container it is where that is not the usual one. */
export function stateText({ state, container_class }: Summary): string {
  const { State } = bpf_isolator.ContainerSummary;
  const name = State[state ?? State.UNKNOWN].toLowerCase();
  return container_class === mesos.slave.ContainerClass.DEBUG ? `${name}, debug` : name;
}

/** @returns text that ends with a newline */
export function renderList(containers: readonly Summary[], paint: Paint = PLAIN): string {
  if (containers.length === 0) return "no containers\n";
  const optional = OPTIONAL.filter(({ text }) => containers.some((container) => text(container) !== ""));
  const rows = containers.map((container) => [
    printable(nameOf(container.container_id)),
    stateText(container),
    shorten(portsText(container)),
    enforcementText(container),
    `${container.pids ?? 0}`,
    formatBytes(container.statistics?.net_rx_bytes ?? 0n),
    formatBytes(container.statistics?.net_tx_bytes ?? 0n),
    `${totalCount(container.denied)}`,
    `${totalCount(container.audited)}`,
    ...optional.map(({ text }) => text(container)),
  ]);
  const [head = "", ...lines] = columns([[...HEAD, ...optional.map(({ head }) => head)], ...rows], RIGHT)
    .trimEnd()
    .split("\n");
  const coloured = lines.map((line, i) => {
    const { denied, break_glass } = containers[i] ?? {};
    if (totalCount(denied) > 0n) return paint("red", line);
    return break_glass === undefined ? line : paint("yellow", line);
  });
  return `${[paint("bold", head), ...coloured].join("\n")}\n`;
}

/** A container as the protocol's JSON has it, with its name as text. */
export function summaryToJson(container: Summary): object {
  const { list } = codecs.Response.toJson({ list: { containers: [container] } }) as {
    list: { containers: [object] };
  };
  return { name: nameOf(container.container_id), ...list.containers[0] };
}

/** @returns exit status @throws as containersOf() */
export async function list(options: DaemonOptions): Promise<number> {
  const { containers, daemon } = await containersOf(options);
  process.stdout.write(
    options.json
      ? `${toAsciiJson({ version: 1, daemon, containers: containers.map(summaryToJson) }, 2)}\n`
      : renderList(containers, paintFor(process.stdout)),
  );
  return 0;
}
