/** What only the agent's API tells of the tasks in a container: their labels. */
import {
  factsOf,
  rateLabelsOf,
  tasksAreUntold,
  withoutBandwidth,
  withTask,
  type TaskFacts,
} from "../../config/facts.js";
import { pacing } from "../background.js";
import { recordKey } from "../record.js";
import { parentOf, type Entry } from "../registry.js";
import type { Parts } from "./parts.js";

/** Names of containers whose tasks it can tell of, and has not. */
export async function untold({ registry, judgement }: Parts): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const rest = pacing(() => judgement.isEnding);
  for (const entry of registry.list()) {
    const due = rest();
    if (due) await due;
    if (isUntold(entry)) names.add(entry.name);
  }
  return names;
}

function isUntold(entry: Entry): boolean {
  const { id, container, cleaning } = entry;
  if (!container || cleaning) return false;
  // Of one that was taken up they may have to be read.
  const { config, task, taskOldSince } = entry;
  return (
    config !== undefined && tasksAreUntold(config, id.length > 1) && (!task || taskOldSince !== undefined)
  );
}

/** It has told. @param asked when; ms of a clock that only goes forward @throws state-failed */
export async function learnTask(parts: Parts, entry: Entry, task: TaskFacts, asked: number): Promise<void> {
  const { facts, config, task: before, name, id } = entry;
  if (entry.cleaning || !facts || !config) return;
  // It may be the one before that.
  if (entry.taskOldSince !== undefined && entry.taskOldSince >= asked) return;
  entry.taskOldSince = undefined;
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
