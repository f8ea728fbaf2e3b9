/** What `serve` shows operators by HTTP, in the words of the commands. */
import { fileURLToPath } from "node:url";
import type { ConfigHolder } from "../config/holder.js";
import type { Isolator } from "../containers/isolator.js";
import type { IsolatorError } from "../errors.js";
import { containers as agentContainers, monitorStatistics } from "../operator/agent-api.js";
import { readAssets } from "../operator/assets.js";
import { isLoopback } from "../operator/admission.js";
import { Board } from "../operator/board.js";
import { healthPage, healthProblems, readyPage } from "../operator/health.js";
import { readFeatures } from "../operator/kernel-features.js";
import { Metrics } from "../operator/metrics.js";
import type { Words } from "../operator/rows.js";
import { json, type Page } from "../operator/pages.js";
import { OperatorServer } from "../operator/server.js";
import type { DaemonView } from "../operator/wire.js";
import type { Daemon } from "../protocol/daemon.js";
import { stateText } from "./list.js";
import { servicesOf } from "./service-views.js";
import { statusRows } from "./status.js";
import { classesText, enforcementText, nameOf, portsText, printable } from "./table.js";
import { usageRows } from "./usage.js";

const MAIN = fileURLToPath(new URL("main.js", import.meta.url));

const WORDS: Words = {
  key: ({ container_id }) => nameOf(container_id),
  name: ({ container_id }) => printable(nameOf(container_id)),
  task: ({ task_id, executor_id }) => printable(task_id ?? executor_id ?? ""),
  state: stateText,
  classes: ({ classes }) => (classes?.length ? classesText(classes) : ""),
  ports: portsText,
  enforcement: enforcementText,
  details: usageRows,
};

export interface OperatorParts {
  holder: ConfigHolder;
  isolator: Isolator;
  daemon: Daemon;
  identity: { version: string; instance: string };
  /** Whether an agent's calls are taken. */
  serving: () => boolean;
  onProblem: (problem: IsolatorError) => void;
}

function viewOf({ isolator, daemon, identity, serving }: OperatorParts, started: number): DaemonView {
  const facts = daemon.facts();
  const problems = [
    ...healthProblems(isolator.health, started),
    ...(serving() ? [] : ["calls of an agent are not taken now"]),
    ...(facts.config_error === undefined
      ? []
      : [`the configuration file as it is now is not in use: ${facts.config_error}`]),
    ...(facts.break_glass === undefined ? [] : [`break-glass for all containers: ${facts.break_glass}`]),
    ...(facts.endpoints_error === undefined ? [] : [facts.endpoints_error]),
  ];
  return {
    ...identity,
    started,
    problems: problems.map(printable),
    details: statusRows(facts, Date.now() / 1000),
  };
}

/** What there is, for as long as the daemon lives. */
export class OperatorPages {
  private constructor(
    private readonly board: Board,
    private readonly server: OperatorServer,
  ) {}

  /**
   * @returns undefined where there is to be none
   * @throws address-taken, not-built
   */
  static async listen(parts: OperatorParts): Promise<OperatorPages | undefined> {
    const { holder, isolator, daemon, identity, serving, onProblem } = parts;
    if (holder.config.operator.address === "off") return undefined;
    const metrics = new Metrics(isolator, identity);
    const statistics = (): ReturnType<Page> => monitorStatistics(isolator);
    const started = Date.now();
    const assets = readAssets();
    const board = new Board({
      ...{ isolator, words: WORDS, printable, onProblem },
      list: () => daemon.list(),
      daemon: () => viewOf(parts, started),
      features: () =>
        readFeatures([process.execPath, MAIN, "check", "--json", "--instance", identity.instance]),
      services: () => servicesOf(daemon),
    });
    try {
      const server = await OperatorServer.listen({
        config: () => holder.config.operator,
        cgroup2: isolator.instance.cgroup2,
        agentNodes: () =>
          isolator.list().flatMap(({ container }) => (container?.isAgents ? [container.node.path] : [])),
        pages: {
          ...assets,
          "/container/:name": json((name) => board.container(name)),
          "/metrics": () => metrics.text(),
          "/monitor/statistics": statistics,
          "/monitor/statistics.json": statistics,
          "/containers": () => agentContainers(isolator),
          "/healthz": healthPage(() => isolator.health, started),
          "/readyz": readyPage(serving),
        },
        streams: { "/events": (response) => board.open(response) },
        onProblem,
      });
      if (server) return new OperatorPages(board, server);
      board.stop();
      return undefined;
    } catch (error) {
      board.stop();
      throw error;
    }
  }

  /** Where it listens, as in "127.0.0.1:5052". */
  get address(): string {
    return this.server.address;
  }

  /** What its operator should know of where it listens; undefined: nothing. */
  warning(tokenFile: string | undefined): string | undefined {
    if (tokenFile !== undefined || isLoopback(this.server.ip)) return undefined;
    return `the operator's server on ${this.address} answers everybody who can reach it, containers in networks of their own too: give operator.token_file`;
  }

  close(): void {
    this.board.stop();
    this.server.close();
  }
}
