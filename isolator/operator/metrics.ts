/** GET /metrics: what Prometheus scrapes. Other parts of the daemon add to the registry. */
import { setImmediate as breathe } from "node:timers/promises";
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { BackendView, ServiceView } from "../cluster/services.js";
import type { Container } from "../containers/container.js";
import type { Isolator } from "../containers/isolator.js";
import type { Entry } from "../containers/registry.js";
import { REASONS } from "../features/accounting.js";
import { ruleName } from "../features/egress.js";
import type { HeldConnections } from "../features/connections.js";
import { liveConnections, type ContainerStatistics } from "../features/statistics.js";
import { formatEnd, formatPort } from "../features/services.js";
import { bpf_isolator } from "../mesos/messages.js";
import { stateOf } from "../protocol/views.js";
import { BandwidthMetrics } from "./bandwidth.js";

/** Containers that are looked at before other calls have their turn: their labels cost more than their counts. */
const AT_ONCE = 20;
/** ms between two looks at how late the event loop is. */
const LOOP_PRECISION = 100;
/** Backends of a service that are told one by one. */
const MAX_BACKENDS = 1000;
/** Characters of a label's value that a framework chooses. */
const MAX_LABEL = 256;

const LABELS = ["container", "framework_id", "executor_id"] as const;
type Labels = Record<(typeof LABELS)[number], string>;
type Read = (statistics: ContainerStatistics) => bigint | number | undefined;

/** What only grows. */
const COUNTERS: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  receive_bytes_total: ["Bytes received, IP headers included.", ({ usage }) => usage.rxBytes],
  receive_packets_total: ["Packets received.", ({ usage }) => usage.rxPackets],
  receive_dropped_total: ["Packets dropped on their way in.", ({ usage }) => usage.rxDropped],
  transmit_bytes_total: ["Bytes sent, IP headers included.", ({ usage }) => usage.txBytes],
  transmit_packets_total: ["Packets sent.", ({ usage }) => usage.txPackets],
  transmit_dropped_total: ["Packets dropped on their way out.", ({ usage }) => usage.txDropped],
  tcp_active_opens_total: ["TCP connections asked for.", ({ usage }) => usage.tcpActiveOpens],
  tcp_passive_opens_total: ["TCP connections accepted.", ({ usage }) => usage.tcpPassiveOpens],
  tcp_retransmitted_segments_total: ["TCP segments sent again.", ({ usage }) => usage.tcpRetransSegs],
  events_lost_total: ["Events that nobody could be told of.", ({ usage }) => usage.eventsLost],
};

const GAUGES: typeof COUNTERS = {
  tcp_connections: ["TCP connections now.", ({ usage }) => liveConnections(usage)],
  tcp_time_wait_connections: [
    "TCP sockets in timewait, FIN-WAIT-2 without a process included.",
    ({ sockets }) => sockets?.timewait,
  ],
};

/** Of containers whose connections are counted. */
const HELD: Readonly<Record<string, readonly [help: string, read: (held: HeldConnections) => number]>> = {
  connections_held: ["Connections held, timewait included.", ({ held }) => held],
  connections_shared: ["Of these, to destinations without a count of their own.", ({ shared }) => shared],
  connections_ports: ["Ports held that the kernel chose, where they are limited.", ({ ports }) => ports],
};

function labelsOf({ name, config }: Entry): Labels {
  return {
    container: name,
    framework_id: config?.executor_info?.framework_id?.value.slice(0, MAX_LABEL) ?? "",
    executor_id: config?.executor_info?.executor_id.value.slice(0, MAX_LABEL) ?? "",
  };
}

