/**
 * What a master has told: agents, tasks, and so endpoints. Every event is taken in at once; a new first state (SUBSCRIBED)
 * is taken in piece by piece and takes the place of all that was, but for agents that the master itself is still waiting for after a failover.
 */
import type { Membership } from "../features/classes.js";
import type { PlaceKey } from "../features/endpoints.js";
import { mesos } from "../mesos/messages.js";
import type { FirstState } from "./master-events.js";
import { eachInTurn } from "./turns.js";
import { ClaimMap, type Classifier, type SourceSink } from "./source.js";
import { Ignored } from "./ignored.js";
import {
  addressesOf,
  claimsOf,
  drains,
  hasEnded,
  isRunning,
  knowAgent,
  knowTask,
  placesOf,
  taskKey,
  type KnownAgent,
  type KnownTask,
} from "./task-endpoints.js";

type Event = mesos.v1.master.Event;
const { Type } = mesos.v1.master.Event;

/** ms that tasks of an agent are kept after it came back to a new master, which tells of them right after. */
const SETTLE = 10_000;
/** ms that an agent is waited for which a new master knows of and has not heard of: the master's own is 10 minutes. */
const PATIENCE = 15 * 60_000;

function keyOfBytes(address: Uint8Array): string {
  return Buffer.from(address).toString("latin1");
}

export class MasterState {
  readonly ignored = new Ignored();
  private agents = new Map<string, KnownAgent>();
  private agentAddresses = new Set<string>();
  private tasks = new Map<string, KnownTask>();
  private byAgent = new Map<string, Set<string>>();
  /** Places that each task was said to have. */
  private places = new Map<string, readonly PlaceKey[]>();
  /** Agents whose tasks are those of an earlier first state, until when (ms of the monotonic clock). */
  private readonly waitedFor = new Map<string, number>();
  /** Tasks that only an earlier first state had. */
  private readonly kept = new Set<string>();
  /** Of frameworks that have one, by framework id. */
  private principals = new Map<string, string>();
  private sink: SourceSink | undefined;
  /** While a first state is taken in, nothing is told one by one. */
  private quiet = false;

