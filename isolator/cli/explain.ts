/** `bpf-isolator explain NAME DESTINATION`: which rule decides on a connection, and why. */
import { IsolatorError } from "../errors.js";
import { formatPlace } from "../features/endpoints.js";
import { bpf_isolator, codecs } from "../mesos/messages.js";
import { findContainer, listContainers, withDaemon, type DaemonOptions } from "./daemon.js";
import { classesText, printable, table, toAsciiJson, type Row } from "./table.js";

interface Destination {
  address: string;
  port?: number;
  protocol?: "tcp" | "udp";
}

const DESTINATION =
  /^(?:(tcp|udp):)?(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)|([0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*))(?::(\d{1,5}))?$/;

/** "10.1.2.3:80", "udp:10.1.2.3:53", "[fd00::1]:443", "10.1.2.3". @throws bad-argument */
export function parseDestination(text: string): Destination {
  const [, protocol, bracketed, plain, bare, port] = DESTINATION.exec(text) ?? [];
  const address = bracketed ?? plain ?? bare;
  if (address === undefined || (port !== undefined && (Number(port) < 1 || Number(port) > 65535))) {
    throw new IsolatorError(
      "bad-argument",
      `${JSON.stringify(text.slice(0, 60))} is no destination: give one as in 10.1.2.3:80, udp:10.1.2.3:53 or [fd00::1]:443`,
    );
  }
  return {
    address,
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(protocol === undefined ? {} : { protocol: protocol as "tcp" | "udp" }),
  };
}

function verdictRow(verdict: bpf_isolator.EgressVerdict): Row {
  const { container = "", action = "", by = "", rule, by_address, by_class, class_name = "" } = verdict;
  const lines = [
    `${action}, by ${rule === undefined ? by : `${by} (${rule})`}`,
    ...(by_address === undefined ? [] : [`first for the address: ${by_address}`]),
    ...(by_class === undefined ? [] : [`first for class ${class_name}: ${by_class}`]),
  ];
  return [printable(container), lines.map(printable).join("\n")];
}

/** @returns text that ends with a newline */
export function renderExplanation(to: Destination, answer: bpf_isolator.Response.Explain): string {
  const { verdicts = [], classes = [], local, owner } = answer;
  const denied = verdicts.some(({ action }) => action === "deny");
  const place = formatPlace({ ...to, ...(to.port === undefined ? {} : { protocol: to.protocol ?? "tcp" }) });
  const host = owner === undefined ? "this host" : `this host, a port of container ${printable(owner)}`;
  return table([
    ["destination", place],
    ["is", local ? host : "another host"],
    ["classes", classesText(classes)],
    ["verdict", verdicts.length === 0 ? "allow: the container has no rules" : denied ? "deny" : "allow"],
    ...verdicts.map(verdictRow),
  ]);
}

/** @returns exit status @throws no-container, bad-argument, and as withDaemon() */
export async function explain(name: string, text: string, options: DaemonOptions): Promise<number> {
  const to = parseDestination(text);
  const answer = await withDaemon(options.instance, async (client) => {
    const { container_id } = findContainer(await listContainers(client), name);
    return client.call({ type: bpf_isolator.Call.Type.EXPLAIN, explain: { container_id, ...to } });
  });
  const said = answer.explain ?? {};
  const json = (): object => {
    const { explain: value } = codecs.Response.toJson({ explain: said }) as { explain: object };
    return { version: 1, destination: to, ...value };
  };
  process.stdout.write(options.json ? `${toAsciiJson(json(), 2)}\n` : renderExplanation(to, said));
  return 0;
}
