/**
 * What the configuration file may say: keys, meaning, defaults. config/isolator.schema.json is generated from it, and
 * README.md, "Configuration", is the user's side.
 */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import type { ConnectErrno, ConnectionsPolicy } from "../features/connections.js";
import { ESCAPE_MODES, type EscapeMode } from "../features/escape.js";
import { passesRules, SOCKET_KINDS, type SocketKind, type SocketsPolicy } from "../features/sockets.js";
import {
  EPHEMERAL_MODES,
  EXTRA_PROTOCOLS,
  parsePorts,
  type EphemeralMode,
  type ExtraProtocol,
  type PortRange,
} from "../features/ports.js";
import { bandwidthProblems, BandwidthSchema, toBandwidth, type BandwidthConfig } from "./bandwidth.js";
import { AgentApiSchema, toAgentApi, type AgentApi } from "./agent-api.js";
import { CgroupSchema, toCgroup, type CgroupConfig } from "./cgroup.js";
import { ClassesSchema, classProblems, toClasses, type ContainerClass } from "./classes.js";
import {
  EgressDefaultSchema,
  EgressErrnoSchema,
  EgressExceptionsSchema,
  EgressExistingSchema,
  egressProblems,
  EgressSchema,
  toEgressRules,
  type EgressConfig,
} from "./egress.js";
import { filesProblems, FilesSchema, toFiles, type FilesRule } from "./files.js";
import { CONNECTION_KEYS, toConnections } from "./connections.js";
import { endpointProblems, EndpointsSchema, toEndpoints, type EndpointsConfig } from "./endpoints.js";
import {
  MarkingDevicesSchema,
  markingProblems,
  MarkingSchema,
  toMarking,
  type MarkingRule,
} from "./marking.js";
import { MATCH_KEYS, name, toMatch, type Match } from "./match.js";
import type { Problem } from "./problem.js";
import {
  OperatorSchema,
  statisticsProblems,
  StatisticsSchema,
  toOperator,
  toStatistics,
  type OperatorConfig,
  type StatisticsConfig,
} from "./statistics.js";
import { serviceProblems, ServicesSchema, toServices, type ServicesConfig } from "./services.js";
import { RemapSchema, type RemapMode } from "./remap.js";
import { ViolationsSchema, type ViolationRule } from "./violations.js";

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

const DEFAULT_TEXT = Object.fromEntries(
  SOCKET_KINDS.map((kind) => [
    kind,
    passesRules(kind) ? "allow, and deny for a container with rules of egress" : "allow",
  ]),
) as Record<SocketKind, string>;