export class Metrics {
  readonly registry = new Registry();
  private readonly counters = new Map<Counter, Read>();
  private readonly gauges = new Map<Gauge, Read>();
  private readonly held = new Map<Gauge, (held: HeldConnections) => number>();
  private readonly states: Gauge;
  private readonly sourceAge: Gauge;
  private readonly sourceEndpoints: Gauge;
  private readonly denied: Counter;
  private readonly audited: Counter;
  private readonly bandwidth: BandwidthMetrics;
  private readonly hostBandwidth: BandwidthMetrics;
  private readonly egress: Counter;
  /** As they are at this scrape. */
  private services: readonly ServiceView[] = [];
  /** One at a time: each fills the metrics anew. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly isolator: Isolator,
    identity: { version: string; instance: string },
  ) {
    const { registry } = this;
    const registers = [registry];
    const prefix = "bpf_isolator_";
    collectDefaultMetrics({ register: registry, prefix, eventLoopMonitoringPrecision: LOOP_PRECISION });
    new Gauge({
      ...{ name: `${prefix}info`, help: "Version and instance of this daemon: always 1." },
      ...{ labelNames: ["version", "instance"], registers },
    }).set(identity, 1);
    const states = { name: `${prefix}containers`, help: "Containers of the agent, by state." };
    this.states = new Gauge({ ...states, labelNames: ["state"], registers });
    const source = { labelNames: ["source"], registers };
    this.sourceAge = new Gauge({
      ...{
        name: `${prefix}endpoint_source_age_seconds`,
        help: "Since a source of endpoints last said anything.",
      },
      ...source,
    });
    this.sourceEndpoints = new Gauge({
      ...{ name: `${prefix}endpoints`, help: "Places in the cluster that a source of endpoints names." },
      ...source,
    });
    this.addSelfCheck(prefix);
    this.addServices(prefix);
    const named = (name: string, help: string) => ({ name: `${prefix}container_${name}`, help, registers });
    for (const [name, [help, read]] of Object.entries(COUNTERS))
      this.counters.set(new Counter({ ...named(name, help), labelNames: [...LABELS] }), read);
    for (const [name, [help, read]] of Object.entries(GAUGES))
      this.gauges.set(new Gauge({ ...named(name, help), labelNames: [...LABELS] }), read);
    this.bandwidth = new BandwidthMetrics(registry, `${prefix}container_`, LABELS);
    this.hostBandwidth = new BandwidthMetrics(registry, `${prefix}host_`, []);
    for (const [name, [help, read]] of Object.entries(HELD))
      this.held.set(new Gauge({ ...named(name, help), labelNames: [...LABELS] }), read);
    const labelNames = [...LABELS, "reason"];
    this.denied = new Counter({ ...named("denied_total", "What was refused."), labelNames });
    this.audited = new Counter({ ...named("audited_total", "What would have been refused."), labelNames });
    this.egress = new Counter({
      ...named("egress_total", "What rules of egress have refused (denied) and reported (audited)."),
      labelNames: [...LABELS, "rule", "action"],
    });
  }

  /** The text, and its content type. */
  text(): Promise<{ type: string; text: string }> {
    const result = this.last.then(async () => {
      await this.fill();
      return { type: this.registry.contentType, text: await this.write() };
    });
    this.last = result.catch(() => undefined);
    return result;
  }

  /** What Registry.metrics() gives, one metric at a time: of 1,000 containers it would keep the event loop for 40 ms. */
  private async write(): Promise<string> {
    const texts: string[] = [];
    for (const { name } of this.registry.getMetricsAsArray()) {
      texts.push(await this.registry.getSingleMetricAsString(name));
      await breathe();
    }
    return `${texts.join("\n\n")}\n`;
  }

  /** What the daemon's look at itself has found (containers/self-check.ts). */
  private addSelfCheck(prefix: string): void {
    const health = () => this.isolator.health;
    const registers = [this.registry];
    new Gauge({
      ...{
        name: `${prefix}self_check_failures`,
        help: "Containers that the daemon could not put right.",
        registers,
      },
      collect() {
        this.set(health().failures.size);
      },
    });
    new Counter({
      ...{ name: `${prefix}self_check_repaired_total`, help: "Containers that it has put right.", registers },
      collect() {
        this.reset();
        this.inc(health().repaired);
      },
    });
    new Gauge({
      ...{
        name: `${prefix}self_check_timestamp_seconds`,
        help: "When it last looked at all; 0: not yet.",
        registers,
      },
      collect() {
        this.set((health().at ?? 0) / 1000);
      },
    });
  }

