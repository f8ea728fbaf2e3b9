/** One BPF map, by its file descriptor. Keys and values are raw bytes; codec.ts gives them meaning. */
import { IsolatorError } from "../errors.js";
import { LITTLE } from "./codec.js";
import type { Epoch } from "./epoch.js";
import { errnoName, libbpf, libc } from "./native.js";

const E2BIG = 7;
const ENOENT = 2;
const ENOMEM = 12;
const EEXIST = 17;
/** Of struct bpf_map_info (include/uapi/linux/bpf.h): its first fields, all u32. */
const MAP_INFO = { id: 1, maxEntries: 4 } as const;
const MAP_INFO_WORDS = 8;

/** BPF_NOEXIST of the kernel. */
const NO_EXIST = 1;
/** For BpfMap.update(): BPF_F_LOCK of the kernel. */
export const UNDER_LOCK = 4;

export class BpfMap {
  private knownId: number | undefined;
  /** Of maps that verdicts on egress depend on: every change of the map is one of it. */
  epoch: Epoch | undefined;

  /**
   * @param name for error messages
   * @param fd owned by this object
   * @param valueSize bytes; of one CPU's value for per-CPU maps
   */
  constructor(
    readonly name: string,
    readonly fd: number,
    readonly valueSize: number,
  ) {}

  /** The kernel's: no other map gets the same one before the machine starts again. @throws map-failed */
  get id(): number {
    return (this.knownId ??= this.info("id"));
  }

  private info(field: keyof typeof MAP_INFO): number {
    const info = new Uint32Array(MAP_INFO_WORDS);
    const size = new Uint8Array(new Uint32Array([info.byteLength]).buffer);
    const result = libbpf().objectInfo(this.fd, new Uint8Array(info.buffer), size);
    if (result < 0) throw this.failure("look at", result);
    return info[MAP_INFO[field]] ?? 0;
  }

  /** The value, or undefined where the key does not exist. @param value where it is put */
  lookup(key: Uint8Array, value = new Uint8Array(this.valueSize)): Uint8Array | undefined {
    return this.read(key, value) ? value : undefined;
  }

  /** One value a possible CPU, or undefined where the key does not exist. */
  lookupPerCpu(key: Uint8Array): Uint8Array[] | undefined {
    const stride = Math.ceil(this.valueSize / 8) * 8;
    const cpus = libbpf().possibleCpus();
    const values = new Uint8Array(stride * cpus);
    if (!this.read(key, values)) return undefined;
    return Array.from({ length: cpus }, (_, cpu) =>
      values.subarray(cpu * stride, cpu * stride + this.valueSize),
    );
  }

  /** Every key there is, of 8 bytes. What is added or taken away meanwhile may be in it or not. @throws map-failed */
  u64Keys(): bigint[] {
    const keys: bigint[] = [];
    const next = new Uint8Array(8);
    for (let key: Uint8Array | null = null; keys.length < this.info("maxEntries"); key = next.slice()) {
      const result: number = libbpf().mapNextKey(this.fd, key, next);
      if (result === -ENOENT) break;
      if (result < 0) throw this.failure("read", result);
      keys.push(new DataView(next.buffer).getBigUint64(0, LITTLE));
    }
    return keys;
  }

  /** The values of an array map, one after another, in one call: 65,536 ports in about a millisecond. @throws map-failed */
  lookupAll(): Uint8Array<ArrayBuffer> {
    const entries = this.info("maxEntries");
    const values = new Uint8Array(entries * this.valueSize);
    const count = new Uint8Array(new Uint32Array([entries]).buffer);
    const next = new Uint8Array(4);
    const keys = new Uint8Array(entries * 4);
    const result = libbpf().mapLookupBatch(this.fd, null, next, keys, values, count, null);
    // ENOENT: that was the last of them.
    if (result < 0 && result !== -ENOENT) throw this.failure("read", result);
    return values;
  }

  /**
   * Values of an array map, one after another, in one call.
   * @throws map-failed
   */
  lookupRange(first: number, entries: number): Uint8Array<ArrayBuffer> {
    const values = new Uint8Array(entries * this.valueSize);
    const word = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);
    const keys = new Uint8Array(entries * 4);
    // The kernel begins after the key that it is given, and at 0 after one that is out of range.
    const result = libbpf().mapLookupBatch(
      this.fd,
      word(first - 1),
      word(0),
      keys,
      values,
      word(entries),
      null,
    );
    if (result < 0 && result !== -ENOENT) throw this.failure("read", result);
    return values;
  }

  /** Makes several changes of the map, and others of the same programs, that need not be seen one by one. */
  change<T>(make: () => T): T {
    return this.epoch ? this.epoch.change(make) : make();
  }

  /**
   * @param how UNDER_LOCK: under the lock that the value begins with, which a program may have taken
   * @throws map-full when it has no room for a new key, map-failed
   */
  update(key: Uint8Array, value: Uint8Array, how = 0): void {
    const result = this.change(() => libbpf().mapUpdate(this.fd, key, value, how));
    if (result < 0) throw this.failure("write", result);
  }

  /**
   * Makes an entry where there is none, also if others do so at the same time.
   * @returns false where there was one
   * @throws map-full, map-failed
   */
  add(key: Uint8Array, value: Uint8Array): boolean {
    const result = libbpf().mapUpdate(this.fd, key, value, NO_EXIST);
    if (result === -EEXIST) return false;
    if (result < 0) throw this.failure("write", result);
    return true;
  }

  /** Writes `count` entries in one call: keys and values one after another. @throws map-full, map-failed */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    if (count === 0) return;
    const counted = new Uint8Array(new Uint32Array([count]).buffer);
    const result = this.change(() => libbpf().mapUpdateBatch(this.fd, keys, values, counted, null));
    if (result < 0) throw this.failure("write", result);
  }

  /** @returns false when there was no such key */
  delete(key: Uint8Array): boolean {
    const result = this.change(() => libbpf().mapDelete(this.fd, key));
    if (result === -ENOENT) return false;
    if (result < 0) throw this.failure("delete from", result);
    return true;
  }

  /** Every key that there is now, in no order; one that comes or goes meanwhile may be missed. @param size of a key, bytes */
  keys(size: number): Uint8Array[] {
    const keys: Uint8Array[] = [];
    let before: Uint8Array | null = null;
    // A key that is deleted meanwhile begins all anew: never more than there is room for.
    for (const most = this.info("maxEntries"); keys.length < most;) {
      const next = new Uint8Array(size);
      const result = libbpf().mapNextKey(this.fd, before, next);
      if (result === -ENOENT) break;
      if (result < 0) throw this.failure("read", result);
      keys.push(next);
      before = next;
    }
    return keys;
  }

  close(): void {
    libc().close(this.fd);
  }

  private read(key: Uint8Array, into: Uint8Array): boolean {
    const result = libbpf().mapLookup(this.fd, key, into);
    if (result === -ENOENT) return false;
    if (result < 0) throw this.failure("read", result);
    return true;
  }

  private failure(verb: string, errno: number): IsolatorError {
    if (-errno === E2BIG || -errno === ENOMEM) {
      return new IsolatorError(
        "map-full",
        `the BPF map ${this.name} has no room for another entry (${errnoName(errno)}): ` +
          "too many containers on this machine. End some, or use another --instance",
      );
    }
    return new IsolatorError("map-failed", `cannot ${verb} the BPF map ${this.name}: ${errnoName(errno)}`);
  }
}
