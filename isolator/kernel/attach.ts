/**
 * Programs on a node: attached, replaced by those of another build, taken away. What is attached stays until it is
 * taken away or the node is removed, whoever dies.
 */
import { IsolatorError } from "../errors.js";
import { HOOKS, type Hook } from "./hooks.js";
import { addressOf, errnoName, libbpf } from "./native.js";

const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;
const EPERM = 1;
const ENOENT = 2;
const E2BIG = 7;
const EBUSY = 16;
const EINVAL = 22;
/** Programs that one node can have for one hook (BPF_CGROUP_MAX_PROGS of the kernel); all LSM hooks answer as one. */
const MAX_ATTACHED = 64 * 10;
/** Numbers of enum bpf_attach_type to look at: what the kernel does not have it answers with EINVAL. */
const ATTACH_TYPES = 64;
/** What attachedIds() has the kernel write to: thousands of calls, one after another, when a daemon starts. */
const ids = new Uint32Array(MAX_ATTACHED);
const count = new Uint32Array(1);
const attachFlags = new Uint8Array(4);
const idFlags = new Uint32Array(MAX_ATTACHED);
const asBytes = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer);
/** enum bpf_attach_type */
const LSM_CGROUP = 43;
/** Offset of the id in struct bpf_prog_info. */
const INFO_ID = 4;
/** Program file descriptors by name of their hook. */
export type ProgramFds = ReadonlyMap<string, number>;

function explain(hook: Hook, errno: number): string {
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
  return new IsolatorError(
    "attach-failed",
    `container ${container}: the program for ${hook.section} cannot be attached to its cgroup (${explain(hook, errno)})`,
  );
}

/** Id of a loaded program: the same for every file descriptor of it. */
export function programId(fd: number): number {
  const info = new Uint8Array(8);
  const result = libbpf().objectInfo(fd, info, new Uint8Array(new Uint32Array([info.length]).buffer));
  if (result < 0)
    throw new IsolatorError("load-failed", `a program cannot be looked at: ${errnoName(result)}`);
  return new DataView(info.buffer).getUint32(INFO_ID, true);
}

const idsOfSet = new WeakMap<ProgramFds, Map<string, number>>();

/** Id of the program of a hook; asked of the kernel once. */
function idOf(programs: ProgramFds, name: string): number | undefined {
  let ids = idsOfSet.get(programs);
  if (!ids) {
    ids = new Map([...programs].map(([hook, fd]) => [hook, programId(fd)]));
    idsOfSet.set(programs, ids);
  }
  return ids.get(name);
}

/**
 * Ids of the programs that are attached to a node itself, in their order.
 * @param node file descriptor of its directory
 */
export function attachedIds(node: number, attachType: number): number[] {
  if (attachType === LSM_CGROUP) return attachedLsmIds(node);
  count[0] = MAX_ATTACHED;
  const result = libbpf().programQuery(node, attachType, 0, attachFlags, asBytes(ids), asBytes(count));
  return result < 0 ? [] : [...ids.subarray(0, count[0])];
}

/** Of the hooks of BPF LSM the kernel tells ids only to who takes the flags of each with them (cgroup_bpf_query). */
function attachedLsmIds(node: number): number[] {
  // struct bpf_prog_query_opts (libbpf 1.0 and newer)
  const options = new DataView(new ArrayBuffer(40));
  options.setBigUint64(0, 40n, true);
  options.setBigUint64(16, addressOf(asBytes(ids)), true);
  options.setUint32(24, MAX_ATTACHED, true);
  options.setBigUint64(32, addressOf(asBytes(idFlags)), true);
  const result = libbpf().programQueryOpts(node, LSM_CGROUP, new Uint8Array(options.buffer));
  return result < 0 ? [] : [...ids.subarray(0, options.getUint32(24, true))];
}

/** Attaches one program beside those that are there. @returns 0, or -errno */
export function attachOne(program: number, node: number, attachType: number): number {
  return libbpf().programAttach(program, node, attachType, BPF_F_ALLOW_MULTI);
}

/**
 * Which of the hooks that are not for every policy (optional, and those of BPF LSM) a container has a use for, by name; all
 * if undefined. A program on each of the others would be in somebody's way for nothing.
 */
export type WantedHooks = ReadonlySet<string> | undefined;

/** Programs of which a node has one at a time: the plain one of a hook and the full one, which does its work too. */
const RIVALS = new Map(
  HOOKS.map(({ name, fullOf }) => [
    name,
    HOOKS.filter((other) => other.fullOf === name || other.name === fullOf).map((other) => other.name),
  ]),
);

const rivalsOf = ({ name }: Hook): readonly string[] => RIVALS.get(name) ?? [];

function isWanted(hook: Hook, wanted: WantedHooks): boolean {
  if (hook.lsm || hook.optional) return wanted?.has(hook.name) !== false;
  return wanted !== undefined
    ? !rivalsOf(hook).some((rival) => wanted.has(rival))
    : rivalsOf(hook).length === 0;
}

