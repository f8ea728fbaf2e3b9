/** Each call: what it needs, what of the service it asks, what it answers. */
import { setImmediate as breathe } from "node:timers/promises";
import { GLASS_MODES } from "../containers/glass.js";
import { formatId, type ContainerId } from "../containers/names.js";
import { IsolatorError, messageOf } from "../errors.js";
import { bpf_isolator, toContainerId, type mesos } from "../mesos/messages.js";
import type { DaemonIdentity, IsolatorService } from "./service.js";

/** Versions of the protocol that this build speaks. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];
/** pid_t is an int; the kernel's own limit is below. */
const MAX_PID = 2 ** 31 - 1;
/** Containers of one USAGE. */
const MAX_USAGES = 1024;
/** Of which other calls have their turn: about 3 ms. */
const USAGES_AT_ONCE = 50;

const { Type } = bpf_isolator.Call;
type Call = bpf_isolator.Call;
type Response = bpf_isolator.Response;
type CallName = Exclude<keyof typeof Type, "UNKNOWN">;

/** What the answers are made with. */
export interface CallContext {
  service: IsolatorService;
  identity: DaemonIdentity;
  /** What only the server knows of the daemon. */
  serverFacts: () => Pick<bpf_isolator.DaemonStatus, "calls" | "streams" | "streams_dropped">;
  /** Told of what is wrong with a part of a call that is answered all the same. */
  onProblem: (problem: IsolatorError) => void;
}

/** The name of a call's type, or undefined for one that this version does not know. */
export function callName({ type }: Call): CallName | undefined {
  const name = type === undefined ? undefined : Type[type];
  return name === undefined || name === "UNKNOWN" ? undefined : (name as CallName);
}

function need<T>(call: Call, field: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new IsolatorError("bad-message", `${callName(call) ?? "the call"} needs ${field}, which is missing`);
}

function needId(call: Call, field: string, id: mesos.ContainerID | undefined): ContainerId {
  return toContainerId(need(call, `${field}.container_id`, id));
}

/** @throws protocol-mismatch */
function chooseVersion(identity: DaemonIdentity, name: string, version: string, theirs: readonly number[]) {
  const common = theirs.filter((candidate) => PROTOCOL_VERSIONS.includes(candidate));
  if (common.length > 0) return Math.max(...common);
  const older = Math.max(...theirs) < Math.min(...PROTOCOL_VERSIONS);
  const list = (versions: readonly number[]): string => versions.slice(0, 10).join(", ");
  throw new IsolatorError(
    "protocol-mismatch",
    `${name} ${version} speaks version ${list(theirs)} of the protocol, bpf-isolator ${identity.version} speaks ` +
      `${list(PROTOCOL_VERSIONS)}: upgrade ${older ? name : "bpf-isolator"}`,
  );
}

function handshake(call: Call, { service, identity }: CallContext): Response {
  const agent = need(call, "handshake", call.handshake);
  const name = need(call, "handshake.name", agent.name === "" ? undefined : agent.name);
  const theirs = need(call, "handshake.protocol_versions", agent.protocol_versions);
  const version = chooseVersion(identity, JSON.stringify(name.slice(0, 60)), agent.version ?? "", theirs);
  service.handshake(agent);
  return {
    handshake: {
      name: "bpf-isolator",
      version: identity.version,
      protocol_versions: PROTOCOL_VERSIONS,
      protocol_version: version,
      features: identity.features,
      pid: process.pid,
      instance: identity.instance,
    },
  };
}

/** A container whose id makes no sense is left out: one must not keep an agent from starting. */
async function recover(call: Call, { service, onProblem }: CallContext): Promise<Response> {
  const { states = [], orphans = [] } = need(call, "recover", call.recover);
  const each = <T, U>(items: readonly T[], convert: (item: T) => U): U[] =>
    items.flatMap((item) => {
      try {
        return [convert(item)];
      } catch (error) {
        if (!(error instanceof IsolatorError)) throw error;
        onProblem(new IsolatorError(error.code, `RECOVER goes on without a container: ${error.message}`));
        return [];
      }
    });
  await service.recover(
    each(states, (state) => ({ id: toContainerId(state.container_id), state })),
    each(orphans, toContainerId),
  );
  return {};
}

async function prepare(call: Call, { service }: CallContext): Promise<Response> {
  const { container_id, container_config } = need(call, "prepare", call.prepare);
  const id = needId(call, "prepare", container_id);
  const launchInfo = await service.prepare(id, need(call, "prepare.container_config", container_config));
  const status = service.preparedStatus?.(id);
  return { prepare: { launch_info: launchInfo, ...(status ? { status } : {}) } };
}

async function isolate(call: Call, { service }: CallContext): Promise<Response> {
  const { container_id, pid } = need(call, "isolate", call.isolate);
  const id = needId(call, "isolate", container_id);
  const process = need(call, "isolate.pid", pid);
  if (process < 1 || process > MAX_PID) {
    throw new IsolatorError(
      "bad-message",
      `ISOLATE of container ${formatId(id)}: ${process} is no process id`,
    );
  }
  await service.isolate(id, process);
  return {};
}

async function update(call: Call, { service }: CallContext): Promise<Response> {
  const { container_id, resource_requests, resource_limits } = need(call, "update", call.update);
  await service.update(needId(call, "update", container_id), resource_requests ?? [], resource_limits ?? {});
  return {};
}

async function cleanup(call: Call, { service }: CallContext): Promise<Response> {
  await service.cleanup(needId(call, "cleanup", need(call, "cleanup", call.cleanup).container_id));
  return {};
}

