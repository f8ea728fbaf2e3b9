/**
 * An instance: one set of programs, maps, cgroup nodes and records, by name. Processes of the same instance share it;
 * those of different instances know nothing of each other.
 */
import { existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import type { BandwidthUsage, HostBandwidth } from "../features/bandwidth.js";
import { cgroupRoot, CgroupNode, children } from "../kernel/cgroup.js";
import { FileLock } from "../kernel/lock.js";
import type { BpfMap } from "../kernel/maps.js";
import { fileSetNumber } from "../features/files.js";
import { attachedToMachine, detachFromMachine } from "../kernel/links.js";
import { requireCgroup2 } from "../kernel/mounts.js";
import { buildId } from "../kernel/object.js";
import { detachAll } from "../kernel/attach.js";
import {
  isPinned,
  openPinnedMap,
  otherBuilds,
  PinnedBuild,
  pinRoot,
  unpin,
  unpinBuild,
} from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import { forgetServices, SERVICE_MAPS } from "../kernel/service-table.js";
import { PRINCIPALS_FILE } from "./principals.js";
import {
  closeBandwidth,
  OlderConnections,
  readHostBandwidth,
  writeHostBandwidth,
  type BandwidthMaps,
} from "./bandwidth.js";
import {
  forgetHits,
  forgetMarkingSet,
  removeSet,
  setsOf,
  writeTermination,
  type EgressMaps,
  type RuleSet,
} from "./egress.js";
import { closeConnections, type ConnectionMaps } from "./connections.js";
import { dropSets, FileRules, forgetFiles } from "./files.js";
import { readGlass, type GlassMode } from "./glass.js";
import { checkInstanceName, formatId, type ContainerId } from "./names.js";
import { forgetClasses, type OwnerMaps } from "./owner-classes.js";
import { PortTable } from "./port-table.js";
import { DEVICES_FILE, leaveDevices } from "./marking-devices.js";
import { deleteMappings } from "./remap.js";
import { agentNode, leaveNode } from "./placement.js";
import { buildsOf, nodeNames, recordKey, Records, type ContainerRecord } from "./records.js";
import { SocketPasses } from "./socket-passes.js";

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not empty, or not there.
  }
}

/** ms after which no program is still looking at what a policy named before. */
const SET_GRACE = 1000;
/** For one container that was left behind. ms */
const SWEEP_TIMEOUT = 3000;

/** Where every instance keeps its state. */
export const STATE_ROOT = "/run/bpf-isolator";

/** In the instance's state directory; locked (flock) by the daemon for as long as it lives. */
const SERVE_LOCK = "serve.lock";
/** Locked by the process that makes a pass over the sockets. */
const PASS_LOCK = "connections.lock";
/** Names of services (cluster/service-names.ts). */
export const HOSTS_FILE = "hosts";
/** What else may be in it, besides its lock. */
const STATE_FILES = [
  "containers",
  "rings",
  SERVE_LOCK,
  PASS_LOCK,
  "break-glass",
  DEVICES_FILE,
  "agent.json",
  PRINCIPALS_FILE,
  "isolator.sock",
  HOSTS_FILE,
];

export class Instance {
  readonly records: Records;
  /** Directory of the containers' nodes. */
  readonly root: string;
  readonly older = new OlderConnections();
  readonly files: FileRules;
  readonly sockets: SocketPasses;
  /** What was left behind before this process is swept; what others leave later is looked for when it is in the way. */
  private swept = false;
  private programs: Programs | undefined;
  private programUsers = 0;
  private serveLock: FileLock | undefined;
  private setsTimer: NodeJS.Timeout | undefined;
  /** Sets of rules that a container of this process had, until it is seen whether another one has them. */
  private readonly droppedSets = new Map<bigint, RuleSet>();
  /** Those of the containers of this process, where it is the daemon. */
  setsInUse: () => Iterable<RuleSet> = () => [];
  /**
   * Name of the container with this cgroup id, for as long as that may still use its ports; undefined: dead, so that its
   * ports may be taken over. A daemon knows better than the records, and sets its own.
   */
  liveName = (cgroupId: bigint): string | undefined => this.nameOf(cgroupId);
  /** The agent's --cgroups_root, where nodes of it are used. A daemon sets it. */
  agentRoot: string | undefined;

