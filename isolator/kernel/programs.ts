/**
 * All programs and maps of an instance: loaded once, pinned, and opened by every process that runs containers there.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  attachAll,
  attachOne,
  detachAll,
  detachOne,
  ensureAttached,
  missingHooks,
  type WantedHooks,
  type ProgramFds,
} from "./attach.js";
import {
  CALLS,
  DEVICE_PROGRAMS,
  ITERATORS,
  MAP_NAMES,
  MAPS,
  PRIMER,
  QUERIES,
  type CallName,
  type DeviceProgram,
  type IteratorName,
  type MapName,
  type QueryName,
} from "./contents.js";
import { Epoch, EPOCH_MAPS } from "./epoch.js";
import { LITTLE, u32Key } from "./codec.js";
import { layouts } from "./gen/layout.js";
import { HOOKS } from "./hooks.js";
import { MACHINE_HOOKS } from "./machine-hooks.js";
import { attachedToMachine, attachToMachine } from "./links.js";
import { iteratorProgram, load, loadMachine, loadObject, programFd } from "./load.js";
import { BpfMap } from "./maps.js";
import { ensureBpffs } from "./mounts.js";
import { libbpf, libc, type Pointer } from "./native.js";
import { buildId, checkLayouts } from "./object.js";
import { exists, pinRoot, Pins } from "./pins.js";

const FIRST = u32Key(0);
const GENERATION = layouts.structs.file_cache.fields.generation.offset;

/** Programs and maps by name; every one is there. Owns their file descriptors until close(). */
export class Programs {
  private constructor(
    private programs: ProgramFds,
    private readonly maps: ReadonlyMap<MapName, BpfMap>,
    private readonly primer: number,
    /** To be run by name: iterators, and what user space calls. */
    private readonly run: ReadonlyMap<IteratorName | CallName, number>,
    private readonly queries: ReadonlyMap<QueryName, number>,
    private readonly devices: ReadonlyMap<DeviceProgram, number>,
    /** Of what is pinned. */
    private readonly pins: { directory: string; instance: string } | undefined,
    /** What owns the file descriptors when nothing is pinned. */
    private readonly object: Pointer = null,
  ) {
    const epoch = new Epoch((value) => {
      this.map("egress_epoch").update(FIRST, value);
    });
    for (const name of EPOCH_MAPS) this.map(name).epoch = epoch;
  }

  /**
   * Opens what is pinned for this build, or loads and pins it. The caller holds the instance's lock.
   * @param sharedWith a build of the same layouts (layoutId()) that is pinned: its maps are used, not new ones
   * @throws not-built, layout-mismatch, load-failed, no-bpffs
   */
  static open(instance: string, sharedWith?: string): Programs {
    ensureBpffs();
    const directory = join(pinRoot(instance), buildId());
    if (!exists(directory)) load(directory, sharedWith && join(pinRoot(instance), sharedWith));
    const pins = new Pins(directory, instance);
    const programs = pins.programs(HOOKS.filter(({ lsm }) => !lsm).map(({ name }) => name));
    const primer = pins.get(`program_${PRIMER.name}`);
    const maps = new Map(
      MAP_NAMES.map((name) => [name, new BpfMap(name, pins.get(`map_${name}`), MAPS[name])]),
    );
    const run = new Map<IteratorName | CallName, number>([
      ...ITERATORS.map(({ name }) => [name, pins.get(`iterator_${name}`)] as const),
      ...CALLS.map((name) => [name, pins.get(`call_${name}`)] as const),
    ]);
    const queries = new Map(QUERIES.map((name) => [name, pins.get(`query_${name}`)]));
    const devices = new Map(DEVICE_PROGRAMS.map((name) => [name, pins.get(`device_${name}`)]));
    return new Programs(programs, maps, primer, run, queries, devices, { directory, instance });
  }

  /**
   * Loads everything without pinning it: gone with close(), or with this process.
   * @throws not-built, layout-mismatch, load-failed
   */
  static trial(): Programs {
    checkLayouts();
    const { object, hooks } = loadObject();
    return new Programs(
      new Map(hooks.map(({ name }) => [name, programFd(object, name)])),
      new Map(
        MAP_NAMES.map((name) => [name, new BpfMap(name, libbpf().findMapFd(object, name), MAPS[name])]),
      ),
      programFd(object, PRIMER.name),
      new Map<IteratorName | CallName, number>([
        ...ITERATORS.map(
          (iterator) => [iterator.name, programFd(object, iteratorProgram(iterator))] as const,
        ),
        ...CALLS.map((name) => [name, programFd(object, name)] as const),
      ]),
      new Map(QUERIES.map((name) => [name, programFd(object, name)])),
      new Map(DEVICE_PROGRAMS.map((name) => [name, programFd(object, name)])),
      undefined,
      object,
    );
  }

  map(name: MapName): BpfMap {
    const map = this.maps.get(name);
    if (!map) throw new Error(`no map ${name}`);
    return map;
  }

  /** File descriptor of a program to be run by reading from it (iterator.ts). */
  iterator(name: IteratorName): number {
    return this.toRun(name);
  }

