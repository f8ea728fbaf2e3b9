/**
 * An instance: one set of programs, maps, cgroup nodes and records, by name. Processes of the same instance share it;
 * those of different instances know nothing of each other.
 */
import { existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { IsolatorError, systemCode } from "../errors.js";
import type { BandwidthUsage, HostBandwidth } from "../features/bandwidth.js";
import { cgroupRoot } from "../kernel/cgroup.js";
import { FileLock } from "../kernel/lock.js";
import { requireCgroup2 } from "../kernel/mounts.js";
import { buildId } from "../kernel/object.js";
import { isPinned, otherBuilds, unpin, unpinBuild } from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import { OlderConnections, readHostBandwidth, writeHostBandwidth } from "./bandwidth.js";
import { FileRules } from "./files.js";
import { readGlass, type GlassMode } from "./glass.js";
import { DEVICES_FILE, leaveDevices } from "./marking-devices.js";
import { checkInstanceName, formatId, type ContainerId } from "./names.js";
import { PRINCIPALS_FILE } from "./principals.js";
import { buildsOf, nodeNames, recordKey } from "./record.js";
import { Records, stateError } from "./records.js";
import { SharedSets } from "./shared-sets.js";
import { SocketPasses } from "./socket-passes.js";

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not empty, or not there.
  }
}

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
  readonly sets: SharedSets;
  /** Whether what was left behind before this process has been looked for (leftovers.ts). */
  swept = false;
  private programs: Programs | undefined;
  private programUsers = 0;
  private serveLock: FileLock | undefined;
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
    this.sets = new SharedSets(this);
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
      throw stateError(this.stateDirectory, error);
    }
  }

  /** @throws state-failed */
  private makeStateDirectory(): void {
    try {
      mkdirSync(this.stateDirectory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw stateError(this.stateDirectory, error);
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

  /** Path of the node of the guards (task.ts); no container's name begins with a dot. */
  guardNode(): string {
    return join(this.root, ".guards");
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
   * them back by releasePrograms(). Under the lock, after sweep() of leftovers.ts.
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

  /** Those that containers of this process use; undefined: there are none. */
  get programsInUse(): Programs | undefined {
    return this.programs;
  }

  /** The same, where there must be some. */
  get loaded(): Programs {
    if (!this.programs) throw new Error("no programs are loaded");
    return this.programs;
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
}
