/** Services of the status page, from whatever tells of them. */
import { isIPv6 } from "node:net";
import type { ServiceView } from "../operator/wire.js";
import { printable } from "./table.js";

/** Of those that are shown; `bpf-isolator services` has all. */
const MAX_SERVICES = 500;
const MAX_BACKENDS = 50;

interface Place {
  address?: string | undefined;
  port?: number | undefined;
}

/** As the protocol tells it. */
export interface ToldService extends Place {
  name?: string | undefined;
  host?: string | undefined;
  protocol?: string | undefined;
  backends?:
    | readonly (Place & {
        state?: string | undefined;
        connections?: number | undefined;
        refused?: bigint | undefined;
        unanswered?: bigint | undefined;
      })[]
    | undefined;
}

/** A daemon that has services. */
export interface ServicesSource {
  services: (signal: AbortSignal) => AsyncIterable<readonly ToldService[]>;
}

function placeOf({ address = "", port = 0 }: Place): string {
  return printable(`${isIPv6(address) ? `[${address}]` : address}:${port}`);
}

function toView(service: ToldService): ServiceView {
  const { name, host, protocol = "tcp", backends = [] } = service;
  return {
    name: printable(host ?? name ?? "-"),
    address: `${printable(protocol)} ${placeOf(service)}`,
    backends: backends.slice(0, MAX_BACKENDS).map((backend) => ({
      address: placeOf(backend),
      state: printable(backend.state ?? ""),
      connections: backend.connections ?? 0,
      failures: Number((backend.refused ?? 0n) + (backend.unanswered ?? 0n)),
    })),
  };
}

/** The first of them. @param source none where this version has no services */
export async function servicesOf(source: object): Promise<ServiceView[]> {
  const { services } = source as Partial<ServicesSource>;
  if (!services) return [];
  const views: ServiceView[] = [];
  const ended = new AbortController();
  for await (const some of services.call(source, ended.signal)) {
    views.push(...some.slice(0, MAX_SERVICES - views.length).map(toView));
    if (views.length >= MAX_SERVICES) break;
  }
  return views;
}
