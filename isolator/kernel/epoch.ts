/**
 * What ends all that programs remember of verdicts on egress (bpf/egress_verdicts.h). A map that verdicts depend on has
 * one (BpfMap.epoch), so that nothing is written there without.
 *
 * During a change nothing is remembered, so that a process that is killed in it leaves nothing behind but slower sends,
 * until somebody makes the next change or a daemon takes up the instance. Where two processes change something at a
 * time, one may let programs remember while the other is still at it: what they remember then ends with that one's
 * change, too.
 */
import { randomBytes } from "node:crypto";
import { u64Key } from "./codec.js";
import type { MapName } from "./contents.js";

/** Maps that a verdict depends on. A policy names its rules by what is in them, and that name is remembered with it. */
export const EPOCH_MAPS: ReadonlySet<MapName> = new Set([
  "port_owners",
  "owner_classes",
  "host_addresses",
  "endpoint_states",
  "endpoint_sets",
  "endpoint_blocks",
  "egress_blocks",
  "egress_classes",
] as const);

/** Value of egress_epoch with which nothing is remembered. */
const NONE = new Uint8Array(8);

/** Odd, and so never NONE. */
let last = randomBytes(8).readBigUInt64LE() | 1n;

/** A value that never was, but for the chance that two processes began so near to each other in 2^63. */
function another(): Uint8Array {
  last = BigInt.asUintN(64, last + 2n);
  return u64Key(last);
}

export class Epoch {
  private depth = 0;

  /** @param write of the value of egress_epoch */
  constructor(private readonly write: (value: Uint8Array) => void) {}

  /**
   * Makes a change, or several that need not be seen one by one: when this returns, no program goes by what was before.
   * @param make the changes, all in this call
   * @throws map-failed, and then nothing was changed; what `make` throws
   */
  change<T>(make: () => T): T {
    if (this.depth === 0) this.write(NONE);
    this.depth++;
    try {
      return make();
    } finally {
      if (--this.depth === 0) this.write(another());
    }
  }
}
