/** One container, from prepare() to cleanup(). */
import { IsolatorError, messageOf, systemCode, type ErrorCode } from "../errors.js";
import { bandwidthStatistics, type BandwidthUsage } from "../features/bandwidth.js";
import { sumCounters, sumSome, type Usage } from "../features/accounting.js";
import { keepConnections, type HeldConnections, type HeldDestination } from "../features/connections.js";
import { egressSet, type EgressHits } from "../features/egress.js";
import { gapsOf, hooksOf, mustWatch, NO_RING, type Policy } from "../features/policy.js";
import { subtractRanges, type PortRange } from "../features/ports.js";
import { Rates, type RateOptions } from "../features/rates.js";
import type { ContainerStatistics, SocketCounts, StatisticsFields } from "../features/statistics.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import type { EventRing, KernelEvent } from "../kernel/events.js";
import { buildId, layoutId } from "../kernel/object.js";
import type { Programs } from "../kernel/programs.js";
import type { ServiceTable } from "../kernel/service-table.js";
import { endingWay } from "../kernel/terminate.js";
import { closeBandwidth, readBandwidth } from "./bandwidth.js";
import { EscapeWatch } from "./escaped.js";
import { throughGlass, type GlassMode } from "./glass.js";
import type { Instance } from "./instance.js";
import { checkContainerName, formatId, type ContainerId } from "./names.js";
import { leaveNode, requireInside, requireNotAgents } from "./placement.js";
import { closeConnections, readConnections, readDestinations } from "./connections.js";
import { requireFiles } from "./files.js";
import { policyFaults, writePolicy, type PolicyTarget } from "./kernel-policy.js";
import { forgetClasses, writeClasses } from "./owner-classes.js";
import { forgetHits, forgetMarkingSet, readHits, setsOf, writeTermination, type RuleSet } from "./egress.js";
import { writeServices } from "./services.js";
import { reach } from "./points.js";
import { deleteMappings } from "./remap.js";
import { LEVELS, PortTable, type Chain } from "./port-table.js";
import { RECORD_VERSION, totalUsage, type ContainerRecord, type HeldRecord, type Source } from "./records.js";
import { openRing } from "./rings.js";
import type { PassResult } from "./socket-passes.js";

export interface ContainerOptions {
  id: ContainerId;
  policy: Policy;
  /** The container that this one is nested in. */
  parent?: Container;
  /** Whose it is; "run" if not given. */
  source?: Source;
  /** Bytes of an agent's ContainerConfig, to be kept with the record. */
  config?: Uint8Array;
  /** Path of a node of the agent's that is used; without, one is made. */
  agentNode?: string;
  /** It is launched without CAP_NET_RAW. */
  withoutNetRaw?: boolean;
  /** Called for each event, by a ring of the container's own. */
  onEvent?: (event: KernelEvent) => void;
  /** A ring that the container's events go to instead; it stays its maker's. */
  ring?: EventRing;
  /** Called for ports that were a dead container's. @param owner its cgroup id */
  onTakeOver?: (ports: PortRange[], owner: bigint) => void;
}

const IN_THE_WAY: readonly ErrorCode[] = [
  "name-taken",
  "port-owned",
  "cgroup-failed",
  "other-build",
  "map-full",
];

/**
 * What sockets hold already is given back where it was counted, and what they are paced to is taken back, also when
 * nothing is limited any more.
 */
function keepCounting(before: Policy, next: Policy): Policy {
  const connections = keepConnections(before.connections, next.connections);
  return {
    ...next,
    ...(connections ? { connections } : {}),
    ...(!next.bandwidth && before.bandwidth ? { bandwidth: {} } : {}),
  };
}

/** Each is told whether all before it went well. */
type Undo = ((clean: boolean) => void | Promise<void>)[];

function sameRules({ egress: a }: Policy, { egress: b }: Policy): boolean {
  return a !== undefined && b !== undefined && egressSet(a) === egressSet(b);
}

/** Sets of rules that a container had and has no longer. */
function goneSets(before: Policy, now: Policy): RuleSet[] {
  const kept = new Set(setsOf(now).map(({ id }) => id));
  return setsOf(before).filter(({ id }) => !kept.has(id));
}

/**
 * Takes back what was done, last first. What cannot be taken back keeps its record, unlocked, so that the next sweep
 * does it; the error that led here is the one to tell.
 */
