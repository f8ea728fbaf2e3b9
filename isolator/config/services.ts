/** `services` of the configuration: virtual addresses, who may claim them by labels, and what holds for them. */
import { z } from "zod";
import { parseCidr } from "../features/addresses.js";
import type { Membership } from "../features/classes.js";
import { ENDPOINT_PROTOCOLS } from "../features/endpoints.js";
import {
  DEFAULT_AVOID,
  isServiceName,
  MAX_WEIGHT,
  NO_BACKEND_ACTIONS,
  parsePort,
  SERVICE_AFFINITIES,
  SERVICE_CHOICES,
  SERVICE_PEERS,
  serviceProblem,
  type Backend,
  type Service,
  type ServiceOptions,
  type ServicesPolicy,
} from "../features/services.js";
import { unknownClassIn } from "./classes.js";
import { isAnchored, MATCH_KEYS, toMatch, type Match } from "./match.js";
import { asList, type Problem } from "./problem.js";

const MAX_STATIC = 10_000;
const MAX_STATIC_BACKENDS = 16_384;
const MAX_CLAIMS = 1000;
const MAX_PATTERNS = 100;
const MAX_AVOID = 3600;
const NAME_PATTERN = /^(\/[a-z0-9-]+|\/\*)*(\/\*\*)?$/;

const OPTIONS = {
  choice: z.enum(SERVICE_CHOICES).optional().meta({
    description:
      "random: by weight. least_connections: of two by chance the one with fewer connections of this host's containers, by weight. Default: random.",
  }),
  affinity: z.enum(SERVICE_AFFINITIES).optional().meta({
    description:
      "container: a container stays with its backend for as long as that is there and answers. Default: none.",
  }),
  prefer_local: z
    .boolean()
    .optional()
    .meta({ description: "Backends on this host come first, while one is not avoided. Default: false." }),
  peer: z.enum(SERVICE_PEERS).optional().meta({
    description:
      "What getpeername() of a TCP socket gives: the backend, as logs want it, or the virtual address. Default: backend.",
  }),
  no_backend: z.enum(NO_BACKEND_ACTIONS).optional().meta({
    description:
      "Where there is none. refuse: ECONNREFUSED at once. pass: it goes on to the virtual address itself. Default: refuse.",
  }),
  avoid: z
    .number()
    .min(0.1, { error: "is less than 0.1 seconds" })
    .max(MAX_AVOID, { error: `is more than ${MAX_AVOID} seconds` })
    .optional()
    .meta({
      description: `Seconds that a backend is avoided for that has refused, or not answered its first SYN. Default: ${DEFAULT_AVOID}.`,
    }),
};

/** What a VIP label or `vip` says: "/web:80", "10.1.2.3:443", "[fd00::1]:80". */
export interface VipSpec {
  /** "/web": its address comes from the range. */
  name?: string;
  address?: string;
  port: number;
}

/** @returns undefined where it is none */
export function parseVip(text: string): VipSpec | undefined {
  const [, name, port] = /^(\/[^:]+):(\d{1,5})$/.exec(text) ?? [];
  const spec = name === undefined ? parsePort(text) : { name, port: Number(port) };
  if (!spec || spec.port < 1 || spec.port > 65535) return undefined;
  return name === undefined || isServiceName(name) ? spec : undefined;
}

/** "10.0.0.1:31000", "10.0.0.1:31000*3" */
function parseBackend(text: string): Backend | undefined {
  const [end = "", weight, ...more] = text.split("*");
  const at = parsePort(end);
  if (!at || at.port < 1 || at.port > 65535 || more.length > 0) return undefined;
  if (weight === undefined) return at;
  return /^\d{1,5}$/.test(weight) && Number(weight) >= 1 && Number(weight) <= MAX_WEIGHT
    ? { ...at, weight: Number(weight) }
    : undefined;
}

const StaticSchema = z
  .strictObject({
    vip: z
      .string()
      .refine((text) => parseVip(text) !== undefined, {
        error: "is no virtual address: give one, as in 10.77.0.1:80, [fd77::1]:80 or /web:80",
      })
      .meta({ description: "Its address and port, or its name and port: then the address is one of range." }),
    name: z
      .string()
      .refine(isServiceName, { error: "is no name of a service: give one, as in /web or /shop/cart" })
      .optional()
      .meta({ description: "By which rules name it, where vip is an address." }),
    protocol: z.enum(ENDPOINT_PROTOCOLS).default("tcp").meta({ description: "Of the port." }),
    backends: z
      .array(
        z.string().refine((text) => parseBackend(text) !== undefined, {
          error: `is no backend: give one, as in 10.0.0.1:31000, or 10.0.0.1:31000*3 with a weight of 1 to ${MAX_WEIGHT}`,
        }),
      )
      .max(MAX_STATIC_BACKENDS, { error: `has too many backends: give at most ${MAX_STATIC_BACKENDS}` })
      .default([])
      .meta({ description: "Where it leads: address, port, and weight (default: 1)." }),
    ...OPTIONS,
  })
  .meta({ description: "A virtual address that stays; it wins over what labels claim." });