  /** Of services and their backends, over all containers. */
  private addServices(prefix: string): void {
    const views = () => this.services;
    const registers = [this.registry];
    const add = (
      kind: typeof Counter | typeof Gauge,
      name: string,
      help: string,
      read: (view: BackendView) => bigint | number,
    ): void => {
      new kind({
        ...{ name: `${prefix}service_${name}`, help, registers, labelNames: ["service", "backend"] },
        collect() {
          this.reset();
          for (const { service, backends } of views())
            for (const backend of backends.slice(0, MAX_BACKENDS))
              this.inc(
                { service: service.name ?? formatEnd(service), backend: formatPort(backend) },
                Number(read(backend)),
              );
        },
      });
    };
    add(Gauge, "connections", "TCP connections to a backend now.", ({ counts }) => counts.live);
    add(Gauge, "backend_avoided", "1: it has refused or not answered.", ({ state }) =>
      state === "avoided" ? 1 : 0,
    );
    add(Counter, "connects_total", "Times that a backend was chosen.", ({ counts }) => counts.connects);
    add(
      Counter,
      "failures_total",
      "Connections that a backend refused, or did not answer.",
      ({ counts }) => counts.refused + counts.unanswered,
    );
    new Counter({
      ...{ name: `${prefix}service_misses_total`, help: "Connects and sends that found no backend." },
      ...{ registers, labelNames: ["service"] },
      collect() {
        this.reset();
        for (const { service, misses } of views())
          this.inc({ service: service.name ?? formatEnd(service) }, Number(misses));
      },
    });
  }

  private async fill(): Promise<void> {
    this.services = [...this.isolator.cluster.services.list()];
    const { states, denied, audited, egress, sourceAge, sourceEndpoints } = this;
    const others = [states, denied, audited, egress, sourceAge, sourceEndpoints];
    for (const metric of [...this.counters.keys(), ...this.gauges.keys(), ...this.held.keys(), ...others])
      metric.reset();
    this.bandwidth.reset();
    this.hostBandwidth.reset();
    this.hostBandwidth.add({}, this.isolator.instance.hostBandwidth());
    for (const { name, age, endpoints } of this.isolator.cluster.status()) {
      if (age !== undefined) sourceAge.set({ source: name }, age);
      sourceEndpoints.set({ source: name }, endpoints);
    }
    for (const [index, entry] of this.isolator.list().entries()) {
      if (index % AT_ONCE === AT_ONCE - 1) await breathe();
      // Gone meanwhile?
      if (this.isolator.named(entry.name) !== entry) continue;
      states.inc({ state: bpf_isolator.ContainerSummary.State[stateOf(entry)].toLowerCase() });
      if (!entry.container) continue;
      const labels = labelsOf(entry);
      this.add(labels, entry.container.counts.statistics());
      this.bandwidth.add(labels, entry.container.counts.bandwidth());
      this.addEgress(labels, entry.container);
      const held = entry.container.counts.connections();
      for (const [gauge, read] of this.held) if (held) gauge.set({ ...labels }, read(held));
    }
  }

  private addEgress(labels: Labels, container: Container): void {
    for (const { rule, ...counts } of container.counts.egressHits()) {
      for (const action of ["denied", "audited"] as const) {
        if (counts[action] === 0n) continue;
        const name = ruleName(container.policy.egress, rule).slice(0, MAX_LABEL);
        this.egress.inc({ ...labels, rule: name, action }, Number(counts[action]));
      }
    }
  }

  private add(labels: Labels, statistics: ContainerStatistics): void {
    for (const [counter, read] of this.counters) counter.inc({ ...labels }, Number(read(statistics) ?? 0));
    for (const [gauge, read] of this.gauges) {
      const value = read(statistics);
      if (value !== undefined) gauge.set({ ...labels }, Number(value));
    }
    const { denied, audited } = statistics.usage;
    for (const reason of REASONS) {
      if (denied[reason] > 0n) this.denied.inc({ ...labels, reason }, Number(denied[reason]));
      if (audited[reason] > 0n) this.audited.inc({ ...labels, reason }, Number(audited[reason]));
    }
  }
}
