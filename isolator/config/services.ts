/** `services` of the configuration: virtual addresses, who may claim them by labels, and what holds for them. */
import { z } from "zod";
import { parseCidr } from "../features/addresses.js";
import type { Membership } from "../features/classes.js";
import { ENDPOINT_PROTOCOLS } from "../features/endpoints.js";
import {
  isServiceName,
  MAX_WEIGHT,
  type Backend,
  type Service,
  type ServiceOptions,
  type ServicesPolicy,
} from "../features/services.js";
import { MATCH_KEYS, toMatch, type Match } from "./match.js";
import { optionsOf, SERVICE_OPTIONS, toOptions } from "./service-options.js";
import { parseBackend, parseVip, type VipSpec } from "./service-texts.js";

const MAX_STATIC = 10_000;
const MAX_STATIC_BACKENDS = 16_384;
const MAX_CLAIMS = 1000;
const MAX_PATTERNS = 100;
const NAME_PATTERN = /^(\/[a-z0-9-]+|\/\*)*(\/\*\*)?$/;

export const StaticSchema = z
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
    ...SERVICE_OPTIONS,
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
    ...SERVICE_OPTIONS,
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

export function toStatic(entry: z.output<typeof StaticSchema>): StaticService {
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
