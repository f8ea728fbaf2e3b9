/** `bandwidth` of the configuration: how it is written, and what a container gets by it. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import {
  FULL_MODES,
  MAX_RATE,
  MAX_WEIGHT,
  MIN_RATE,
  parseBurst,
  parseRate,
  parseUnit,
  type BandwidthPolicy,
  type FullMode,
  type HostBandwidth,
  type Rate,
} from "../features/bandwidth.js";
import type { Membership } from "../features/classes.js";
import { unknownClassIn } from "./classes.js";
import type { ContainerFacts } from "./facts.js";
import { isAllocatedTo } from "./match.js";
import type { Problem } from "./problem.js";

const MAX_RULES = 1000;

/** Text that is read by a function that says what is wrong with it. */
function text(parse: (text: string) => unknown, description: string): z.ZodOptional<z.ZodString> {
  return z
    .string({ error: "is not text: give a number with a unit, as in 100Mbit" })
    .superRefine((value, context) => {
      try {
        parse(value);
      } catch (error) {
        if (!(error instanceof IsolatorError)) throw error;
        context.addIssue({ code: "custom", message: error.message });
      }
    })
    .optional()
    .meta({ description });
}

const rate = (description: string): z.ZodOptional<z.ZodString> => text(parseRate, description);

const RATES = {
  egress: rate("What may be sent, as in 100Mbit (bits a second) or 12.5MB/s (bytes a second)."),
  ingress: rate("What may be received."),
  egress_burst: text(parseBurst, "Bytes that may be sent at once after a pause, as in 64KiB."),
  ingress_burst: text(parseBurst, "Bytes that may be received at once after a pause."),
};

const PER_CPU = {
  egress: rate("What may be sent for each whole CPU of the container's resources."),
  ingress: rate("What may be received for each."),
  minimum: rate("Never less than this."),
  maximum: rate("Never more than this."),
};

const Weight = z
  .int({ error: `is no weight: give a whole number from 1 to ${MAX_WEIGHT}` })
  .min(1, { error: `is below 1: give 1 to ${MAX_WEIGHT}` })
  .max(MAX_WEIGHT, { error: `is above ${MAX_WEIGHT}` });

export const BandwidthSchema = z
  .strictObject({
    default: z
      .strictObject(RATES)
      .optional()
      .meta({ description: "Of containers that nothing else is for." }),
    per_cpu: z.strictObject(PER_CPU).optional().meta({
      description: "By the container's CPUs, instead of the default: as port_mapping of Mesos 1.12 has it.",
    }),
    classes: z
      .array(
        z
          .strictObject({
            class: z.string().meta({ description: "Class of the containers that it is for." }),
            ...RATES,
            weight: Weight.optional().meta({ description: "Share of the host's budget. Default: 1." }),
          })
          .meta({ description: "Limits of a class: the first entry that is for a container counts." }),
      )
      .max(MAX_RULES, { error: `has too many entries: give at most ${MAX_RULES}` })
      .default([])
      .meta({
        description:
          "Limits of classes, before per_cpu and the default. A class that is only claimed tightens.",
      }),
    resource_unit: text(parseUnit, "What one of the scalar resource network_bandwidth is. Default: 1Mbit."),
    resource_for: z.enum(["egress", "ingress", "both"]).default("egress").meta({
      description: "Directions that the resource network_bandwidth limits; it comes before all else.",
    }),
    loopback: z.enum(["ignore", "count"]).default("ignore").meta({
      description: "Whether what goes through the loopback device counts.",
    }),
    on_full: z.enum(FULL_MODES).default("drop").meta({
      description:
        "A datagram over the limit. drop: as a full queue does, the send succeeds, or is ENOBUFS with IP_RECVERR. eperm: EPERM. eagain: as drop, but sendmsg() of an unconnected socket is EAGAIN.",
    }),
    departures: z.boolean().default(false).meta({
      description: "On devices with sch_fq: departure times of packets instead of pacing and drops.",
    }),
    host: z.strictObject(RATES).optional().meta({
      description:
        "A budget for all containers together, shared by weight; what one leaves, others may have.",
    }),
  })
  .optional()
  .meta({
    description:
      "What containers may send and receive in a second, IP headers included. Labels network_egress_rate and network_ingress_rate of a task make it less; in a trusted role also more.",
  });

