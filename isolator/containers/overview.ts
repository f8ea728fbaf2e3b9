/** What records and kernel say of an instance's containers, with or without a daemon. Changes nothing. */
import { sumCounters, type Usage } from "../features/accounting.js";
import { u64Key } from "../kernel/codec.js";
import { openPinnedMap } from "../kernel/pins.js";
import { buildId } from "../kernel/object.js";
import type { GlassMode } from "./glass.js";
import type { Instance } from "./instance.js";
import { recordKey, totalUsage, type ContainerRecord } from "./record.js";

export interface Overview {
  record: ContainerRecord;
  /** Undefined where its counters are those of another version of the programs. */
  usage: Usage | undefined;
  /** What `break-glass` has switched off for it. */
  glass: GlassMode | undefined;
}

/**
 * Every container with a whole record, parents before children.
 * @param isWanted by the key of its record: what is not wanted is not read
 */
export function readOverview(
  instance: Instance,
  isWanted: (key: string) => boolean = () => true,
): Overview[] {
  const records = instance.records
    .keys()
    .filter(isWanted)
    .flatMap((key) => instance.records.read(key) ?? []);
  const counters = records.length > 0 ? openPinnedMap(instance.name, buildId(), "counters") : undefined;
  const ofFiles = counters && openPinnedMap(instance.name, buildId(), "file_counts");
  try {
    return records.map((record) => {
      const key = u64Key(BigInt(record.chain.at(-1) ?? 0));
      const own = counters?.lookupPerCpu(key);
      const files = ofFiles?.lookup(key);
      const values = own && [...own, ...(files ? [files] : [])];
      const counted = values && record.build === buildId() ? sumCounters(values) : undefined;
      const usage = counters && counted && totalUsage(record, counters.id, counted);
      return { record, usage, glass: instance.glassOf(recordKey(record.id)) };
    });
  } finally {
    counters?.close();
    ofFiles?.close();
  }
}