/** Attaches programs to a node that has none of them. @throws attach-failed */
export function attachAll(programs: ProgramFds, node: number, container: string, wanted: WantedHooks): void {
  for (const hook of HOOKS) {
    const program = programs.get(hook.name);
    if (program === undefined || !isWanted(hook, wanted)) continue;
    const result = attachOne(program, node, hook.attachType);
    if (result < 0) throw attachError(hook, container, result);
  }
}

/** In place: at no instant do both run, or neither. @returns 0, or -errno */
function replace(program: number, old: number, node: number, attachType: number): number {
  // struct bpf_prog_attach_opts: size_t sz; unsigned flags; int replace_prog_fd (libbpf 1.0 and newer).
  const options = new DataView(new ArrayBuffer(16));
  options.setBigUint64(0, 16n, true);
  options.setUint32(8, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, true);
  options.setInt32(12, old, true);
  return libbpf().programAttachOpts(program, node, attachType, new Uint8Array(options.buffer));
}

/** Takes programs away from wherever they are on a node. */
function detachEverywhere(programs: ProgramFds, node: number): void {
  if (programs.size === 0) return;
  for (let attachType = 0; attachType < ATTACH_TYPES; attachType++) {
    const there = new Set(attachedIds(node, attachType));
    if (there.size === 0) continue;
    for (const [name, program] of programs) {
      if (there.has(idOf(programs, name) ?? 0)) detachOne(program, node, attachType);
    }
  }
}

/**
 * Puts the wanted programs on a node, whatever of them is there already, and takes the others away: an old one of the
 * same hook is replaced in place, as are a plain program and a full one by each other. Safe to repeat after it was
 * interrupted anywhere.
 * @param old programs of other builds that may be attached instead, by hook
 * @throws attach-failed
 */
export function ensureAttached(
  programs: ProgramFds,
  node: number,
  container: string,
  wanted: WantedHooks,
  old: readonly ProgramFds[] = [],
): void {
  /** Ids by attach type, until something is changed there: several hooks have one. */
  const found = new Map<number, ReadonlySet<number>>();
  for (const hook of HOOKS) {
    const program = programs.get(hook.name);
    if (program === undefined) continue;
    const detach = (fd: number): void => {
      detachOne(fd, node, hook.attachType);
      found.delete(hook.attachType);
    };
    const there = found.get(hook.attachType) ?? new Set(attachedIds(node, hook.attachType));
    found.set(hook.attachType, there);
    const isThere = (set: ProgramFds, name: string): boolean => there.has(idOf(set, name) ?? 0);
    const rivals = rivalsOf(hook);
    if (!isWanted(hook, wanted)) {
      // The one that is wanted instead takes its place.
      if (rivals.length === 0 && isThere(programs, hook.name)) detach(program);
      continue;
    }
    if (!isThere(programs, hook.name)) {
      const previous = [programs, ...old]
        .flatMap((set) => [hook.name, ...rivals].map((name) => ({ set, name })))
        .find(({ set, name }) => isThere(set, name));
      const replaced = previous?.set.get(previous.name);
      const result =
        replaced !== undefined
          ? replace(program, replaced, node, hook.attachType)
          : attachOne(program, node, hook.attachType);
      found.delete(hook.attachType);
      if (result < 0) throw attachError(hook, container, result);
    }
    for (const rival of rivals) {
      const fd = programs.get(rival);
      if (fd !== undefined && isThere(programs, rival)) detach(fd);
    }
  }
  for (const set of old) detachEverywhere(set, node);
}

/** Sections of the hooks whose wanted program is not on a node. */
export function missingHooks(programs: ProgramFds, node: number, wanted: WantedHooks): string[] {
  const found = new Map<number, readonly number[]>();
  return HOOKS.filter((hook) => {
    if (!programs.has(hook.name) || !isWanted(hook, wanted)) return false;
    const there = found.get(hook.attachType) ?? attachedIds(node, hook.attachType);
    found.set(hook.attachType, there);
    return !there.includes(idOf(programs, hook.name) ?? 0);
  }).map(({ section }) => section);
}

/** @returns 0, or -errno: -ENOENT where it was not attached */
export function detachOne(program: number, node: number, attachType: number): number {
  return libbpf().programDetach(program, node, attachType);
}

/**
 * Takes every program away: the container is under no rules any more.
 * @throws attach-failed where one stays
 */
export function detachAll(programs: ProgramFds, node: number, container: string): void {
  for (const hook of HOOKS) {
    const program = programs.get(hook.name);
    if (program === undefined) continue;
    const result = detachOne(program, node, hook.attachType);
    if (result < 0 && result !== -ENOENT) {
      throw new IsolatorError(
        "attach-failed",
        `container ${container}: the program for ${hook.section} cannot be detached (${errnoName(result)})`,
      );
    }
  }
}