async function unwind(undo: Undo): Promise<void> {
  let clean = true;
  for (const step of undo.reverse()) {
    try {
      await step(clean);
    } catch {
      clean = false;
    }
  }
}

export class Container {
  /** Its last counts: its node is gone. */
  private final: ContainerStatistics | undefined;
  /** Likewise, of its bandwidth. */
  finalBandwidth: BandwidthUsage | undefined;
  private rates: Rates | undefined;
  /** Its own services. */
  private services: ServiceTable | undefined;
  /** All of it is gone. */
  private removed = false;
  /** cgroup ids from the root container down to this one. */
  readonly chain: Chain;
  readonly cgroupId: bigint;
  readonly name: string;
  /** Of its entries in maps. */
  private readonly key: Uint8Array;
  /** Whether file_counts may have something of it; undefined: to be looked up. */
  private countsFiles: boolean | undefined;
  /** What the programs were told of ending connections; at first, what a daemon before this one may have told them. */
  private ends = true;

  private constructor(
    private readonly instance: Instance,
    private readonly programs: Programs,
    private readonly held: HeldRecord,
    readonly node: CgroupNode,
    private current: ContainerRecord,
    private readonly parent: Container | undefined,
    private readonly ownRing: EventRing | undefined,
    private readonly ringSlot: number,
  ) {
    this.chain = current.chain.map(BigInt);
    this.cgroupId = this.chain.at(-1) ?? 0n;
    this.name = formatId(current.id);
    this.key = u64Key(this.cgroupId);
  }

  get id(): ContainerId {
    return this.current.id;
  }

  get policy(): Policy {
    return this.current.policy;
  }

  /** As it is on disk. */
  get record(): Readonly<ContainerRecord> {
    return this.current;
  }

  /** Whether its node is the agent's (placement.ts). */
  get isAgents(): boolean {
    return this.current.agentNode === true;
  }

  /**
   * Makes the node, attaches the programs, writes the policy and claims the ports: all of it or nothing.
   * A process in the node is under the policy from its first instruction there.
   * @throws IsolatorError of any kind; nothing is left behind
   */
  static prepare(instance: Instance, options: ContainerOptions): Promise<Container> {
    if (options.source !== "agent") for (const name of options.id) checkContainerName(name);
    if (options.id.length > LEVELS) {
      throw new IsolatorError(
        "bad-argument",
        `container ${formatId(options.id)} is nested ${options.id.length} deep; at most ${LEVELS} levels are supported`,
      );
    }
    return instance.locked(async () => {
      await instance.sweepOnce();
      try {
        return await Container.attempt(instance, options);
      } catch (error) {
        // In the way may be what a process that was killed since then has left.
        const inTheWay = error instanceof IsolatorError && IN_THE_WAY.includes(error.code);
        if (!inTheWay || (await instance.sweep()).length === 0) throw error;
        return await Container.attempt(instance, options);
      }
    });
  }

  private static async attempt(instance: Instance, options: ContainerOptions): Promise<Container> {
    const undo: Undo = [
      () => {
        instance.removeIfUnused();
      },
    ];
    try {
      return Container.build(instance, options, undo);
    } catch (error) {
      await unwind(undo);
      throw error;
    }
  }