  /** File descriptor of a program to be called (identify.ts). */
  call(name: CallName): number {
    return this.toRun(name);
  }

  private toRun(name: IteratorName | CallName): number {
    const fd = this.run.get(name);
    if (fd === undefined) throw new Error(`no program ${name}`);
    return fd;
  }

  /** File descriptor of a program to be asked (query.ts). */
  query(name: QueryName): number {
    const fd = this.queries.get(name);
    if (fd === undefined) throw new Error(`no query ${name}`);
    return fd;
  }

  /** File descriptor of a program to be put on devices (devices.ts). */
  device(name: DeviceProgram): number {
    const fd = this.devices.get(name);
    if (fd === undefined) throw new Error(`no program ${name}`);
    return fd;
  }

  /**
   * Loads the programs that are for the whole machine (MACHINE_HOOKS) where they are not. Under the instance's lock.
   * @returns false where this kernel cannot have them
   * @throws load-failed
   */
  loadForMachine(): boolean {
    if (MACHINE_HOOKS.every(({ name, newer }) => newer === true || this.programs.has(name))) return true;
    if (!this.pins) return false;
    if (!loadMachine(this.pins.directory)) return false;
    const { directory, instance } = this.pins;
    const names = MACHINE_HOOKS.map(({ name }) => name).filter((name) => !this.programs.has(name));
    const pins = new Pins(directory, instance);
    const found = names.filter((name) => pins.has(`program_${name}`));
    const more = found.map((name) => [name, pins.get(`program_${name}`)] as const);
    this.programs = new Map([...this.programs, ...more]);
    return true;
  }

  /** Hooks that those of them that are loaded are not attached to. */
  missingOnMachine(): string[] {
    if (!this.pins) return [];
    const there = attachedToMachine(this.pins.directory);
    return MACHINE_HOOKS.filter(({ name }) => this.programs.has(name) && !there.includes(name)).map(
      ({ hook }) => hook,
    );
  }

  /**
   * Attaches them (links.ts). Safe to repeat. What was remembered while they were not attached, and nobody told of
   * directories that moved, is forgotten.
   * @throws attach-failed, load-failed
   */
  attachToMachine(): void {
    if (!this.pins || !this.loadForMachine()) return;
    attachToMachine(this.pins.directory, this.programs);
    this.forgetVerdicts();
  }

  /** Makes verdicts on files void (bpf/file_cache.h): to be called after entries of file_rules, or policies, changed. */
  forgetVerdicts(): void {
    const value = new Uint8Array(MAPS.file_cache);
    const generation = randomBytes(8).readBigUInt64LE() | 1n;
    new DataView(value.buffer).setBigUint64(GENERATION, generation, LITTLE);
    this.map("file_cache").update(u32Key(0), value);
  }

  /**
   * Attaches programs to a node (BPF_F_ALLOW_MULTI). They stay until the node is removed, whoever dies.
   * @param fd of the node's directory
   * @param container for messages
   * @param wanted which of those that are not for every policy; all if not given
   * @throws attach-failed
   */
  attach(fd: number, container: string, wanted?: WantedHooks): void {
    attachAll(this.programs, fd, container, wanted);
  }

  /**
   * Attaches what is missing on a node, and replaces the programs of another build in place: at no instant is the node
   * without a program. Safe to repeat.
   * @param wanted as attach() has it
   * @param old programs of other builds that may be there
   * @param prepare called once the node has storage of this build's maps and before any of its programs runs there
   * @throws attach-failed
   */
  takeOver(
    fd: number,
    container: string,
    wanted: WantedHooks,
    old: readonly ProgramFds[],
    prepare: () => void,
  ): void {
    attachOne(this.primer, fd, PRIMER.attachType);
    try {
      prepare();
      ensureAttached(this.programs, fd, container, wanted, old);
    } finally {
      // Attached more than once where a process was killed here before.
      while (detachOne(this.primer, fd, PRIMER.attachType) === 0);
    }
  }

  /** Attaches what is missing on a node, takes away what is not wanted there. @throws attach-failed */
  ensureAttached(fd: number, container: string, wanted?: WantedHooks): void {
    ensureAttached(this.programs, fd, container, wanted);
  }

  /** Sections of the hooks whose wanted program is not on a node. */
  missing(fd: number, wanted?: WantedHooks): string[] {
    return missingHooks(this.programs, fd, wanted);
  }

  /** Takes every program off a node. @throws attach-failed */
  detach(fd: number, container: string): void {
    detachAll(this.programs, fd, container);
  }

  /** Whether there is a program for this hook: one that needs BPF LSM may be left out. */
  has(hook: string): boolean {
    return this.programs.has(hook);
  }

  /** Closes the file descriptors; pins and attachments stay. */
  close(): void {
    if (this.object !== null) {
      libbpf().objectClose(this.object);
      return;
    }
    const others = [...this.run.values(), ...this.queries.values(), ...this.devices.values(), this.primer];
    for (const fd of [...this.programs.values(), ...others]) libc().close(fd);
    for (const map of this.maps.values()) map.close();
  }
}
