/**
 * All programs and maps of an instance: loaded once, pinned, and opened by every process that runs containers there.
 *
 * Pins live in /sys/fs/bpf/bpf-isolator/INSTANCE/BUILD/. They are made in a directory beside it and renamed into
 * place, so that a process killed half-way leaves nothing that the next one takes for whole.
 */
import { mkdirSync, readdirSync, renameSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { layouts } from "./gen/layout.js";
import { HOOKS, type Hook } from "./hooks.js";
import { activeSecurityModules } from "./machine.js";
import { BpfMap } from "./maps.js";
import { BPFFS, ensureBpffs } from "./mounts.js";
import { errnoName, lastErrno, libbpf, libc, type Pointer } from "./native.js";
import { loadsLsm } from "./probe-programs.js";
import { buildId, checkLayouts, OBJECT_FILE } from "./object.js";

/** Value sizes in bytes; event_rings holds the id of a map. */
const MAPS = {
  policies: layouts.structs.policy.size,
  counters: layouts.structs.counters.size,
  port_owners: layouts.structs.port_owner.size,
  event_rings: 4,
  socket_notes: 8,
} as const;

export type MapName = keyof typeof MAPS;

/** Names of all maps, as in bpf/maps.h. */
export const MAP_NAMES = Object.keys(MAPS) as MapName[];
const BPF_F_ALLOW_MULTI = 2;
const EPERM = 1;
const E2BIG = 7;
const EBUSY = 16;
const EINVAL = 22;
const LOG_SIZE = 1 << 20;
const LOG_LINES = 6;

/** Directory of an instance's pins. */
export function pinRoot(instance: string): string {
  return join(BPFFS, "bpf-isolator", instance);
}

/** Programs and maps by name; every one is there. Owns their file descriptors until close(). */
export class Programs {
  private constructor(
    private readonly programs: ReadonlyMap<string, number>,
    private readonly maps: ReadonlyMap<MapName, BpfMap>,
    /** What owns the file descriptors when nothing is pinned. */
    private readonly object: Pointer = null,
  ) {}

  /**
   * Opens what is pinned for this build, or loads and pins it. The caller holds the instance's lock.
   * @throws not-built, layout-mismatch, load-failed, no-bpffs
   */
  static open(instance: string): Programs {
    ensureBpffs();
    const directory = join(pinRoot(instance), buildId());
    if (!exists(directory)) load(directory);
    const fds: number[] = [];
    const get = (name: string): number => {
      const fd = libbpf().objectGet(join(directory, name));
      if (fd < 0) {
        for (const open of fds) libc().close(open);
        throw new IsolatorError(
          "load-failed",
          `the pin ${join(directory, name)} cannot be opened (${errnoName(fd)}). ` +
            `Remove ${directory} when no container of instance ${instance} runs, and try again`,
        );
      }
      fds.push(fd);
      return fd;
    };
    const pinned = new Set(list(directory));
    const programs = new Map(
      HOOKS.filter(({ name, lsm }) => !lsm || pinned.has(`program_${name}`)).map(({ name }) => [
        name,
        get(`program_${name}`),
      ]),
    );
    const maps = new Map(MAP_NAMES.map((name) => [name, new BpfMap(name, get(`map_${name}`), MAPS[name])]));
    return new Programs(programs, maps);
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
      object,
    );
  }

  map(name: MapName): BpfMap {
    const map = this.maps.get(name);
    if (!map) throw new Error(`no map ${name}`);
    return map;
  }

  /**
   * Attaches programs to a node (BPF_F_ALLOW_MULTI). They stay until the node is removed, whoever dies.
   * @param fd of the node's directory
   * @param container for messages
   * @param lsm which of those that need BPF LSM; all if not given. The others are always attached
   * @throws attach-failed
   */
  attach(fd: number, container: string, lsm?: ReadonlySet<string>): void {
    for (const hook of HOOKS) {
      const program = this.programs.get(hook.name);
      if (program === undefined || (hook.lsm && lsm?.has(hook.name) === false)) continue;
      const result = libbpf().programAttach(program, fd, hook.attachType, BPF_F_ALLOW_MULTI);
      if (result < 0) throw attachError(hook, container, result);
    }
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
    for (const fd of this.programs.values()) libc().close(fd);
    for (const map of this.maps.values()) map.close();
  }
}

function programFd(object: Pointer, name: string): number {
  return libbpf().programFd(libbpf().findProgram(object, name));
}

function explainAttach(hook: Hook, errno: number): string {
  if (-errno === EPERM) {
    return (
      "EPERM: a program attached to a parent cgroup without BPF_F_ALLOW_MULTI does not let others in. " +
      "bpftool cgroup tree shows it"
    );
  }
  // The kernel finds no free one among CGROUP_LSM_NUM and says EINVAL (__cgroup_bpf_attach, kernel/bpf/cgroup.c).
  if (-errno === EINVAL && hook.lsm) {
    return (
      "EINVAL: the kernel has room for ten LSM hooks with programs of cgroups, and other software has taken them. " +
      "bpftool prog shows programs of type lsm"
    );
  }
  if ([E2BIG, EBUSY].includes(-errno) && hook.lsm) {
    return `${errnoName(errno)}: other tracing programs, or a live patch, sit on this LSM hook. bpftool prog shows them`;
  }
  return errnoName(errno);
}

function attachError(hook: Hook, container: string, errno: number): IsolatorError {
  const why = explainAttach(hook, errno);
  return new IsolatorError(
    "attach-failed",
    `container ${container}: the program for ${hook.section} cannot be attached to its cgroup (${why})`,
  );
}

/**
 * Removes an instance's pins. Programs live on where they are attached; the caller holds the instance's lock and
 * knows that no container is left.
 */
