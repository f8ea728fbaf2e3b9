/**
 * What the configuration file may say: keys, meaning, defaults. config/isolator.schema.json is generated from it, and
 * README.md, "Configuration", is the user's side.
 */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import { parseCidr } from "../features/addresses.js";
import {
  CONNECT_ERRNOS,
  CONNECT_PROTOCOLS,
  countRules,
  MAX_LIMIT,
  MAX_RULES,
  type ConnectionRule,
  type ConnectionsPolicy,
} from "../features/connections.js";
import { ESCAPE_MODES, type EscapeMode } from "../features/escape.js";
import { SOCKET_KINDS, type SocketKind, type SocketsPolicy } from "../features/sockets.js";
import {
  EPHEMERAL_MODES,
  EXTRA_PROTOCOLS,
  parsePorts,
  type EphemeralMode,
  type ExtraProtocol,
  type PortRange,
} from "../features/ports.js";
import { ClassesSchema, classProblems, toClasses, type ContainerClass } from "./classes.js";
import { filesProblems, FilesSchema, toFiles, type FilesRule } from "./files.js";
import { markingProblems, MarkingSchema, toMarking, type MarkingRule } from "./marking.js";
import { MATCH_KEYS, name, toMatch, type Match } from "./match.js";
import type { Problem } from "./problem.js";

/** Name of the instance where neither the file nor the command line gives one. */
export const DEFAULT_INSTANCE = "default";

const MAX_EXEMPTIONS = 1000;
const MAX_ROLES = 1000;

const SOCKET_TEXT: Record<SocketKind, string> = {
  raw: "SOCK_RAW of IPv4 and IPv6; ping sockets are none.",
  packet: "AF_PACKET: whole frames of the host's interfaces. Needs BPF LSM.",
  vsock: "AF_VSOCK: to a hypervisor and its other guests. Needs BPF LSM.",
  xdp: "AF_XDP: frames past the network stack. Needs BPF LSM.",
  received:
    "Sockets but unix and netlink ones that somebody outside of the container hands in. Needs BPF LSM.",
};

/** A port range in one text: the kernel's policy has room for one. */
function oneRange(text: string): PortRange | string {
  try {
    const [range, second] = parsePorts(text);
    if (range && !second) return range;
    return "has several ranges: give one, as in 31000-32000";
  } catch (error) {
    if (error instanceof IsolatorError) return error.message;
    throw error;
  }
}

const ExemptionMatch = z
  .strictObject({
    role: MATCH_KEYS.role,
    framework_id: MATCH_KEYS.framework_id,
    executor_id: name("Executor id; for a command task its task id. The framework chooses it.").optional(),
    labels: MATCH_KEYS.labels,
  })
  .meta({ description: "Which containers: all that is given here must hold. At least one key." });

const SocketsSchema = z
  .strictObject(
    Object.fromEntries(
      SOCKET_KINDS.map((kind) => [
        kind,
        z.enum(["allow", "deny"]).default("allow").meta({ description: SOCKET_TEXT[kind] }),
      ]),
    ) as Record<SocketKind, z.ZodDefault<z.ZodEnum<{ allow: "allow"; deny: "deny" }>>>,
  )
  .default(Object.fromEntries(SOCKET_KINDS.map((kind) => [kind, "allow"])) as Record<SocketKind, "allow">)
  .meta({ description: "Kinds of sockets that containers may not have." });

const ExemptionSchema = z
  .strictObject({
    match: ExemptionMatch,
    enforce: z.enum(["off", "audit"]).meta({
      description:
        "audit: report what would be denied and deny nothing. off: not even report it, only count it.",
    }),
  })
  .meta({ description: "Containers that are not enforced. The first entry that matches counts." });

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
          .string()
          .superRefine(readable(parsePorts))
          .optional()
          .meta({ description: "Ports and ranges in one text, as in 5432,8000-8010." }),
        protocol: z.enum(CONNECT_PROTOCOLS).optional().meta({ description: "Default: both." }),
      })
      .meta({ description: "Destinations: all that is given must hold; {} is every one." }),
    limit: z
      .union([Limit, z.literal("none")])
      .meta({ description: "Connections to each of these; none: not counted at all." }),
  })
  .meta({ description: "The first entry that fits a destination holds." });

