/** `connections` of the configuration, and what labels of a task may change of it. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import { parseCidr } from "../features/addresses.js";
import {
  CONNECT_ERRNOS,
  CONNECT_PROTOCOLS,
  countRules,
  MAX_LIMIT,
  MAX_RULES,
  type ConnectErrno,
  type ConnectionRule,
  type ConnectionsPolicy,
} from "../features/connections.js";
import { parsePorts } from "../features/ports.js";
import { isServiceName } from "../features/services.js";
import type { ContainerFacts } from "./facts.js";
import { isAllocatedTo } from "./match.js";

/** What `check` throws for a person, as a problem of the value. */
function readable(check: (text: string) => unknown): (text: string, context: z.RefinementCtx) => void {
  return (text, context) => {
    try {
      check(text);
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
    }
  };
}

const Limit = z.number().int().min(1).max(MAX_LIMIT);

const ConnectionsSchema = z
  .strictObject({
    to: z
      .strictObject({
        cidr: z
          .string()
          .superRefine(readable(parseCidr))
          .optional()
          .meta({ description: "A block such as 10.0.0.0/8 or fd00::/8, or one address." }),
        ports: z
          .union([z.string(), z.array(z.union([z.string(), z.number().int().min(0).max(65535)])).max(64)])
          .transform((ports) => (typeof ports === "string" ? ports : ports.join(",")))
          .superRefine(readable(parsePorts))
          .optional()
          .meta({ description: "Ports and ranges, as in 5432,8000-8010 or [5432, 8000-8010]." }),
        protocol: z.enum(CONNECT_PROTOCOLS).optional().meta({ description: "Default: both." }),
        service: z
          .string()
          .refine(isServiceName, { error: "is no name of a service: give one, as in /web" })
          .optional()
          .meta({ description: "Only where they are reached by this service." }),
      })
      .meta({ description: "Destinations: all that is given must hold; {} is every one." }),
    limit: z
      .union([Limit, z.literal("none")])
      .meta({ description: "Connections to each of these; none: not counted at all." }),
  })
  .meta({ description: "The first entry that fits a destination holds." });

/** A rule as the features know it. */
function toRule({ to, limit }: z.output<typeof ConnectionsSchema>): ConnectionRule {
  const { cidr, ports, protocol, service } = to;
  return {
    to: {
      ...(cidr === undefined ? {} : { cidr }),
      ...(ports === undefined ? {} : { ports: parsePorts(ports) }),
      ...(protocol === undefined ? {} : { protocol }),
      ...(service === undefined ? {} : { service }),
    },
    limit,
  };
}

/** Kernel's rules that entries take; what has other problems takes none. */
function rangesIn(rules: readonly z.output<typeof ConnectionsSchema>[]): number {
  try {
    return countRules(rules.map(toRule));
  } catch (error) {
    if (error instanceof IsolatorError) return 0;
    throw error;
  }
}

/** The agent's own address takes one more. */
const RULES_OF_FILE = MAX_RULES - 1;

/** Keys of the file. */
export const CONNECTION_KEYS = {
  connections: z
    .array(ConnectionsSchema)
    .refine((rules) => rules.length <= RULES_OF_FILE, {
      error: `has too many entries: give at most ${RULES_OF_FILE}`,
    })
    .refine((rules) => rules.length > RULES_OF_FILE || rangesIn(rules) <= RULES_OF_FILE, {
      error: `has too many port ranges: at most ${RULES_OF_FILE} in all`,
    })
    .optional()
    .meta({
      description: "How many connections a container may hold to each destination. Default: any number.",
    }),
  connections_total: Limit.optional().meta({
    description: "How many it may hold in all. Default: any number.",
  }),
  connections_ports: Limit.optional().meta({
    description:
      "How many ports it may hold that the kernel chooses: of TCP connections and bind(0), and of UDP sockets. Default: any number.",
  }),
  connections_fair: z.enum(["on", "off"]).default("off").meta({
    description:
      "on: no container gets more connections to a destination than the host has ports left for it, as the daemon saw last, nor more than half of them.",
  }),
  connections_errno: z.enum(CONNECT_ERRNOS).default("EAGAIN").meta({
    description: "What a connect() over a limit gives.",
  }),
};

interface ConnectionsInput {
  connections?: z.output<typeof ConnectionsSchema>[] | undefined;
  connections_total?: number | undefined;
  connections_ports?: number | undefined;
  connections_fair: "on" | "off";
  connections_errno: ConnectErrno;
}

export function toConnections(input: ConnectionsInput): { connections?: ConnectionsPolicy } {
  const { connections, connections_total: total, connections_ports: ports, connections_errno: errno } = input;
  const fair = input.connections_fair === "on";
  if (connections === undefined && total === undefined && ports === undefined && !fair) return {};
  const rules = (connections ?? []).map(toRule);
  return {
    connections: {
      ...(total === undefined ? {} : { total }),
      ...(ports === undefined ? {} : { ports }),
      ...(fair ? { fair } : {}),
      ...{ errno, rules },
    },
  };
}

/** Keys of the labels with which a task asks for limits of its own. */
export const LIMIT_LABELS = {
  max: "bpf-isolator.connections",
  total: "bpf-isolator.connections_total",
  ports: "bpf-isolator.connections_ports",
} as const;
type LimitLabel = keyof typeof LIMIT_LABELS;

function parseLimit(text: string): number | undefined {
  const value = /^[1-9][0-9]{0,9}$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= MAX_LIMIT ? value : undefined;
}

/** The least of those with the key; what is no number is passed over. */
function asked({ labels }: ContainerFacts, label: LimitLabel): number | undefined {
  const values = labels.flatMap(([key, value]) =>
    key === LIMIT_LABELS[label] ? (parseLimit(value) ?? []) : [],
  );
  return values.length > 0 ? Math.min(...values) : undefined;
}

/** Labels that ask for a limit and give none, in words. */
export function badLimits({ labels }: ContainerFacts): string[] {
  const keys: readonly string[] = Object.values(LIMIT_LABELS);
  return labels.flatMap(([key, value]) =>
    keys.includes(key) && parseLimit(value) === undefined
      ? [`its label ${key} is none: give a number from 1 to ${MAX_LIMIT}`]
      : [],
  );
}

/**
 * The configuration's limits, with what a task's labels ask for: less for whomever, more for containers of trusted roles
 * only. What the configuration does not count stays so.
 * @param trustedRoles whose users are believed
 */
export function limitsFor(
  configured: ConnectionsPolicy | undefined,
  errno: ConnectErrno,
  facts: ContainerFacts,
  trustedRoles: readonly string[],
): ConnectionsPolicy | undefined {
  const [max, total, ports] = [asked(facts, "max"), asked(facts, "total"), asked(facts, "ports")];
  if (max === undefined && total === undefined && ports === undefined) return configured;
  const trusted = isAllocatedTo(facts, trustedRoles);
  const change = (limit: number | undefined, wanted: number): number =>
    trusted || limit === undefined ? wanted : Math.min(limit, wanted);
  const policy = configured ?? { errno };
  return {
    ...policy,
    ...(max === undefined
      ? {}
      : {
          max: change(policy.max, max),
          rules: (policy.rules ?? []).map((rule) =>
            rule.limit === "none" ? rule : { ...rule, limit: change(rule.limit, max) },
          ),
        }),
    ...(total === undefined ? {} : { total: change(policy.total, total) }),
    ...(ports === undefined ? {} : { ports: change(policy.ports, ports) }),
  };
}