  private constructor(
    readonly name: string,
    /** Directory of locks and records. */
    readonly stateDirectory: string,
    /** Mount point of cgroup2. */
    readonly cgroup2: string,
  ) {
    this.records = new Records(stateDirectory);
    this.root = cgroupRoot(cgroup2, name);
    this.files = new FileRules(this);
    this.sockets = new SocketPasses(join(stateDirectory, PASS_LOCK));
  }

  /** @throws bad-argument, not-root, no-cgroup2, cgroup2-read-only, state-failed */
  static open(name: string): Instance {
    checkInstanceName(name);
    if (process.geteuid?.() !== 0) {
      throw new IsolatorError(
        "not-root",
        "only root may make cgroups and load BPF programs: run this with sudo",
      );
    }
    const cgroup2 = requireCgroup2();
    return new Instance(name, join(STATE_ROOT, name), cgroup2);
  }

  /**
   * Runs `change` as the only process that changes this instance.
   * @throws busy, state-failed
   */
  async locked<T>(change: () => Promise<T>): Promise<T> {
    const lock = await this.lock();
    try {
      return await change();
    } finally {
      lock.release();
    }
  }

  private async lock(tries = 100): Promise<FileLock> {
    try {
      return await FileLock.acquire(join(this.stateDirectory, "lock"));
    } catch (error) {
      // The first container's start, or the last one's end removed the directory.
      if (systemCode(error) === "ENOENT" && tries > 0) {
        this.makeStateDirectory();
        return this.lock(tries - 1);
      }
      if (error instanceof IsolatorError) throw error;
      throw new IsolatorError(
        "state-failed",
        `${this.stateDirectory} cannot be used: ${messageOf(error)}`,
        error,
      );
    }
  }

