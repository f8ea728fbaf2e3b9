/** The policy of `bpf-isolator run`, by its options. */
import { egressFor, parseEgressOption } from "../config/egress.js";
import { filesFor } from "../config/files.js";
import { loadConfig } from "../config/load.js";
import { markingFor } from "../config/marking.js";
import { IsolatorError } from "../errors.js";
import type { BandwidthPolicy, FullMode } from "../features/bandwidth.js";
import type { ConnectErrno, ConnectionsPolicy } from "../features/connections.js";
import type { EGRESS_EXISTING, EgressErrno } from "../features/egress.js";
import type { EscapeMode } from "../features/escape.js";
import { type FileErrno, type FilesPolicy, makeRules, sortRules } from "../features/files.js";
import { type ChangeMode, type Mark, setsDscp, type WrongDscpMode } from "../features/marking.js";
import type { Policy } from "../features/policy.js";
import { type EphemeralMode, type ExtraProtocol, parsePorts } from "../features/ports.js";
import { checkMappings, hostPortsOf, parseMappings, requireWithin } from "../features/remap.js";
import { type SocketKind, socketsFor } from "../features/sockets.js";
import { parseVipOptions } from "../features/vip-option.js";

/** Options about the policy, as the command line gives them. */
export interface PolicyOptions {
  ports?: string;
  map?: string;
  ephemeral: EphemeralMode;
  audit?: boolean;
  allowProtocol: ExtraProtocol[];
  denySocket: SocketKind[];
  allowSocket: SocketKind[];
  escape?: EscapeMode;
  maxConnections?: number;
  maxConnectionsTotal?: number;
  maxEphemeralPorts?: number;
  connectErrno?: ConnectErrno;
  dscp?: number;
  mark?: Mark;
  priority?: number;
  markingChange?: ChangeMode;
  wrongDscp?: WrongDscpMode;
  /** Bytes/s. */
  egressRate?: number;
  ingressRate?: number;
  /** Bytes. */
  egressBurst?: number;
  ingressBurst?: number;
  onFull?: FullMode;
  limitLoopback?: boolean;
  departures?: boolean;
  denyPath: string[];
  readonlyPath: string[];
  allowPath: string[];
  pathErrno?: FileErrno;
  /** Of the configuration. */
  class?: string;
  config?: string;
  denyEgress: string[];
  allowEgress: string[];
  egressDefault?: "allow" | "deny";
  egressErrno?: EgressErrno;
  egressExisting?: (typeof EGRESS_EXISTING)[number];
  vip: string[];
}

/** Without a limit nothing is counted. */
function connectionsOf(options: PolicyOptions): { connections?: ConnectionsPolicy } {
  const { maxConnections: max, maxConnectionsTotal: total, maxEphemeralPorts: ports } = options;
  const { connectErrno: errno } = options;
  if (max === undefined && total === undefined && ports === undefined) return {};
  return {
    connections: {
      ...(max === undefined ? {} : { max }),
      ...(total === undefined ? {} : { total }),
      ...(ports === undefined ? {} : { ports }),
      ...(errno === undefined ? {} : { errno }),
    },
  };
}

/**
 * Its ports and mappings; without ports of its own it has those that it maps to.
 * @throws bad-argument
 */
function portsOf({ ports, map }: PolicyOptions): Pick<Policy, "ports" | "remap"> {
  const mappings = map === undefined ? [] : parseMappings(map);
  const remap = checkMappings(mappings);
  const own = ports === undefined ? hostPortsOf(mappings) : parsePorts(ports);
  requireWithin(mappings, own);
  return { ports: own, ...(remap.length > 0 ? { remap } : {}) };
}

/**
 * The options' rules for files, on top of those of the class.
 * @throws bad-argument
 */
function filesOf(options: PolicyOptions, ofClass: FilesPolicy | undefined): { files?: FilesPolicy } {
  const { denyPath: deny, readonlyPath: readonly, allowPath: allow, pathErrno } = options;
  const own = makeRules({ deny, readonly, allow });
  const rules = new Map([...(ofClass?.rules ?? []), ...own].map(({ path, mode }) => [path, mode]));
  const errno = pathErrno ?? ofClass?.errno ?? "EACCES";
  if ([...rules.values()].some((mode) => mode !== "allow"))
    return { files: { rules: sortRules(rules), errno } };
  if (own.length > 0 || pathErrno !== undefined)
    throw new IsolatorError(
      "bad-argument",
      "--allow-path and --path-errno are of use with other rules only: give --deny-path or --readonly-path, or leave them out",
    );
  return {};
}

/**
 * The class that the caller has put the task into, and the marking and rules for files: the options', else the class's.
 * @throws bad-argument, bad-config
 */
