/** A service with no kernel behind it: it keeps what it is asked, and answers what the test wants. */
import { Readable } from "node:stream";
import type { ContainerId } from "../../isolator/containers/names.js";
import { formatId } from "../../isolator/containers/names.js";
import type { bpf_isolator, mesos } from "../../isolator/mesos/messages.js";
import type { EventOptions, IsolatorService, RecoveredContainer } from "../../isolator/protocol/service.js";

export interface Asked {
  method: string;
  id?: string;
  arguments: unknown[];
}

export class RecordingService implements IsolatorService {
  readonly asked: Asked[] = [];
  /** What each WATCH and EVENTS iterates; without, they wait for their client to go. */
  limitations: (id: ContainerId) => AsyncIterable<mesos.slave.ContainerLimitation> | undefined = () =>
    undefined;
  happening: () => AsyncIterable<bpf_isolator.Event> | undefined = () => undefined;
  summaries: bpf_isolator.ContainerSummary[] = [{ container_id: { value: "c" }, pids: 3 }];
  launchInfo: mesos.slave.ContainerLaunchInfo | undefined;
  /** Iterations that have not ended. */
  open = 0;
  /** Called before each answer; may throw or wait. */
  before: (asked: Asked) => void | Promise<void> = () => undefined;

  /** Names of the methods asked for, in order. */
  methods(): string[] {
    return this.asked.map(({ method, id }) => (id === undefined ? method : `${method} ${id}`));
  }

  /** Makes the calls of a method wait. @returns what ends each one's wait, as they come */
  hold(method: string): (() => void)[] {
    const waiting: (() => void)[] = [];
    this.before = (asked) =>
      asked.method === method ? new Promise<void>((resolve) => waiting.push(resolve)) : undefined;
    return waiting;
  }

  private async note(method: string, id?: ContainerId, ...args: unknown[]): Promise<void> {
    await this.noteNow(method, id, ...args);
  }

  private noteNow(method: string, id?: ContainerId, ...args: unknown[]): void | Promise<void> {
    const asked = { method, ...(id ? { id: formatId(id) } : {}), arguments: args };
    this.asked.push(asked);
    return this.before(asked);
  }

  private async *iterate<T>(values: AsyncIterable<T> | undefined, signal: AbortSignal): AsyncIterable<T> {
    this.open++;
    try {
      if (values) {
        yield* values;
        return;
      }
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          resolve();
        });
      });
    } finally {
      this.open--;
    }
  }

  handshake(agent: bpf_isolator.Call.Handshake): void {
    void this.noteNow("handshake", undefined, agent);
  }
  recover(states: readonly RecoveredContainer[], orphans: readonly ContainerId[]): Promise<void> {
    return this.note("recover", undefined, states, orphans);
  }
  async prepare(
    id: ContainerId,
    config: mesos.slave.ContainerConfig,
  ): Promise<mesos.slave.ContainerLaunchInfo | undefined> {
    await this.note("prepare", id, config);
    return this.launchInfo;
  }
  isolate(id: ContainerId, pid: number): Promise<void> {
    return this.note("isolate", id, pid);
  }
  watch(id: ContainerId, signal: AbortSignal): AsyncIterable<mesos.slave.ContainerLimitation> {
    void this.noteNow("watch", id);
    return this.iterate(this.limitations(id), signal);
  }
  update(
    id: ContainerId,
    requests: readonly mesos.Resource[],
    limits: Readonly<Record<string, mesos.Value.Scalar>>,
  ): Promise<void> {
    return this.note("update", id, requests, limits);
  }
  usage(id: ContainerId): mesos.ResourceStatistics {
    void this.noteNow("usage", id);
    return { timestamp: 1.5, net_rx_bytes: 2n ** 60n };
  }
  status(id: ContainerId): mesos.ContainerStatus {
    void this.noteNow("status", id);
    return {};
  }
  cleanup(id: ContainerId): Promise<void> {
    return this.note("cleanup", id);
  }
  list(): Promise<bpf_isolator.ContainerSummary[]> {
    void this.noteNow("list");
    return Promise.resolve(this.summaries);
  }
  endpoints(className: string | undefined): AsyncIterable<readonly bpf_isolator.Endpoint[]> {
    void this.noteNow("endpoints", undefined, className);
    return Readable.from([]) as AsyncIterable<readonly bpf_isolator.Endpoint[]>;
  }
  services(): AsyncIterable<readonly bpf_isolator.Service[]> {
    void this.noteNow("services");
    return Readable.from([]) as AsyncIterable<readonly bpf_isolator.Service[]>;
  }
  explain(id: ContainerId, ...to: unknown[]): bpf_isolator.Response.Explain {
    void this.noteNow("explain", id, ...to);
    return {};
  }
  breakGlass(id: ContainerId | undefined, words: readonly unknown[]): void {
    void this.noteNow("breakGlass", id, words);
  }
  events(options: EventOptions, signal: AbortSignal): AsyncIterable<bpf_isolator.Event> {
    void this.noteNow("events", options.container, options.follow);
    return this.iterate(this.happening(), signal);
  }
  facts(): bpf_isolator.DaemonStatus {
    return { version: "1.2.3", memory_bytes: 5n };
  }
}
