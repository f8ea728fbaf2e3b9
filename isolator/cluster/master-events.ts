/**
 * Events out of a master's records. A first state may be of 100,000 tasks: its agents and tasks are decoded one by one as
 * they are asked for, so that whoever takes them in can let others have their turn.
 */
import type { MasterEncoding } from "../config/endpoints.js";
import { codecs, mesos, type MessageCodec } from "../mesos/messages.js";
import { takeOut } from "../mesos/split.js";

type Event = mesos.v1.master.Event;
type Task = mesos.v1.master.Task;
type Agent = mesos.v1.master.Agent;

/** Bytes of a record that is decoded in one go: about a millisecond. */
const AT_ONCE = 32_768;
/** Numbers of the fields from an Event down to its lists (proto/mesos/master/master.proto). */
const TASKS = [2, 1, 1, 2] as const;
const AGENTS = [2, 1, 4, 1] as const;

/** All that a master says at first. Iterating throws bad-message where a part is none. */
export interface FirstState {
  agents: Iterable<Agent>;
  tasks: Iterable<Task>;
  recovered: readonly mesos.v1.master.AgentInfo[];
  frameworks: readonly mesos.v1.master.FrameworkInfo[];
  heartbeat?: number;
}

function* decodeAll<T extends object>(codec: MessageCodec<T>, items: readonly Buffer[]): Generator<T> {
  for (const item of items) yield codec.decode(item);
}

function* convertAll<T extends object>(codec: MessageCodec<T>, items: readonly unknown[]): Generator<T> {
  for (const item of items) yield codec.fromJson(item);
}

function firstState(event: Event, agents?: Iterable<Agent>, tasks?: Iterable<Task>): FirstState {
  const { get_state, heartbeat_interval_seconds: heartbeat } = event.subscribed ?? {};
  const { get_frameworks, get_agents, get_tasks } = get_state ?? {};
  return {
    agents: agents ?? get_agents?.agents ?? [],
    tasks: tasks ?? get_tasks?.tasks ?? [],
    recovered: get_agents?.recovered_agents ?? [],
    frameworks: [
      ...(get_frameworks?.frameworks ?? []).map(({ framework_info }) => framework_info),
      ...(get_frameworks?.recovered_frameworks ?? []),
    ],
    ...(heartbeat === undefined ? {} : { heartbeat }),
  };
}

/** The list at a place in what JSON.parse() gave, taken out of it. */
function takeList(value: unknown, path: readonly string[]): unknown[] {
  let at = value;
  for (const [i, name] of path.entries()) {
    if (typeof at !== "object" || at === null) return [];
    const holder = at as Record<string, unknown>;
    const next = holder[name];
    if (i < path.length - 1) {
      at = next;
      continue;
    }
    if (!Array.isArray(next)) return [];
    holder[name] = [];
    return next;
  }
  return [];
}

/** @throws bad-message */
export function readRecord(record: Buffer, encoding: MasterEncoding): Event | { first: FirstState } {
  const { MasterEvent, MasterTask, MasterAgent } = codecs;
  const whole = (event: Event): Event | { first: FirstState } =>
    event.type === mesos.v1.master.Event.Type.SUBSCRIBED ? { first: firstState(event) } : event;
  if (encoding === "json") {
    if (record.length < AT_ONCE) return whole(MasterEvent.parseJson(record.toString()));
    // The parser itself is fast, and cannot be interrupted.
    const value = MasterEvent.parse(record.toString());
    const tasks = takeList(value, ["subscribed", "get_state", "get_tasks", "tasks"]);
    const agents = takeList(value, ["subscribed", "get_state", "get_agents", "agents"]);
    const event = MasterEvent.fromJson(value);
    if (event.type !== mesos.v1.master.Event.Type.SUBSCRIBED) return event;
    return { first: firstState(event, convertAll(MasterAgent, agents), convertAll(MasterTask, tasks)) };
  }
  if (record.length < AT_ONCE) return whole(MasterEvent.decode(record));
  const { rest, items: tasks } = takeOut(record, TASKS);
  const { rest: head, items: agents } = takeOut(rest, AGENTS);
  const event = MasterEvent.decode(head);
  if (event.type !== mesos.v1.master.Event.Type.SUBSCRIBED) return event;
  return { first: firstState(event, decodeAll(MasterAgent, agents), decodeAll(MasterTask, tasks)) };
}