type Input = NonNullable<z.output<typeof BandwidthSchema>>;

interface Limits {
  egress?: Rate;
  ingress?: Rate;
}

interface ClassLimits extends Limits {
  class: string;
  weight?: number;
}

export interface BandwidthConfig {
  fallback: Limits;
  perCpu?: { egress?: number; ingress?: number; minimum: number; maximum: number };
  classes: ClassLimits[];
  /** Bytes/s. */
  resourceUnit: number;
  resourceFor: "egress" | "ingress" | "both";
  loopback: boolean;
  onFull: FullMode;
  departures: boolean;
  host?: HostBandwidth;
}

interface RatesInput {
  egress?: string | undefined;
  ingress?: string | undefined;
  egress_burst?: string | undefined;
  ingress_burst?: string | undefined;
}

function toRate(text: string | undefined, burst: string | undefined): Rate | undefined {
  if (text === undefined) return undefined;
  return { rate: parseRate(text), ...(burst === undefined ? {} : { burst: parseBurst(burst) }) };
}

function toLimits({ egress, ingress, egress_burst, ingress_burst }: RatesInput): Limits {
  const out = toRate(egress, egress_burst);
  const into = toRate(ingress, ingress_burst);
  return { ...(out ? { egress: out } : {}), ...(into ? { ingress: into } : {}) };
}

function optional<K extends string>(name: K, text: string | undefined): Partial<Record<K, number>> {
  return text === undefined ? {} : ({ [name]: parseRate(text) } as Record<K, number>);
}

export function toBandwidth(input: Input): BandwidthConfig {
  const { per_cpu: perCpu } = input;
  return {
    fallback: toLimits(input.default ?? {}),
    ...(perCpu
      ? {
          perCpu: {
            ...optional("egress", perCpu.egress),
            ...optional("ingress", perCpu.ingress),
            minimum: perCpu.minimum === undefined ? MIN_RATE : parseRate(perCpu.minimum),
            maximum: perCpu.maximum === undefined ? MAX_RATE : parseRate(perCpu.maximum),
          },
        }
      : {}),
    classes: input.classes.map(({ class: name, weight, ...rates }) => ({
      class: name,
      ...toLimits(rates),
      ...(weight === undefined ? {} : { weight }),
    })),
    resourceUnit: input.resource_unit === undefined ? 125_000 : parseUnit(input.resource_unit),
    resourceFor: input.resource_for,
    loopback: input.loopback === "count",
    onFull: input.on_full,
    departures: input.departures,
    ...(input.host ? { host: toLimits(input.host) } : {}),
  };
}

/** Whether the minimum is above the maximum; no where one is no rate, which is said elsewhere. */
function isTurned(perCpu: unknown): perCpu is { minimum: string; maximum: string } {
  if (typeof perCpu !== "object" || perCpu === null) return false;
  const { minimum, maximum } = perCpu as Record<string, unknown>;
  if (typeof minimum !== "string" || typeof maximum !== "string") return false;
  try {
    return parseRate(minimum) > parseRate(maximum);
  } catch {
    return false;
  }
}

/** What no key alone shows. @param bandwidth any value of the key @param classes any value of `classes` */
export function bandwidthProblems(bandwidth: unknown, classes: unknown): Problem[] {
  if (typeof bandwidth !== "object" || bandwidth === null) return [];
  const problems: Problem[] = [];
  const bursts = (value: unknown, path: (string | number)[]): void => {
    if (typeof value !== "object" || value === null) return;
    const keys = value as Record<string, unknown>;
    for (const side of ["egress", "ingress"]) {
      if (keys[`${side}_burst`] !== undefined && keys[side] === undefined)
        problems.push({ path: [...path, `${side}_burst`], message: `has no effect without ${side}` });
    }
  };
  const { default: fallback, host, classes: rules, per_cpu: perCpu } = bandwidth as Record<string, unknown>;
  bursts(fallback, ["bandwidth", "default"]);
  bursts(host, ["bandwidth", "host"]);
  if (isTurned(perCpu)) {
    const message = `${perCpu.minimum} is above maximum, which is ${perCpu.maximum}: give at most that`;
    problems.push({ path: ["bandwidth", "per_cpu", "minimum"], message });
  }
  if (!Array.isArray(rules)) return problems;
  const unknown = unknownClassIn(classes);
  rules.forEach((rule: unknown, i) => {
    bursts(rule, ["bandwidth", "classes", i]);
    const name = typeof rule === "object" && rule !== null ? (rule as { class?: unknown }).class : undefined;
    problems.push(...unknown(["bandwidth", "classes", i, "class"], name));
  });
  return problems;
}