/** A rule as the features know it. */
function toRule({ to, limit }: z.output<typeof ConnectionsSchema>): ConnectionRule {
  const { cidr, ports, protocol } = to;
  return {
    to: {
      ...(cidr === undefined ? {} : { cidr }),
      ...(ports === undefined ? {} : { ports: parsePorts(ports) }),
      ...(protocol === undefined ? {} : { protocol }),
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

/** The file as it is written. No transformation: its input is what the JSON schema describes. */
export const ConfigSchema = z
  .strictObject({
    instance: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, {
        error:
          "is not a name of an instance: give 1 to 64 letters, digits, '_' and '-', beginning with a letter or digit",
      })
      .optional()
      .meta({
        default: DEFAULT_INSTANCE,
        description:
          "Names the socket, the state, the pinned programs and the cgroup root: one daemon has one. --instance on the command line wins.",
      }),
    enforce: z.enum(["on", "audit"]).default("on").meta({
      description: "on: what is not allowed is refused. audit: it is reported and done.",
    }),
    ephemeral: z.enum(EPHEMERAL_MODES).default("allow").meta({
      description:
        "Ports that the kernel chooses. allow: all of it works. clients: bind(0) works, a TCP listener on such a port does not. deny: bind(0) is refused too.",
    }),
    allow_protocols: z.array(z.enum(EXTRA_PROTOCOLS)).default([]).meta({
      description:
        "Protocols with ports that no bind hook covers; their sockets are refused unless named here.",
    }),
    judge: z.enum(["all", "agent_range"]).default("all").meta({
      description:
        "all: every port that is not the container's is refused. agent_range: only ports inside of agent_ports; one outside of it that no container owns is free to all.",
    }),
    agent_ports: z
      .string()
      .superRefine((text, context) => {
        const range = oneRange(text);
        if (typeof range === "string") context.addIssue({ code: "custom", message: range });
      })
      .optional()
      .meta({
        description:
          "The range of the agent's ports resource, as in 31000-32000; one range. For judge: agent_range.",
      }),
    sockets: SocketsSchema,
    escape: z.enum(ESCAPE_MODES).optional().meta({
      default: "deny",
      description:
        "Ways out of the container's cgroup and into the isolator's programs. deny: refused where the kernel has BPF LSM; elsewhere what left is reported, and each container's event says what is not closed if deny is given here. allow: neither.",
    }),
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
    connections_errno: z.enum(CONNECT_ERRNOS).default("EAGAIN").meta({
      description: "What a connect() over a limit gives.",
    }),
    trusted_roles: z
      .array(name("Role."))
      .max(MAX_ROLES, { error: `has too many roles: give at most ${MAX_ROLES}` })
      .default([])
      .meta({
        description:
          "Roles whose users are believed what they write into labels and executor ids: an exemption by those alone holds for containers of these roles only.",
      }),
    exemptions: z
      .array(ExemptionSchema)
      .max(MAX_EXEMPTIONS, { error: `has too many entries: give at most ${MAX_EXEMPTIONS}` })
      .default([])
      .meta({ description: "Containers that are not enforced: the first entry that matches counts." }),
    classes: ClassesSchema,
    marking: MarkingSchema,
    files: FilesSchema,
  })
  .meta({
    title: "bpf-isolator",
    description: "Configuration of bpf-isolator serve: /etc/bpf-isolator/isolator.yaml",
  });

export type ConfigInput = z.output<typeof ConfigSchema>;

export interface Exemption extends Match {
  enforce: "off" | "audit";
}

/** The configuration as the program uses it. */
export interface Config {
  /** Undefined: the file does not name one. */
  instance?: string;
  enforce: "on" | "audit";
  ephemeral: EphemeralMode;
  allowProtocols: ExtraProtocol[];
  sockets: SocketsPolicy;
  /** Undefined: deny, with no word of what this kernel cannot refuse. */
  escape?: EscapeMode;
  /** The only ports that are judged; undefined: all. */
  judged?: PortRange;
  /** Undefined: not counted. */
  connections?: ConnectionsPolicy;
  trustedRoles: string[];
  exemptions: Exemption[];
  classes: ContainerClass[];
  marking: MarkingRule[];
  files: FilesRule[];
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function asMap(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/**
 * What no key alone shows.
 * @param value any, also one with other problems: these are looked for in what is there
 */
export function crossProblems(value: unknown): Problem[] {
  const { judge, agent_ports, trusted_roles, exemptions, classes, marking, files } = asMap(value);
  const problems: Problem[] = [];
  if (judge === "agent_range" && agent_ports === undefined) {
    problems.push({
      path: ["judge"],
      message: "agent_range needs agent_ports: give the agent's ports, as in agent_ports: 31000-32000",
    });
  }
  if (agent_ports !== undefined && (judge === undefined || judge === "all")) {
    problems.push({
      path: ["agent_ports"],
      message: "has no effect unless judge is agent_range: give judge: agent_range, or leave agent_ports out",
    });
  }
  asList(exemptions).forEach((exemption, i) => {
    const { match } = asMap(exemption);
    if (typeof match !== "object" || match === null) return;
    const path = ["exemptions", i, "match"];
    const { role, framework_id, executor_id, labels } = match as Record<string, unknown>;
    if (role !== undefined || framework_id !== undefined || asList(trusted_roles).length > 0) {
      if (Object.keys(match).length > 0) return;
    }
    if (executor_id !== undefined || labels !== undefined) {
      problems.push({
        path,
        message:
          "labels and executor_id are chosen by the framework's users, who could exempt themselves: give role or " +
          "framework_id as well, or name the roles whose users are trusted in trusted_roles",
      });
    } else if (Object.keys(match).length === 0) {
      problems.push({
        path,
        message:
          "is empty, which would match every container: give role, framework_id, executor_id or labels",
      });
    }
  });
  return [
    ...problems,
    ...classProblems(classes),
    ...markingProblems(marking, classes),
    ...filesProblems(files, classes),
  ];
}

function toConnections(input: ConfigInput): { connections?: ConnectionsPolicy } {
  const { connections, connections_total: total, connections_errno: errno } = input;
  if (connections === undefined && total === undefined) return {};
  const rules = (connections ?? []).map(toRule);
  return {
    connections: {
      ...(total === undefined ? {} : { total }),
      errno,
      rules,
    },
  };
}

/** @param input what ConfigSchema accepts and crossProblems() finds nothing in */
export function toConfig(input: ConfigInput): Config {
  const judged = input.judge === "agent_range" ? oneRange(input.agent_ports ?? "") : undefined;
  return {
    ...(input.instance === undefined ? {} : { instance: input.instance }),
    enforce: input.enforce,
    ephemeral: input.ephemeral,
    allowProtocols: [...new Set(input.allow_protocols)],
    // Only what is denied, so that the same rules are the same policy.
    sockets: Object.fromEntries(Object.entries(input.sockets).filter(([, verdict]) => verdict === "deny")),
    ...(input.escape === undefined ? {} : { escape: input.escape }),
    ...(typeof judged === "object" ? { judged } : {}),
    ...toConnections(input),
    trustedRoles: input.trusted_roles,
    exemptions: input.exemptions.map(({ match, enforce }) => ({
      ...toMatch(match),
      enforce,
    })),
    classes: toClasses(input.classes),
    marking: toMarking(input.marking),
    files: toFiles(input.files),
  };
}
