/** Programs at the egress of network devices (tc, clsact). They stay until they are taken away, whoever dies. */
import { IsolatorError } from "../errors.js";
import { programId } from "./attach.js";
import { LITTLE } from "./codec.js";
import { errnoName, libbpf, libc } from "./native.js";

/** struct bpf_tc_hook of libbpf 1.x, on 64 bits. */
const HOOK = { size: 24, ifindex: 8, attachPoint: 12 } as const;
/** struct bpf_tc_opts, likewise. */
const OPTS = { size: 32, program: 8, flags: 12, programId: 16, handle: 20, priority: 24 } as const;
const EGRESS = 2;
const BPF_TC_F_REPLACE = 1;
const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;
/** Of our filters: others may stand before and after them. */
const PRIORITY = 5051;

/** @returns undefined where there is no such device in this network namespace */
function hookOf(device: string): Uint8Array | undefined {
  // Not by /sys, which may be that of another network namespace.
  const index = libc().ifNameToIndex(device);
  if (index === 0) return undefined;
  const view = new DataView(new ArrayBuffer(HOOK.size));
  view.setBigUint64(0, BigInt(HOOK.size), LITTLE);
  view.setInt32(HOOK.ifindex, index, LITTLE);
  view.setUint32(HOOK.attachPoint, EGRESS, LITTLE);
  return new Uint8Array(view.buffer);
}

function opts(handle: number, program = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(OPTS.size));
  view.setBigUint64(0, BigInt(OPTS.size), LITTLE);
  if (program > 0) {
    view.setInt32(OPTS.program, program, LITTLE);
    view.setUint32(OPTS.flags, BPF_TC_F_REPLACE, LITTLE);
  }
  view.setUint32(OPTS.handle, handle, LITTLE);
  view.setUint32(OPTS.priority, PRIORITY, LITTLE);
  return new Uint8Array(view.buffer);
}

/**
 * Puts a program on a device, in place of one with the same handle.
 * @param handle not 0; other instances have others
 * @returns false where there is no such device
 * @throws attach-failed
 */
export function ensureOnDevice(program: number, device: string, handle: number): boolean {
  const hook = hookOf(device);
  if (!hook) return false;
  const there = opts(handle);
  if (
    libbpf().tcQuery(hook, there) === 0 &&
    new DataView(there.buffer).getUint32(OPTS.programId, LITTLE) === programId(program)
  )
    return true;
  let result = libbpf().tcHookCreate(hook);
  if (result === 0 || result === -EEXIST) result = libbpf().tcAttach(hook, opts(handle, program));
  if (result < 0)
    throw new IsolatorError(
      "attach-failed",
      `the program that rewrites DSCPs cannot be attached to the device ${device} (${errnoName(result)}): ` +
        "the kernel needs sch_ingress and cls_bpf",
    );
  return true;
}

/** Takes the program with a handle off a device; none there is fine. The device's clsact stays. @throws attach-failed */
export function removeFromDevice(device: string, handle: number): void {
  const hook = hookOf(device);
  if (!hook) return;
  const result = libbpf().tcDetach(hook, opts(handle));
  if (result < 0 && result !== -ENOENT && result !== -EINVAL)
    throw new IsolatorError(
      "attach-failed",
      `the program that rewrites DSCPs cannot be taken off the device ${device} (${errnoName(result)})`,
    );
}
