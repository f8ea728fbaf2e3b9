/** Services as `run --vip` writes them. */
import { IsolatorError } from "../errors.js";
import { ENDPOINT_PROTOCOLS, type EndpointProtocol } from "./endpoints.js";
import {
  formatEnd,
  NO_BACKEND_ACTIONS,
  parsePort,
  SERVICE_AFFINITIES,
  SERVICE_CHOICES,
  SERVICE_PEERS,
  serviceProblem,
  type Backend,
  type Service,
  type ServiceOptions,
} from "./services.js";

const OPTION_VALUES = {
  choice: SERVICE_CHOICES,
  affinity: SERVICE_AFFINITIES,
  peer: SERVICE_PEERS,
  no_backend: NO_BACKEND_ACTIONS,
  prefer: ["local"],
} as const;

function badOption(text: string, why: string): IsolatorError {
  return new IsolatorError(
    "bad-argument",
    `--vip ${JSON.stringify(text.slice(0, 200))}: ${why}. ` +
      "Give one such as 10.77.0.1:80=10.0.0.1:31000,10.0.0.2:31001*3 or 10.77.0.1:53/udp=10.0.0.1:53;peer=vip",
  );
}

function parseOptions(text: string, parts: readonly string[]): ServiceOptions {
  const found = new Map<string, string>();
  for (const part of parts) {
    const [key = "", value = ""] = part.split("=");
    const known = (OPTION_VALUES as Readonly<Record<string, readonly string[]>>)[key];
    if (!known) throw badOption(text, `there is no option ${JSON.stringify(key)}`);
    if (!known.includes(value)) throw badOption(text, `${key} is ${known.join(" or ")}`);
    found.set(key, value);
  }
  const choice = SERVICE_CHOICES.find((value) => value === found.get("choice"));
  const affinity = SERVICE_AFFINITIES.find((value) => value === found.get("affinity"));
  const peer = SERVICE_PEERS.find((value) => value === found.get("peer"));
  const noBackend = NO_BACKEND_ACTIONS.find((value) => value === found.get("no_backend"));
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(peer === undefined ? {} : { peer }),
    ...(noBackend === undefined ? {} : { noBackend }),
    ...(found.has("prefer") ? { preferLocal: true } : {}),
  };
}

/**
 * Value of --vip: "10.77.0.1:80=10.0.0.1:31000,10.0.0.2:31001*3;choice=least_connections"; no backend at all is one
 * that has none yet.
 * @throws bad-argument
 */
export function parseVipOption(text: string): Service {
  const [head = "", ...options] = text.split(";");
  const [vip = "", list] = head.split("=");
  if (list === undefined) throw badOption(text, "there is no =");
  const [place = "", protocol = "tcp"] = vip.split("/");
  const at = parsePort(place);
  if (!at) throw badOption(text, `${JSON.stringify(place)} is no address with a port`);
  if (!ENDPOINT_PROTOCOLS.includes(protocol as EndpointProtocol))
    throw badOption(text, `the protocol is ${ENDPOINT_PROTOCOLS.join(" or ")}`);
  const backends = list
    .split(",")
    .filter((part) => part !== "")
    .map((part): Backend => {
      const [end = "", weight] = part.split("*");
      const backend = parsePort(end);
      if (!backend) throw badOption(text, `${JSON.stringify(end)} is no address with a port`);
      return { ...backend, ...(weight === undefined ? {} : { weight: Number(weight) }) };
    });
  return { ...at, protocol: protocol as EndpointProtocol, backends, ...parseOptions(text, options) };
}

/** All of --vip. @throws bad-argument */
export function parseVipOptions(texts: readonly string[]): Service[] {
  const services = texts.map(parseVipOption);
  const seen = new Set<string>();
  services.forEach((service, i) => {
    const problem = serviceProblem(service, services);
    if (problem !== undefined) throw badOption(texts[i] ?? "", problem);
    if (seen.has(formatEnd(service))) throw badOption(texts[i] ?? "", `${formatEnd(service)} is given twice`);
    seen.add(formatEnd(service));
  });
  return services;
}
