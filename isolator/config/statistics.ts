/** `statistics` and `operator` of the configuration: what is measured of containers, and where it is shown. */
import { isIP } from "node:net";
import { z } from "zod";
import type { RateOptions } from "../features/rates.js";
import type { Problem } from "./problem.js";

/** Seconds. */
const MAX_INTERVAL = 60;
const MAX_WINDOW = 3600;
/** As Mesos's network/port_mapping has it: its shortest. */
const MIN_RATE_INTERVAL = 0.02;
const MAX_SAMPLES = 10_000;

export const DEFAULT_OPERATOR_ADDRESS = "127.0.0.1:5052";
/** In place of an address: no server. */
const NO_ADDRESS = "off";
const MAX_HOSTS = 100;

const RatesSchema = z
  .strictObject({
    window: z.number().positive().max(MAX_WINDOW).meta({ description: "Seconds that percentiles are of." }),
    interval: z
      .number()
      .min(MIN_RATE_INTERVAL)
      .max(MAX_WINDOW)
      .meta({ description: "Seconds between two samples." }),
  })
  .meta({
    description: "Percentiles of packet and byte rates (net_rate_statistics). Default: not sampled.",
  });

const DEFAULT_INTERVAL = 10;

export const StatisticsSchema = z
  .strictObject({
    interval: z.number().min(1).max(MAX_INTERVAL).default(DEFAULT_INTERVAL).meta({
      description:
        "Seconds between two passes over the TCP sockets of the host, by which timewait, round trip times and segments are known.",
    }),
    rates: RatesSchema.optional(),
  })
  .default({ interval: DEFAULT_INTERVAL })
  .meta({ description: "What is measured of containers' traffic besides what is always counted." });

/** "127.0.0.1:5052", "[::1]:5052" */
const ADDRESS = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]+)\]):(\d{1,5})$/;

export const OperatorSchema = z
  .strictObject({
    address: z
      .string()
      .refine((text) => text === NO_ADDRESS || parseAddress(text) !== undefined, {
        error: "is no address with a port: give one as 127.0.0.1:5052 or [::1]:5052, or off",
      })
      .optional()
      .meta({
        default: DEFAULT_OPERATOR_ADDRESS,
        description: `IP address and port of the operator's HTTP server, or off. Only where none is given, the next ports are tried when ${DEFAULT_OPERATOR_ADDRESS} is taken.`,
      }),
    hosts: z.array(z.string().min(1).max(255)).max(MAX_HOSTS).default([]).meta({
      description:
        "Names that requests may give in Host besides the server's address and localhost, without a port.",
    }),
    token_file: z.string().min(1).optional().meta({
      description:
        "File with a token, which all requests must have then: as in Authorization: Bearer TOKEN, or as the password that a browser asks for. Read at each request.",
    }),
  })
  .default({ hosts: [] })
  .meta({ description: "The operator's HTTP server, which only shows." });

export interface OperatorAddress {
  ip: string;
  port: number;
}

export interface OperatorConfig {
  /** Undefined: the default, or one of the next ports; "off": no server. */
  address?: OperatorAddress | "off";
  hosts: string[];
  tokenFile?: string;
}

export interface StatisticsConfig {
  /** Seconds between two passes. */
  interval: number;
  /** Undefined: not sampled. */
  rates?: RateOptions;
}

/** @returns undefined where it is none */
export function parseAddress(text: string): OperatorAddress | undefined {
  const [, v4, v6, port] = ADDRESS.exec(text) ?? [];
  const ip = v4 ?? v6;
  if (ip === undefined || isIP(ip) === 0 || Number(port) > 65535 || Number(port) === 0) return undefined;
  return { ip, port: Number(port) };
}

/** What no key alone shows. */
export function statisticsProblems(statistics: unknown): Problem[] {
  const rates = (statistics as { rates?: { window?: unknown; interval?: unknown } } | null | undefined)
    ?.rates;
  const { window, interval } = rates ?? {};
  if (typeof window !== "number" || typeof interval !== "number") return [];
  const path = ["statistics", "rates", "window"];
  if (window < 2 * interval) {
    return [{ path, message: "is too short: give two intervals at least, as percentiles need two samples" }];
  }
  if (window / interval > MAX_SAMPLES) {
    return [{ path, message: `has room for too many samples: give at most ${MAX_SAMPLES} intervals` }];
  }
  return [];
}

export function toOperator(input: z.output<typeof OperatorSchema>): OperatorConfig {
  const { address, hosts, token_file: tokenFile } = input;
  const parsed = address === undefined || address === NO_ADDRESS ? address : parseAddress(address);
  return {
    ...(parsed === undefined ? {} : { address: parsed }),
    hosts,
    ...(tokenFile === undefined ? {} : { tokenFile }),
  };
}

export function toStatistics({ interval, rates }: z.output<typeof StatisticsSchema>): StatisticsConfig {
  return { interval, ...(rates ? { rates } : {}) };
}