  private static build(
    instance: Instance,
    { id, policy, parent, source = "run", config, ...more }: ContainerOptions,
    undo: Undo,
  ): Container {
    const { agentNode, withoutNetRaw = false, onEvent, ring, onTakeOver } = more;
    const held = instance.records.reserve(id, source);
    undo.push((clean) => {
      if (clean) instance.records.remove(held);
      else held.lock?.release();
    });
    reach("prepare:reserved");
    const programs = instance.acquirePrograms();
    undo.push(() => {
      instance.releasePrograms();
    });
    reach("prepare:programs");
    requireFiles(programs, policy, `container ${formatId(id)} is not started`);
    const node = agentNode === undefined ? CgroupNode.create(instance.nodePath(id)) : openAgents(agentNode);
    undo.push(async () => {
      if (agentNode === undefined) await node.remove();
      else leaveNode(programs, node, formatId(id));
    });
    reach("prepare:node");
    const chain: Chain = [...(parent?.chain ?? []), node.id];
    const record: ContainerRecord = {
      version: RECORD_VERSION,
      ...{ id, source, stage: "preparing", policy },
      cgroup: node.path,
      ...(agentNode === undefined ? {} : { agentNode: true }),
      ...(withoutNetRaw ? { withoutNetRaw } : {}),
      chain: chain.map(String),
      ...{ build: buildId(), layout: layoutId() },
      pid: process.pid,
      started: Math.floor(Date.now() / 1000),
    };
    if (config) instance.records.writeConfig(held, config);
    instance.records.write(held, record);
    reach("prepare:recorded");
    const ownRing = onEvent && openRing(instance, programs, onEvent);
    undo.push(() => ownRing?.close());
    const slot = (ring ?? ownRing)?.slot ?? NO_RING;
    const container = new Container(instance, programs, held, node, record, parent, ownRing, slot);
    const glass = container.glass;
    if (glass !== "detach") {
      node.withFd((fd) => {
        programs.attach(fd, container.name, hooksOf(policy));
      });
    }
    reach("prepare:attached");
    undo.push(async () => {
      await instance.sockets.delete(node.id);
      closeConnections(programs, node.id);
      closeBandwidth(programs, node.id);
      deleteMappings(programs.map("port_remaps"), node.id, policy.remap);
      forgetClasses(programs, node.id);
      container.dropSets(setsOf(policy));
      forgetMarkingSet(programs, node.id);
      container.services?.clear();
    });
    undo.push(() => {
      instance.files.close(programs, node.id);
      instance.endFiles(held.key);
    });
    container.applyPolicy(glass);
    instance.sockets.begin(node.id, container.usage());
    reach("prepare:policy");
    undo.push(() => {
      container.table.release(policy.ports ?? [], chain, parent?.policy.ports);
    });
    const takenOver = container.table.claim(policy.ports ?? [], chain, instance.liveName);
    reach("prepare:claimed");
    // The lock of a `run` says all there is to say of its stage.
    if (source === "agent") container.save({ stage: "prepared" });
    for (const [owner, ports] of takenOver) onTakeOver?.(ports, owner);
    reach("prepare:done");
    return container;
  }

  /**
   * Takes up a container that a daemon before this one has made; its programs are of this build (upgrade.ts). Under the
   * instance's lock.
   * @param ring that its events go to from now on
   * @returns undefined where its node is gone
   */
  static adopt(
    instance: Instance,
    key: string,
    record: ContainerRecord,
    parent: Container | undefined,
    ring: EventRing,
  ): Container | undefined {
    const node = CgroupNode.open(record.cgroup);
    if (!node || node.id.toString() !== record.chain.at(-1)) return undefined;
    const held = instance.records.take(key);
    const programs = instance.acquirePrograms();
    const container = new Container(instance, programs, held, node, record, parent, undefined, ring.slot);
    const { glass } = container;
    if (glass !== "detach") {
      node.withFd((fd) => {
        programs.ensureAttached(fd, container.name, hooksOf(record.policy));
      });
    }
    container.applyPolicy(glass);
    return container;
  }

  /** What `break-glass` has switched off for it. */
  get glass(): GlassMode | undefined {
    return this.instance.glassOf(this.held.key);
  }

  private get table(): PortTable {
    return new PortTable(this.programs.map("port_owners"), this.programs.map("port_bounds"));
  }

  /** Writes the policy to the kernel, less what `break-glass` has switched off. */
  applyPolicy(glass = this.glass): void {
    if (glass === "detach") return;
    this.countsFiles = undefined;
    writeClasses(this.programs, this.cgroupId, this.policy.classes);
    this.services = writeServices(this.programs, this.cgroupId, this.policy.services, this.services);
    this.watchSockets();
    writePolicy(this.instance, this.programs, throughGlass(this.policy, glass), this.target);
  }

  private get target(): PolicyTarget {
    return { cgroupId: this.cgroupId, level: this.chain.length - 1, ring: this.ringSlot };
  }

  /**
   * What is not as it should be in the kernel, in words; nothing while `break-glass --detach` holds.
   * @throws where the node is gone
   */
  faults(): string[] {
    const { glass } = this;
    if (glass === "detach" || this.removed) return [];
    // An agent removes its node before it says so by cleanup().
    if (this.isAgents && !CgroupNode.open(this.node.path)) return [];
    const missing = this.node.withFd((fd) => this.programs.missing(fd, hooksOf(this.policy)));
    return [
      ...(missing.length > 0 ? [`its programs on ${missing.join(", ")} were gone`] : []),
      ...policyFaults(this.instance, this.programs, throughGlass(this.policy, glass), this.target),
    ];
  }

