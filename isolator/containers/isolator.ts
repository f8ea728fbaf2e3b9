/**
 * The life cycle of an agent's containers: Mesos's Isolator interface, call by call. What a call means for the kernel is
 * container.ts; here is which container it is about, in what order, and what the agent must be told.
 *
 * Calls about one root container and what is nested in it are done one after another; those of others beside them.
 */
import { readlinkSync } from "node:fs";
import { join } from "node:path";
import { Cluster } from "../cluster/cluster.js";
import type { Config } from "../config/schema.js";
import { badLimits } from "../config/connections.js";
import { badPaths } from "../config/files.js";
import { badMarks } from "../config/marking.js";
import {
  bandwidthOf,
  factsOf,
  portsOf,
  rateLabelsOf,
  tasksAreUntold,
  withTask,
  type ContainerFacts,
  type TaskFacts,
} from "../config/facts.js";
import { policyFor, type AgentAddress } from "../config/policy.js";
import { IsolatorError, messageOf } from "../errors.js";
import { parseAddress } from "../features/addresses.js";
import { placeKey, PROTOCOL_NUMBERS } from "../features/endpoints.js";
import { tooManyClasses } from "../features/classes.js";
import { ruleName } from "../features/egress.js";
import { toDenial } from "../features/events.js";
import type { Policy } from "../features/policy.js";
import { requireWithin } from "../features/remap.js";
import { mustTakeNetRaw, withoutNetRaw } from "../features/net-raw.js";
import { formatPorts, type PortRange } from "../features/ports.js";
import { CgroupNode } from "../kernel/cgroup.js";
import type { EventRing, KernelEvent } from "../kernel/events.js";
import type { EndedSocket } from "../kernel/terminate.js";
import { bpf_isolator, codecs, mesos } from "../mesos/messages.js";
import { readAgentAddress, writeAgentAddress } from "./agent-address.js";
import { Container } from "./container.js";
import { describeEnded } from "./ended.js";
import { EscapePatrol } from "./escape-patrol.js";
import type { EventLog } from "./event-log.js";
import { HostShare } from "./host-share.js";
import { setsOf } from "./egress.js";
import { MarkingDevices } from "./marking-devices.js";
import { HOSTS_FILE, type Instance } from "./instance.js";
import { findListeners } from "./listeners.js";
import { formatId, type ContainerId } from "./names.js";
import { agentNode, placementOf } from "./placement.js";
import { reach } from "./points.js";
import { readPrincipals, writePrincipals, type Principals } from "./principals.js";
import { RateSampler } from "./rate-sampler.js";
import { nodeNames, recordKey } from "./records.js";
import { parentOf, Queues, Registry, Watchers, type Entry } from "./registry.js";
import { SelfCheck, type SelfCheckResult } from "./self-check.js";
import { takeUp } from "./take-up.js";
import { describeViolation, limitationOf, Violations } from "./violations.js";

/** ms that cleanup() waits for processes to end before it answers and goes on in the background. */
const CLEANUP_TIMEOUT = 1_000;
const RETRY_FIRST = 1_000;
const RETRY_MOST = 30_000;
/** ms between two looks at denials that were not shown. */
const FLUSH = 1_000;

/** What update() gives anew. */
function withoutBandwidth(facts: ContainerFacts): ContainerFacts {
  const rest = { ...facts };
  delete rest.networkBandwidth;
  delete rest.cpus;
  return rest;
}

function groupBy<T, K>(all: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one]);
  return groups;
}

function networkOf(pid: number | "self"): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/**
 * That all host ports are the container's: before it starts, not when it first binds one. Where nothing is enforced, what
 * is outside is reported at bind() as ever.
 * @throws bad-argument
 */
function requireMappings({ enforce, remap, ports }: Policy, name: string, parent?: Policy): void {
  const all = ports ?? parent?.ports;
  if (enforce !== "on" || !remap || !all) return;
  try {
    requireWithin(remap, all);
  } catch (error) {
    if (!(error instanceof IsolatorError)) throw error;
    throw new IsolatorError(error.code, `container ${name}: ${error.message}`, error);
  }
}