export function unpin(instance: string): void {
  removePins(pinRoot(instance));
  try {
    rmdirSync(join(BPFFS, "bpf-isolator"));
  } catch {
    // Other instances have pins in it.
  }
}

/** Whether this build's programs are pinned for an instance. */
export function isPinned(instance: string): boolean {
  return exists(join(pinRoot(instance), buildId()));
}

/** One map that is pinned for a build of the programs, or undefined where it is not. The caller closes it. */
export function openPinnedMap(instance: string, build: string, name: MapName): BpfMap | undefined {
  const fd = libbpf().objectGet(join(pinRoot(instance), build, `map_${name}`));
  return fd < 0 ? undefined : new BpfMap(name, fd, MAPS[name]);
}

/** Builds of the programs that are pinned for an instance, other than this one. */
export function otherBuilds(instance: string): string[] {
  const own = buildId();
  return list(pinRoot(instance)).filter((name) => name !== own);
}

/** Removes the pins of one build, or what an interrupted load left. */
export function unpinBuild(instance: string, build: string): void {
  removePins(join(pinRoot(instance), build));
}

function load(directory: string): void {
  checkLayouts();
  const { object, hooks } = loadObject();
  const temporary = `${directory}_new`;
  try {
    removePins(temporary);
    mkdirSync(temporary, { recursive: true, mode: 0o700 });
    const pin = (fd: number, name: string): void => {
      const result = fd < 0 ? fd : libbpf().objectPin(fd, join(temporary, name));
      if (result < 0) {
        throw new IsolatorError(
          "load-failed",
          `${name} cannot be pinned in ${temporary}: ${errnoName(result)}`,
        );
      }
    };
    for (const { name } of hooks) pin(programFd(object, name), `program_${name}`);
    for (const name of MAP_NAMES) pin(libbpf().findMapFd(object, name), `map_${name}`);
    renameSync(temporary, directory);
  } catch (error) {
    removePins(temporary);
    throw error;
  } finally {
    libbpf().objectClose(object);
  }
}

interface Loaded {
  object: Pointer;
  /** Those whose programs are loaded. */
  hooks: readonly Hook[];
}

/** @throws load-failed */
function loadObject(): Loaded {
  // A kernel may have BPF LSM and yet refuse its programs (lockdown, seccomp): only trying tells.
  const everything = mayHaveLsm() ? tryLoad(HOOKS) : undefined;
  if (everything?.object) return everything;
  const some = everything && tryLoad(withLoadableLsm());
  if (some?.object) return some;
  const plain = tryLoad(HOOKS.filter(({ lsm }) => !lsm));
  if (plain.object) return plain;
  throw loadError(plain.errno);
}

/** Without the security hooks that this kernel takes no program for; where the first is one of those, without all. */
function withLoadableLsm(): Hook[] {
  const lsm = HOOKS.filter((hook) => hook.lsm);
  const loadable = lsm[0] && loadsLsm(lsm[0]) ? lsm.filter(loadsLsm) : [];
  return HOOKS.filter((hook) => !hook.lsm || loadable.includes(hook));
}

/** False only where it is known that BPF LSM programs can never run. */
function mayHaveLsm(): boolean {
  return activeSecurityModules()?.includes("bpf") !== false;
}

function tryLoad(hooks: readonly Hook[]): Loaded & { errno: number } {
  const object = openObject(hooks);
  const errno = libbpf().objectLoad(object);
  if (errno >= 0) return { object, hooks, errno };
  libbpf().objectClose(object);
  return { object: null, hooks, errno };
}

/** @param hooks that programs are to be loaded for */
function openObject(hooks: readonly Hook[]): Pointer {
  const object = libbpf().objectOpen(OBJECT_FILE, null);
  if (object === null || object === 0n) {
    throw new IsolatorError("load-failed", `libbpf cannot open ${OBJECT_FILE}: ${errnoName(lastErrno())}`);
  }
  for (const hook of HOOKS) {
    libbpf().setAutoload(libbpf().findProgram(object, hook.name), hooks.includes(hook));
  }
  return object;
}

/** Loads once more to learn which program the kernel refused and what its verifier said last. */
function loadError(errno: number): IsolatorError {
  const hooks = HOOKS.filter(({ lsm }) => !lsm);
  const object = openObject(hooks);
  const logs = hooks.map((hook) => ({ hook, log: new Uint8Array(LOG_SIZE) }));
  try {
    for (const { hook, log } of logs) {
      const program = libbpf().findProgram(object, hook.name);
      libbpf().setLogBuffer(program, log, LOG_SIZE);
      libbpf().setLogLevel(program, 1);
    }
    libbpf().objectLoad(object);
    const said = logs.findLast(({ log }) => log[0] !== 0);
    const lines = said
      ? Buffer.from(said.log.subarray(0, said.log.indexOf(0)))
          .toString()
          .trim()
          .split("\n")
      : [];
    const hook = said
      ? ` The verifier on ${said.hook.section}:\n  ${lines.slice(-LOG_LINES).join("\n  ")}`
      : "";
    return new IsolatorError(
      "load-failed",
      `the kernel refuses the BPF programs with ${errnoName(errno)}. ` +
        `"bpf-isolator check" says what this kernel lacks.${hook}`,
    );
  } finally {
    libbpf().objectClose(object);
  }
}

function exists(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw new IsolatorError("load-failed", `${path} cannot be read: ${messageOf(error)}`, error);
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Removes a directory of pins, two levels deep. Missing is fine. */
function removePins(directory: string): void {
  for (const name of list(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) removePins(path);
    else unlinkSync(path);
  }
  if (exists(directory)) rmdirSync(directory);
}
