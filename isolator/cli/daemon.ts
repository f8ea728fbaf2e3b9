/** How commands ask the daemon of an instance. */
import { suggest } from "../config/suggest.js";
import { checkInstanceName } from "../containers/names.js";
import { IsolatorError } from "../errors.js";
import { bpf_isolator } from "../mesos/messages.js";
import { ProtocolClient } from "../protocol/client.js";
import { nameOf, printable } from "./table.js";

/** Options that all commands have which ask the daemon. */
export interface DaemonOptions {
  instance: string;
  json?: boolean;
}

/** @throws bad-argument, no-daemon, not-root, and what the daemon answers */
export async function withDaemon<T>(
  instance: string,
  use: (client: ProtocolClient) => Promise<T>,
): Promise<T> {
  const client = ProtocolClient.of(checkInstanceName(instance));
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

export interface Containers {
  containers: readonly bpf_isolator.ContainerSummary[];
  /** False: no daemon answers, and this is what records and kernel say. */
  daemon: boolean;
}

/**
 * All containers: as the daemon knows them, or where none answers, as they are enforced and counted all the same.
 * @throws no-daemon where there is neither a daemon nor a container; as withDaemon()
 */
export async function containersOf({ instance, json }: DaemonOptions): Promise<Containers> {
  try {
    return { containers: await withDaemon(instance, listContainers), daemon: true };
  } catch (error) {
    if (!(error instanceof IsolatorError) || error.code !== "no-daemon") throw error;
    // What a daemon's client does without: libbpf.
    const { listOffline } = await import("./offline.js");
    const containers = listOffline(instance);
    if (containers.length === 0) throw error;
    // In JSON `daemon` is false.
    if (!json) process.stderr.write("bpf-isolator: no daemon answers: this is what records and kernel say\n");
    return { containers, daemon: false };
  }
}

export async function listContainers(
  client: ProtocolClient,
): Promise<readonly bpf_isolator.ContainerSummary[]> {
  const { list } = await client.call({ type: bpf_isolator.Call.Type.LIST });
  return list?.containers ?? [];
}

/**
 * The container of a name, or of the beginning of one: an agent's names are long.
 * @param daemon whether the daemon knows these, or records only
 * @throws no-container, bad-argument where several begin so
 */
export function findContainer(
  containers: readonly bpf_isolator.ContainerSummary[],
  wanted: string,
  daemon = true,
): bpf_isolator.ContainerSummary {
  const named = containers.map((container) => ({ container, name: nameOf(container.container_id) }));
  const exact = named.find(({ name }) => name === wanted);
  if (exact) return exact.container;
  // A pod's name is the beginning of its tasks' names: it alone is meant.
  const begin = named.filter(({ name }) => wanted !== "" && name.startsWith(wanted));
  const found = begin.filter(({ name }) => !begin.some((other) => name.startsWith(`${other.name}.`)));
  const [first, second] = found;
  const shown = printable(wanted.slice(0, 80));
  if (!first) {
    const near = suggest(
      wanted,
      named.map(({ name }) => name),
    );
    throw new IsolatorError(
      "no-container",
      `${daemon ? "the daemon knows no container" : "records know no container"} ${shown}${near === undefined ? "" : ` (did you mean ${printable(near)}?)`}: ` +
        "bpf-isolator list shows those that there are",
    );
  }
  if (second) {
    const names = found.slice(0, 3).map(({ name }) => printable(name));
    const more = found.length > 3 ? ` and ${found.length - 3} more` : "";
    throw new IsolatorError(
      "bad-argument",
      `${found.length} containers have names that begin with ${shown}: ${names.join(", ")}${more}. Give more of the name`,
    );
  }
  return first.container;
}