function perCpu(
  config: BandwidthConfig,
  side: "egress" | "ingress",
  cpus: number | undefined,
): Rate | undefined {
  const each = config.perCpu?.[side];
  if (!config.perCpu || each === undefined || cpus === undefined) return undefined;
  const { minimum, maximum } = config.perCpu;
  return { rate: Math.min(Math.max(each * Math.floor(cpus), minimum), maximum) };
}

const lower = (a: Rate | undefined, b: Rate | undefined): Rate | undefined =>
  !a || (b && b.rate < a.rate) ? b : a;

/** What is set for one direction, and a label makes of it. */
function limitOf(
  config: BandwidthConfig,
  side: "egress" | "ingress",
  facts: ContainerFacts,
  classes: readonly Membership[],
  trusted: boolean,
): Rate | undefined {
  const { networkBandwidth, cpus, rateLabels, nested } = facts;
  const label = rateLabels?.[side];
  const asked = label === undefined ? undefined : { rate: label };
  const inClass = (claimed: boolean): Rate | undefined =>
    config.classes.find(({ class: name }) =>
      classes.some((membership) => membership.name === name && Boolean(membership.claimed) === claimed),
    )?.[side];
  const applies = config.resourceFor === "both" || config.resourceFor === side;
  const resource =
    networkBandwidth !== undefined && applies
      ? { rate: Math.round(Math.min(Math.max(networkBandwidth * config.resourceUnit, MIN_RATE), MAX_RATE)) }
      : undefined;
  // What holds for its parent holds for a nested one already.
  const given = nested
    ? resource
    : (resource ?? inClass(false) ?? perCpu(config, side, cpus) ?? config.fallback[side]);
  if (trusted && asked) return asked;
  return lower(lower(given, nested ? undefined : inClass(true)), asked);
}

/**
 * What a container gets; undefined: neither a limit nor a share of the host's budget.
 * @param trustedRoles whose users may give themselves more by a label
 */
export function bandwidthFor(
  config: BandwidthConfig | undefined,
  facts: ContainerFacts,
  classes: readonly Membership[],
  trustedRoles: readonly string[],
): BandwidthPolicy | undefined {
  if (!config) return undefined;
  const trusted = isAllocatedTo(facts, trustedRoles);
  const egress = limitOf(config, "egress", facts, classes, trusted);
  const ingress = limitOf(config, "ingress", facts, classes, trusted);
  const rule = config.classes.find(({ class: name }) => classes.some((m) => m.name === name && !m.claimed));
  const weight = config.host && !facts.nested ? (rule?.weight ?? 1) : undefined;
  if (!egress && !ingress && weight === undefined) return undefined;
  return {
    ...(egress ? { egress } : {}),
    ...(ingress ? { ingress } : {}),
    ...(weight === undefined ? {} : { weight }),
    ...(config.onFull === "drop" ? {} : { onFull: config.onFull }),
    ...(config.loopback ? { loopback: true } : {}),
    ...(config.departures ? { departures: true } : {}),
    ...(facts.networkBandwidth === undefined && facts.cpus === undefined
      ? {}
      : {
          asked: {
            ...(facts.networkBandwidth === undefined ? {} : { resource: facts.networkBandwidth }),
            ...(facts.cpus === undefined ? {} : { cpus: facts.cpus }),
          },
        }),
  };
}