  /** @throws state-failed */
  private makeStateDirectory(): void {
    try {
      mkdirSync(this.stateDirectory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new IsolatorError(
        "state-failed",
        `${this.stateDirectory} cannot be used: ${messageOf(error)}`,
        error,
      );
    }
  }

  /**
   * Makes this process the instance's daemon, until it ends.
   * @throws already-serving
   */
  serve(): Promise<void> {
    return this.locked(() => {
      this.serveLock = FileLock.try(join(this.stateDirectory, SERVE_LOCK));
      if (!this.serveLock) {
        throw new IsolatorError(
          "already-serving",
          `another daemon serves instance ${this.name} (fuser -v ${join(this.stateDirectory, SERVE_LOCK)} names it): ` +
            "stop that one, or use another --instance",
        );
      }
      return Promise.resolve();
    });
  }

  /** Whether a daemon lives: this process, or another. */
  isServed(): boolean {
    if (this.serveLock) return true;
    const path = join(this.stateDirectory, SERVE_LOCK);
    if (!existsSync(path)) return false;
    const lock = FileLock.try(path);
    lock?.release();
    return lock === undefined;
  }

  /** Ends serve(): what nobody uses any more is removed. */
  endServing(): Promise<void> {
    return this.locked(() => {
      this.serveLock?.release();
      this.serveLock = undefined;
      this.removeIfUnused();
      return Promise.resolve();
    });
  }

  /** Path of a container's node. */
  nodePath(id: ContainerId): string {
    return this.nodeOf(recordKey(id));
  }

  /** The same, by the key of the container's record. */
  nodeOf(key: string): string {
    return join(this.root, ...nodeNames(key));
  }

  /** The node that there is of a record's container, also where the record is damaged. */
  findNode(key: string): { node: CgroupNode; isAgents: boolean } | undefined {
    const record = this.records.read(key);
    const own = CgroupNode.open(record?.cgroup ?? this.nodeOf(key));
    if (own || record || this.agentRoot === undefined) {
      return own && { node: own, isAgents: record?.agentNode === true };
    }
    // An agent's ids are short and plain, so that the key has them whole.
    const agents = CgroupNode.open(agentNode(this.cgroup2, this.agentRoot, nodeNames(key)));
    return agents && { node: agents, isAgents: true };
  }

  /**
   * Ends what there is of a record's node. Under the lock.
   * @throws cgroup-failed, attach-failed
   */
  async removeNode(key: string, timeout?: number): Promise<void> {
    const found = this.findNode(key);
    if (!found?.isAgents) {
      await found?.node.remove(timeout);
      return;
    }
    leaveNode(this.loaded, found.node, key);
    // Of a version before this one, which ended while it prepared the container.
    for (const build of otherBuilds(this.name)) {
      const pinned = PinnedBuild.open(this.name, build);
      leaveNode(
        {
          detach: (fd, name) => {
            detachAll(pinned.programs, fd, name);
          },
        },
        found.node,
        key,
      );
      pinned.close();
    }
  }

  /** Path of the node of the guards (task.ts); no container's name begins with a dot. */
  guardNode(): string {
    return join(this.root, ".guards");
  }

  /**
   * Ends what there is of an agent's container that nobody looks after: one that could not be taken up. Under the lock.
   * @param key of its record
   * @param timeout ms
   * @throws cgroup-failed, state-failed
   */
  async removeAgents(key: string, timeout: number): Promise<void> {
    if (!this.records.isAgents(key)) return;
    await this.removeNode(key, timeout);
    const record = this.records.read(key);
    if (record) this.releasePorts(record);
    if (record) this.endConnections(record);
    if (record) this.endMappings(record);
    if (record) this.endServices(record);
    if (record) this.forgetFiles(record);
    this.records.remove(this.records.take(key));
    this.endFiles();
  }

  /** What `break-glass` has switched off for all. */
  get glass(): GlassMode | undefined {
    return readGlass(this.stateDirectory);
  }

  /** What `break-glass` has switched off for a container, or for all. */
  glassOf(key: string): GlassMode | undefined {
    return readGlass(this.records.pathOf(key)) ?? this.glass;
  }

  /** Name of the container with this cgroup id, if it has a record. */
  nameOf(cgroupId: bigint): string | undefined {
    const id = cgroupId.toString();
    const record = this.records.list().find(({ chain }) => chain.at(-1) === id);
    return record && formatId(record.id);
  }

  /**
   * Programs and maps of this build, loaded if need be; the containers of this process share them, and each gives
   * them back by releasePrograms(). Under the lock, after sweep().
   * @throws other-build, and all that Programs.open() throws
   */
  acquirePrograms(): Programs {
    this.programs ??= this.openPrograms();
    this.programUsers++;
    return this.programs;
  }

  releasePrograms(): void {
    if (--this.programUsers > 0) return;
    this.programs?.close();
    this.programs = undefined;
  }

  private openPrograms(): Programs {
    for (const build of otherBuilds(this.name)) {
      const users = this.records
        .list()
        .filter((record) => buildsOf(record).includes(build))
        .map((record) => formatId(record.id));
      if (users.length > 0 || this.isServed()) {
        const who = users.length > 0 ? `containers ${users.join(", ")}` : "the daemon";
        throw new IsolatorError(
          "other-build",
          `${who} of instance ${this.name} run under another version of the programs, ` +
            "and two versions cannot share an instance. Wait for them to end, or use another --instance",
        );
      }
      unpinBuild(this.name, build);
    }
    const users = this.records.list().filter((record) => record.build === buildId());
    if (users.length > 0 && !isPinned(this.name)) {
      throw new IsolatorError(
        "state-failed",
        `containers ${users.map((record) => formatId(record.id)).join(", ")} of instance ${this.name} are running, but ` +
          "their programs are not pinned in this bpffs: somebody removed the pins, or this mount namespace has another " +
          "bpffs. Run it where they run, wait for them to end, or use another --instance",
      );
    }
    return Programs.open(this.name);
  }

  /**
   * The programs that containers of this process use from now on, opened by somebody who has seen to other builds
   * (upgrade.ts).
   */
  usePrograms(programs: Programs): void {
    this.programs = programs;
    this.programUsers++;
  }

  /** The host's budget of bandwidth, for this instance's containers; undefined: none. @throws map-full, map-failed */
  setHostBandwidth(host: HostBandwidth | undefined): void {
    if (this.programs) writeHostBandwidth(this.programs, host);
  }

  /** What all together use of the host's budget; undefined: there is none. */
  hostBandwidth(): BandwidthUsage | undefined {
    return this.programs && readHostBandwidth(this.programs);
  }

  /**
   * Removes sets of rules that no container has any more. Under the lock.
   * @param key of the record of the container that had them and is on its way out
   */
  dropSets(programs: Programs, key: string, sets: readonly RuleSet[]): void {
    const others = sets.length === 0 ? [] : this.records.keys().filter((other) => other !== key);
    for (const set of sets)
      if (!others.some((other) => this.usesSet(other, set.id))) removeSet(programs, set);
  }

  private usesSet(key: string, set: bigint): boolean {
    const record = this.records.read(key);
    return record !== undefined && setsOf(record.policy).some(({ id }) => id === set);
  }

  /** The same in a moment, once no program can be looking at it, and with no record of this process's containers read. */
  dropSetsLater(sets: readonly RuleSet[]): void {
    for (const set of sets) this.droppedSets.set(set.id, set);
    if (sets.length === 0) return;
    this.setsTimer ??= setTimeout(() => {
      this.setsTimer = undefined;
      void this.locked(() => {
        this.removeDroppedSets();
        return Promise.resolve();
      }).catch(() => undefined);
    }, SET_GRACE).unref();
  }

  private removeDroppedSets(): void {
    for (const { id } of this.setsInUse()) this.droppedSets.delete(id);
    const runs =
      this.droppedSets.size === 0 ? [] : this.records.keys().filter((key) => this.records.isRuns(key));
    for (const [id, set] of this.droppedSets)
      if (this.programs && !runs.some((key) => this.usesSet(key, id))) removeSet(this.programs, set);
    this.droppedSets.clear();
  }

  /** Those that containers of this process use. */
  get loaded(): Programs {
    if (!this.programs) throw new Error("no programs are loaded");
    return this.programs;
  }

  /** The first time sweep(). Under the lock. */
  async sweepOnce(): Promise<void> {
    if (!this.swept) await this.sweep();
  }

  /**
   * Ends what processes that were killed left behind: kills what runs in their nodes, removes the nodes, frees the
   * ports. Nodes of processes that live are not touched: those hold the lock of their record. Under the lock.
   * @returns names of the containers that were swept
   */
  async sweep(): Promise<string[]> {
    this.swept = true;
    // Children first: a parent gets the ports of its children back before it gives them up itself.
    const abandoned = this.records.abandoned().reverse();
    const swept: string[] = [];
    for (const { held, record, unknown } of abandoned) {
      const { node } = this.findNode(held.key) ?? {};
      // Half made, or an agent's whose record is damaged: that one is the daemon's to judge.
      if (unknown && (node?.populated() ?? false)) continue;
      try {
        await node?.remove(SWEEP_TIMEOUT);
      } catch {
        // A process of it does not die (in uninterruptible sleep): its record stays for a later sweep.
        held.lock?.release();
        continue;
      }
      if (record) this.releasePorts(record);
      if (record) this.endConnections(record);
      if (record) this.endMappings(record);
      if (record) this.endServices(record);
      if (record) this.forgetFiles(record);
      this.records.remove(held);
      swept.push(record ? formatId(record.id) : held.key);
    }
    if (swept.length > 0) this.endFiles();
    await this.removeEmptyStrays();
    return swept;
  }

  /** Takes programs, maps and directories away when no container is left. Under the lock. */
  removeIfUnused(): void {
    // Last what takes longest: the daemon comes by here with each container that ends.
    if (this.isServed() || this.glass || this.records.keys().length > 0) return;
    leaveDevices(this);
    unpin(this.name);
    // A stray node keeps its directory, other instances keep the common ones.
    for (const directory of [this.guardNode(), this.root, dirname(this.root)]) removeIfEmpty(directory);
    // The lock last: from then on another process may hold a new one and make new files here.
    for (const name of STATE_FILES) rmSync(join(this.stateDirectory, name), { recursive: true, force: true });
    rmSync(join(this.stateDirectory, "lock"), { force: true });
    removeIfEmpty(this.stateDirectory);
    removeIfEmpty(STATE_ROOT);
  }

  private releasePorts({ id, build, policy, chain }: ContainerRecord): void {
    const owners = openPinnedMap(this.name, build, "port_owners");
    if (!owners) return;
    try {
      const parentId = formatId(id.slice(0, -1) as unknown as ContainerId);
      const parent = this.records.list().find((record) => formatId(record.id) === parentId);
      new PortTable(owners).release(policy.ports ?? [], chain.map(BigInt), parent?.policy.ports);
    } finally {
      owners.close();
    }
  }

  private endConnections({ build, chain, policy }: ContainerRecord): void {
    // Another build's maps go with its pins.
    if (build !== buildId()) return;
    const open = new Map<string, BpfMap>();
    try {
      const names = [
        "connect_totals",
        "connect_rules",
        "bandwidth_rules",
        "bandwidths",
        "owner_classes",
        "egress_hits",
        "terminations",
        "marking_sets",
      ] as const;
      for (const name of names) {
        const map = openPinnedMap(this.name, build, name);
        if (!map) return;
        open.set(name, map);
      }
      const maps: ConnectionMaps &
        BandwidthMaps &
        OwnerMaps &
        EgressMaps & { map: (name: "marking_sets") => BpfMap } = {
        map: (name: string) => {
          const map = open.get(name);
          if (!map) throw new Error(`no map ${name}`);
          return map;
        },
      };
      closeConnections(maps, BigInt(chain.at(-1) ?? 0));
      closeBandwidth(maps, BigInt(chain.at(-1) ?? 0));
      forgetClasses(maps, BigInt(chain.at(-1) ?? 0));
      if (policy.egress) forgetHits(maps, BigInt(chain.at(-1) ?? 0), policy.egress);
      if (policy.egress) writeTermination(maps, undefined, chain.map(BigInt));
      if (policy.marking?.destinations) forgetMarkingSet(maps, BigInt(chain.at(-1) ?? 0));
    } finally {
      for (const map of open.values()) map.close();
    }
  }

  private endServices({ build, chain, policy }: ContainerRecord): void {
    if (build !== buildId() || !policy.services?.own) return;
    const open = new Map<string, BpfMap>();
    try {
      for (const name of SERVICE_MAPS) {
        const map = openPinnedMap(this.name, build, name);
        if (!map) return;
        open.set(name, map);
      }
      forgetServices(
        {
          map: (name) => {
            const map = open.get(name);
            if (!map) throw new Error(`no map ${name}`);
            return map;
          },
        },
        BigInt(chain.at(-1) ?? 0),
      );
    } finally {
      for (const map of open.values()) map.close();
    }
  }

  private forgetFiles({ build, chain, policy }: ContainerRecord): void {
    if (!policy.files || build !== buildId()) return;
    const maps = this.openFileMaps();
    if (maps) forgetFiles(maps, BigInt(chain.at(-1) ?? 0));
    maps?.close();
  }

  private openFileMaps() {
    const names = ["file_policies", "file_counts", "file_rules"] as const;
    const maps = names.flatMap((name) => openPinnedMap(this.name, buildId(), name) ?? []);
    const close = (): void => {
      for (const map of maps) map.close();
    };
    const [policies, counts, rules] = maps;
    if (policies && counts && rules) {
      const map = (name: "file_policies" | "file_counts"): BpfMap =>
        name === "file_policies" ? policies : counts;
      return { map, rules, close };
    }
    close();
    return undefined;
  }

  /**
   * Takes away rules for files that no container has any more, and where none has any, the programs that only those need.
   * Under the lock.
   * @param without key of a record that does not count
   */
  endFiles(without?: string): void {
    const directory = join(pinRoot(this.name), buildId());
    // Where nobody had rules since the programs were loaded, there is nothing to look for.
    if (attachedToMachine(directory).length === 0) return;
    const used = new Set(
      this.records
        .list()
        .filter(({ id, build }) => build === buildId() && recordKey(id) !== without)
        .flatMap(({ policy: { files } }) => (files ? fileSetNumber(files) : [])),
    );
    if (used.size === 0) detachFromMachine(directory);
    const maps = this.openFileMaps();
    if (maps) dropSets(maps.rules, used);
    maps?.close();
  }

  private endMappings({ build, chain, policy }: ContainerRecord): void {
    // Another build's maps go with its pins.
    const map = policy.remap && build === buildId() && openPinnedMap(this.name, build, "port_remaps");
    if (!map) return;
    try {
      deleteMappings(map, BigInt(chain.at(-1) ?? 0), policy.remap);
    } finally {
      map.close();
    }
  }

  /** Nodes without a record (somebody removed /run/bpf-isolator) in which nothing runs. */
  private async removeEmptyStrays(): Promise<void> {
    const known = new Set([this.guardNode(), ...this.records.keys().map((key) => this.nodeOf(key))]);
    for (const path of children(this.root).filter((path) => !known.has(path))) {
      const node = CgroupNode.open(path);
      if (node && !node.populated()) await node.remove();
    }
  }
}
