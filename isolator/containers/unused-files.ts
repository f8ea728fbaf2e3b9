/** Rules for files that no container has any more, and the programs on the whole machine that only those need. */
import { join } from "node:path";
import { fileSetNumber } from "../features/files.js";
import { attachedToMachine, detachFromMachine } from "../kernel/links.js";
import type { BpfMap } from "../kernel/maps.js";
import { buildId } from "../kernel/object.js";
import { openPinnedMap, pinRoot } from "../kernel/pins.js";
import { dropSets, forgetFiles } from "./files.js";
import type { Instance } from "./instance.js";
import { recordKey, type ContainerRecord } from "./record.js";

function openFileMaps(instance: string) {
  const names = ["file_policies", "file_counts", "file_rules"] as const;
  const maps = names.flatMap((name) => openPinnedMap(instance, buildId(), name) ?? []);
  const close = (): void => {
    for (const map of maps) map.close();
  };
  const [policies, counts, rules] = maps;
  if (policies && counts && rules) {
    const map = (name: "file_policies" | "file_counts"): BpfMap =>
      name === "file_policies" ? policies : counts;
    return { map, rules, close };
  }
  close();
  return undefined;
}

/** Of a container that nobody holds. Under the instance's lock. */
export function forgetFilesOf(instance: string, { build, chain, policy }: ContainerRecord): void {
  if (!policy.files || build !== buildId()) return;
  const maps = openFileMaps(instance);
  if (maps) forgetFiles(maps, BigInt(chain.at(-1) ?? 0));
  maps?.close();
}

/**
 * Takes away rules for files that no container has any more, and where none has any, the programs that only those need.
 * Under the instance's lock.
 * @param without key of a record that does not count
 */
export function endFiles({ name, records }: Pick<Instance, "name" | "records">, without?: string): void {
  const directory = join(pinRoot(name), buildId());
  // Where nobody had rules since the programs were loaded, there is nothing to look for.
  if (attachedToMachine(directory).length === 0) return;
  const used = new Set(
    records
      .list()
      .filter(({ id, build }) => build === buildId() && recordKey(id) !== without)
      .flatMap(({ policy: { files } }) => (files ? fileSetNumber(files) : [])),
  );
  if (used.size === 0) detachFromMachine(directory);
  const maps = openFileMaps(name);
  if (maps) dropSets(maps.rules, used);
  maps?.close();
}