export class Isolator {
  /** Undefined until its first handshake. */
  private agent: AgentAddress | undefined;
  /** Of frameworks, as a master told last. */
  private principals: Principals = new Map();
  private readonly registry = new Registry();
  private readonly queues = new Queues();
  private readonly patrol = new EscapePatrol((container, { pid, process, cgroup }) => {
    const what = `${process}[${pid}] has left it for cgroup ${cgroup}, where its rules do not hold`;
    this.log.add("escaped", container, what);
    if (this.violations.kills) this.raise(container, what);
  });
  private readonly selfCheck = new SelfCheck({
    entries: () => this.list(),
    onRepair: (container, message) => {
      this.log.add("repaired", container, message);
    },
    onFailure: (container, message) => {
      this.log.add("self_check", container, `it is not enforced as it should be: ${message}`);
    },
  });
  private readonly retries = new Set<NodeJS.Timeout>();
  private readonly watchers = new Watchers();
  private readonly sampler = new RateSampler(() =>
    [...this.registry.all()].flatMap(({ container, cleaning }) =>
      container && !cleaning ? [container] : [],
    ),
  );
  private readonly violations: Violations;
  private readonly flusher: NodeJS.Timeout;
  readonly hostShare: HostShare;
  private readonly devices: MarkingDevices;
  private ring!: EventRing;
  private endpoints: Cluster | undefined;
  /** Called when there is a container, or may be a task, that only the agent's API knows the labels of. */
  onUntold: () => void = () => undefined;