function rulesOf(options: PolicyOptions): Pick<Policy, "classes" | "marking" | "files"> {
  const { class: name, config: file, dscp, mark, priority, markingChange, wrongDscp } = options;
  if (name === undefined && file !== undefined)
    throw new IsolatorError(
      "bad-argument",
      "--config is of use with --class only: give a class, or leave it out",
    );
  const loaded = name === undefined ? undefined : loadConfig(file);
  if (loaded && !loaded.config.classes.some((known) => known.name === name)) {
    const known = loaded.config.classes.map((known) => known.name).join(", ") || "none";
    throw new IsolatorError(
      "bad-argument",
      `${loaded.file} has no class ${JSON.stringify(name)}: there is ${known}`,
    );
  }
  const classes = name === undefined ? [] : [{ name }];
  const ofClass = markingFor(loaded?.config.marking ?? [], classes);
  const own = {
    ...(dscp === undefined ? {} : { dscp }),
    ...(mark === undefined ? {} : { mark }),
    ...(priority === undefined ? {} : { priority }),
    ...(markingChange === undefined ? {} : { change: markingChange }),
    ...(wrongDscp === undefined ? {} : { wrongDscp }),
  };
  const marking = { change: "ignore", wrongDscp: "count", ...ofClass, ...own } as const;
  const marks = ofClass !== undefined || dscp !== undefined || mark !== undefined || priority !== undefined;
  if (!marks && Object.keys(own).length > 0) {
    throw new IsolatorError(
      "bad-argument",
      "--marking-change and --wrong-dscp say what becomes of changes of a marking: give --dscp, --mark or --priority too",
    );
  }
  if (wrongDscp !== undefined && !setsDscp(marking))
    throw new IsolatorError("bad-argument", "--wrong-dscp has no effect without a DSCP: give --dscp too");
  return {
    ...(classes.length > 0 ? { classes } : {}),
    ...(marks ? { marking } : {}),
    ...filesOf(
      options,
      name === undefined ? undefined : filesFor(loaded?.config.files ?? [], classes, { labels: [] }),
    ),
  };
}

/** @throws bad-argument where an option has no effect */
function bandwidthOf(options: PolicyOptions): { bandwidth?: BandwidthPolicy } {
  const { egressRate, ingressRate, egressBurst, ingressBurst, onFull, limitLoopback, departures } = options;
  const needs = (option: string, given: unknown, rate: number | undefined, what: string): void => {
    if (given === undefined || rate !== undefined) return;
    throw new IsolatorError("bad-argument", `${option} has no effect without a limit: give ${what} too`);
  };
  needs("--egress-burst", egressBurst, egressRate, "--egress-rate");
  needs("--ingress-burst", ingressBurst, ingressRate, "--ingress-rate");
  needs("--on-full", onFull, egressRate, "--egress-rate");
  needs("--departures", departures, egressRate, "--egress-rate");
  needs("--limit-loopback", limitLoopback, egressRate ?? ingressRate, "--egress-rate or --ingress-rate");
  if (egressRate === undefined && ingressRate === undefined) return {};
  const burst = (bytes: number | undefined): { burst?: number } =>
    bytes === undefined ? {} : { burst: bytes };
  return {
    bandwidth: {
      ...(egressRate === undefined ? {} : { egress: { rate: egressRate, ...burst(egressBurst) } }),
      ...(ingressRate === undefined ? {} : { ingress: { rate: ingressRate, ...burst(ingressBurst) } }),
      ...(onFull === undefined ? {} : { onFull }),
      ...(limitLoopback ? { loopback: true } : {}),
      ...(departures ? { departures: true } : {}),
    },
  };
}

/**
 * The options' rules, allowing ones first since they are the exceptions, then those of the class.
 * @throws bad-argument, bad-config
 */
function egressOf(options: PolicyOptions): Pick<Policy, "egress"> {
  const { class: name, config: file, allowEgress, denyEgress, egressDefault, egressErrno } = options;
  const ofClass =
    name === undefined ? undefined : egressFor(loadConfig(file).config.egress, [{ name }], undefined);
  const own = [
    ...allowEgress.map((text) => parseEgressOption(text, "allow", "--allow-egress")),
    ...denyEgress.map((text) => parseEgressOption(text, "deny", "--deny-egress")),
  ];
  const byDefault = egressDefault ?? ofClass?.byDefault ?? "allow";
  if (own.length === 0 && !ofClass && byDefault === "allow") {
    if (options.egressExisting === undefined) return {};
    throw new IsolatorError(
      "bad-argument",
      "--egress-existing has no effect without rules: give --deny-egress, --egress-default, or a --class that has some",
    );
  }
  const errno = egressErrno ?? ofClass?.errno;
  const existing = options.egressExisting ?? ofClass?.existing;
  return {
    egress: {
      rules: [...own, ...(ofClass?.rules ?? [])],
      byDefault,
      ...(errno === undefined ? {} : { errno }),
      ...(existing === "terminate" ? { existing } : {}),
    },
  };
}

/**
 * The policy of the task's container: the options', on top of what its class in the configuration has.
 * @throws bad-argument, bad-config
 */
export function policyOf(options: PolicyOptions): Policy {
  const egress = egressOf(options);
  return {
    ...portsOf(options),
    ephemeral: options.ephemeral,
    enforce: options.audit ? "audit" : "on",
    allowProtocols: options.allowProtocol,
    ...(options.escape === undefined ? {} : { escape: options.escape }),
    ...connectionsOf(options),
    ...rulesOf(options),
    ...bandwidthOf(options),
    ...egress,
    ...(options.vip.length > 0 ? { services: { own: parseVipOptions(options.vip) } } : {}),
    sockets: socketsFor(
      Object.fromEntries([
        ...options.allowSocket.map((kind) => [kind, "allow"] as const),
        ...options.denySocket.map((kind) => [kind, "deny"] as const),
      ]),
      egress.egress !== undefined,
    ),
  };
}
