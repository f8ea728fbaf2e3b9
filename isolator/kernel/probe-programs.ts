/**
 * Programs and maps of a few bytes, made by hand, that probes give to the kernel: no compiler and no object file, so
 * that a refusal is the kernel's answer on this one thing.
 */
import type { Hook } from "./hooks.js";
import { libbpf, libc } from "./native.js";

/** The kernel said no. probe.ts makes a sentence of it. */
export class Refused extends Error {
  /**
   * @param step what was tried: "load", "attach", ...
   * @param errno positive
   */
  constructor(
    readonly step: string,
    readonly errno: number,
  ) {
    super(`${step}: errno ${errno}`);
  }
}

/** @throws Refused when `result` is -errno */
function accepted(step: string, result: number): number {
  if (result < 0) throw new Refused(step, -result);
  return result;
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** struct bpf_insn: code, destination register, source register, immediate. No probe needs an offset. */
type Instruction = readonly [code: number, dst: number, src: number, imm: number];

const CALL = 0x85;
const EXIT = 0x95;
const MOVE = 0xb7;
const LOAD_64 = 0x18;
const MAP_FD = 1;
const GET_LOCAL_STORAGE = 81;
const GET_RETVAL = 186;

function assemble(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.length * 8);
  const view = new DataView(bytes.buffer);
  instructions.forEach(([code, dst, src, imm], i) => {
    view.setUint8(i * 8, code);
    view.setUint8(i * 8 + 1, LITTLE ? dst | (src << 4) : (dst << 4) | src);
    view.setInt32(i * 8 + 4, imm, LITTLE);
  });
  return bytes;
}

export interface ProgramSpec {
  /** enum bpf_prog_type */
  programType: number;
  /** enum bpf_attach_type */
  attachType: number;
  /** What the program returns: 1 allows, 0 refuses. */
  returns?: 0 | 1;
  /** Calls bpf_get_retval(). */
  retval?: boolean;
  /** File descriptor of a map of cgroup storage that it asks for its value. */
  storage?: number;
  /** BTF id of the kernel function that an LSM program is for. */
  attachBtfId?: number;
}

function instructionsOf({ returns = 1, retval = false, storage }: ProgramSpec): Instruction[] {
  return [
    ...(retval ? ([[CALL, 0, 0, GET_RETVAL]] as const) : []),
    ...(storage === undefined
      ? []
      : ([
          [LOAD_64, 1, MAP_FD, storage],
          [0, 0, 0, 0],
          [MOVE, 2, 0, 0],
          [CALL, 0, 0, GET_LOCAL_STORAGE],
        ] as const)),
    [MOVE, 0, 0, returns],
    [EXIT, 0, 0, 0],
  ];
}

/** struct bpf_prog_load_opts of libbpf 1.0 up to attach_btf_obj_fd: libbpf takes a shorter one than its own. */
function loadOptions({ attachType, attachBtfId = 0 }: ProgramSpec): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(bytes.length), LITTLE);
  view.setUint32(12, attachType, LITTLE);
  view.setUint32(32, attachBtfId, LITTLE);
  return bytes;
}

/**
 * Loads a program for the length of `use`.
 * @throws Refused
 */
export function withProgram<T>(spec: ProgramSpec, use: (fd: number) => T): T {
  const code = assemble(instructionsOf(spec));
  const { programType } = spec;
  const options = loadOptions(spec);
  const fd = accepted(
    "load",
    libbpf().programLoad(programType, "probe", "GPL", code, code.length / 8, options),
  );
  try {
    return use(fd);
  } finally {
    libc().close(fd);
  }
}

/**
 * Loads a program on a hook of BPF LSM for the length of `use`.
 * @throws Refused; with ENOENT where the kernel's BTF has no such hook
 */
export function withLsmProgram<T>(hook: Hook, returns: 0 | 1, use: (fd: number) => T): T {
  const attachBtfId = accepted("find", libbpf().vmlinuxBtfId(hook.name, hook.attachType));
  return withProgram({ ...hook, attachBtfId, returns }, use);
}

/** Whether the kernel takes a program on a hook of BPF LSM. */
export function loadsLsm(hook: Hook): boolean {
  try {
    return withLsmProgram(hook, 1, () => true);
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}

const BPF_F_ALLOW_MULTI = 2;

/**
 * Attaches a program to a node for the length of `use`, as containers have theirs: beside others.
 * @throws Refused
 */
export function withAttached<T>(program: number, node: number, attachType: number, use: () => T): T {
  accepted("attach", libbpf().programAttach(program, node, attachType, BPF_F_ALLOW_MULTI));
  try {
    return use();
  } finally {
    libbpf().programDetach(program, node, attachType);
  }
}

export interface MapSpec {
  /** enum bpf_map_type */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags?: number;
  /** Describes key and value as int: socket storage insists on it. */
  btf?: boolean;
  /** File descriptor of a map like those that a map of maps will hold. */
  inner?: number;
}

/** BTF with one type, a signed int of 32 bits (Documentation/bpf/btf.rst). */
function intBtf(): Uint8Array {
  const strings = "\0int\0";
  const bytes = new Uint8Array(24 + 16 + strings.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, LITTLE);
  view.setUint8(2, 1);
  const header = [24, 0, 16, 16, strings.length];
  const int = [1, 1 << 24, 4, (1 << 24) | 32];
  [...header, ...int].forEach((word, i) => {
    view.setUint32(4 + i * 4, word, LITTLE);
  });
  bytes.set(Buffer.from(strings), 40);
  return bytes;
}

function withIntBtf<T>(wanted: boolean, use: (fd: number) => T): T {
  if (!wanted) return use(0);
  const bytes = intBtf();
  const fd = accepted("load BTF", libbpf().btfLoad(bytes, bytes.length, null));
  try {
    return use(fd);
  } finally {
    libc().close(fd);
  }
}

/** struct bpf_map_create_opts */
function mapOptions(btf: number, { flags = 0, inner = 0 }: MapSpec): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  const type = btf ? 1 : 0;
  view.setBigUint64(0, BigInt(bytes.length), LITTLE);
  [btf, type, type, 0, inner, flags].forEach((word, i) => {
    view.setUint32(8 + i * 4, word, LITTLE);
  });
  return bytes;
}

/**
 * Makes a map for the length of `use`.
 * @throws Refused
 */
export function withMap<T>(spec: MapSpec, use: (fd: number) => T): T {
  const fd = withIntBtf(spec.btf ?? false, (btf) =>
    accepted(
      "create",
      libbpf().mapCreate(
        spec.type,
        "probe",
        spec.keySize,
        spec.valueSize,
        spec.maxEntries,
        mapOptions(btf, spec),
      ),
    ),
  );
  try {
    return use(fd);
  } finally {
    libc().close(fd);
  }
}
