/** `bpf-isolator services`: virtual addresses, where they lead, and how their backends are, as the daemon knows them. */
import { formatPort } from "../features/services.js";
import { bpf_isolator, codecs } from "../mesos/messages.js";
import { withDaemon, type DaemonOptions } from "./daemon.js";
import { columns, printable, toAsciiJson } from "./table.js";

const HEAD = ["SERVICE", "ADDRESS", "BACKEND", "STATE", "CONNECTIONS", "CONNECTS", "FAILURES"];
/** Columns of numbers. */
const RIGHT = [4, 5, 6];

const place = ({
  address = "",
  port = 0,
}: {
  address?: string | undefined;
  port?: number | undefined;
}): string => formatPort({ address, port });

/** @returns text that ends with a newline */
export function renderServices(services: readonly bpf_isolator.Service[]): string {
  const rows = services.flatMap((service) => {
    const name = printable(service.host ?? service.name ?? "-");
    const head = [name, printable(`${service.protocol ?? "tcp"} ${place(service)}`)];
    const { backends = [], misses = 0n } = service;
    if (backends.length === 0) return [[...head, "none", "", "", "", `${misses}`]];
    return backends.map(
      ({ refused = 0n, unanswered = 0n, connects = 0n, connections = 0, state = "", ...at }) => [
        ...[...head, printable(place(at)), printable(state)],
        ...[`${connections}`, `${connects}`, `${refused + unanswered}`],
      ],
    );
  });
  return columns([HEAD, ...rows], RIGHT);
}

/** @returns exit status @throws as withDaemon() */
export async function services(options: DaemonOptions): Promise<number> {
  process.stdout.on("error", () => {
    // `services | head`: whoever read has had enough.
    process.exit(0);
  });
  await withDaemon(options.instance, async (client) => {
    const all: bpf_isolator.Service[] = [];
    for await (const record of client.stream({ type: bpf_isolator.Call.Type.SERVICES }))
      all.push(...(record.services?.services ?? []));
    const json = codecs.Response.toJson({ services: { services: all } }) as { services: object };
    process.stdout.write(
      options.json
        ? `${toAsciiJson({ version: 1, services: [], ...json.services })}\n`
        : all.length === 0
          ? "no services\n"
          : renderServices(all),
    );
  });
  return 0;
}
