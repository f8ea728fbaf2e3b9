/** What the protocol's server asks of the life cycle: an isolator, in Mesos's terms, with what operators ask beside. */
import type { GlassWord } from "../containers/break-glass.js";
import type { ContainerId } from "../containers/names.js";
import type { bpf_isolator, mesos } from "../mesos/messages.js";

/** A container that an agent knows again. */
export interface RecoveredContainer {
  id: ContainerId;
  state: mesos.slave.ContainerState;
}

export interface EventOptions {
  /** Whether the iteration goes on with what happens later. */
  follow: boolean;
  /** Only events of this container and those nested in it. */
  container?: ContainerId;
}

/**
 * All throw or reject with an IsolatorError, which becomes the answer; anything else is answered as "internal".
 *
 * Iterations are asked for the next value as soon as the client has room for it. Until then the service keeps what
 * waits, and bounds it. They end soon after `signal` is aborted, which says that the client is gone.
 */
export interface IsolatorService {
  /** Somebody has said who it is. Throwing refuses it. */
  handshake(agent: bpf_isolator.Call.Handshake): void;
  recover(states: readonly RecoveredContainer[], orphans: readonly ContainerId[]): Promise<void>;
  /** @returns undefined when nothing is to be added to the launch */
  prepare(
    id: ContainerId,
    config: mesos.slave.ContainerConfig,
  ): Promise<mesos.slave.ContainerLaunchInfo | undefined>;
  /** What goes with the answer to prepare(): status(), where that has more to say than the id. */
  preparedStatus?(id: ContainerId): mesos.ContainerStatus | undefined;
  isolate(id: ContainerId, pid: number): Promise<void>;
  /** Ends at cleanup; unknown containers are waited for too, since an agent's watch() may come early. */
  watch(id: ContainerId, signal: AbortSignal): AsyncIterable<mesos.slave.ContainerLimitation>;
  /** @param limits by name of the resource */
  update(
    id: ContainerId,
    requests: readonly mesos.Resource[],
    limits: Readonly<Record<string, mesos.Value.Scalar>>,
  ): Promise<void>;
  usage(id: ContainerId): mesos.ResourceStatistics;
  status(id: ContainerId): mesos.ContainerStatus;
  /** What to add to the launch of DEBUG containers in it. */
  sessionLaunchInfo?(id: ContainerId): mesos.slave.ContainerLaunchInfo | undefined;
  cleanup(id: ContainerId): Promise<void>;
  list(): Promise<bpf_isolator.ContainerSummary[]>;
  events(options: EventOptions, signal: AbortSignal): AsyncIterable<bpf_isolator.Event>;
  /** Endpoints of the cluster, many at a time. @param className only those in this class */
  endpoints(
    className: string | undefined,
    signal: AbortSignal,
  ): AsyncIterable<readonly bpf_isolator.Endpoint[]>;
  /** Services with their backends, many at a time. */
  services(signal: AbortSignal): AsyncIterable<readonly bpf_isolator.Service[]>;
  /** What would become of a connection. @param port 0: none */
  explain(
    id: ContainerId,
    address: string,
    port: number,
    protocol: "tcp" | "udp",
  ): bpf_isolator.Response.Explain;
  /**
   * What an operator could not write down. What was said before of `id` and all that is nested in it is forgotten.
   * @param id undefined: all
   */
  breakGlass(id: ContainerId | undefined, words: readonly GlassWord[]): void;
  /** Calls, streams and streams_dropped are filled in by the server. */
  facts(): bpf_isolator.DaemonStatus;
}

/** How the daemon answers a handshake. */
export interface DaemonIdentity {
  version: string;
  instance: string;
  /** Names of what it can do beyond the protocol's version. */
  features: readonly string[];
}
