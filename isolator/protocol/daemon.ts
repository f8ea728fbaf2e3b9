/** The daemon behind the protocol: an Isolator, in messages. */
import { release } from "node:os";
import { setImmediate as breathe } from "node:timers/promises";
import type { ConfigHolder } from "../config/holder.js";
import type { IsolatorEvent } from "../containers/event-log.js";
import type { Isolator } from "../containers/isolator.js";
import { HeldView } from "../containers/held.js";
import type { ContainerId } from "../containers/names.js";
import { readOverview } from "../containers/overview.js";
import { recordKey } from "../containers/record.js";
import { toResourceStatistics } from "../features/statistics.js";
import { messageOf } from "../errors.js";
import { buildId } from "../kernel/object.js";
import { bpf_isolator, type mesos } from "../mesos/messages.js";
import type { DaemonIdentity, EventOptions, IsolatorService, RecoveredContainer } from "./service.js";
import { isAbout, toEvent } from "./event-views.js";
import { stateOf, toContainerStatus, toRunSummary, toSummary } from "./views.js";
import { toEndpointSource, toService, toServiceTotals } from "./cluster-views.js";
import { toHostDestinations } from "./connection-views.js";

/** Containers of a list that are looked at before other calls have their turn: about 3 ms. */
const AT_ONCE = 50;
/** Endpoints in a record. */
const ENDPOINTS_AT_ONCE = 200;
/** Events in facts(). */
const NEWEST = 10;

export class Daemon implements IsolatorService {
  private readonly started = Date.now() / 1000;
  private agent: bpf_isolator.Call.Handshake | undefined;
  /** Where the operator's server listens, as in "127.0.0.1:5052"; undefined: nowhere. */
  operatorAddress: string | undefined;

  constructor(
    private readonly isolator: Isolator,
    private readonly config: ConfigHolder,
    private readonly identity: DaemonIdentity,
  ) {}

  handshake(agent: bpf_isolator.Call.Handshake): void {
    // An operator's command says who it is too.
    if (agent.mesos_version === undefined) return;
    this.agent = agent;
    const { ip, port } = agent.agent_address ?? {};
    if (ip !== undefined && port !== undefined && port > 0 && port < 65536)
      this.isolator.meetAgent({ ip, port }).catch((error: unknown) => {
        const what = `not all containers know the agent's new address: ${messageOf(error)}`;
        this.isolator.log.add("warning", "", what);
      });
  }

  recover(states: readonly RecoveredContainer[], orphans: readonly ContainerId[]): Promise<void> {
    return this.isolator.recover(states, orphans);
  }

  prepare(
    id: ContainerId,
    config: mesos.slave.ContainerConfig,
  ): Promise<mesos.slave.ContainerLaunchInfo | undefined> {
    return this.isolator.prepare(id, config);
  }

  preparedStatus(id: ContainerId): mesos.ContainerStatus | undefined {
    const status = this.status(id);
    return status.cgroup_info ? status : undefined;
  }

  isolate(id: ContainerId, pid: number): Promise<void> {
    return this.isolator.isolate(id, pid);
  }

  watch(id: ContainerId, signal: AbortSignal): AsyncIterable<mesos.slave.ContainerLimitation> {
    return this.isolator.watch(id, signal);
  }

  update(id: ContainerId, requests: readonly mesos.Resource[]): Promise<void> {
    return this.isolator.update(id, requests);
  }

  usage(id: ContainerId): mesos.ResourceStatistics {
    const now = Date.now() / 1000;
    const container = this.isolator.find(id)?.container;
    return container ? toResourceStatistics(container.counts.statistics(), now) : { timestamp: now };
  }

  status(id: ContainerId): mesos.ContainerStatus {
    const entry = this.isolator.find(id);
    return entry ? toContainerStatus(entry) : {};
  }

  sessionLaunchInfo(id: ContainerId): mesos.slave.ContainerLaunchInfo | undefined {
    return this.isolator.sessionLaunchInfo(id);
  }

  cleanup(id: ContainerId): Promise<void> {
    return this.isolator.cleanup(id);
  }

