/** What the parts of one container share: its place, its record, and the programs that it is under. */
import { u64Key } from "../kernel/codec.js";
import type { CgroupNode } from "../kernel/cgroup.js";
import type { Programs } from "../kernel/programs.js";
import type { Policy } from "../features/policy.js";
import type { GlassMode } from "./glass.js";
import type { Instance } from "./instance.js";
import { formatId } from "./names.js";
import type { Chain } from "./port-table.js";
import type { ContainerRecord } from "./record.js";
import type { HeldRecord } from "./records.js";

export class ContainerState {
  /** cgroup ids from the root container down to this one. */
  readonly chain: Chain;
  readonly cgroupId: bigint;
  readonly name: string;
  /** Of its entries in maps. */
  readonly key: Uint8Array;

  /**
   * @param current as it is on disk
   * @param ringSlot index in event_rings
   */
  constructor(
    readonly instance: Instance,
    readonly programs: Programs,
    readonly held: HeldRecord,
    readonly node: CgroupNode,
    private current: ContainerRecord,
    readonly ringSlot: number,
  ) {
    this.chain = current.chain.map(BigInt);
    this.cgroupId = this.chain.at(-1) ?? 0n;
    this.name = formatId(current.id);
    this.key = u64Key(this.cgroupId);
  }

  /** As it is on disk. */
  get record(): Readonly<ContainerRecord> {
    return this.current;
  }

  get policy(): Policy {
    return this.current.policy;
  }

  /** What `break-glass` has switched off for it. */
  get glass(): GlassMode | undefined {
    return this.instance.glassOf(this.held.key);
  }

  /** @throws state-failed, and then nothing has changed */
  save(changes: Partial<ContainerRecord>): void {
    const next = { ...this.current, ...changes };
    this.instance.records.write(this.held, next);
    this.current = next;
  }
}