async function usage(call: Call, { service, onProblem }: CallContext): Promise<Response> {
  const { container_id, container_ids } = need(call, "usage", call.usage);
  if (!container_ids) return { usage: { statistics: service.usage(needId(call, "usage", container_id)) } };
  if (container_ids.length > MAX_USAGES) {
    throw new IsolatorError(
      "bad-message",
      `USAGE names ${container_ids.length} containers, more than ${MAX_USAGES}`,
    );
  }
  const all: mesos.ResourceStatistics[] = [];
  for (const [index, id] of container_ids.entries()) {
    if (index % USAGES_AT_ONCE === USAGES_AT_ONCE - 1) await breathe();
    try {
      all.push(service.usage(toContainerId(id)));
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
      // The others are answered.
      onProblem(new IsolatorError(error.code, `USAGE goes on without a container: ${error.message}`));
      all.push({ timestamp: 0 });
    }
  }
  return { usage: { all } };
}

function status(call: Call, { service }: CallContext): Response {
  const id = needId(call, "status", need(call, "status", call.status).container_id);
  const launch = service.sessionLaunchInfo?.(id);
  return { status: { status: service.status(id), ...(launch ? { session_launch_info: launch } : {}) } };
}

function explain(call: Call, { service }: CallContext): Response {
  const { container_id, address, port = 0, protocol = "tcp" } = need(call, "explain", call.explain);
  const id = needId(call, "explain", container_id);
  if (port > 65535 || (protocol !== "tcp" && protocol !== "udp"))
    throw new IsolatorError(
      "bad-message",
      "EXPLAIN has a port above 65535, or a protocol besides tcp and udp",
    );
  return { explain: service.explain(id, need(call, "explain.address", address), port, protocol) };
}

function breakGlass(call: Call, { service }: CallContext): Response {
  const { container_id, words = [] } = need(call, "break_glass", call.break_glass);
  service.breakGlass(
    container_id && toContainerId(container_id),
    words.map(({ container_id: id, mode }) => {
      const known = GLASS_MODES.find((each) => each === mode);
      if (mode !== undefined && !known)
        throw new IsolatorError("bad-message", `BREAK_GLASS has a mode besides ${GLASS_MODES.join(" and ")}`);
      return { ...(id && { id: toContainerId(id) }), ...(known && { mode: known }) };
    }),
  );
  return {};
}

type Answer = (call: Call, context: CallContext) => Response | Promise<Response>;

const ANSWERS: ReadonlyMap<bpf_isolator.Call.Type, Answer> = new Map<bpf_isolator.Call.Type, Answer>([
  [Type.HANDSHAKE, handshake],
  [Type.RECOVER, recover],
  [Type.PREPARE, prepare],
  [Type.ISOLATE, isolate],
  [Type.UPDATE, update],
  [Type.USAGE, usage],
  [Type.STATUS, status],
  [Type.CLEANUP, cleanup],
  [Type.EXPLAIN, explain],
  [Type.BREAK_GLASS, breakGlass],
  [Type.LIST, async (_call, { service }) => ({ list: { containers: await service.list() } })],
  [
    Type.GET_STATUS,
    (_call, { service, serverFacts }) => ({
      get_status: { status: { ...service.facts(), ...serverFacts() } },
    }),
  ],
]);

/** What a stream iterates, in records. */
export type Records = (signal: AbortSignal) => AsyncIterable<Response>;

/** An answer's type has the name of its call's. */
function responseType(call: Call): bpf_isolator.Response.Type {
  return bpf_isolator.Response.Type[callName(call) ?? "UNKNOWN"];
}

async function* asRecords<T>(values: AsyncIterable<T>, record: (value: T) => Response) {
  for await (const value of values) yield record(value);
}

/**
 * The records of a call that is answered by a stream, or undefined for any other.
 * @throws bad-message, bad-container-id
 */
export function streamOf(call: Call, service: IsolatorService): Records | undefined {
  const type = responseType(call);
  if (call.type === Type.WATCH) {
    const id = needId(call, "watch", need(call, "watch", call.watch).container_id);
    return (signal) =>
      asRecords(service.watch(id, signal), (limitation) => ({ type, watch: { limitation } }));
  }
  if (call.type === Type.EVENTS) {
    const { follow = false, container_id } = call.events ?? {};
    const options = { follow, ...(container_id ? { container: toContainerId(container_id) } : {}) };
    return (signal) => asRecords(service.events(options, signal), (event) => ({ type, events: { event } }));
  }
  if (call.type === Type.ENDPOINTS) {
    const { class_name } = call.endpoints ?? {};
    return (signal) =>
      asRecords(service.endpoints(class_name, signal), (endpoints) => ({ type, endpoints: { endpoints } }));
  }
  if (call.type === Type.SERVICES)
    return (signal) => asRecords(service.services(signal), (services) => ({ type, services: { services } }));
  return undefined;
}

/** @throws IsolatorError */
export async function answer(call: Call, context: CallContext): Promise<Response> {
  const handler = call.type === undefined ? undefined : ANSWERS.get(call.type);
  if (!handler) {
    const known = Object.values(Type).filter((name) => typeof name === "string" && name !== "UNKNOWN");
    throw new IsolatorError(
      "unknown-call",
      `the call has no type that bpf-isolator ${context.identity.version} knows: those are ${known.join(", ")}`,
    );
  }
  const response = await handler(call, context);
  return { ...response, type: responseType(call) };
}

/** Any error of a call as what is answered: what is no IsolatorError is a mistake of this program. */
export function toIsolatorError(error: unknown, call?: Call): IsolatorError {
  if (error instanceof IsolatorError) return error;
  const what = (call && callName(call)) ?? "a call";
  return new IsolatorError(
    "internal",
    `${what} failed by a mistake of bpf-isolator: ${messageOf(error)}`,
    error,
  );
}
