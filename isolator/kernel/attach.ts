/**
 * Programs on a node: attached, replaced by those of another build, taken away. What is attached stays until it is
 * taken away or the node is removed, whoever dies.
 */
import { IsolatorError } from "../errors.js";
import { HOOKS, type Hook } from "./hooks.js";
import { errnoName, libbpf } from "./native.js";

const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;
const EPERM = 1;
const ENOENT = 2;
const EBUSY = 16;
/** Programs that one node can have for one hook (BPF_CGROUP_MAX_PROGS of the kernel); all LSM hooks answer as one. */
const MAX_ATTACHED = 64 * 16;
/** Numbers of enum bpf_attach_type to look at: what the kernel does not have it answers with EINVAL. */
const ATTACH_TYPES = 64;
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
  if (-errno === EBUSY && hook.lsm) {
    return "EBUSY: another tracing program sits on this LSM hook, or ten LSM hooks have programs of cgroups already";
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

/**
 * Ids of the programs that are attached to a node itself, in their order.
 * @param node file descriptor of its directory
 */
export function attachedIds(node: number, attachType: number): number[] {
  const ids = new Uint32Array(MAX_ATTACHED);
  const count = new Uint32Array([MAX_ATTACHED]);
  const bytes = new Uint8Array(ids.buffer);
  const result = libbpf().programQuery(
    node,
    attachType,
    0,
    new Uint8Array(4),
    bytes,
    new Uint8Array(count.buffer),
  );
  return result < 0 ? [] : [...ids.subarray(0, count[0])];
}

/** Attaches one program beside those that are there. @returns 0, or -errno */
export function attachOne(program: number, node: number, attachType: number): number {
  return libbpf().programAttach(program, node, attachType, BPF_F_ALLOW_MULTI);
}

/** Attaches every program to a node that has none of them. @throws attach-failed */
export function attachAll(programs: ProgramFds, node: number, container: string): void {
  for (const hook of HOOKS) {
    const program = programs.get(hook.name);
    if (program === undefined) continue;
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

function isAttached(program: number, node: number, attachType: number): boolean {
  return attachedIds(node, attachType).includes(programId(program));
}

/** Takes a program away from wherever it is on a node. @returns whether it was anywhere */
function detachEverywhere(program: number, node: number): boolean {
  let found = false;
  for (let attachType = 0; attachType < ATTACH_TYPES; attachType++) {
    if (isAttached(program, node, attachType)) found = detachOne(program, node, attachType) === 0 || found;
  }
  return found;
}

/**
 * Puts every program on a node, whatever of them is there already: an old one of the same hook is replaced in place, one
 * whose hook this build does not use is taken away. Safe to repeat after it was interrupted anywhere.
 * @param old programs that may be attached instead, by hook
 * @throws attach-failed
 */
export function ensureAttached(
  programs: ProgramFds,
  node: number,
  container: string,
  old: ProgramFds = new Map(),
): void {
  for (const hook of HOOKS) {
    const program = programs.get(hook.name);
    if (program === undefined || isAttached(program, node, hook.attachType)) continue;
    const previous = old.get(hook.name);
    const result =
      previous !== undefined && isAttached(previous, node, hook.attachType)
        ? replace(program, previous, node, hook.attachType)
        : attachOne(program, node, hook.attachType);
    if (result < 0) throw attachError(hook, container, result);
  }
  for (const previous of old.values()) detachEverywhere(previous, node);
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
