/** Programs that the kernel runs for each of its sockets when somebody reads (BPF iterators). */
import { read } from "node:fs";
import { promisify } from "node:util";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { errnoName, lastErrno, libbpf, libc } from "./native.js";

/** enum bpf_attach_type */
const BPF_TRACE_ITER = 28;
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

const readAsync = promisify(read);

/** Bytes that are read at once: no less than the kernel writes at once (8 pages). */
const ROOM = 65_536;

/**
 * Runs an iterator's program over all sockets of this process's network namespace, off the event loop.
 * @param program file descriptor of it
 * @param take gets what it has written, in pieces that are good until it returns
 * @throws map-failed
 */
export async function runIterator(
  program: number,
  take: (bytes: Uint8Array) => void = () => undefined,
): Promise<void> {
  const link = accepted("linked", libbpf().linkCreate(program, 0, BPF_TRACE_ITER, null));
  try {
    // The namespace is that of the thread which makes it: here, whichever thread reads.
    const iterator = accepted("made", libbpf().iterCreate(link));
    try {
      const buffer = new Uint8Array(ROOM);
      for (let read = -1; read !== 0;) {
        read = await readOn(iterator, buffer);
        if (read > 0) take(buffer.subarray(0, read));
      }
    } catch (error) {
      throw new IsolatorError("map-failed", `a BPF iterator cannot be read: ${messageOf(error)}`, error);
    } finally {
      libc().close(iterator);
    }
  } finally {
    libc().close(link);
  }
}

/** @returns bytes; 0: that was all; -1: go on */
async function readOn(iterator: number, buffer: Uint8Array): Promise<number> {
  try {
    return (await readAsync(iterator, buffer, 0, buffer.length, null)).bytesRead;
  } catch (error) {
    // After a million sockets with nothing written the kernel asks to be called again (MAX_ITER_OBJECTS).
    if (systemCode(error) === "EAGAIN") return -1;
    throw error;
  }
}

function accepted(what: string, result: number): number {
  if (result >= 0) return result;
  throw new IsolatorError("map-failed", `a BPF iterator cannot be ${what}: ${errnoName(result)}`);
}

/** The kernel's name for this process's network namespace. @throws map-failed */
export function networkCookie(): bigint {
  const socket = libc().socket(AF_INET, SOCK_DGRAM, 0);
  const value = new Uint8Array(8);
  const length = new Uint8Array(new Uint32Array([value.length]).buffer);
  const result = socket < 0 ? -1 : libc().getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, value, length);
  const errno = lastErrno();
  if (socket >= 0) libc().close(socket);
  if (result === 0) return new BigUint64Array(value.buffer)[0] ?? 0n;
  throw new IsolatorError(
    "map-failed",
    `the cookie of the network namespace cannot be read: ${errnoName(errno)}`,
  );
}