  /**
   * @param attribute of agents (knowAgent())
   * @param now ms, of a clock that never jumps
   */
  constructor(
    private classifier: Classifier,
    private readonly attribute: string | undefined,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Who is told what changes. */
  tell(sink: SourceSink): void {
    this.sink = sink;
  }

  get taskCount(): number {
    return this.tasks.size;
  }

  /** @param known whether there was a first state: without one there is nothing to tell anew */
  async reclassify(classifier: Classifier, known: boolean): Promise<void> {
    this.classifier = classifier;
    if (known) this.sink?.replace(await this.allClaims());
  }

  /** Takes an event in. */
  handle(event: Event): void {
    this.expire();
    switch (event.type) {
      case Type.TASK_ADDED:
        if (event.task_added) this.addTask(event.task_added.task);
        break;
      case Type.TASK_UPDATED:
        if (event.task_updated) this.updateTask(event.task_updated);
        break;
      case Type.AGENT_ADDED:
        if (event.agent_added) this.addAgent(event.agent_added.agent);
        break;
      case Type.AGENT_REMOVED:
        if (event.agent_removed) this.removeAgent(event.agent_removed.agent_id.value);
        break;
      case Type.FRAMEWORK_ADDED:
        if (event.framework_added) this.setFramework(event.framework_added.framework.framework_info);
        break;
      case Type.FRAMEWORK_UPDATED:
        if (event.framework_updated) this.setFramework(event.framework_updated.framework.framework_info);
        break;
      case Type.FRAMEWORK_REMOVED:
        this.removeFramework(event.framework_removed?.framework_info.id?.value);
        break;
    }
  }

  private async allClaims(): Promise<ClaimMap> {
    const claims = new ClaimMap();
    this.places.clear();
    await eachInTurn(this.tasks.values(), (task) => {
      const classes = this.classesOf(task);
      const places = classes.length > 0 ? this.placesOf(task) : [];
      for (const key of places) claims.add(key, { classes, task: task.key });
      if (places.length > 0) this.places.set(task.key, places);
    });
    return claims;
  }

  private placesOf(task: KnownTask): PlaceKey[] {
    return placesOf(
      task,
      this.agents.get(task.agent),
      (address) => this.agentAddresses.has(keyOfBytes(address)),
      this.ignored,
    );
  }

  /** A first state, in pieces: what was known holds until all of it is here. To be waited for before anything else. */
  async begin({ agents, tasks, recovered, frameworks }: FirstState): Promise<void> {
    const read = { agents: [] as mesos.v1.master.Agent[], tasks: [] as KnownTask[] };
    await eachInTurn(agents, (agent) => read.agents.push(agent));
    await eachInTurn(tasks, (message) => {
      const task = hasEnded(message.state) ? undefined : knowTask(message, this.ignored);
      if (task) read.tasks.push(task);
    });
    const before = { tasks: this.tasks, byAgent: this.byAgent, agents: this.agents };
    this.tasks = new Map();
    this.byAgent = new Map();
    this.agents = new Map();
    this.agentAddresses = new Set();
    this.places = new Map();
    this.waitedFor.clear();
    this.kept.clear();
    this.quiet = true;
    const principals = new Map<string, string>();
    for (const { id, principal } of frameworks) if (id && principal) principals.set(id.value, principal);
    this.principals = principals;
    await eachInTurn(read.agents, (agent) => {
      this.addAgent(agent);
    });
    await eachInTurn(read.tasks, (task) => {
      this.keepTask(task);
    });
    for (const info of recovered) {
      const id = info.id?.value ?? "";
      if (this.agents.has(id)) continue;
      this.setAgent(id, before.agents.get(id) ?? knowAgent(info, undefined, this.attribute));
      for (const key of before.byAgent.get(id) ?? []) {
        const task = before.tasks.get(key);
        if (!task || this.tasks.has(key)) continue;
        this.keepTask(task);
        this.kept.add(key);
      }
      this.waitedFor.set(id, this.now() + PATIENCE);
    }
    this.quiet = false;
    this.sink?.principals(this.principals);
    this.sink?.replace(await this.allClaims());
    const vips = [...this.tasks.values()].flatMap((task) => {
      const claims = claimsOf(task, this.agents.get(task.agent));
      return claims ? [[task.key, claims] as const] : [];
    });
    this.sink?.replaceVips?.(new Map(vips));
  }

  /** Its tasks are in other classes by another principal. */
  private setFramework({ id, principal = "" }: mesos.v1.master.FrameworkInfo): void {
    if (!id || (this.principals.get(id.value) ?? "") === principal) return;
    if (principal === "") this.principals.delete(id.value);
    else this.principals.set(id.value, principal);
    this.sink?.principals(this.principals);
    for (const task of this.tasks.values()) if (task.framework === id.value) this.show(task);
  }

  private classesOf({ facts, framework }: KnownTask): readonly Membership[] {
    const principal = this.principals.get(framework);
    return this.classifier.classesOf(principal === undefined ? facts : { ...facts, principal });
  }

  private keepTask(task: KnownTask): void {
    this.tasks.set(task.key, task);
    const here = this.byAgent.get(task.agent) ?? new Set();
    this.byAgent.set(task.agent, here.add(task.key));
  }

  private addTask(message: mesos.v1.master.Task): void {
    if (hasEnded(message.state)) return;
    const task = knowTask(message, this.ignored);
    if (!task) return;
    this.kept.delete(task.key);
    const before = this.tasks.get(task.key);
    if (before && before.agent !== task.agent) this.byAgent.get(before.agent)?.delete(task.key);
    this.keepTask(task);
    this.show(task);
  }

  private updateTask({ framework_id, status, state }: mesos.v1.master.Event.TaskUpdated): void {
    const key = taskKey(framework_id.value, status.task_id?.value ?? "");
    const task = this.tasks.get(key);
    if (!task) return;
    this.kept.delete(key);
    if (hasEnded(state)) {
      this.removeTask(task);
      return;
    }
    const addresses = task.facts.ownNetwork ? addressesOf(status.container_status) : [];
    const next: KnownTask = {
      ...task,
      running: isRunning(state),
      draining: drains(state, status.healthy),
      // A status that tells of no network takes none away.
      addresses: addresses.length > 0 ? addresses : task.addresses,
    };
    this.tasks.set(key, next);
    this.show(next);
  }

  private removeTask(task: KnownTask): void {
    this.tasks.delete(task.key);
    this.kept.delete(task.key);
    this.byAgent.get(task.agent)?.delete(task.key);
    this.showAs(task, []);
    if (task.vips.length > 0) this.sink?.vips?.(task.key, undefined);
  }

  private setAgent(id: string, agent: KnownAgent): void {
    this.agents.set(id, agent);
    for (const address of agent.addresses) this.agentAddresses.add(keyOfBytes(address));
  }

  private addAgent({ agent_info, pid }: mesos.v1.master.Agent): void {
    const id = agent_info.id?.value;
    if (id === undefined) return;
    this.setAgent(id, knowAgent(agent_info, pid, this.attribute));
    // Its tasks follow: those that do not are gone.
    if (this.waitedFor.has(id)) this.waitedFor.set(id, this.now() + SETTLE);
    for (const key of this.byAgent.get(id) ?? []) {
      const task = this.tasks.get(key);
      if (task) this.show(task);
    }
  }

  private removeAgent(id: string): void {
    for (const key of [...(this.byAgent.get(id) ?? [])]) {
      const task = this.tasks.get(key);
      if (task) this.removeTask(task);
    }
    this.byAgent.delete(id);
    this.waitedFor.delete(id);
    this.agents.delete(id);
    this.agentAddresses = new Set(
      [...this.agents.values()].flatMap(({ addresses }) => addresses.map(keyOfBytes)),
    );
  }

  private removeFramework(id: string | undefined): void {
    for (const task of [...this.tasks.values()]) if (task.framework === id) this.removeTask(task);
    if (id !== undefined && this.principals.delete(id)) this.sink?.principals(this.principals);
  }

  /** Agents that were waited for long enough: what is not told anew of them is gone. */
  private expire(): void {
    if (this.waitedFor.size === 0) return;
    const now = this.now();
    for (const [id, until] of this.waitedFor) {
      if (now < until) continue;
      this.waitedFor.delete(id);
      for (const key of [...(this.byAgent.get(id) ?? [])]) {
        const task = this.tasks.get(key);
        if (task && this.kept.has(key)) this.removeTask(task);
      }
    }
  }

  private show(task: KnownTask): void {
    this.showAs(task, this.placesOf(task));
    if (!this.quiet && task.vips.length > 0)
      this.sink?.vips?.(task.key, claimsOf(task, this.agents.get(task.agent)));
  }

  private showAs(task: KnownTask, wanted: readonly PlaceKey[]): void {
    if (this.quiet) return;
    const before = this.places.get(task.key) ?? [];
    const classes = wanted.length > 0 ? this.classesOf(task) : [];
    const places = classes.length > 0 ? wanted : [];
    const kept = new Set(places);
    for (const key of before) if (!kept.has(key)) this.sink?.remove(key, task.key);
    for (const key of places) this.sink?.add(key, { classes, task: task.key });
    if (places.length > 0) this.places.set(task.key, places);
    else this.places.delete(task.key);
  }
}
