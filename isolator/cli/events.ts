/** `bpf-isolator events`: what happened, and with --follow what happens. */
import { once } from "node:events";
import { bpf_isolator, codecs, fromContainerId, type mesos } from "../mesos/messages.js";
import type { ProtocolClient } from "../protocol/client.js";
import { paintFor, type Colour } from "./colours.js";
import { findContainer, listContainers, withDaemon, type DaemonOptions } from "./daemon.js";
import { formatTime, nameOf, printable, toAsciiJson } from "./table.js";

export interface EventsOptions extends DaemonOptions {
  follow?: boolean;
  /** Name of a container: only its own events and those of what is nested in it. */
  container?: string;
}

/** One line, without its end. */
export function renderEvent({
  time,
  container_id,
  type = "event",
  message = "",
}: bpf_isolator.Event): string {
  const name = container_id ? printable(nameOf(container_id)) : "-";
  return `${formatTime(time)}  ${name}  ${printable(message || type)}`;
}

/** What somebody is to see first. */
function colourOf({ type }: bpf_isolator.Event): Colour {
  if (type === "denied") return "red";
  return type === "warning" ||
    type === "repaired" ||
    type === "self_check" ||
    type === "escaped" ||
    type === "audited"
    ? "yellow"
    : "plain";
}

/** One line of JSON: the protocol's, with the container's name as text. */
export function eventToJson(event: bpf_isolator.Event): string {
  const { events } = codecs.Response.toJson({ events: { event } }) as { events: { event: object } };
  const container = event.container_id ? { container: nameOf(event.container_id) } : {};
  return toAsciiJson({ ...container, ...events.event });
}

/** The id of a container that is there, by its name; else the one that the name would be: its events are kept. */
async function resolve(client: ProtocolClient, name: string): Promise<mesos.ContainerID | undefined> {
  try {
    return findContainer(await listContainers(client), name).container_id;
  } catch (error) {
    const [root = "", ...nested] = name.split(".");
    if (error instanceof Error && "code" in error && error.code === "no-container")
      return fromContainerId([root, ...nested]);
    throw error;
  }
}

/**
 * Prints until the daemon has no more to say, or with --follow until a signal, or until nobody reads.
 * @returns exit status
 * @throws as withDaemon(); no-daemon when the daemon ends in between
 */
export async function events(options: EventsOptions): Promise<number> {
  const ended = new AbortController();
  const end = (): void => {
    ended.abort();
  };
  // `events --follow | head`: whoever read has had enough.
  process.stdout.on("error", end);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, end);
  const paint = paintFor(process.stdout);
  return withDaemon(options.instance, async (client) => {
    const { container, follow = false } = options;
    const container_id = container === undefined ? undefined : await resolve(client, container);
    const call: bpf_isolator.Call = { type: bpf_isolator.Call.Type.EVENTS, events: { follow, container_id } };
    let some = follow || options.json;
    try {
      for await (const { events } of client.stream(call, ended.signal)) {
        if (!events?.event) continue;
        some = true;
        const line = options.json
          ? eventToJson(events.event)
          : paint(colourOf(events.event), renderEvent(events.event));
        if (!process.stdout.write(`${line}\n`)) await once(process.stdout, "drain", { signal: ended.signal });
      }
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    }
    // As `list` does, so that nothing is told from a failure.
    if (!some) process.stdout.write("no events\n");
    return 0;
  });
}