  async list(): Promise<bpf_isolator.ContainerSummary[]> {
    const now = Date.now() / 1000;
    const entries = this.isolator.list();
    const known = new Set(entries.map(({ id }) => recordKey(id)));
    const others = readOverview(this.isolator.instance, (key) => !known.has(key)).filter(
      ({ record }) => record.source === "run",
    );
    const held = HeldView.read(this.isolator.instance.name, [
      ...entries.flatMap(({ container }) => container ?? []),
      ...others.map(({ record }) => record),
    ]);
    const own: bpf_isolator.ContainerSummary[] = [];
    for (const [index, entry] of entries.entries()) {
      if (index % AT_ONCE === AT_ONCE - 1) await breathe();
      // Gone meanwhile?
      if (this.isolator.named(entry.name) === entry) own.push(toSummary(entry, now, held));
    }
    const runs = others.map(({ record, usage, glass }) => toRunSummary(record, usage, glass, now, held));
    return [...own, ...runs];
  }

  async *events(
    { follow, container }: EventOptions,
    signal: AbortSignal,
  ): AsyncGenerator<bpf_isolator.Event> {
    const { log } = this.isolator;
    const wanted = (event: IsolatorEvent): boolean => !container || isAbout(event, container);
    if (!follow) {
      for (const event of log.recent().filter(wanted)) yield this.toMessage(event);
      return;
    }
    for await (const event of log.follow(signal, wanted)) yield this.toMessage(event);
  }

  async *endpoints(
    className: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<readonly bpf_isolator.Endpoint[]> {
    let some: bpf_isolator.Endpoint[] = [];
    for await (const endpoint of this.isolator.cluster.list()) {
      if (signal.aborted) return;
      if (className !== undefined && !endpoint.classes.some(({ name }) => name === className)) continue;
      some.push(endpoint);
      if (some.length < ENDPOINTS_AT_ONCE) continue;
      yield some;
      some = [];
    }
    if (some.length > 0) yield some;
  }

  async *services(signal: AbortSignal): AsyncGenerator<readonly bpf_isolator.Service[]> {
    let some: bpf_isolator.Service[] = [];
    let backends = 0;
    for (const view of this.isolator.cluster.services.list()) {
      if (signal.aborted) return;
      some.push(toService(view));
      backends += 1 + view.backends.length;
      if (backends < ENDPOINTS_AT_ONCE) continue;
      yield some;
      await breathe();
      some = [];
      backends = 0;
    }
    if (some.length > 0) yield some;
  }

  explain(
    id: ContainerId,
    address: string,
    port: number,
    protocol: "tcp" | "udp",
  ): bpf_isolator.Response.Explain {
    return this.isolator.explain(id, address, port, protocol);
  }

  private toMessage(event: IsolatorEvent): bpf_isolator.Event {
    return toEvent(event, (name) => this.isolator.named(name)?.id);
  }

  private selfCheck(): Pick<bpf_isolator.DaemonStatus, "self_check"> {
    const { at, checked, repaired, failures } = this.isolator.health;
    if (at === undefined) return {};
    return {
      self_check: {
        ...{ time: at / 1000, containers: checked, repaired: BigInt(repaired) },
        failures: [...failures].map(([container, message]) => ({ container, message })),
      },
    };
  }

  facts(): bpf_isolator.DaemonStatus {
    const states = new Map<string, bigint>();
    for (const entry of this.isolator.list()) {
      const name = bpf_isolator.ContainerSummary.State[stateOf(entry)].toLowerCase();
      states.set(name, (states.get(name) ?? 0n) + 1n);
    }
    const { errors, file, readAt } = this.config;
    const glass = this.isolator.instance.glass;
    const { cluster } = this.isolator;
    return {
      version: this.identity.version,
      instance: this.identity.instance,
      pid: process.pid,
      started_at: this.started,
      containers: [...states].map(([name, count]) => ({ name, count })),
      memory_bytes: BigInt(process.memoryUsage.rss()),
      ...(this.agent ? { agent: this.agent } : {}),
      ...(this.operatorAddress === undefined ? {} : { operator_address: this.operatorAddress }),
      ...(file === undefined ? {} : { config_file: file }),
      ...(errors.length > 0 ? { config_error: errors.join("\n") } : {}),
      config_read_at: readAt.getTime() / 1000,
      events: this.isolator.log
        .recent()
        .slice(-NEWEST)
        .map((event) => this.toMessage(event)),
      kernel: release(),
      programs: buildId(),
      ...(glass ? { break_glass: glass } : {}),
      ...this.selfCheck(),
      destinations: toHostDestinations(this.isolator.hostShare.destinations()),
      endpoint_sources: cluster.status().map(toEndpointSource),
      services: toServiceTotals(cluster.services),
      ...(cluster.problem === undefined ? {} : { endpoints_error: cluster.problem }),
    };
  }
}
