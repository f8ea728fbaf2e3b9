/** A source that asks a master of the test's own, and what such a master says. */
import { after } from "node:test";
import { MasterSource } from "../../isolator/cluster/master.js";
import { ClaimMap, type Claim, type Classifier, type SourceSink } from "../../isolator/cluster/source.js";
import { classesOf, type ContainerClass } from "../../isolator/config/classes.js";
import type { MasterConfig } from "../../isolator/config/endpoints.js";
import { formatClasses } from "../../isolator/features/classes.js";
import { formatPlace, keyOf, placeOf, type PlaceKey } from "../../isolator/features/endpoints.js";
import { mesos } from "../../isolator/mesos/messages.js";
import { eventRecord, TestMaster, type MasterEvent } from "./master.js";
import { until } from "./wait.js";

export const { Type } = mesos.v1.master.Event;
export const { TaskState } = mesos.v1.master;
export const LABELED: ContainerClass = { name: "net", match: { role: "*", labels: [["team", "net"]] } };
export const ANY: ContainerClass = { name: "any", match: { role: "*", labels: [] } };
export const WEB: ContainerClass = { name: "web", match: { appId: "/web", labels: [] } };
const CLASSES = [LABELED, WEB, ANY];

export function classifier(classes: readonly ContainerClass[]): Classifier {
  return {
    names: new Set(classes.map(({ name }) => name)),
    classesOf: (facts) => classesOf(classes, facts, []),
  };
}

/** What a source has told, as a directory would have it. */
export class Told implements SourceSink {
  claims = new ClaimMap();
  readonly warnings: string[] = [];
  known: ReadonlyMap<string, string> = new Map();
  replaced = 0;

  replace(claims: ClaimMap): void {
    this.claims = claims;
    this.replaced++;
  }
  add(key: PlaceKey, claim: Claim): void {
    this.claims.add(key, claim);
  }
  remove(key: PlaceKey, task: string): void {
    this.claims.remove(key, task);
  }
  principals(principals: ReadonlyMap<string, string>): void {
    this.known = new Map(principals);
  }
  warn(message: string): void {
    this.warnings.push(message);
  }

  /** "127.0.0.1:31001 any (t1)", sorted. */
  get list(): string[] {
    return [...this.claims.keys()]
      .map((key) => {
        const claim = this.claims.get(key);
        return `${formatPlace(placeOf(key))} ${formatClasses(claim?.classes)} (${claim?.task.split("/")[1] ?? ""})`;
      })
      .sort();
  }
}

const sources: MasterSource[] = [];
after(() => {
  for (const source of sources) source.stop();
});

const QUICK = { pauses: { first: 5, longest: 20 }, timeout: 2000 };

export function subscribe(
  config: Partial<MasterConfig> & { urls: string[] },
  classes: readonly ContainerClass[] = CLASSES,
): { source: MasterSource; told: Told } {
  const source = new MasterSource({ encoding: "protobuf", ...config }, classifier(classes), QUICK);
  const told = new Told();
  sources.push(source);
  source.start(told);
  return { source, told };
}

export const FRAMEWORK = { value: "fw" };
/** A place of nobody else's. */
const MARK = keyOf({ address: "203.0.113.1", port: 1 });

export function agent(id: string, ip: string, more: object = {}): mesos.v1.master.Agent {
  return {
    agent_info: { hostname: `${id}.example`, id: { value: id }, ...more },
    pid: `slave(1)@${ip}:5051`,
  };
}

export function ports(...ranges: [number, number][]): mesos.Resource[] {
  return ranges.map(([begin, end]) => ({
    name: "ports",
    type: mesos.Value.Type.RANGES,
    ranges: { range: [{ begin: BigInt(begin), end: BigInt(end) }] },
    allocation_info: { role: "*" },
  }));
}

export function task(id: string, on: string, more: Partial<mesos.v1.master.Task> = {}): mesos.v1.master.Task {
  return {
    task_id: { value: id },
    framework_id: FRAMEWORK,
    agent_id: { value: on },
    state: TaskState.TASK_RUNNING,
    resources: ports([31000, 31001]),
    ...more,
  };
}

export function snapshot(
  agents: readonly mesos.v1.master.Agent[],
  tasks: readonly mesos.v1.master.Task[],
  recovered: readonly mesos.v1.master.AgentInfo[] = [],
): MasterEvent {
  return {
    type: Type.SUBSCRIBED,
    subscribed: {
      get_state: { get_agents: { agents, recovered_agents: recovered }, get_tasks: { tasks } },
      heartbeat_interval_seconds: 15,
    },
  };
}

export function updated(
  id: string,
  state: mesos.v1.master.TaskState,
  container?: mesos.ContainerStatus,
): MasterEvent {
  return {
    type: Type.TASK_UPDATED,
    task_updated: {
      framework_id: FRAMEWORK,
      status: { task_id: { value: id }, ...(container ? { container_status: container } : {}) },
      state,
    },
  };
}

export const added = (message: mesos.v1.master.Task): MasterEvent => ({
  type: Type.TASK_ADDED,
  task_added: { task: message },
});

/** A source with one stream, in which every task of role "*" is in a class, and what writes events on it. */
export async function streamed(classes?: readonly ContainerClass[], more: Partial<MasterConfig> = {}) {
  const master = await TestMaster.start();
  const made = subscribe({ urls: [master.url], ...more }, classes);
  const { response } = await master.next();
  let sent = 0;
  return {
    ...made,
    master,
    response,
    /** Resolves when the events have been taken in. */
    send: async (...events: MasterEvent[]): Promise<void> => {
      for (const event of events) response.write(eventRecord(event));
      // A task of a framework of its own says that all before it has been read.
      const marker = `marker${sent++}`;
      const mark = {
        ...task(marker, "marks", { resources: ports([1, 1]) }),
        framework_id: { value: marker },
      };
      response.write(
        eventRecord({ type: Type.AGENT_ADDED, agent_added: { agent: agent("marks", "203.0.113.1") } }),
      );
      response.write(eventRecord(added(mark)));
      await until(() => made.told.claims.get(MARK)?.task === `${marker}/${marker}`, "events are taken in");
      response.write(
        eventRecord({
          type: Type.FRAMEWORK_REMOVED,
          framework_removed: { framework_info: { id: { value: marker } } },
        }),
      );
      await until(() => !made.told.claims.get(MARK), "the mark is gone");
    },
  };
}