  /**
   * Puts right what faults() finds.
   * @returns what it was
   * @throws attach-failed, map-failed, busy
   */
  repair(): Promise<string[]> {
    // Under the lock: an operator's break-glass may be under way.
    return this.instance.locked(() => {
      const faults = this.faults();
      if (faults.length > 0) {
        this.attachWanted();
        this.applyPolicy();
      }
      return Promise.resolve(faults);
    });
  }

  private watchSockets(): void {
    const container = {
      programs: this.programs,
      parent: this.chain.at(-2) ?? 0n,
      counts: () => this.socketCounts(),
      hasClosed: () => {
        const held = this.connections();
        return held !== undefined && held.held !== held.live;
      },
      ends: () => this.writeTermination(),
      ownNetwork: this.policy.ownNetwork ?? false,
    };
    const { connections, egress } = this.policy;
    this.instance.sockets.add(this.cgroupId, container, Boolean(connections ?? egress?.existing));
  }

  /** Its rules are not wanted for it any more. */
  private dropSets(sets: readonly RuleSet[]): void {
    if (this.current.source === "agent") this.instance.dropSetsLater(sets);
    else this.instance.dropSets(this.programs, this.held.key, sets);
  }

  /** @returns whether its rules end connections that exist, as things are now */
  private writeTermination(): boolean {
    const { egress, enforce } = this.policy;
    const ends = egress !== undefined && enforce === "on" && this.glass === undefined;
    // Asked of every container at every pass.
    if (!ends && !this.ends) return false;
    return (this.ends = writeTermination(this.programs, ends ? egress : undefined, this.chain));
  }

  /** Another policy may have a use for other hooks of BPF LSM. */
  private attachWanted(): void {
    if (this.glass === "detach") return;
    this.node.withFd((fd) => {
      this.programs.ensureAttached(fd, this.name, hooksOf(this.policy));
    });
  }

  private save(changes: Partial<ContainerRecord>): void {
    const next = { ...this.current, ...changes };
    this.instance.records.write(this.held, next);
    this.current = next;
  }

  /**
   * Moves a process into the node, unless that is the agent's, who has done so: it and all that it makes from then on are
   * under the policy.
   * @param pid as this process sees it
   * @throws no-process when it is gone; cgroup-failed; conflict where the agent keeps it elsewhere
   */
  async isolate(pid: number): Promise<void> {
    if (!this.isAgents) requireNotAgents(this.id, pid);
    await this.join(pid, this.name);
    reach("isolate:moved");
    if (this.current.stage === "prepared") this.save({ stage: "isolated" });
    reach("isolate:done");
  }

  /**
   * Has a process that is not the container's first one in the node.
   * @param name of whose it is, for messages
   * @throws as isolate()
   */
  async join(pid: number, name: string): Promise<void> {
    if (this.isAgents) requireInside(this.node, this.instance.cgroup2, pid, name);
    else await moveInto(this.node, pid, name);
  }

  /**
   * Changes the policy: ports that are new are claimed, ports that are gone are free at once.
   * @returns ports that it had and has no longer
   * @throws port-owned, and then nothing has changed
   */
  update(next: Policy, onTakeOver?: ContainerOptions["onTakeOver"]): Promise<PortRange[]> {
    return this.instance.locked(async () => {
      const { chain, table } = this;
      const before = this.policy;
      requireFiles(this.programs, next, `container ${this.name} stays under its old policy`);
      const policy = keepCounting(before, next);
      const wanted = policy.ports ?? [];
      const dropped = subtractRanges(before.ports ?? [], wanted);
      table.examine(wanted, chain, this.instance.liveName);
      this.save({ policy });
      reach("update:recorded");
      const takenOver = table.claim(wanted, chain, this.instance.liveName);
      reach("update:claimed");
      table.release(dropped, chain, this.parent?.policy.ports);
      reach("update:released");
      this.applyPolicy();
      deleteMappings(this.programs.map("port_remaps"), this.cgroupId, before.remap, policy.remap);
      this.instance.dropSetsLater(goneSets(before, policy));
      if (policy.egress?.existing) this.instance.sockets.soon();
      // Numbers of rules are others' now.
      if (before.egress && !sameRules(before, policy))
        forgetHits(this.programs, this.cgroupId, before.egress);
      if ([...hooksOf(before)].join() !== [...hooksOf(policy)].join()) this.attachWanted();
      if (policy.bandwidth && !before.bandwidth) this.instance.older.add(this.cgroupId, this.programs);
      if (before.files) this.instance.endFiles();
      for (const [owner, ports] of takenOver) onTakeOver?.(ports, owner);
      reach("update:done");
      return Promise.resolve(dropped);
    });
  }

