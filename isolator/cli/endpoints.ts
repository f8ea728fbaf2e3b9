/** `bpf-isolator endpoints`: which addresses and ports of the cluster are in which class, as the daemon knows them. */
import { once } from "node:events";
import { FILE_VERSION, toFileEndpoint } from "../cluster/file.js";
import { formatPlace, type Endpoint } from "../features/endpoints.js";
import { bpf_isolator, codecs } from "../mesos/messages.js";
import { withDaemon, type DaemonOptions } from "./daemon.js";
import { classesText, printable, toAsciiJson } from "./table.js";

export interface EndpointsOptions extends DaemonOptions {
  /** Only those in it. */
  class?: string;
  /** As a file of endpoints. */
  export?: boolean;
}

type Message = bpf_isolator.Endpoint;

/** Widths that nearly all have room in: there may be too many to look at all first. */
const WIDTHS = [28, 28, 6] as const;

function toEndpoint({ address = "", port, protocol, classes = [], task }: Message): Endpoint {
  return {
    address,
    ...(port === undefined ? {} : { port }),
    ...(protocol === "tcp" || protocol === "udp" ? { protocol } : {}),
    classes: classes.map(({ name = "", claimed }) => (claimed ? { name, claimed } : { name })),
    ...(task === undefined ? {} : { task }),
  };
}

function line(cells: readonly string[]): string {
  return `${cells
    .map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0))
    .join("  ")
    .trimEnd()}\n`;
}

export const ENDPOINTS_HEAD = line(["ENDPOINT", "CLASSES", "SOURCE", "TASK"]);

/** @returns text that ends with a newline */
export function renderEndpoint(endpoint: Message): string {
  const { source = "", task = "", classes } = endpoint;
  const place = printable(formatPlace(toEndpoint(endpoint)));
  return line([place, classesText(classes), printable(source), printable(task)]);
}

function endpointToJson(endpoint: Message): object {
  const { endpoints } = codecs.Response.toJson({ endpoints: { endpoints: [endpoint] } }) as {
    endpoints: { endpoints: [object] };
  };
  return endpoints.endpoints[0];
}

async function print(text: string): Promise<void> {
  if (text !== "" && !process.stdout.write(text)) await once(process.stdout, "drain");
}

/** What is printed for each of the daemon's records, and before and after them. */
interface Form {
  head: string;
  body: (endpoint: Message, first: boolean) => string;
  foot: string;
}

const TEXT: Form = { head: ENDPOINTS_HEAD, body: renderEndpoint, foot: "" };
const JSON_FORM: Form = {
  head: '{"version":1,"endpoints":[',
  body: (endpoint, first) => `${first ? "" : ","}\n${toAsciiJson(endpointToJson(endpoint))}`,
  foot: "\n]}\n",
};

async function printForm(
  { head, body, foot }: Form,
  records: AsyncIterable<readonly Message[]>,
): Promise<void> {
  // Not before the daemon answers: an error stands alone.
  let text = head;
  let first = true;
  for await (const record of records) {
    for (const endpoint of record) {
      text += body(endpoint, first);
      first = false;
    }
    await print(text);
    text = "";
  }
  await print(text + foot);
}

/** Its first line says how many follow, so that whoever reads it knows a whole one. */
async function printFile(records: AsyncIterable<readonly Message[]>): Promise<void> {
  const parts: string[] = [];
  let count = 0;
  for await (const record of records) {
    parts.push(
      record.map((endpoint) => `${JSON.stringify(toFileEndpoint(toEndpoint(endpoint)))}\n`).join(""),
    );
    count += record.length;
  }
  await print(`${JSON.stringify({ version: FILE_VERSION, endpoints: count })}\n`);
  for (const part of parts) await print(part);
}

/** @returns exit status @throws as withDaemon() */
export async function endpoints(options: EndpointsOptions): Promise<number> {
  process.stdout.on("error", () => {
    // `endpoints | head`: whoever read has had enough.
    process.exit(0);
  });
  await withDaemon(options.instance, async (client) => {
    const call: bpf_isolator.Call = {
      type: bpf_isolator.Call.Type.ENDPOINTS,
      endpoints: options.class === undefined ? {} : { class_name: options.class },
    };
    async function* records(): AsyncGenerator<readonly Message[]> {
      for await (const record of client.stream(call)) yield record.endpoints?.endpoints ?? [];
    }
    if (options.export) await printFile(records());
    else await printForm(options.json ? JSON_FORM : TEXT, records());
  });
  return 0;
}
