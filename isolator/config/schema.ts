/**
 * What the configuration file may say: keys, meaning, defaults. config/isolator.schema.json is generated from it, and
 * README.md, "Configuration", is the user's side.
 */
import { z } from "zod";
import type { ConnectErrno, ConnectionsPolicy } from "../features/connections.js";
import { ESCAPE_MODES, type EscapeMode } from "../features/escape.js";
import {
  EPHEMERAL_MODES,
  EXTRA_PROTOCOLS,
  type EphemeralMode,
  type ExtraProtocol,
  type PortRange,
} from "../features/ports.js";
import type { SocketsPolicy } from "../features/sockets.js";
import { AgentApiSchema, toAgentApi, type AgentApi } from "./agent-api.js";
import { bandwidthProblems, BandwidthSchema, toBandwidth, type BandwidthConfig } from "./bandwidth.js";
import { CgroupSchema, toCgroup, type CgroupConfig } from "./cgroup.js";
import { ClassesSchema, classProblems, toClasses, type ContainerClass } from "./classes.js";
import { CONNECTION_KEYS, toConnections } from "./connections.js";
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
import { endpointProblems, EndpointsSchema, toEndpoints, type EndpointsConfig } from "./endpoints.js";
import { exemptionProblems, ExemptionsSchema, toExemptions, type Exemption } from "./exemptions.js";
import { filesProblems, FilesSchema, toFiles, type FilesRule } from "./files.js";
import { JUDGED_KEYS, judgedProblems, toJudged } from "./judged.js";
import {
  MarkingDevicesSchema,
  markingProblems,
  MarkingSchema,
  toMarking,
  type MarkingRule,
} from "./marking.js";
import { name } from "./match.js";
import { asMap, type Problem } from "./problem.js";
import { RemapSchema, type RemapMode } from "./remap.js";
import { serviceProblems } from "./service-problems.js";
import { ServicesSchema, toServices, type ServicesConfig } from "./services.js";
import { SocketsSchema, toSockets } from "./sockets.js";
import {
  OperatorSchema,
  statisticsProblems,
  StatisticsSchema,
  toOperator,
  toStatistics,
  type OperatorConfig,
  type StatisticsConfig,
} from "./statistics.js";
import { ViolationsSchema, type ViolationRule } from "./violations.js";

/** Name of the instance where neither the file nor the command line gives one. */
export const DEFAULT_INSTANCE = "default";

const MAX_ROLES = 1000;

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
    ...JUDGED_KEYS,
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
    exemptions: ExemptionsSchema,
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

/**
 * What no key alone shows.
 * @param value any, also one with other problems: these are looked for in what is there
 */
export function crossProblems(value: unknown): Problem[] {
  const keys = asMap(value);
  const { judge, agent_ports, trusted_roles, exemptions, classes, marking, files, endpoints, egress } = keys;
  const { statistics, bandwidth, services } = keys;
  return [
    ...judgedProblems(judge, agent_ports),
    ...exemptionProblems(exemptions, trusted_roles),
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
  const judged = toJudged(input);
  return {
    ...(input.instance === undefined ? {} : { instance: input.instance }),
    enforce: input.enforce,
    ephemeral: input.ephemeral,
    allowProtocols: [...new Set(input.allow_protocols)],
    sockets: toSockets(input.sockets),
    netRaw: input.net_raw,
    ...(input.escape === undefined ? {} : { escape: input.escape }),
    ...(judged ? { judged } : {}),
    ...toConnections(input),
    connectErrno: input.connections_errno,
    remap: input.remap,
    trustedRoles: input.trusted_roles,
    exemptions: toExemptions(input.exemptions),
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
