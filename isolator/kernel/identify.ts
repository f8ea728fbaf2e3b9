/**
 * How the kernel knows a file that this process has open: number and generation of its inode, device of its file system. stat()
 * tells others for files of overlayfs and btrfs, and rules are judged by the kernel's.
 */
import { IsolatorError } from "../errors.js";
import { decode, encode, type Struct } from "./codec.js";
import { layouts } from "./gen/layout.js";
import { addressOf, errnoName, libbpf } from "./native.js";

/** What one call has room for: FILE_IDENTITIES of bpf/layout/files.h. */
const AT_ONCE = 16;
const NO_FD = 0xffffffff;
const NOTHING = { ino: 0n, dev: 0, generation: 0, reserved: 0 };
const LAYOUT = layouts.structs.file_identity;

export type KernelFile = Pick<Struct<typeof LAYOUT>, "ino" | "dev" | "generation">;

/** struct bpf_test_run_opts of libbpf: the program's context, in and out. */
function runOptions(context: Uint8Array): Uint8Array {
  const options = new DataView(new ArrayBuffer(80));
  options.setBigUint64(0, 80n, true);
  options.setBigUint64(32, addressOf(context), true);
  options.setUint32(48, context.length, true);
  return new Uint8Array(options.buffer);
}

/**
 * @param program file descriptor of files_identify
 * @param fds open files of this process, also with O_PATH
 * @throws map-failed
 */
export function identify(program: number, fds: readonly number[]): KernelFile[] {
  const found: KernelFile[] = [];
  for (let at = 0; at < fds.length; at += AT_ONCE) {
    const some = fds.slice(at, at + AT_ONCE);
    const context = new Uint8Array(AT_ONCE * LAYOUT.size);
    for (let i = 0; i < AT_ONCE; i++)
      context.set(encode(LAYOUT, { ...NOTHING, fd: some[i] ?? NO_FD }), i * LAYOUT.size);
    const result = libbpf().programTestRun(program, runOptions(context));
    if (result < 0) {
      throw new IsolatorError(
        "map-failed",
        `open files cannot be identified by the kernel: ${errnoName(result)}`,
      );
    }
    for (let i = 0; i < some.length; i++) {
      const { ino, dev, generation } = decode(LAYOUT, context.subarray(i * LAYOUT.size));
      found.push({ ino, dev, generation });
    }
  }
  return found;
}
