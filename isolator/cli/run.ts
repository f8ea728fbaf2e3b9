/** `bpf-isolator run`: a command as the only task of a container of its own, with no agent and no daemon. */
import { randomBytes } from "node:crypto";
import { HostAddresses } from "../cluster/host-addresses.js";
import { loadConfig } from "../config/load.js";
import { egressFor, parseEgressOption } from "../config/egress.js";
import { filesFor } from "../config/files.js";
import { markingFor } from "../config/marking.js";
import type { Container } from "../containers/container.js";
import { describeEnded } from "../containers/ended.js";
import { Instance } from "../containers/instance.js";
import { prepareContainer } from "../containers/preparation.js";
import { exitStatus, findCommand, Task } from "../containers/task.js";
import { IsolatorError } from "../errors.js";
import { bandwidthStatistics, type BandwidthPolicy, type FullMode } from "../features/bandwidth.js";
import { toStatisticsJson } from "../features/statistics.js";
import type { ConnectErrno, ConnectionsPolicy } from "../features/connections.js";
import { ruleName, type EGRESS_EXISTING, type EgressErrno } from "../features/egress.js";
import { toDenial } from "../features/events.js";
import { makeRules, sortRules, type FileErrno, type FilesPolicy } from "../features/files.js";
import type { EscapeMode } from "../features/escape.js";
import { setsDscp, type ChangeMode, type Mark, type WrongDscpMode } from "../features/marking.js";
import { parsePorts, type EphemeralMode, type ExtraProtocol } from "../features/ports.js";
import type { Policy } from "../features/policy.js";
import { checkMappings, hostPortsOf, parseMappings, requireWithin } from "../features/remap.js";
import { parseVipOptions } from "../features/vip-option.js";
import { socketsFor, type SocketKind } from "../features/sockets.js";
import { Reporter } from "./reporter.js";
import { SignalRelay } from "./signals.js";
import { Watching } from "./watching.js";
import { checkUsageFile, writeUsageFile } from "./usage-file.js";

/** ms between two looks for connections that rules have come to deny. */
const LOOK = 2_000;

/** Options as the command line gives them. */
export interface RunOptions {
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
  name?: string;
  instance: string;
  json?: boolean;
  usageFile?: string;
}

/** Without a limit nothing is counted. */
function connectionsOf(options: RunOptions): { connections?: ConnectionsPolicy } {
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
function portsOf({ ports, map }: RunOptions): Pick<Policy, "ports" | "remap"> {
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
function filesOf(options: RunOptions, ofClass: FilesPolicy | undefined): { files?: FilesPolicy } {
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
function rulesOf(options: RunOptions): Pick<Policy, "classes" | "marking" | "files"> {
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
function bandwidthOf(options: RunOptions): { bandwidth?: BandwidthPolicy } {
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
function egressOf(options: RunOptions): Pick<Policy, "egress"> {
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

/** Ends connections that its rules have come to deny, for as long as the container is there. @returns what stops it */
function endDenied(container: Container, { sockets }: Instance, reporter: Reporter): () => void {
  if (container.policy.egress?.existing === undefined) return () => undefined;
  sockets.onEnded = (all) => {
    const own = all.filter(({ cgroup_id }) => cgroup_id === container.cgroupId);
    if (own.length > 0) reporter.ended(describeEnded(own));
  };
  const timer = setInterval(() => {
    sockets.soon();
  }, LOOK).unref();
  return () => {
    clearInterval(timer);
  };
}

/** @returns the task's exit status; the container is cleaned up */
async function runTask(
  container: Container,
  instance: Instance,
  path: string,
  args: readonly string[],
  signals: SignalRelay,
  watching: Watching,
): Promise<number> {
  let task: Task | undefined;
  try {
    if (signals.ending) return exitStatus(null, signals.ending);
    task = await Task.start(container, instance, path, args);
    signals.to(task.child);
    // Not before: this process itself was in the node for a moment.
    watching.start(task.child.pid);
    return await task.exited;
  } finally {
    watching.end();
    // From here on a signal ends this process, as it would any other: the next run sweeps.
    signals.close();
    await container.killAll();
    await task?.close();
    await container.cleanup();
  }
}

/**
 * @param command the command and its arguments
 * @returns exit status: the command's own, 128 + number for a death by signal
 * @throws IsolatorError
 */
export async function run([command, ...args]: readonly string[], options: RunOptions): Promise<number> {
  const egress = egressOf(options);
  const policy: Policy = {
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
  if (command === undefined) throw new IsolatorError("bad-argument", "no command is given");
  if (options.usageFile !== undefined) checkUsageFile(options.usageFile);
  const path = findCommand(command);
  const signals = new SignalRelay();
  const name = options.name ?? `run-${randomBytes(4).toString("hex")}`;
  const instance = Instance.open(options.instance);
  const reporter = new Reporter(name, options.json ?? false);
  const container = await prepareContainer(instance, {
    id: [name],
    policy,
    onEvent: (event) => {
      reporter.denial(() =>
        toDenial(
          event,
          (cgroupId) => instance.nameOf(cgroupId),
          (_, rule) => ruleName(policy.egress, rule),
        ),
      );
    },
  });
  for (const gap of container.enforcement.gaps()) reporter.gap(gap);
  // A daemon looks at them too: both write the same.
  const addresses =
    policy.egress || policy.marking?.destinations
      ? new HostAddresses(instance.loaded.map("host_addresses"))
      : undefined;
  const watching = new Watching(container, reporter);
  const stopEnding = endDenied(container, instance, reporter);
  const status = await runTask(container, instance, path, args, signals, watching).finally(() => {
    addresses?.stop();
    stopEnding();
  });
  const usage = container.counts.usage();
  const more = bandwidthStatistics(policy.bandwidth, container.counts.bandwidth());
  reporter.summary(usage, Number(usage.eventsLost), more);
  if (options.usageFile !== undefined) {
    const statistics = toStatisticsJson({ usage, more }, Date.now() / 1000);
    writeUsageFile(options.usageFile, `${JSON.stringify(statistics, null, 2)}\n`);
  }
  return status;
}