  /** What the policy asks by name to be refused and this kernel cannot refuse, in words. */
  gaps(): string[] {
    const { sockets } = this.policy;
    const policy =
      this.current.withoutNetRaw && sockets
        ? { ...this.policy, sockets: { ...sockets, raw: "allow" as const, packet: "allow" as const } }
        : this.policy;
    return [
      ...gapsOf(policy, (hook) => this.programs.has(hook)),
      ...(policy.egress?.existing && endingWay() === undefined
        ? ["connections that exist when rules come to deny them"]
        : []),
    ];
  }

  /** Paths of its rules for files that are not there yet. */
  missingPaths(): string[] {
    return this.instance.files.missing(this.policy.files);
  }

  /** What finds processes that left the node, where the policy denies it and this kernel cannot refuse it. */
  escapeWatch(): EscapeWatch | undefined {
    const watch = mustWatch(this.policy, (hook) => this.programs.has(hook));
    return watch ? new EscapeWatch(this.node, this.instance.cgroup2) : undefined;
  }

  /** Delivers the events that are waiting now. */
  pollEvents(): void {
    this.ownRing?.poll();
  }

  /** Counts so far; after cleanup() the last ones. */
  usage(): Usage {
    if (this.final) return this.final.usage;
    const counters = this.programs.map("counters");
    const ofFiles =
      this.countsFiles === false ? undefined : this.programs.map("file_counts").lookup(this.key);
    // What was counted under another policy stays.
    this.countsFiles ??= ofFiles !== undefined || this.policy.files !== undefined;
    const now = sumCounters([...(counters.lookupPerCpu(this.key) ?? []), ...(ofFiles ? [ofFiles] : [])]);
    return totalUsage(this.current, counters.id, now);
  }

  /** A part of usage(), in a tenth of the time. */
  private socketCounts(): SocketCounts {
    // Carried over from another layout of the counters: rare.
    if (this.final || this.current.carried) return this.usage();
    const values = this.programs.map("counters").lookupPerCpu(this.key) ?? [];
    return sumSome(values, ["tcpTimewaits", "tcpTimewaitsLost", "tcpInSegs", "tcpOutSegs"]);
  }

  /** All that is known of its traffic so far; after cleanup() the last of it. */
  statistics(): ContainerStatistics {
    if (this.final) return this.final;
    const usage = this.usage();
    const sockets = this.policy.ownNetwork
      ? undefined
      : this.instance.sockets.numbersOf(this.cgroupId, usage);
    return {
      usage,
      ...(sockets ? { sockets } : {}),
      ...(this.rates ? { rates: this.rates.read() } : {}),
      more: this.limiterFields(),
    };
  }

  /**
   * Fields of ResourceStatistics that limiters of its traffic have: net_traffic_control_statistics, one entry each with an
   * `id` of its own, and the limits themselves.
   */
  private limiterFields(): StatisticsFields {
    return bandwidthStatistics(this.policy.bandwidth, this.bandwidth());
  }

  /** Takes a sample for the rates of its traffic. @param time seconds, of a clock that only goes forward */
  sampleRates(options: RateOptions, time: number): void {
    if (JSON.stringify(this.rates?.options) !== JSON.stringify(options)) this.rates = new Rates(options);
    this.rates?.add(this.usage(), time);
  }

  /** Rates are not sampled any more. */
  forgetRates(): void {
    this.rates = undefined;
  }

  /** Connections that it holds; undefined: they are not counted. */
  connections(): HeldConnections | undefined {
    return this.policy.connections && readConnections(this.programs.map("connect_totals"), this.cgroupId);
  }

  /** What it uses of its bandwidth; undefined: it is not limited. */
  bandwidth(): BandwidthUsage | undefined {
    if (this.removed) return this.finalBandwidth;
    return this.policy.bandwidth && readBandwidth(this.programs, this.cgroupId);
  }

  /** Whether a port is its own, or of one that is nested in it. */
  owns(port: number): boolean {
    return this.table.ownerOf(port)[this.chain.length - 1] === this.cgroupId;
  }

  /** What each rule of egress has refused and reported. */
  egressHits(): EgressHits[] {
    return this.policy.egress ? readHits(this.programs, this.cgroupId, this.policy.egress) : [];
  }