const SocketsSchema = z
  .strictObject(
    Object.fromEntries(
      SOCKET_KINDS.map((kind) => [
        kind,
        z
          .enum(["allow", "deny"])
          .optional()
          .meta({ description: `${SOCKET_TEXT[kind]} Default: ${DEFAULT_TEXT[kind]}.` }),
      ]),
    ) as Record<SocketKind, z.ZodOptional<z.ZodEnum<{ allow: "allow"; deny: "deny" }>>>,
  )
  .default({})
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
    net_raw: z.enum(["keep", "take"]).default("keep").meta({
      description:
        "take: where sockets denies raw or packet sockets and the kernel cannot refuse all of them, containers are launched without CAP_NET_RAW.",
    }),
    escape: z.enum(ESCAPE_MODES).optional().meta({
      default: "deny",
      description:
        "Ways out of the container's cgroup and into the isolator's programs. deny: refused where the kernel has BPF LSM; elsewhere what left is reported, and each container's event says what is not closed if deny is given here. allow: neither.",
    }),
    ...CONNECTION_KEYS,
    remap: RemapSchema,
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
    marking_devices: MarkingDevicesSchema,
    bandwidth: BandwidthSchema,
    statistics: StatisticsSchema,
    operator: OperatorSchema,
    files: FilesSchema,
    endpoints: EndpointsSchema,
    egress: EgressSchema,
    egress_default: EgressDefaultSchema,
    egress_errno: EgressErrnoSchema,
    egress_exceptions: EgressExceptionsSchema,
    egress_existing: EgressExistingSchema,
    services: ServicesSchema,
    violations: ViolationsSchema.optional(),
    agent_api: AgentApiSchema.optional(),
    cgroup: CgroupSchema,
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
  /** Whether containers lose CAP_NET_RAW where nothing else refuses the sockets that `sockets` denies. */
  netRaw: "keep" | "take";
  /** Undefined: deny, with no word of what this kernel cannot refuse. */
  escape?: EscapeMode;
  /** The only ports that are judged; undefined: all. */
  judged?: PortRange;
  /** Undefined: not counted unless a label asks for it. */
  connections?: ConnectionsPolicy;
  /** What a connect() over a limit gives. */
  connectErrno: ConnectErrno;
  remap: RemapMode;
  trustedRoles: string[];
  exemptions: Exemption[];
  classes: ContainerClass[];
  marking: MarkingRule[];
  /** Network devices on which DSCPs are put right. */
  markingDevices: string[];
  /** Undefined: nothing is limited. */
  bandwidth?: BandwidthConfig;
  statistics: StatisticsConfig;
  operator: OperatorConfig;
  files: FilesRule[];
  endpoints: EndpointsConfig;
  egress: EgressConfig;
  services: ServicesConfig;
  /** Undefined: what is refused is refused, and nothing more. */
  violations?: ViolationRule;
  /** Undefined: the agent is not asked. */
  agentApi?: AgentApi;
  cgroup: CgroupConfig;
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
  const keys = asMap(value);
  const { judge, agent_ports, trusted_roles, exemptions, classes, marking, files, endpoints, egress } = keys;
  const { statistics, bandwidth, services } = keys;
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
    ...bandwidthProblems(bandwidth, classes),
    ...statisticsProblems(statistics),
    ...filesProblems(files, classes),
    ...endpointProblems(endpoints, classes),
    ...egressProblems(egress, classes),
    ...serviceProblems(services, classes, trusted_roles),
  ];
}

/** @param input what ConfigSchema accepts and crossProblems() finds nothing in */
export function toConfig(input: ConfigInput): Config {
  const judged = input.judge === "agent_range" ? oneRange(input.agent_ports ?? "") : undefined;
  return {
    ...(input.instance === undefined ? {} : { instance: input.instance }),
    enforce: input.enforce,
    ephemeral: input.ephemeral,
    allowProtocols: [...new Set(input.allow_protocols)],
    sockets: Object.fromEntries(
      SOCKET_KINDS.flatMap((kind) => {
        const verdict = input.sockets[kind];
        return verdict === undefined ? [] : [[kind, verdict]];
      }),
    ),
    netRaw: input.net_raw,
    ...(input.escape === undefined ? {} : { escape: input.escape }),
    ...(typeof judged === "object" ? { judged } : {}),
    ...toConnections(input),
    connectErrno: input.connections_errno,
    remap: input.remap,
    trustedRoles: input.trusted_roles,
    exemptions: input.exemptions.map(({ match, enforce }) => ({
      ...toMatch(match),
      enforce,
    })),
    classes: toClasses(input.classes),
    marking: toMarking(input.marking),
    markingDevices: input.marking_devices,
    ...(input.bandwidth ? { bandwidth: toBandwidth(input.bandwidth) } : {}),
    statistics: toStatistics(input.statistics),
    operator: toOperator(input.operator),
    files: toFiles(input.files),
    endpoints: toEndpoints(input.endpoints),
    egress: {
      rules: toEgressRules(input.egress),
      byDefault: input.egress_default,
      errno: input.egress_errno,
      exceptions: input.egress_exceptions,
      existing: input.egress_existing,
    },
    services: toServices(input.services),
    ...(input.violations === undefined ? {} : { violations: input.violations }),
    ...(input.agent_api === undefined ? {} : { agentApi: toAgentApi(input.agent_api) }),
    cgroup: toCgroup(input.cgroup),
  };
}
