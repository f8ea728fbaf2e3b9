/** The record of a container: what is in it, its key, and whether one that was read is whole. records.ts keeps it on disk. */
import type { TaskFacts } from "../config/facts.js";
import { addUsages, loadUsage, type SavedUsage, type Usage } from "../features/accounting.js";
import { isPolicy, type Policy } from "../features/policy.js";
import { directoryName, type ContainerId } from "./names.js";

/** Of the files' format. A newer one is not touched by an older program. */
export const RECORD_VERSION = 2;
/** Stands between the names of a nested container's directory; no name has it. */
const SEPARATOR = ":";
/** Names as directoryName() makes them. */
const KEY = /^[\w-][\w.~-]*(:[\w-][\w.~-]*)*$/;

/** Who made a container, and so who may end it: a process of `run`, or the agent, through the daemon. */
export type Source = "run" | "agent";

/**
 * How far an agent's container is. preparing: not whole yet, to be undone; prepared: waits for its process; isolated: had
 * one; cleaning: on its way out.
 */
export type Stage = "preparing" | "prepared" | "isolated" | "cleaning";

export interface ContainerRecord {
  version: typeof RECORD_VERSION;
  id: ContainerId;
  source: Source;
  stage: Stage;
  /** Path of the cgroup node. */
  cgroup: string;
  /** It was launched without CAP_NET_RAW, which stands in for hooks that the kernel does not have. */
  withoutNetRaw?: true;
  /** The node is the agent's: this program neither made it nor removes it. */
  agentNode?: true;
  /** cgroup ids from the root container down to this one, decimal. */
  chain: string[];
  policy: Policy;
  /** Build of the programs that are attached to it (buildId()), and its layouts' name (layoutId()). */
  build: string;
  layout: string;
  /** Process that looks after it. */
  pid: number;
  /** Seconds since the epoch. */
  started: number;
  /** Why the agent is to end it, once that is so: a daemon that comes after this one says it again. */
  limited?: string;
  /** Builds whose programs may be attached too, since a daemon ended while it replaced them by those of `build`. */
  replacing?: string[];
  /** What other maps than those of `build` have counted, by the kernel's id of the map: it never counts there again. */
  carried?: Record<string, SavedUsage>;
}

/** Builds whose programs may be on a container: their pins are needed. */
export function buildsOf({ build, replacing = [] }: ContainerRecord): string[] {
  return [build, ...replacing];
}

/**
 * All that was counted of a container.
 * @param counters id of the map that counts now
 * @param now what that one says
 */
export function totalUsage({ carried = {} }: ContainerRecord, counters: number, now: Usage): Usage {
  return Object.entries(carried)
    .filter(([id]) => id !== `${counters}`)
    .reduce((total, [, saved]) => addUsages(total, loadUsage(saved)), now);
}

/** The key of a container's record. */
export function recordKey(id: ContainerId): string {
  return id.map(directoryName).join(SEPARATOR);
}

/** Whether a file may be a record: whatever else is there is none, and names no node. */
export function isRecordKey(name: string): boolean {
  return KEY.test(name);
}

/** The node's path below the instance's root. */
export function nodeNames(key: string): string[] {
  return key.split(SEPARATOR);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Whether a newer version of this program has written it. */
export function isNewer(value: unknown): boolean {
  const version = isObject(value) && "version" in value ? value.version : 0;
  return typeof version === "number" && version > RECORD_VERSION;
}

const STAGES: readonly unknown[] = ["preparing", "prepared", "isolated", "cleaning"] satisfies Stage[];

/** Whether it has all that whoever reads it relies on: a damaged one must not stop a daemon. */
export function isRecord(value: unknown): value is ContainerRecord {
  if (!isObject(value)) return false;
  const record = value as Partial<Record<keyof ContainerRecord, unknown>>;
  const isText = (item: unknown): boolean => typeof item === "string" && item !== "";
  const isList = (list: unknown): list is unknown[] => Array.isArray(list) && list.every(isText);
  return (
    record.version === RECORD_VERSION &&
    isList(record.id) &&
    isList(record.chain) &&
    record.id.length > 0 &&
    record.id.length === record.chain.length &&
    record.chain.every((id) => /^\d{1,20}$/.test(String(id))) &&
    (record.source === "run" || record.source === "agent") &&
    STAGES.includes(record.stage) &&
    [record.cgroup, record.build, record.layout].every(isText) &&
    [record.pid, record.started].every((number) => typeof number === "number") &&
    isPolicy(record.policy) &&
    (record.withoutNetRaw === undefined || record.withoutNetRaw === true) &&
    (record.agentNode === undefined || record.agentNode === true) &&
    (record.limited === undefined || isText(record.limited)) &&
    (record.replacing === undefined || isList(record.replacing)) &&
    (record.carried === undefined || isObject(record.carried))
  );
}

export function isTask(value: unknown): value is TaskFacts {
  if (!isObject(value)) return false;
  const { labels, appId } = value as Partial<Record<keyof TaskFacts, unknown>>;
  const isText = (item: unknown): boolean => typeof item === "string";
  return (
    Array.isArray(labels) &&
    labels.every((label) => Array.isArray(label) && label.length === 2 && label.every(isText)) &&
    (appId === undefined || isText(appId))
  );
}
