/**
 * Advisory locks (flock) that the kernel drops when their holder dies, however it dies. Children do not inherit them:
 * Node opens files with O_CLOEXEC.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { IsolatorError, systemCode } from "../errors.js";
import { libc } from "./native.js";

const LOCK_EX = 2;
const LOCK_NB = 4;
const RETRY_MS = 10;

/** @param asItIs on a file system that is read-only too: a lock needs no right to write */
function openLock(path: string, asItIs: boolean): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (error) {
    if (!asItIs || systemCode(error) !== "EROFS") throw error;
    try {
      return openSync(path, constants.O_RDONLY);
    } catch {
      throw error;
    }
  }
}

export class FileLock {
  private constructor(private fd: number) {}

  /**
   * Locks a file, creating it (mode 0600) if need be.
   * @param asItIs where it is there already also on a file system that is read-only
   * @returns undefined when somebody else holds it
   */
  static try(path: string, asItIs = false): FileLock | undefined {
    const fd = openLock(path, asItIs);
    // A holder may have removed the file before it let go: then this is a lock on nothing.
    const locked = libc().flock(fd, LOCK_EX | LOCK_NB) === 0;
    if (locked && fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino)
      return new FileLock(fd);
    closeSync(fd);
    return undefined;
  }

  /**
   * Waits for the lock, and not for ever.
   * @param timeout ms
   * @param asItIs as of try()
   * @throws busy
   */
  static async acquire(path: string, timeout = 15_000, asItIs = false): Promise<FileLock> {
    const deadline = Date.now() + timeout;
    for (;;) {
      const lock = FileLock.try(path, asItIs);
      if (lock) return lock;
      if (Date.now() > deadline) {
        throw new IsolatorError(
          "busy",
          `${path} has been locked by another bpf-isolator process for ${timeout / 1000} s; fuser -v ${path} names it`,
        );
      }
      await sleep(RETRY_MS);
    }
  }

  /** Safe to call twice. */
  release(): void {
    if (this.fd < 0) return;
    closeSync(this.fd);
    this.fd = -1;
  }
}
