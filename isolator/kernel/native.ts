/**
 * The C functions that this program calls, of libc and libbpf, by koffi. Nothing outside of isolator/kernel/ imports
 * koffi or, tests and benchmarks apart, this file.
 *
 * Calls are synchronous; the slowest is bpf_object__load (about half a second for all programs, once for an instance), which
 * a daemon has a thread do.
 */
import koffi, { type LibraryHandle } from "koffi";
import { getSystemErrorName } from "node:util";
import { IsolatorError, messageOf } from "../errors.js";

/** A C pointer; 0n and null are NULL. */
export type Pointer = bigint | null;

/** What C reads from or writes to: must stay referenced for the length of the call. */
export type Memory = Uint8Array | null;

type Func<A extends unknown[], R> = (...args: A) => R;

/** The same in a thread of its own, for what takes long. */
type AsyncFunc<A extends unknown[], R> = (...args: A) => Promise<R>;

function bind<A extends unknown[], R>(library: LibraryHandle, prototype: string): Func<A, R> {
  return library.func(prototype);
}

function bindAsync<A extends unknown[], R>(library: LibraryHandle, prototype: string): AsyncFunc<A, R> {
  const { async: call } = library.func(prototype) as { async: (...args: unknown[]) => void };
  return (...args) =>
    new Promise((resolve, reject) => {
      call(...args, (error: Error | null, result: R) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
}

function loadLibbpf(): LibraryHandle {
  try {
    return koffi.load("libbpf.so.1");
  } catch (error) {
    throw new IsolatorError(
      "no-libbpf",
      `libbpf 1.x cannot be loaded (${messageOf(error)}). Install it: apt-get install libbpf1`,
      error,
    );
  }
}

function bindLibbpf() {
  const bpf = loadLibbpf();
  // Errors are returned and reported by the caller; libbpf's own lines on stderr would come on top of the task's.
  bind<[Pointer], Pointer>(bpf, "void *libbpf_set_print(void *fn)")(null);
  return {
    objectOpen: bind<[string, Memory], Pointer>(
      bpf,
      "void *bpf_object__open_file(const char *path, void *opts)",
    ),
    objectLoad: bind<[Pointer], number>(bpf, "int bpf_object__load(void *obj)"),
    objectLoadAsync: bindAsync<[Pointer], number>(bpf, "int bpf_object__load(void *obj)"),
    objectClose: bind<[Pointer], undefined>(bpf, "void bpf_object__close(void *obj)"),
    findProgram: bind<[Pointer, string], Pointer>(
      bpf,
      "void *bpf_object__find_program_by_name(void *obj, const char *name)",
    ),
    programFd: bind<[Pointer], number>(bpf, "int bpf_program__fd(void *prog)"),
    setAutoload: bind<[Pointer, boolean], number>(bpf, "int bpf_program__set_autoload(void *prog, bool on)"),
    setLogBuffer: bind<[Pointer, Memory, number], number>(
      bpf,
      "int bpf_program__set_log_buf(void *prog, void *buf, size_t size)",
    ),
    setLogLevel: bind<[Pointer, number], number>(
      bpf,
      "int bpf_program__set_log_level(void *prog, uint32_t level)",
    ),
    findMapFd: bind<[Pointer, string], number>(
      bpf,
      "int bpf_object__find_map_fd_by_name(void *obj, const char *name)",
    ),
    objectGet: bind<[string], number>(bpf, "int bpf_obj_get(const char *path)"),
    objectPin: bind<[number, string], number>(bpf, "int bpf_obj_pin(int fd, const char *path)"),
    mapCreate: bind<[number, string, number, number, number, Memory], number>(
      bpf,
      "int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, void *opts)",
    ),
    mapLookup: bind<[number, Memory, Memory], number>(
      bpf,
      "int bpf_map_lookup_elem(int fd, const void *key, void *value)",
    ),
    mapUpdate: bind<[number, Memory, Memory, number], number>(
      bpf,
      "int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)",
    ),
    mapUpdateBatch: bind<[number, Memory, Memory, Memory, Memory], number>(
      bpf,
      "int bpf_map_update_batch(int fd, const void *keys, const void *values, void *count, const void *opts)",
    ),
    mapDelete: bind<[number, Memory], number>(bpf, "int bpf_map_delete_elem(int fd, const void *key)"),
    mapById: bind<[number], number>(bpf, "int bpf_map_get_fd_by_id(uint32_t id)"),
    mapNextKey: bind<[number, Memory, Memory], number>(
      bpf,
      "int bpf_map_get_next_key(int fd, const void *key, void *next)",
    ),
    programLoad: bind<[number, string, string, Memory, number, Memory], number>(
      bpf,
      "int bpf_prog_load(int type, const char *name, const char *license, const void *insns, size_t count, void *opts)",
    ),
    programAttach: bind<[number, number, number, number], number>(
      bpf,
      "int bpf_prog_attach(int prog_fd, int cgroup_fd, int attach_type, unsigned int flags)",
    ),
    programAttachOpts: bind<[number, number, number, Memory], number>(
      bpf,
      "int bpf_prog_attach_opts(int prog_fd, int cgroup_fd, int attach_type, const void *opts)",
    ),
    tcHookCreate: bind<[Memory], number>(bpf, "int bpf_tc_hook_create(void *hook)"),
    tcAttach: bind<[Memory, Memory], number>(bpf, "int bpf_tc_attach(const void *hook, void *opts)"),
    tcDetach: bind<[Memory, Memory], number>(bpf, "int bpf_tc_detach(const void *hook, const void *opts)"),
    tcQuery: bind<[Memory, Memory], number>(bpf, "int bpf_tc_query(const void *hook, void *opts)"),
    linkCreate: bind<[number, number, number, Memory], number>(
      bpf,
      "int bpf_link_create(int prog_fd, int target_fd, int attach_type, const void *opts)",
    ),
    iterCreate: bind<[number], number>(bpf, "int bpf_iter_create(int link_fd)"),
    objectInfo: bind<[number, Memory, Memory], number>(
      bpf,
      "int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *size)",
    ),
    findMap: bind<[Pointer, string], Pointer>(
      bpf,
      "void *bpf_object__find_map_by_name(void *obj, const char *name)",
    ),
    mapReuseFd: bind<[Pointer, number], number>(bpf, "int bpf_map__reuse_fd(void *map, int fd)"),
    mapLookupBatch: bind<[number, Memory, Memory, Memory, Memory, Memory, Memory], number>(
      bpf,
      "int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, const void *opts)",
    ),
    programDetach: bind<[number, number, number], number>(
      bpf,
      "int bpf_prog_detach2(int prog_fd, int cgroup_fd, int attach_type)",
    ),
    programQuery: bind<[number, number, number, Memory, Memory, Memory], number>(
      bpf,
      "int bpf_prog_query(int cgroup_fd, int attach_type, uint32_t flags, void *attach_flags, void *ids, void *count)",
    ),
    programQueryOpts: bind<[number, number, Memory], number>(
      bpf,
      "int bpf_prog_query_opts(int cgroup_fd, int attach_type, void *opts)",
    ),
    programTestRun: bind<[number, Memory], number>(
      bpf,
      "int bpf_prog_test_run_opts(int prog_fd, void *opts)",
    ),
    programById: bind<[number], number>(bpf, "int bpf_prog_get_fd_by_id(uint32_t id)"),
    enableStats: bind<[number], number>(bpf, "int bpf_enable_stats(int type)"),
    vmlinuxBtfId: bind<[string, number], number>(
      bpf,
      "int libbpf_find_vmlinux_btf_id(const char *name, int attach_type)",
    ),
    btfLoad: bind<[Memory, number, Memory], number>(
      bpf,
      "int bpf_btf_load(const void *data, size_t size, void *opts)",
    ),
    versionString: bind<[], string>(bpf, "const char *libbpf_version_string(void)"),
    possibleCpus: bind<[], number>(bpf, "int libbpf_num_possible_cpus(void)"),
    ringNew: bind<[number, Pointer, Pointer, Pointer], Pointer>(
      bpf,
      "void *ring_buffer__new(int map_fd, void *callback, void *ctx, void *opts)",
    ),
    ringConsume: bind<[Pointer], number>(bpf, "int ring_buffer__consume(void *ring)"),
    ringFree: bind<[Pointer], undefined>(bpf, "void ring_buffer__free(void *ring)"),
    btfParse: bind<[string, Pointer], Pointer>(bpf, "void *btf__parse(const char *path, void *ext)"),
    btfFromKernel: bind<[number], Pointer>(bpf, "void *btf__load_from_kernel_by_id(uint32_t id)"),
    btfFree: bind<[Pointer], undefined>(bpf, "void btf__free(void *btf)"),
    btfTypeCount: bind<[Pointer], number>(bpf, "uint32_t btf__type_cnt(void *btf)"),
    btfTypeById: bind<[Pointer, number], Pointer>(bpf, "void *btf__type_by_id(void *btf, uint32_t id)"),
    btfNameByOffset: bind<[Pointer, number], string | null>(
      bpf,
      "const char *btf__name_by_offset(void *btf, uint32_t offset)",
    ),
  };
}

function bindLibc() {
  const c = koffi.load(null);
  return {
    flock: bind<[number, number], number>(c, "int flock(int fd, int operation)"),
    ifNameToIndex: bind<[string], number>(c, "unsigned int if_nametoindex(const char *name)"),
    mount: bind<[string, string, string, number, string], number>(
      c,
      "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
    ),
    unshare: bind<[number], number>(c, "int unshare(int flags)"),
    socket: bind<[number, number, number], number>(c, "int socket(int domain, int type, int protocol)"),
    send: bind<[number, Memory, number, number], number | bigint>(
      c,
      "long send(int fd, const void *data, size_t size, int flags)",
    ),
    recv: bind<[number, Memory, number, number], number | bigint>(
      c,
      "long recv(int fd, void *data, size_t size, int flags)",
    ),
    openByHandle: bind<[number, Memory, number], number>(
      c,
      "int open_by_handle_at(int mount, void *handle, int flags)",
    ),
    close: bind<[number], number>(c, "int close(int fd)"),
    sendto: bind<[number, Memory, number, number, Memory, number], number | bigint>(
      c,
      "long sendto(int fd, const void *data, size_t size, int flags, const void *address, uint32_t length)",
    ),
    getsockopt: bind<[number, number, number, Memory, Memory], number>(
      c,
      "int getsockopt(int fd, int level, int name, void *value, void *length)",
    ),
  };
}

let libbpfFunctions: ReturnType<typeof bindLibbpf> | undefined;
let libcFunctions: ReturnType<typeof bindLibc> | undefined;

/** libbpf's functions. A negative result is -errno; a NULL pointer leaves it in `lastErrno()`. @throws no-libbpf */
export function libbpf(): ReturnType<typeof bindLibbpf> {
  return (libbpfFunctions ??= bindLibbpf());
}

/** "1.1", or undefined where libbpf cannot be loaded. */
export function libbpfVersion(): string | undefined {
  try {
    return libbpf().versionString().replace(/^v/, "");
  } catch {
    return undefined;
  }
}

/** libc's functions. -1 leaves the reason in `lastErrno()`. */
export function libc(): ReturnType<typeof bindLibc> {
  return (libcFunctions ??= bindLibc());
}

/** errno of the last C call that failed. */
export function lastErrno(): number {
  return koffi.errno();
}

/** "EPERM" for 1 or -1. */
export function errnoName(errno: number): string {
  return errno === 0 ? "no error" : getSystemErrorName(-Math.abs(errno));
}

/** The bytes at a C address: a copy, so that it outlives the memory. */
export function readMemory(pointer: Pointer, size: number): Uint8Array {
  return new Uint8Array(koffi.view(pointer, size)).slice();
}

const ringCallback = koffi.proto("int bpf_isolator_ring_callback(void *ctx, void *data, size_t size)");

/**
 * A C function pointer for ring_buffer__new that calls `callback` with a copy of each entry. What it returns says
 * whether to go on; libbpf keeps its place when not.
 */
export function registerRingCallback(callback: (data: Uint8Array) => boolean): bigint {
  return koffi.register((_context: Pointer, data: Pointer, size: number | bigint): number => {
    return callback(readMemory(data, Number(size))) ? 0 : -1;
  }, koffi.pointer(ringCallback));
}

/** Frees what registerRingCallback() made. */
export function unregisterCallback(callback: bigint): void {
  koffi.unregister(callback);
}

/** Where memory is that C is to find by a pointer in a struct: of more than 64 bytes, so that it never moves. */
export function addressOf(memory: Uint8Array): bigint {
  if (memory.length <= 64) throw new Error(`${memory.length} bytes may be moved by the garbage collector`);
  return koffi.address(memory);
}
