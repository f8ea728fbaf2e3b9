/** Reads struct and enum layouts from the BTF of an object file, by libbpf. */
import { IsolatorError } from "../errors.js";
import { libbpf, lastErrno, errnoName, readMemory, type Pointer } from "./native.js";

/** Kinds of enum btf_kind (include/uapi/linux/btf.h). */
const KIND = { INT: 1, ARRAY: 3, STRUCT: 4, ENUM: 6, TYPEDEF: 8 } as const;

export type Scalar = "u8" | "u16" | "u32" | "u64";

/** One field: a scalar, or `count` of them in a row. Offsets in bytes. */
export interface Field {
  offset: number;
  type: Scalar;
  count?: number;
}

export interface Layout {
  size: number;
  fields: Record<string, Field>;
}

export interface Layouts {
  structs: Record<string, Layout>;
  enums: Record<string, Record<string, number>>;
}

interface Type {
  name: string;
  kind: number;
  vlen: number;
  sizeOrType: number;
  pointer: Pointer;
}

const SCALARS: Record<number, Scalar> = { 1: "u8", 2: "u16", 4: "u32", 8: "u64" };
const HEADER = 12;

class Btf {
  constructor(readonly btf: Pointer) {}

  type(id: number): Type {
    const pointer = libbpf().btfTypeById(this.btf, id);
    const [name = 0, info = 0, sizeOrType = 0] = new Uint32Array(readMemory(pointer, HEADER).buffer);
    return { name: this.name(name), kind: (info >>> 24) & 0x1f, vlen: info & 0xffff, sizeOrType, pointer };
  }

  name(offset: number): string {
    return libbpf().btfNameByOffset(this.btf, offset) ?? "";
  }

  /** The `width`-word entries that follow a type's header. */
  entries(type: Type, width: number, count: number): Uint32Array[] {
    const bytes = readMemory(type.pointer, HEADER + count * width * 4);
    const words = new Uint32Array(bytes.buffer, HEADER);
    return Array.from({ length: count }, (_, i) => words.subarray(i * width, (i + 1) * width));
  }

  /** Through typedefs to what they name. */
  resolve(id: number): Type {
    let type = this.type(id);
    while (type.kind === KIND.TYPEDEF) type = this.type(type.sizeOrType);
    return type;
  }

  field(id: number, offset: number): Field {
    const type = this.resolve(id);
    if (type.kind === KIND.ARRAY) {
      const [element = 0, , count = 0] = this.entries(type, 3, 1)[0] ?? [];
      return { ...this.field(element, offset), count };
    }
    const scalar = SCALARS[type.sizeOrType];
    if ((type.kind !== KIND.INT && type.kind !== KIND.ENUM) || !scalar) {
      throw new Error(`BTF type ${type.name} (kind ${type.kind}) is no scalar`);
    }
    return { offset, type: scalar };
  }

  struct(type: Type): Layout {
    const fields: Record<string, Field> = {};
    for (const [name = 0, id = 0, bits = 0] of this.entries(type, 3, type.vlen)) {
      fields[this.name(name)] = this.field(id, bits / 8);
    }
    return { size: type.sizeOrType, fields };
  }

  enumeration(type: Type): Record<string, number> {
    const values: Record<string, number> = {};
    for (const [name = 0, value = 0] of this.entries(type, 2, type.vlen)) values[this.name(name)] = value;
    return values;
  }
}

/**
 * Layouts of the named structs and enums in an object file.
 * @throws not-built when the file cannot be read; layout-mismatch when a type is missing
 */
export function readLayouts(path: string, structs: readonly string[], enums: readonly string[]): Layouts {
  const parsed = libbpf().btfParse(path, null);
  if (parsed === null || parsed === 0n) {
    throw new IsolatorError(
      "not-built",
      `the BPF object ${path} cannot be read (${errnoName(lastErrno())}). Build it: npm run build`,
    );
  }
  try {
    const btf = new Btf(parsed);
    const types = new Map<string, Type>();
    const count = libbpf().btfTypeCount(parsed);
    for (let id = 1; id < count; id++) {
      const type = btf.type(id);
      if (type.kind === KIND.STRUCT || type.kind === KIND.ENUM) types.set(`${type.kind} ${type.name}`, type);
    }
    // In the order asked for: that of BTF changes with the code that uses them, and layoutId() is made of all this.
    const found: Layouts = { structs: {}, enums: {} };
    for (const name of structs) {
      const type = types.get(`${KIND.STRUCT} ${name}`);
      if (type) found.structs[name] = btf.struct(type);
    }
    for (const name of enums) {
      const type = types.get(`${KIND.ENUM} ${name}`);
      if (type) found.enums[name] = btf.enumeration(type);
    }
    const missing = [
      ...structs.filter((name) => !(name in found.structs)),
      ...enums.filter((name) => !(name in found.enums)),
    ];
    if (missing.length > 0) {
      throw new IsolatorError(
        "layout-mismatch",
        `the BPF object ${path} has no type ${missing.join(", ")} in its BTF`,
      );
    }
    return found;
  } finally {
    libbpf().btfFree(parsed);
  }
}

/** Offset of btf_id in struct bpf_map_info (include/uapi/linux/bpf.h). */
const MAP_INFO_BTF_ID = 64;
const MAP_INFO_SIZE = 88;

/**
 * Layout of a struct as a map in the kernel was made with, by whichever build made it.
 * @param fd of the map
 * @throws layout-mismatch where the kernel has none
 */
export function readMapLayout(fd: number, struct: string): Layout {
  const info = new Uint8Array(MAP_INFO_SIZE);
  const result = libbpf().objectInfo(fd, info, new Uint8Array(new Uint32Array([info.length]).buffer));
  const id = result < 0 ? 0 : (new Uint32Array(info.buffer)[MAP_INFO_BTF_ID / 4] ?? 0);
  const btf = id === 0 ? null : libbpf().btfFromKernel(id);
  if (btf === null || btf === 0n) {
    throw new IsolatorError(
      "layout-mismatch",
      `the kernel does not know the layout of struct ${struct} in a map`,
    );
  }
  try {
    return readStruct(new Btf(btf), struct);
  } finally {
    libbpf().btfFree(btf);
  }
}

function readStruct(btf: Btf, name: string): Layout {
  const count = libbpf().btfTypeCount(btf.btf);
  for (let id = 1; id < count; id++) {
    const type = btf.type(id);
    if (type.kind === KIND.STRUCT && type.name === name) return btf.struct(type);
  }
  throw new IsolatorError("layout-mismatch", `there is no struct ${name} in the BTF of a map`);
}