function isCidr(text: string): boolean {
  try {
    parseCidr(text);
    return true;
  } catch {
    return false;
  }
}

const ClaimSchema = z
  .strictObject({
    match: z.strictObject(MATCH_KEYS).meta({
      description:
        "Which tasks: all that is given here must hold. role or framework_id is needed, unless the task's role is trusted.",
    }),
    names: z
      .array(
        z.string().regex(NAME_PATTERN, {
          error: "is no pattern of names: give one, as in /web, /shop/* or /shop/**",
        }),
      )
      .max(MAX_PATTERNS, { error: `has too many patterns: give at most ${MAX_PATTERNS}` })
      .default([])
      .meta({ description: "Names that they may claim: * is one segment, ** at the end all that is below." }),
    addresses: z
      .array(z.string().refine(isCidr, { error: "is no block of addresses: give one, as in 10.1.2.0/24" }))
      .max(MAX_PATTERNS, { error: `has too many blocks: give at most ${MAX_PATTERNS}` })
      .default([])
      .meta({ description: "Blocks of addresses that they may claim." }),
  })
  .meta({ description: "Tasks that may claim virtual addresses by labels VIP_0, VIP_1, ..." });

export const ServicesSchema = z
  .strictObject({
    static: z
      .array(StaticSchema)
      .max(MAX_STATIC, { error: `has too many entries: give at most ${MAX_STATIC}` })
      .default([])
      .meta({ description: "Services that stay." }),
    claims: z
      .array(ClaimSchema)
      .max(MAX_CLAIMS, { error: `has too many entries: give at most ${MAX_CLAIMS}` })
      .default([])
      .meta({
        description:
          "Who may claim virtual addresses by labels of its tasks, as the master of endpoints tells of them. Default: nobody.",
      }),
    range: z
      .string()
      .refine(isCidr, { error: "is no block of addresses: give one, as in 10.77.0.0/16" })
      .optional()
      .meta({ description: "Where services with a name have their addresses." }),
    domain: z
      .string()
      .regex(/^[a-z0-9]([a-z0-9.-]{0,120}[a-z0-9])?$/, { error: "is no domain: give one, as in l4lb" })
      .default("l4lb")
      .meta({ description: "/shop/cart is cart.shop. and this in the file of hosts." }),
    hosts_file: z.string().max(4096).regex(/^\//, { error: "is no absolute path" }).optional().meta({
      description: "Names and addresses as /etc/hosts has them. Default: hosts in the instance's directory.",
    }),
    classes: z
      .array(z.string())
      .max(1000)
      .optional()
      .meta({ description: "Containers of which classes use services. Default: all." }),
    ...OPTIONS,
  })
  .default({ static: [], claims: [], domain: "l4lb" })
  .meta({ description: "Virtual addresses that lead to backends at connect(). Default: none." });

export interface StaticService extends ServiceOptions {
  vip: VipSpec;
  name?: string;
  protocol: Service["protocol"];
  backends: Backend[];
}

export interface VipClaimRule {
  match: Match;
  names: string[];
  addresses: string[];
}

/** Plain data, so that two can be compared by their JSON. */
export interface ServicesConfig extends ServiceOptions {
  static: StaticService[];
  claims: VipClaimRule[];
  range?: string;
  domain: string;
  hostsFile?: string;
  classes?: string[];
}

type OptionsInput = { [K in keyof typeof OPTIONS]?: z.output<(typeof OPTIONS)[K]> };

function toOptions(input: OptionsInput): ServiceOptions {
  const { choice, affinity, prefer_local, peer, no_backend, avoid } = input;
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(prefer_local === undefined ? {} : { preferLocal: prefer_local }),
    ...(peer === undefined ? {} : { peer }),
    ...(no_backend === undefined ? {} : { noBackend: no_backend }),
    ...(avoid === undefined ? {} : { avoid }),
  };
}