  private constructor(
    readonly instance: Instance,
    private config: Config,
    readonly log: EventLog,
  ) {
    instance.liveName = (cgroupId) => this.liveName(cgroupId);
    instance.setsInUse = () =>
      this.list().flatMap(({ container }) => (container ? setsOf(container.policy) : []));
    instance.sockets.onEnded = (sockets) => {
      this.tellEnded(sockets);
    };
    this.hostShare = new HostShare(instance, log, () =>
      this.list().flatMap(({ container }) => container ?? []),
    );
    this.devices = new MarkingDevices(
      instance,
      () => instance.loaded.device("marking_rewrite"),
      (message) => {
        log.add("warning", "", message);
      },
    );
    this.violations = new Violations(config.violations);
    this.flusher = setInterval(() => {
      for (const { name } of this.registry.all()) log.flush(name);
      this.judgeViolations();
    }, FLUSH).unref();
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
      isolator.agent = readAgentAddress(instance.stateDirectory);
      isolator.principals = readPrincipals(instance.stateDirectory);
      isolator.measure(config);
      isolator.place(config);
      isolator.ring = await takeUp(instance, log, {
        onEvent: (event) => {
          isolator.onKernelEvent(event);
        },
        onContainer: (container, bytes) => {
          isolator.enter(container, bytes);
        },
      });
      isolator.endpoints = new Cluster(
        instance.loaded,
        config,
        join(instance.stateDirectory, HOSTS_FILE),
        (message, kind) => {
          log.add(kind, "", message);
        },
        (principals) => {
          isolator.learnPrincipals(principals);
        },
      );
      isolator.endpoints.setHost(isolator.agent?.ip);
      void isolator.reconfigure(config);
      // What only a pass knows is told again soon.
      void instance.sockets.look();
      for (const entry of isolator.list().reverse()) {
        // Nested ones before what they are nested in, of which the end would take them along.
        if (entry.container?.record.stage === "cleaning")
          void isolator.serially(entry.id, () => isolator.finish(entry));
      }
      return isolator;
    } catch (error) {
      clearInterval(isolator.flusher);
      isolator.sampler.stop();
      instance.sockets.stop();
      void isolator.selfCheck.stop();
      isolator.hostShare.stop();
      isolator.devices.stop();
      isolator.endpoints?.stop();
      throw error;
    }
  }

  /** Ends this process's part: containers stay enforced and counted, and the next daemon takes them up. */
  async stop(): Promise<void> {
    clearInterval(this.flusher);
    this.sampler.stop();
    this.instance.sockets.stop();
    this.hostShare.stop();
    this.devices.stop();
    this.patrol.stop();
    await this.selfCheck.stop();
    for (const timer of this.retries) clearTimeout(timer);
    this.endpoints?.stop();
    await this.queues.idle();
    this.ring.leave();
    await this.instance.endServing();
  }

  /** What its look at itself has found. */
  get health(): SelfCheckResult {
    return this.selfCheck.result;
  }

  /** What is known of the cluster. */
  get cluster(): Cluster {
    if (!this.endpoints) throw new Error("it has not started");
    return this.endpoints;
  }

  /** Every container that is known, parents before children. */
  list(): Entry[] {
    return this.registry.list();
  }

  find(id: ContainerId): Entry | undefined {
    return this.registry.find(id);
  }

  /** @param name as formatId() writes it */
  named(name: string): Entry | undefined {
    return this.registry.named(name);
  }

  /** mesos::slave::Isolator::recover(): the agent's word on which of its containers there are. */
  async recover(
    states: readonly { id: ContainerId; state: Pick<mesos.slave.ContainerState, "pid"> }[],
    orphans: readonly ContainerId[],
  ): Promise<void> {
    const known = new Set([...states.map(({ id }) => id), ...orphans].map(formatId));
    for (const { id, state } of states) {
      const entry = this.find(id);
      if (entry) entry.recovered = true;
      else if (this.sharesNode(id)) this.enterShared(id);
      else if (!this.isSession(id, Number(state.pid))) {
        this.enterUnmanaged(
          id,
          "it was launched without bpf-isolator, so it is under no policy until it is launched again",
        );
      }
    }
    const gone = this.list().filter(({ name }) => !known.has(name));
    for (const entry of gone.reverse()) {
      this.log.add("removed", entry.name, "the agent does not know it any more: removed");
      await this.cleanup(entry.id);
    }
    await this.removeStrays([...states.map(({ id }) => id), ...orphans]);
  }

  /** What could not be taken up is the agent's to judge too. */
  private async removeStrays(known: readonly ContainerId[]): Promise<void> {
    const keys = new Set([...known, ...this.list().map(({ id }) => id)].map(recordKey));
    for (const key of this.instance.records.keys().reverse()) {
      if (keys.has(key) || !this.instance.records.isAgents(key)) continue;
      const name = nodeNames(key).join(".");
      try {
        await this.removeUnknown(key);
        this.log.add("removed", name, "the agent does not know it, and neither does this daemon: removed");
      } catch (error) {
        this.log.add(
          "warning",
          name,
          `the agent does not know it, and it cannot be removed: ${messageOf(error)}`,
        );
      }
    }
  }

  /** Whether a nested container that is not known has no node in its parent's tree, which is the agent's. */
  private sharesNode(id: ContainerId): boolean {
    const above = this.registry.nearestAbove(id);
    const container = above?.container ?? above?.shares;
    if (!container?.isAgents) return false;
    const { cgroup2 } = this.instance;
    return CgroupNode.open(agentNode(cgroup2, this.config.cgroup.agentRoot, id)) === undefined;
  }

  /** Whether a nested container that is not known is a DEBUG one: its process is in the node of one that is. */
  private isSession(id: ContainerId, pid: number): boolean {
    const node = this.registry.nearestAbove(id)?.container?.node;
    return node?.allPids().includes(pid) ?? false;
  }

  /**
   * mesos::slave::Isolator::prepare().
   * @returns what to add to the launch
   * @throws conflict where the container is there with another ContainerConfig; port-owned, bad-argument, no-container
   */
  prepare(
    id: ContainerId,
    config: mesos.slave.ContainerConfig,
  ): Promise<mesos.slave.ContainerLaunchInfo | undefined> {
    return this.serially(id, async () => {
      // A session or a check in its parent's node: nothing of its own, and isolate() finds the parent by its id.
      if (config.container_class === mesos.slave.ContainerClass.DEBUG && id.length > 1) return undefined;
      const name = formatId(id);
      const bytes = codecs.ContainerConfig.encode(config);
      const existing = this.registry.named(name);
      if (existing) {
        this.requireSame(existing, bytes);
        const { record } = existing.container ?? existing.shares ?? {};
        return record?.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
      }
      const parentId = parentOf(id);
      const parent = parentId && this.find(parentId);
      if (parentId && !parent) {
        throw new IsolatorError(
          "no-container",
          `container ${name} is nested in ${formatId(parentId)}, which is not known here: it was never prepared, or is gone`,
        );
      }
      if (parent?.cleaning) {
        throw new IsolatorError(
          "conflict",
          `container ${name} is nested in ${parent.name}, which is on its way out`,
        );
      }
      const above = parent?.container ?? parent?.shares;
      if (parent && !above) {
        const why = `it is nested in ${parent.name}, which is under no policy, and so is it`;
        this.enterUnmanaged(id, why, { config, bytes });
        return undefined;
      }
      const placement = placementOf(this.config.cgroup, this.instance.cgroup2, id, above);
      if (placement.kind === "shared") {
        this.enterShared(id, { config, bytes });
        return above?.record.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
      }
      const facts = factsOf(config, name, parent ? (parent.facts ?? true) : undefined);
      const policy = this.policyOf(facts);
      requireMappings(policy, name, above?.policy);
      const launchInfo = this.launchInfoFor(policy, above, config, name);
      const container = await Container.prepare(this.instance, {
        ...{ id, source: "agent", config: bytes, ring: this.ring },
        policy,
        ...(above ? { parent: above } : {}),
        ...(placement.kind === "agent" ? { agentNode: placement.path } : {}),
        withoutNetRaw: launchInfo !== undefined,
        onTakeOver: (ports, owner) => {
          this.tellTakeOver(name, ports, owner);
        },
      });
      this.register({
        ...{ id, name, container, facts, config, bytes },
        ...{ recovered: false, cleaning: false },
      });
      if (tasksAreUntold(config, id.length > 1)) this.onUntold();
      return launchInfo;
    });
  }

  /** @param above what it is nested in, whose policy holds for it too @throws bad-argument */
  private launchInfoFor(
    policy: Policy,
    above: Container | undefined,
    config: mesos.slave.ContainerConfig,
    name: string,
  ): mesos.slave.ContainerLaunchInfo | undefined {
    const { loaded } = this.instance;
    const asked = this.config.netRaw === "take" && mustTakeNetRaw(policy, (hook) => loaded.has(hook));
    return asked || above?.record.withoutNetRaw ? withoutNetRaw(config, name) : undefined;
  }

  /** What prepare() would answer of DEBUG containers in one: modules do not ask. */
  sessionLaunchInfo(id: ContainerId): mesos.slave.ContainerLaunchInfo | undefined {
    const entry = this.find(id);
    const container = entry?.container ?? entry?.shares;
    return container?.record.withoutNetRaw
      ? withoutNetRaw({ command_info: {}, directory: "" }, formatId(id))
      : undefined;
  }

  private requireSame(existing: Entry, bytes: Uint8Array): void {
    const why = existing.cleaning
      ? "is still on its way out"
      : existing.bytes && Buffer.compare(existing.bytes, bytes) === 0
        ? undefined
        : "is there already, with another ContainerConfig";
    if (why === undefined) return;
    throw new IsolatorError(
      "conflict",
      `container ${existing.name} ${why}: clean it up first, or give another id`,
    );
  }

  /**
   * mesos::slave::Isolator::isolate(). One that was never prepared and is nested is a DEBUG one: it joins its parent.
   * @throws no-process, no-container, cgroup-failed
   */
  isolate(id: ContainerId, pid: number): Promise<void> {
    return this.serially(id, async () => {
      const name = formatId(id);
      const entry = this.registry.named(name);
      if (pid <= 1 || pid === process.pid) {
        throw new IsolatorError("bad-argument", `container ${name}: process ${pid} is none of a container`);
      }
      if (!entry) {
        const ancestor = this.registry.nearestAbove(id);
        if (!ancestor) {
          throw new IsolatorError(
            "no-container",
            `container ${name} was never prepared here, or is cleaned up: process ${pid} is not put under a policy`,
          );
        }
        await (ancestor.container ?? ancestor.shares)?.join(pid, name);
        this.patrol.note(ancestor.name, pid);
        return;
      }
      if (entry.cleaning) {
        throw new IsolatorError(
          "conflict",
          `container ${name} is on its way out: process ${pid} is not put into it`,
        );
      }
      if (entry.shares) {
        await entry.shares.join(pid, name);
        this.patrol.note(entry.shares.name, pid);
      }
      if (!entry.container) return;
      // First: where the host's rules cannot be applied, the process is not to run without them.
      await this.checkNetwork(entry, entry.container, pid);
      await entry.container.isolate(pid);
      this.patrol.note(name, pid);
    });
  }

  /**
   * Whoever names a network is believed only when the process really is in another one than this daemon: names come from
   * users, and an own network means no rules for the host's ports.
   * @throws port-owned
   */
  private async checkNetwork(entry: Entry, container: Container, pid: number): Promise<void> {
    const { facts, name } = entry;
    if (!facts?.ownNetwork) return;
    const network = networkOf(pid);
    if (network === undefined || network !== networkOf("self")) return;
    const judged = { ...facts, ownNetwork: false };
    const policy = this.policyOf(judged);
    requireMappings(policy, name);
    await this.apply(entry, container, policy);
    entry.facts = judged;
    this.log.add(
      "warning",
      name,
      "it asks for a network by name and runs in the host's: its ports are judged as the host's",
    );
  }

  /** mesos::slave::Isolator::watch(): pending until the container's end, or until it has to end. */
  async *watch(id: ContainerId, signal: AbortSignal): AsyncGenerator<mesos.slave.ContainerLimitation> {
    const name = formatId(id);
    const limitation = await this.watchers.limitation(name, signal);
    if (!limitation) return;
    yield limitation;
    await this.watchers.wait(name, signal);
  }

  /** Looks at the containers that were refused something since the last look. */
  private judgeViolations(): void {
    for (const name of this.violations.take()) {
      const entry = this.registry.named(name);
      if (!entry?.container || entry.cleaning) continue;
      const violation = this.violations.look(name, entry.container.usage().denied, Date.now());
      if (!violation) continue;
      const what = describeViolation(violation);
      this.log.add("violations", name, what);
      if (this.violations.kills) this.raise(name, what);
    }
  }

  /** The agent is to end a container. @param what it did */
  private raise(name: string, what: string): void {
    const ports = this.registry.named(name)?.container?.policy.ports ?? [];
    if (this.watchers.raise(name, limitationOf(name, what, ports)))
      this.log.add("limitation", name, "the agent is told to end it");
  }

  /**
   * mesos::slave::Isolator::update(): ports change at once. What listens already stays, and is told.
   * @throws no-container, port-owned, bad-argument
   */
  update(id: ContainerId, requests: readonly mesos.Resource[]): Promise<void> {
    return this.serially(id, async () => {
      const name = formatId(id);
      const entry = this.registry.named(name);
      if (!entry)
        throw new IsolatorError("no-container", `container ${name} is not known here: it was never prepared`);
      const { container } = entry;
      if (!container || entry.cleaning) return;
      const ports = portsOf(requests, name);
      if (entry.facts)
        entry.facts = { ...withoutBandwidth(entry.facts), ports, ...bandwidthOf(requests, name) };
      const policy = entry.facts
        ? this.policyOf(entry.facts)
        : container.policy.ownNetwork
          ? container.policy
          : { ...container.policy, ports };
      await this.apply(entry, container, policy);
      entry.recovered = false;
      // A custom executor has another task.
      if (entry.config && tasksAreUntold(entry.config, false)) {
        entry.taskIsOld = true;
        this.onUntold();
      }
    });
  }

  private async apply(entry: Entry, container: Container, policy: Policy): Promise<void> {
    const dropped = await container.update(policy, (ports, owner) => {
      this.tellTakeOver(entry.name, ports, owner);
    });
    if (dropped.length === 0 || !container.node.populated()) return;
    // After the answer: it reads /proc of each process, and the agent waits for nothing of it.
    setImmediate(() => {
      for (const { protocol, port, pid, process } of findListeners(container.node, dropped)) {
        const what = `${protocol} port ${port}, which it has no longer, is still listened on by ${process}[${pid}]`;
        this.log.add("listener_kept", entry.name, what);
      }
    });
  }

  /** mesos::slave::Isolator::cleanup(): succeeds for what is not known, and at once; what does not go is tried again. */
  cleanup(id: ContainerId): Promise<void> {
    return this.serially(id, async () => {
      const inside = this.registry.inside(id);
      for (const entry of inside) await this.finish(entry);
      if (inside.length > 0) return;
      await this.removeUnknown(recordKey(id));
      // A check or a session is watched too.
      this.watchers.end(formatId(id));
    });
  }

  /** Never fails: goes on in the background. */
  private async finish(entry: Entry, retry = RETRY_FIRST): Promise<void> {
    entry.cleaning = true;
    try {
      await entry.container?.cleanup(CLEANUP_TIMEOUT);
    } catch (error) {
      if (retry === RETRY_FIRST) {
        this.log.add(
          "cleanup_pending",
          entry.name,
          `it cannot be removed yet, and is tried again: ${messageOf(error)}`,
        );
      }
      const timer = setTimeout(() => {
        this.retries.delete(timer);
        void this.finish(entry, Math.min(2 * retry, RETRY_MOST));
      }, retry);
      this.retries.add(timer.unref());
      return;
    }
    // Its last events still find its name.
    this.ring.poll();
    this.registry.delete(entry);
    this.patrol.remove(entry.name);
    this.violations.forget(entry.name);
    this.log.forget(entry.name);
    this.watchers.end(entry.name);
  }

  /** One that could not be taken up, or that never was. */
  private removeUnknown(key: string): Promise<void> {
    return this.instance.locked(() => this.instance.removeAgents(key, CLEANUP_TIMEOUT));
  }

  /** An agent has said where it listens. Resolves when all containers' policies know it. */
  async meetAgent(agent: AgentAddress): Promise<void> {
    if (this.agent?.ip === agent.ip && this.agent.port === agent.port) return;
    this.agent = agent;
    try {
      writeAgentAddress(this.instance.stateDirectory, agent);
    } catch (error) {
      this.log.add(
        "warning",
        "",
        `the agent's address will not be known to the next daemon: ${messageOf(error)}`,
      );
    }
    this.endpoints?.setHost(agent.ip);
    await this.reconfigure(this.config);
    this.onUntold();
  }

  /** Another configuration. Resolves when all containers that are judged otherwise by it are. */
  async reconfigure(config: Config): Promise<void> {
    this.config = config;
    this.instance.setHostBandwidth(config.bandwidth?.host);
    this.measure(config);
    this.place(config);
    this.endpoints?.reconfigure(config);
    this.violations.set(config.violations);
    this.devices.use(config.markingDevices);
    await Promise.all(this.list().map((entry) => this.serially(entry.id, () => this.judgeAgain(entry))));
    void this.selfCheck.look();
  }

  private measure({ statistics: { interval, rates } }: Config): void {
    this.instance.sockets.keepStatistics(1000 * interval);
    this.sampler.set(rates);
  }

  private place({ cgroup: { mode, agentRoot } }: Config): void {
    this.instance.agentRoot = mode === "own" ? undefined : agentRoot;
  }

  /** By the configuration and all that is known of its framework and agent. */
  private policyOf(facts: ContainerFacts): Policy {
    const principal = this.principals.get(facts.frameworkId ?? "");
    return policyFor(this.config, principal === undefined ? facts : { ...facts, principal }, this.agent);
  }

  /** Containers of frameworks with another one than before may be in other classes. */
  private learnPrincipals(next: Principals): void {
    const before = this.principals;
    const changed = [...new Set([...before.keys(), ...next.keys()])].filter(
      (id) => before.get(id) !== next.get(id),
    );
    if (changed.length === 0) return;
    this.principals = new Map(next);
    try {
      writePrincipals(this.instance.stateDirectory, next);
    } catch (error) {
      this.log.add("warning", "", `the next daemon will not know principals: ${messageOf(error)}`);
    }
    const ids = new Set(changed);
    for (const entry of this.list())
      if (ids.has(entry.facts?.frameworkId ?? "")) void this.serially(entry.id, () => this.judgeAgain(entry));
  }

  private async judgeAgain(entry: Entry): Promise<void> {
    const { container, facts } = entry;
    if (!container || !facts || entry.cleaning) return;
    const { ports } = container.policy;
    // Ports are what the last update() said, whatever prepare() did.
    const policy = this.policyOf({ ...facts, ...(ports ? { ports } : {}) });
    if (JSON.stringify(policy) === JSON.stringify(container.policy)) return;
    await this.apply(entry, container, policy).catch((error: unknown) => {
      this.log.add(
        "warning",
        entry.name,
        `the new configuration cannot be applied to it: ${messageOf(error)}`,
      );
    });
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
    const levels = id.map((_, i) => this.find(id.slice(0, i + 1) as unknown as ContainerId)?.container);
    if (!levels.at(-1)) {
      throw new IsolatorError(
        "no-container",
        `container ${formatId(id)} is not known here, or is under no policy`,
      );
    }
    const bytes = parseAddress(address);
    if (!bytes)
      throw new IsolatorError("bad-argument", `${JSON.stringify(address.slice(0, 60))} is no address`);
    const number = port === 0 ? 0 : PROTOCOL_NUMBERS[protocol];
    const { classes, local, owner } = this.cluster.find(bytes, port, number);
    const verdicts = levels
      .reverse()
      .flatMap((container) => container ?? [])
      .flatMap((container) => this.cluster.explain(container, placeKey(bytes, port, number), port) ?? []);
    return {
      verdicts,
      classes: [...classes],
      local,
      ...(owner === undefined ? {} : { owner: this.nameOf(owner) ?? `with cgroup id ${owner}` }),
    };
  }

  /** Where the agent listens; undefined: none has said. */
  get agentAddress(): AgentAddress | undefined {
    return this.agent;
  }

  /** Names of containers whose tasks only the agent's API can tell of, and has not. */
  untold(): ReadonlySet<string> {
    const untold = this.list().filter(
      ({ id, config, container, cleaning, task, taskIsOld }) =>
        container && !cleaning && config && tasksAreUntold(config, id.length > 1) && (!task || taskIsOld),
    );
    return new Set(untold.map(({ name }) => name));
  }

  /** What the agent says of the tasks in a container. @throws state-failed */
  learnTask(name: string, task: TaskFacts): Promise<void> {
    const entry = this.registry.named(name);
    if (!entry?.container || entry.cleaning) return Promise.resolve();
    return this.serially(entry.id, async () => {
      const { facts, config, task: before } = entry;
      if (entry.cleaning || !facts || !config) return;
      entry.taskIsOld = false;
      if (JSON.stringify(before) === JSON.stringify(task)) return;
      this.instance.records.writeTask(recordKey(entry.id), task);
      entry.task = task;
      const parentId = parentOf(entry.id);
      const parent = parentId && this.find(parentId);
      // Without what an earlier answer has said.
      const plain = factsOf(config, name, parent ? (parent.facts ?? true) : undefined);
      const { ports, ownNetwork, networkBandwidth, cpus } = facts;
      const given = {
        ...(ports ? { ports } : {}),
        ...(networkBandwidth === undefined ? {} : { networkBandwidth }),
        ...(cpus === undefined ? {} : { cpus }),
      };
      entry.facts = withTask({ ...withoutBandwidth(plain), ...given, ownNetwork }, task);
      for (const problem of rateLabelsOf(task.labels).bad)
        this.log.add("warning", name, `${problem}: it is left out, since the task runs already`);
      await this.judgeAgain(entry);
    });
  }

  /** Name of a container by its cgroup id, whoever made it. */
  nameOf(cgroupId: bigint): string | undefined {
    return this.registry.withCgroup(cgroupId)?.name ?? this.instance.nameOf(cgroupId);
  }

  private liveName(cgroupId: bigint): string | undefined {
    const entry = this.registry.withCgroup(cgroupId);
    if (!entry) return this.instance.nameOf(cgroupId);
    return entry.container?.alive() ? entry.name : undefined;
  }

  private onKernelEvent(event: KernelEvent): void {
    const container = this.nameOf(event.cgroup_id) ?? `with cgroup id ${event.cgroup_id}`;
    this.log.denial(container, () =>
      toDenial(
        event,
        (cgroupId) => this.nameOf(cgroupId),
        (cgroupId, rule) => this.ruleOf(cgroupId, rule),
      ),
    );
    this.violations.note(container);
  }

  private ruleOf(cgroupId: bigint, rule: number): string | undefined {
    const policy = this.registry.withCgroup(cgroupId)?.container?.policy;
    return policy?.egress && ruleName(policy.egress, rule);
  }

  /** Connections that rules had come to deny. */
  private tellEnded(sockets: readonly EndedSocket[]): void {
    for (const [cgroupId, own] of groupBy(sockets, ({ cgroup_id }) => cgroup_id))
      this.log.add("ended", this.nameOf(cgroupId) ?? "", describeEnded(own));
  }

  private tellTakeOver(name: string, ports: readonly PortRange[], owner: bigint): void {
    const dead = this.nameOf(owner);
    const whose =
      dead === undefined ? "a container that is gone" : `container ${dead}, in which nothing runs any more`;
    this.log.add(
      "taken_over",
      name,
      `ports ${formatPorts(ports)} are its own now: they were those of ${whose}`,
    );
  }

  private enterUnmanaged(id: ContainerId, why: string, more: Pick<Entry, "config" | "bytes"> = {}): void {
    const name = formatId(id);
    this.registry.add({ ...more, id, name, container: undefined, recovered: true, cleaning: false });
    this.log.add("unmanaged", name, why);
  }

  /** One that is nested in a container whose node its processes share. */
  private enterShared(id: ContainerId, more: Pick<Entry, "config" | "bytes"> = {}): void {
    const name = formatId(id);
    const above = this.registry.nearestAbove(id);
    const shares = above?.container ?? above?.shares;
    if (!shares) return;
    const states = { container: undefined, recovered: false, cleaning: false };
    this.registry.add({ ...more, ...states, id, name, shares });
    const ports = shares.policy.ports ?? [];
    this.log.add(
      "shares_node",
      name,
      `the agent has made no cgroup for it, and it runs in that of ${shares.name}: it may do what that one may, with ` +
        `the ports of the whole pod${ports.length > 0 ? ` (${formatPorts(ports)})` : ""}`,
    );
  }

  /** Takes a container of an earlier daemon in. */
  private enter(container: Container, bytes: Uint8Array | undefined): void {
    const parentId = parentOf(container.id);
    const parent = parentId && this.find(parentId);
    const entry: Entry = {
      ...{ id: container.id, name: container.name, container },
      ...{ recovered: true, cleaning: container.record.stage === "cleaning" },
    };
    try {
      if (bytes) {
        const config = codecs.ContainerConfig.decode(bytes);
        const facts = factsOf(config, container.name, parent ? (parent.facts ?? true) : undefined);
        const { ports, ownNetwork } = container.policy;
        // In a network of its own its policy has none of them.
        if (ports && !ownNetwork) facts.ports = ports;
        if (!ownNetwork) facts.ownNetwork = false;
        const { asked } = container.policy.bandwidth ?? {};
        const known: ContainerFacts = asked
          ? {
              ...withoutBandwidth(facts),
              ...(asked.resource === undefined ? {} : { networkBandwidth: asked.resource }),
              ...(asked.cpus === undefined ? {} : { cpus: asked.cpus }),
            }
          : facts;
        const task = this.instance.records.readTask(recordKey(container.id));
        Object.assign(entry, { bytes, config, facts: task ? withTask(known, task) : known, task });
      }
    } catch (error) {
      this.log.add(
        "warning",
        entry.name,
        `its ContainerConfig cannot be read again, its policy stays: ${messageOf(error)}`,
      );
    }
    this.register(entry);
  }

  private register(entry: Entry): void {
    this.registry.add(entry);
    if (entry.container && this.violations.counts)
      this.violations.look(entry.name, entry.container.usage().denied, Date.now());
    const gaps = entry.container?.gaps() ?? [];
    if (gaps.length > 0) this.log.add("warning", entry.name, `this kernel cannot refuse: ${gaps.join("; ")}`);
    for (const what of entry.facts ? badLimits(entry.facts) : [])
      this.log.add("warning", entry.name, `no limit for connections: ${what}`);
    for (const what of entry.facts ? badPaths(entry.facts) : [])
      this.log.add("warning", entry.name, `no rule for files: ${what}`);
    const marking = entry.container?.policy.marking;
    for (const what of entry.facts ? badMarks(entry.facts, this.config.trustedRoles, marking) : [])
      this.log.add("warning", entry.name, `no marking: ${what}`);
    const unknown = tooManyClasses(entry.container?.policy.classes);
    if (unknown !== undefined) this.log.add("warning", entry.name, unknown);
    const watch = entry.container?.escapeWatch();
    if (watch) this.patrol.add(entry.name, watch);
  }

  private serially<T>(id: ContainerId, work: () => Promise<T>): Promise<T> {
    return this.queues.run(id[0], work);
  }
}
