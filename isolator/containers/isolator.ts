/**
 * The life cycle of an agent's containers: Mesos's Isolator interface, and what operators ask beside. Each call is a file of
 * calls/: which container it is about, and what the agent must be told. What it means for the kernel is container.ts.
 *
 * Calls about one root container and what is nested in it are done one after another; those of others beside them.
 */
import { join } from "node:path";
import { Cluster } from "../cluster/cluster.js";
import type { TaskFacts } from "../config/facts.js";
import type { AgentAddress } from "../config/policy.js";
import type { Config } from "../config/schema.js";
import { messageOf } from "../errors.js";
import type { bpf_isolator, mesos } from "../mesos/messages.js";
import { enterTakenUp } from "./calls/entering.js";
import { explain } from "./calls/explain.js";
import { isolate } from "./calls/isolate.js";
import { Parts } from "./calls/parts.js";
import { prepare, sessionLaunchInfo } from "./calls/prepare.js";
import { recover, type RecoveredState } from "./calls/recover.js";
import { learnTask, untold } from "./calls/tasks.js";
import { update } from "./calls/update.js";
import type { EventLog } from "./event-log.js";
import type { HostShare } from "./host-share.js";
import { HOSTS_FILE, type Instance } from "./instance.js";
import { formatId, type ContainerId } from "./names.js";
import { reach } from "./points.js";
import type { Entry } from "./registry.js";
import type { SelfCheckResult } from "./self-check.js";
import { takeUp } from "./take-up.js";

export class Isolator {
  private readonly parts: Parts;
  private endpoints: Cluster | undefined;
  /** Called when there is a container, or may be a task, that only the agent's API knows the labels of. */
  onUntold: () => void = () => undefined;

  private constructor(
    readonly instance: Instance,
    config: Config,
    readonly log: EventLog,
  ) {
    this.parts = new Parts(instance, config, log);
  }

  /**
   * Makes this process the instance's daemon and takes up the containers that are there.
   * @throws already-serving, state-failed, and all that loading programs throws
   */
  static async start(instance: Instance, config: Config, log: EventLog): Promise<Isolator> {
    await instance.serve();
    reach("start:locked");
    const isolator = new Isolator(instance, config, log);
    try {
      await isolator.begin(config);
      return isolator;
    } catch (error) {
      void isolator.parts.rounds.stop();
      isolator.endpoints?.stop();
      throw error;
    }
  }

  private async begin(config: Config): Promise<void> {
    const { parts, instance } = this;
    const { judgement, notices, rounds } = parts;
    judgement.readState();
    rounds.measure(config);
    this.place(config);
    parts.ring = await takeUp(instance, this.log, {
      onEvent: (event) => {
        rounds.denied(notices.denied(event));
      },
      onContainer: (container) => {
        enterTakenUp(parts, container);
      },
    });
    this.endpoints = new Cluster(
      instance.loaded,
      config,
      join(instance.stateDirectory, HOSTS_FILE),
      (message, kind) => {
        this.log.add(kind, "", message);
      },
      (principals) => {
        judgement.learnPrincipals(principals);
      },
    );
    this.endpoints.setHost(judgement.agent?.ip);
    const shortcomings = (entry: Entry): void => {
      notices.shortcomings(entry, judgement.config.trustedRoles);
    };
    void this.reconfigure(config, shortcomings).catch((error: unknown) => {
      this.log.add("warning", "", `not all of the configuration is in force: ${messageOf(error)}`);
    });
    // What only a pass knows is told again soon.
    void instance.sockets.look();
    parts.cleanups.resume();
  }

  /** Ends this process's part: containers stay enforced and counted, and the next daemon takes them up. */
  async stop(): Promise<void> {
    this.parts.judgement.stop();
    await this.parts.rounds.stop();
    this.parts.cleanups.stop();
    this.endpoints?.stop();
    await this.parts.queues.idle();
    this.parts.ring.leave();
    await this.instance.endServing();
  }

  /**
   * Another configuration. Resolves when all containers that are judged otherwise by it are.
   * @param then done with each container after that
   * @throws shutting-down; what keeps a part of it from being in force, when the rest is
   */
  async reconfigure(config: Config, then?: (entry: Entry) => void): Promise<void> {
    const { judgement, rounds } = this.parts;
    judgement.use(config);
    try {
      this.instance.setHostBandwidth(config.bandwidth?.host);
      rounds.measure(config);
      this.place(config);
      this.endpoints?.reconfigure(config);
      rounds.configure(config);
    } finally {
      await judgement.judgeAll(then);
      rounds.checkSoon();
    }
  }

