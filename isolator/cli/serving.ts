/** The daemon of `bpf-isolator serve`, from its start to its end. serve.ts begins it. */
import { pino, type Logger } from "pino";
import { TaskLabels, type Learner } from "../agent/task-labels.js";
import type { ConfigHolder } from "../config/holder.js";
import { EventLog, type EventKind, type IsolatorEvent } from "../containers/event-log.js";
import { Instance } from "../containers/instance.js";
import { Isolator } from "../containers/isolator.js";
import { messageOf } from "../errors.js";
import { findOverlap, RANGE_SETTING, RESERVED_SETTING } from "../features/reserved-ports.js";
import { formatPorts, type PortRange } from "../features/ports.js";
import { dropAhead } from "../kernel/load.js";
import { sysctl } from "../kernel/machine.js";
import { ServiceManager } from "../kernel/notify.js";
import { makeCodecs } from "../mesos/messages.js";
import { Daemon } from "../protocol/daemon.js";
import { ProtocolServer } from "../protocol/server.js";
import { socketPath } from "../protocol/client.js";
import { OperatorPages, type OperatorParts } from "./status-page.js";
import { readVersion } from "./version.js";

/** What is known when it begins. */
export interface Beginning {
  holder: ConfigHolder;
  /** The instance that it serves. */
  name: string;
  /** To be told of the choice of that. */
  notice?: string;
  /** Resolves when programs are loaded ahead, or are not to be. */
  ahead: Promise<void>;
}

/** What it can do beyond the protocol's version, by name. */
const FEATURES = ["ports", "accounting", "audit", "break-glass", "usage-of-many"] as const;

const WARNINGS: ReadonlySet<EventKind> = new Set([
  ...(["warning", "cleanup_pending", "repaired", "self_check", "break_glass"] as const),
]);

function logEvent(logger: Logger, event: IsolatorEvent): void {
  const { kind, container, message, denial, count } = event;
  const fields = { event: kind, ...(container === "" ? {} : { container }), denial, count };
  if (WARNINGS.has(kind)) logger.warn(fields, message);
  else logger.info(fields, message);
}

/** The agent's ports are known only when it says so; the ports of its containers are. */
function warnOfOverlap(logger: Logger, ports: readonly PortRange[]): void {
  const local = sysctl(RANGE_SETTING);
  const overlap = local === undefined ? undefined : findOverlap(ports, local, sysctl(RESERVED_SETTING) ?? "");
  if (!overlap) return;
  logger.warn(
    { event: "ports-not-reserved", fix: overlap.fix },
    `the kernel may give the task ports ${formatPorts(overlap.ports)} to other programs as ephemeral ports` +
      (overlap.fix === null ? "" : `: ${overlap.fix}`),
  );
}

/** A daemon without it does all that an agent asks of it. */
async function listenForOperators(
  logger: Logger,
  parts: Omit<OperatorParts, "onProblem">,
): Promise<OperatorPages | undefined> {
  const { log } = parts.isolator;
  try {
    const pages = await OperatorPages.listen({
      ...parts,
      onProblem: (problem) => {
        logger.error({ code: problem.code, cause: problem.cause }, problem.message);
      },
    });
    if (pages) {
      parts.daemon.operatorAddress = pages.address;
      logger.info({ operator: pages.address }, "operators may ask here");
    }
    const warning = pages?.warning(parts.holder.config.operator.tokenFile);
    if (warning !== undefined) log.add("warning", "", warning);
    return pages;
  } catch (error) {
    log.add("warning", "", messageOf(error));
    return undefined;
  }
}

/** What the agent says of tasks, for an isolator. */
function learnerOf(isolator: Isolator, log: EventLog): Learner {
  return {
    agentUrl: () => {
      const { ip, port } = isolator.agentAddress ?? {};
      if (ip === undefined || port === undefined) return undefined;
      return `http://${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
    },
    unlabelled: () => isolator.untold(),
    learn: (name, task, asked) => {
      isolator.learnTask(name, task, asked).catch((error: unknown) => {
        log.add("warning", name, `what the agent says of its tasks cannot be used: ${messageOf(error)}`);
      });
    },
    onProblem: ({ message }) => {
      log.add(
        "warning",
        "",
        `${message}; containers whose tasks' labels are not known stay in their parent's classes`,
      );
    },
  };
}

/** Resolves with the first signal that asks for the end. */
function untilAsked(onReload: () => void): Promise<NodeJS.Signals> {
  process.on("SIGHUP", onReload);
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        resolve(signal);
      });
    }
  });
}

function reload(holder: ConfigHolder, isolator: Isolator, log: EventLog, manager: ServiceManager): void {
  const problems = holder.reload();
  if (problems.length > 0) {
    log.add("configuration", "", `the configuration was not changed: ${problems.join("; ")}`);
    manager.status(`the configuration was not changed: ${problems[0] ?? ""}`);
    return;
  }
  const { file = "all defaults" } = holder;
  const told = (what: string): void => {
    log.add("configuration", "", what);
    manager.status(`serving; ${what}`);
  };
  void isolator.reconfigure(holder.config).then(
    () => {
      told(`the configuration was read again: ${file}`);
    },
    (error: unknown) => {
      told(`the configuration was read again, and not all of it is in force: ${file}: ${messageOf(error)}`);
    },
  );
}

/**
 * Runs the daemon to its end.
 * @returns exit status
 * @throws already-serving, and all that Instance.open() and loading programs throw
 */
export async function serveInstance({ holder, name, notice, ahead }: Beginning): Promise<number> {
  const manager = ServiceManager.find();
  const logger = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime });
  if (notice !== undefined) logger.warn(notice);
  const version = readVersion();
  const log = new EventLog((event) => {
    logEvent(logger, event);
  });
  const instance = Instance.open(name);
  const early = { reload: false };
  let reloadNow = (): void => {
    early.reload = true;
  };
  const asked = untilAsked(() => {
    reloadNow();
  });
  await ahead;
  const isolator = await Isolator.start(instance, holder.config, log);
  dropAhead();
  const labels = new TaskLabels(learnerOf(isolator, log), holder.config.agentApi);
  isolator.onUntold = () => {
    labels.expect();
  };
  holder.subscribe(({ agentApi }) => {
    labels.set(agentApi);
  });
  labels.expect();
  reloadNow = () => {
    reload(holder, isolator, log, manager);
  };
  // The file was read before that.
  if (early.reload) reloadNow();
  const identity = { version, instance: name, features: FEATURES };
  const path = socketPath(name);
  const daemon = new Daemon(isolator, holder, identity);
  const server = await ProtocolServer.listen({
    ...{ path, identity },
    service: daemon,
    onProblem: (problem) => {
      logger.error({ code: problem.code, cause: problem.cause }, problem.message);
    },
  });
  const operator = await listenForOperators(logger, {
    ...{ holder, isolator, daemon, identity: { version, instance: name } },
    serving: () => server.listening,
  });
  const containers = isolator.list().length;
  logger.info({ version, pid: process.pid, socket: path, containers }, `serving instance ${name}`);
  manager.ready(`serving instance ${name}`);
  void makeCodecs();
  const { judged } = holder.config;
  warnOfOverlap(
    logger,
    judged ? [judged] : isolator.list().flatMap(({ container }) => container?.policy.ports ?? []),
  );
  const signal = await asked;
  logger.info(`ending on ${signal}: containers stay enforced`);
  manager.stopping();
  operator?.close();
  await server.close();
  labels.stop();
  await isolator.stop();
  return 0;
}
