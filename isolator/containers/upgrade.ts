/**
 * Programs of this build on containers that programs of another build are on: replaced in place, hook by hook, so that at
 * no instant a container is without. Where both builds have the same data layouts, the new programs use the old maps and
 * go on with all that is in them; where not, each container's policy is written anew and its counts are carried over.
 * Safe to repeat after it was interrupted anywhere: a container's record changes last.
 */
import { addUsages, loadUsage, saveUsage, sumCounters } from "../features/accounting.js";
import { lsmHooksOf } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { buildId, layoutId } from "../kernel/object.js";
import { isPinned, PinnedBuild, otherBuilds } from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import type { Instance } from "./instance.js";
import { reach } from "./points.js";
import type { ContainerRecord } from "./records.js";

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
 * Puts this build's programs on one container.
 * @param writePolicy writes its policy to this build's maps
 * @returns its record, as it is on disk now
 * @throws load-failed where the old build's pins are gone; attach-failed, layout-mismatch
 */
export function upgrade(
  instance: Instance,
  programs: Programs,
  key: string,
  record: ContainerRecord,
  writePolicy: () => void,
): ContainerRecord {
  const node = CgroupNode.open(record.cgroup);
  if (!node || record.build === buildId()) return record;
  const old = PinnedBuild.open(instance.name, record.build);
  try {
    reach("start:upgrade-begun");
    // Where break-glass has taken the programs away, there is nothing to replace.
    if (instance.glassOf(key) !== "detach") {
      node.withFd((fd) => {
        programs.takeOver(fd, record.id.join("."), lsmHooksOf(record.policy), old.programs, writePolicy);
      });
    }
    reach("start:upgrade-replaced");
    const next: ContainerRecord = { ...record, build: buildId(), layout: layoutId() };
    if (record.layout !== layoutId()) {
      // Nothing adds to them any more: read again after an interruption they are the same.
      const counted = sumCounters(old.counters(node.id) ?? [], old.countersLayout);
      next.carried = saveUsage(record.carried ? addUsages(loadUsage(record.carried), counted) : counted);
    }
    instance.records.write(instance.records.take(key), next);
    reach("start:upgrade-recorded");
    return next;
  } finally {
    old.close();
  }
}
