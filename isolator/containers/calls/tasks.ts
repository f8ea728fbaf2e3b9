/** What only the agent's API tells of the tasks in a container: their labels. */
import {
  factsOf,
  rateLabelsOf,
  tasksAreUntold,
  withoutBandwidth,
  withTask,
  type TaskFacts,
} from "../../config/facts.js";
import { recordKey } from "../records.js";
import { parentOf, type Entry } from "../registry.js";
import type { Parts } from "./parts.js";

/** Names of containers whose tasks it can tell of, and has not. */
export function untold({ registry }: Parts): ReadonlySet<string> {
  const untold = registry
    .list()
    .filter(
      ({ id, config, container, cleaning, task, taskIsOld }) =>
        container && !cleaning && config && tasksAreUntold(config, id.length > 1) && (!task || taskIsOld),
    );
  return new Set(untold.map(({ name }) => name));
}

/** It has told. @throws state-failed */
export async function learnTask(parts: Parts, entry: Entry, task: TaskFacts): Promise<void> {
  const { facts, config, task: before, name, id } = entry;
  if (entry.cleaning || !facts || !config) return;
  entry.taskIsOld = false;
  if (JSON.stringify(before) === JSON.stringify(task)) return;
  parts.instance.records.writeTask(recordKey(id), task);
  entry.task = task;
  const parentId = parentOf(id);
  const parent = parentId && parts.registry.find(parentId);
  // Without what an earlier answer has said.
  const plain = factsOf(config, name, parent ? (parent.facts ?? true) : undefined);
  const { ports, ownNetwork, networkBandwidth, cpus } = facts;
  const given = {
    ...(ports ? { ports } : {}),
    ...(networkBandwidth === undefined ? {} : { networkBandwidth }),
    ...(cpus === undefined ? {} : { cpus }),
  };
  entry.facts = withTask({ ...withoutBandwidth(plain), ...given, ownNetwork }, task);
  for (const problem of rateLabelsOf(task.labels).bad)
    parts.log.add("warning", name, `${problem}: it is left out, since the task runs already`);
  await parts.judgement.judgeAgain(entry);
}
