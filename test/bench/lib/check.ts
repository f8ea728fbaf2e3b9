/** Results of libbpf's functions, for benchmarks: what failed is said with its errno. */
import { errnoName, lastErrno, type Pointer } from "../../../isolator/kernel/native.js";

/** Passes a non-negative result through. @throws Error that names the call and the errno */
export function check(what: string, result: number): number {
  if (result >= 0) return result;
  throw new Error(`${what}: ${errnoName(result)}`);
}

/** @throws Error when `pointer` is NULL */
export function checkPointer(what: string, pointer: Pointer): Pointer {
  if (pointer !== null && pointer !== 0n) return pointer;
  throw new Error(`${what}: ${errnoName(lastErrno())}`);
}