function toStatic(entry: z.output<typeof StaticSchema>): StaticService {
  const vip = parseVip(entry.vip) ?? { port: 0 };
  const name = vip.name ?? entry.name;
  return {
    vip,
    ...(name === undefined ? {} : { name }),
    protocol: entry.protocol,
    backends: entry.backends.flatMap((text) => parseBackend(text) ?? []),
    ...toOptions(entry),
  };
}

export function toServices(input: z.output<typeof ServicesSchema>): ServicesConfig {
  const { range, hosts_file, classes } = input;
  return {
    static: input.static.map(toStatic),
    claims: input.claims.map(({ match, names, addresses }) => ({ match: toMatch(match), names, addresses })),
    ...(range === undefined ? {} : { range }),
    domain: input.domain,
    ...(hosts_file === undefined ? {} : { hostsFile: hosts_file }),
    ...(classes === undefined ? {} : { classes }),
    ...toOptions(input),
  };
}

/** A container's use of the daemon's services. @returns undefined: none */
export function servicesFor(
  config: ServicesConfig,
  classes: readonly Membership[],
): ServicesPolicy | undefined {
  if (config.static.length === 0 && config.claims.length === 0) return undefined;
  const { classes: wanted } = config;
  // Whoever only claims to be in a class is not given what it gives.
  return !wanted || classes.some(({ name, claimed }) => !claimed && wanted.includes(name)) ? {} : undefined;
}

/** What no key alone shows. @param services, classes, trustedRoles any values of the keys */
export function serviceProblems(services: unknown, classes: unknown, trustedRoles: unknown): Problem[] {
  if (typeof services !== "object" || services === null) return [];
  const { static: entries, claims, range, classes: wanted } = services as Record<string, unknown>;
  const unknown = unknownClassIn(classes);
  const problems = asList(wanted).flatMap((name, i) => unknown(["services", "classes", i], name));
  const parsed = StaticSchema.array().safeParse(asList(entries));
  const all = parsed.success ? parsed.data.map(toStatic) : [];
  const placed = all.flatMap(({ vip, ...rest }): Service[] =>
    vip.address === undefined ? [] : [{ ...rest, address: vip.address, port: vip.port }],
  );
  const seen = new Map<string, number>();
  all.forEach(({ vip, protocol, ...rest }, i) => {
    const path = ["services", "static", i, "vip"];
    if (vip.name !== undefined && range === undefined)
      problems.push({
        path,
        message: "is a name, which has no address without a range: give services.range",
      });
    const key = JSON.stringify([vip, protocol]);
    const first = seen.get(key);
    if (first !== undefined)
      problems.push({ path, message: `is that of services.static[${first}] already: give both as one` });
    else seen.set(key, i);
    const address = vip.address ?? "192.0.2.1";
    const problem = serviceProblem({ ...rest, protocol, address, port: vip.port }, placed);
    if (problem !== undefined)
      problems.push({ path: ["services", "static", i], message: `is wrong: ${problem}` });
  });
  asList(claims).forEach((claim, i) => {
    if (typeof claim !== "object" || claim === null) return;
    const { match, names, addresses } = claim as Record<string, unknown>;
    if (asList(names).length === 0 && asList(addresses).length === 0)
      problems.push({
        path: ["services", "claims", i],
        message: "lets nobody claim anything: give names or addresses",
      });
    if (asList(names).length > 0 && range === undefined)
      problems.push({
        path: ["services", "claims", i, "names"],
        message: "have no addresses without a range: give services.range",
      });
    if (typeof match !== "object" || match === null) return;
    if (!isAnchored(toMatch(match)) && asList(trustedRoles).length === 0)
      problems.push({
        path: ["services", "claims", i, "match"],
        message:
          "is chosen by the framework's users alone, who could claim anything: give role or framework_id as well, or name the roles whose users are trusted in trusted_roles",
      });
  });
  return problems;
}

/** The service of an entry whose address is known. */
export function toService(
  { vip, name, protocol, backends, ...own }: StaticService,
  address: string,
  defaults: ServiceOptions,
): Service {
  return {
    ...(name === undefined ? {} : { name }),
    ...{ address, port: vip.port, protocol, backends },
    ...optionsOf(defaults),
    ...own,
  };
}

/** The options of a configuration alone. */
export function optionsOf(all: ServiceOptions): ServiceOptions {
  const { choice, affinity, preferLocal, peer, noBackend, avoid } = all;
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(preferLocal === undefined ? {} : { preferLocal }),
    ...(peer === undefined ? {} : { peer }),
    ...(noBackend === undefined ? {} : { noBackend }),
    ...(avoid === undefined ? {} : { avoid }),
  };
}
