/**
 * Programs of this build on containers that programs of another build are on: replaced in place, hook by hook, so that at
 * no instant a container is without. Where both builds have the same data layouts, the new programs use the old maps and
 * go on with all that is in them; where not, each container's policy is written anew and its counts are carried over.
 * Safe to repeat after it was interrupted anywhere, by this build or any other: a container's record says which builds'
 * programs may be on it, and what was counted is kept by map, so that nothing is counted twice however often it changes.
 */
import { saveUsage, sumCounters, type SavedUsage } from "../features/accounting.js";
import { hooksOf } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { buildId, layoutId } from "../kernel/object.js";
import { isPinned, PinnedBuild, otherBuilds } from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import type { Instance } from "./instance.js";
import { reach } from "./points.js";
import { buildsOf, type ContainerRecord } from "./record.js";

/**
 * Opens this build's programs for a daemon, on the maps of the instance's other builds where that can be. Under the
 * instance's lock.
 * @throws all that Programs.open() throws
 */
export function openForDaemon(instance: Instance, records: readonly ContainerRecord[]): Programs {
  if (isPinned(instance.name)) return Programs.open(instance.name);
  const pinned = new Set(otherBuilds(instance.name));
  const sharing = records.find(({ build, layout }) => layout === layoutId() && pinned.has(build));
  return Programs.open(instance.name, sharing?.build);
}

/**
 * Puts this build's programs on one container, in place of those of other builds.
 * @param writePolicy writes its policy to this build's maps
 * @returns its record, as it is on disk now
 * @throws load-failed where another build's pins are gone; attach-failed, layout-mismatch
 */
export function upgrade(
  instance: Instance,
  programs: Programs,
  key: string,
  record: ContainerRecord,
  writePolicy: () => void,
): ContainerRecord {
  const node = CgroupNode.open(record.cgroup);
  const replacing = buildsOf(record).filter((build) => build !== buildId());
  if (!node || replacing.length === 0) return record;
  const held = instance.records.take(key);
  const old: PinnedBuild[] = [];
  try {
    for (const build of replacing) old.push(PinnedBuild.open(instance.name, build));
    reach("start:upgrade-begun");
    // Said before it is done: whoever comes after an interruption finds both builds' programs by it.
    const begun: ContainerRecord = { ...record, build: buildId(), layout: layoutId(), replacing };
    instance.records.write(held, begun);
    reach("start:upgrade-announced");
    // Where break-glass has taken the programs away, there is nothing to replace.
    if (instance.glassOf(key) !== "detach") {
      node.withFd((fd) => {
        const sets = old.map((each) => each.programs);
        programs.takeOver(fd, record.id.join("."), hooksOf(record.policy), sets, writePolicy);
      });
    }
    reach("start:upgrade-replaced");
    const next: ContainerRecord = { ...begun, carried: carry(record, programs, old, node.id) };
    delete next.replacing;
    instance.records.write(held, next);
    reach("start:upgrade-recorded");
    return next;
  } finally {
    for (const each of old) each.close();
  }
}

/** What has been counted in other maps than this build's. Nothing adds to them any more: read again, they are the same. */
function carry(
  { carried = {} }: ContainerRecord,
  programs: Programs,
  old: readonly PinnedBuild[],
  cgroupId: bigint,
): Record<string, SavedUsage> {
  const all = { ...carried };
  for (const each of old) {
    const values = each.counters(cgroupId);
    if (values) all[each.countersId] = saveUsage(sumCounters(values, each.countersLayout));
  }
  const own = `${programs.map("counters").id}`;
  return Object.fromEntries(Object.entries(all).filter(([id]) => id !== own));
}