  private place({ cgroup: { mode, agentRoot } }: Config): void {
    this.instance.agentRoot = mode === "own" ? undefined : agentRoot;
  }

  /** An agent has said where it listens. Resolves when all containers' policies know it. */
  async meetAgent(agent: AgentAddress): Promise<void> {
    const { judgement } = this.parts;
    if (!judgement.learnAgent(agent)) return;
    this.endpoints?.setHost(agent.ip);
    await this.reconfigure(judgement.config);
    this.onUntold();
  }

  /** Where the agent listens; undefined: none has said. */
  get agentAddress(): AgentAddress | undefined {
    return this.parts.judgement.agent;
  }

  /** What its look at itself has found. */
  get health(): SelfCheckResult {
    return this.parts.rounds.health;
  }

  get hostShare(): HostShare {
    return this.parts.rounds.hostShare;
  }

  /** What is known of the cluster. */
  get cluster(): Cluster {
    if (!this.endpoints) throw new Error("it has not started");
    return this.endpoints;
  }

  /** Every container that is known, parents before children. */
  list(): Entry[] {
    return this.parts.registry.list();
  }

  find(id: ContainerId): Entry | undefined {
    return this.parts.registry.find(id);
  }

  /** @param name as formatId() writes it */
  named(name: string): Entry | undefined {
    return this.parts.registry.named(name);
  }

  recover(states: readonly RecoveredState[], orphans: readonly ContainerId[]): Promise<void> {
    return recover(this.parts, states, orphans);
  }

  /**
   * @returns what to add to the launch
   * @throws conflict where the container is there with another ContainerConfig; port-owned, bad-argument, no-container
   */
  prepare(
    id: ContainerId,
    config: mesos.slave.ContainerConfig,
  ): Promise<mesos.slave.ContainerLaunchInfo | undefined> {
    return this.parts.serially(id, () => prepare(this.parts, id, config, this.onUntold));
  }

  /** What prepare() would answer of DEBUG containers in one: modules do not ask. */
  sessionLaunchInfo(id: ContainerId): mesos.slave.ContainerLaunchInfo | undefined {
    return sessionLaunchInfo(this.parts, id);
  }

  /** @throws no-process, no-container, cgroup-failed, conflict, bad-argument */
  isolate(id: ContainerId, pid: number): Promise<void> {
    return this.parts.serially(id, () => isolate(this.parts, id, pid));
  }

  /** mesos::slave::Isolator::watch(): pending until the container's end, or until it has to end. */
  async *watch(id: ContainerId, signal: AbortSignal): AsyncGenerator<mesos.slave.ContainerLimitation> {
    const { watchers } = this.parts;
    const name = formatId(id);
    const limitation = await watchers.limitation(name, signal);
    if (!limitation) return;
    yield limitation;
    await watchers.wait(name, signal);
  }

  /** @throws no-container, port-owned, bad-argument */
  update(id: ContainerId, requests: readonly mesos.Resource[]): Promise<void> {
    return this.parts.serially(id, () => update(this.parts, id, requests, this.onUntold));
  }

  /** Succeeds for what is not known, and at once; what does not go is tried again. */
  cleanup(id: ContainerId): Promise<void> {
    return this.parts.cleanups.cleanup(id);
  }

  /**
   * What would become of a connection of a container, by the tables that the programs use.
   * @param port 0: none
   * @throws no-container, bad-argument
   */
  explain(
    id: ContainerId,
    address: string,
    port: number,
    protocol: "tcp" | "udp",
  ): bpf_isolator.Response.Explain {
    return explain(this.parts, this.cluster, id, address, port, protocol);
  }

  /** Names of containers whose tasks only the agent's API can tell of, and has not. */
  untold(): Promise<ReadonlySet<string>> {
    return untold(this.parts);
  }

  /**
   * What the agent says of the tasks in a container.
   * @param asked when; ms of a clock that only goes forward
   * @throws state-failed
   */
  learnTask(name: string, task: TaskFacts, asked: number): Promise<void> {
    const entry = this.named(name);
    if (!entry?.container || entry.cleaning) return Promise.resolve();
    return this.parts.serially(entry.id, () => learnTask(this.parts, entry, task, asked));
  }
}