  /** Finds out which of them are closed for good (socket-passes.ts). @throws map-failed */
  releaseClosed(): Promise<PassResult | undefined> {
    return this.instance.sockets.run(this.programs);
  }

  /** Where they go, most first. Takes milliseconds. */
  destinations(): HeldDestination[] {
    if (!this.policy.connections) return [];
    return readDestinations(this.programs.map("connect_sets")).filter(
      ({ cgroupId }) => cgroupId === this.cgroupId,
    );
  }

  /** Whether a process is in it or may still come: one that waits for its process is not dead. */
  alive(): boolean {
    return this.current.stage === "prepared" || this.current.stage === "preparing" || this.node.populated();
  }

  /**
   * Kills what still runs in the node, unless that is the agent's to do, and waits until it is gone.
   * @param timeout ms
   * @throws cgroup-failed
   */
  async killAll(timeout?: number): Promise<void> {
    if (!this.node.populated()) return;
    if (!this.isAgents) this.node.kill();
    await this.node.emptied(timeout);
  }

  /**
   * Kills what still runs in the node, takes the last counts, frees the ports and removes the node; an agent's stays. Safe
   * to repeat.
   * @param timeout ms to wait for its processes to be gone
   * @throws IsolatorError when the node cannot be removed; the next run of the instance sweeps it then
   */
  async cleanup(timeout?: number): Promise<void> {
    if (this.removed) return;
    this.saveCleaning();
    reach("cleanup:recorded");
    // Waited for before the lock is taken: a process that does not go is nobody else's trouble.
    if (!this.final) await this.killAll(timeout);
    reach("cleanup:killed");
    await this.instance.locked(async () => {
      this.finalBandwidth = this.bandwidth();
      this.table.release(this.policy.ports ?? [], this.chain, this.parent?.policy.ports);
      reach("cleanup:released");
      // Taken first, and what is told from now on: the kernel's counts go with the node.
      this.final = this.statistics();
      try {
        if (this.isAgents) leaveNode(this.programs, this.node, this.name);
        else await this.node.remove(timeout);
      } catch (error) {
        this.final = undefined;
        throw error;
      }
      reach("cleanup:node");
      await this.instance.sockets.delete(this.cgroupId);
      closeConnections(this.programs, this.cgroupId);
      await this.instance.older.delete(this.cgroupId);
      closeBandwidth(this.programs, this.cgroupId);
      deleteMappings(this.programs.map("port_remaps"), this.cgroupId, this.policy.remap);
      if (this.policy.files) this.instance.files.close(this.programs, this.cgroupId);
      forgetClasses(this.programs, this.cgroupId);
      if (this.policy.egress) {
        forgetHits(this.programs, this.cgroupId, this.policy.egress);
        writeTermination(this.programs, undefined, this.chain);
      }
      if (this.policy.marking?.destinations) forgetMarkingSet(this.programs, this.cgroupId);
      this.dropSets(setsOf(this.policy));
      this.services?.clear();
      // Its last events are told by its name, which goes with the record.
      while (this.ownRing?.poll() === false);
      this.instance.records.remove(this.held);
      if (this.policy.files) this.instance.endFiles();
      this.removed = true;
      this.ownRing?.close();
      this.instance.releasePrograms();
      this.instance.removeIfUnused();
      reach("cleanup:done");
    });
  }

  /** So that a daemon that comes after this one goes on with it. It goes without where there is no room for that. */
  private saveCleaning(): void {
    if (this.current.source !== "agent" || this.current.stage === "cleaning") return;
    try {
      this.save({ stage: "cleaning" });
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
    }
  }
}

/** @throws cgroup-failed */
function openAgents(path: string): CgroupNode {
  const node = CgroupNode.open(path);
  if (node) return node;
  throw new IsolatorError("cgroup-failed", `the cgroup ${path}, which the agent had made, is gone`);
}

/**
 * Moves a process into a node.
 * @param container for the message
 * @throws no-process, cgroup-failed
 */
async function moveInto(node: CgroupNode, pid: number, container: string): Promise<void> {
  try {
    await node.move(pid);
  } catch (error) {
    if (systemCode(error) === "ESRCH") {
      throw new IsolatorError(
        "no-process",
        `container ${container}: process ${pid} is gone, so it cannot be put under the policy`,
        error,
      );
    }
    throw new IsolatorError(
      "cgroup-failed",
      `container ${container}: process ${pid} cannot be moved into ${node.path}: ${messageOf(error)}`,
      error,
    );
  }
}
