/** What would become of a connection of a container. */
import type { Cluster } from "../../cluster/cluster.js";
import { IsolatorError } from "../../errors.js";
import { parseAddress } from "../../features/addresses.js";
import { placeKey, PROTOCOL_NUMBERS } from "../../features/endpoints.js";
import type { bpf_isolator } from "../../mesos/messages.js";
import { formatId, type ContainerId } from "../names.js";
import type { Parts } from "./parts.js";

/**
 * By the tables that the programs use.
 * @param port 0: none
 * @throws no-container, bad-argument, map-failed
 */
export function explain(
  { registry, notices }: Parts,
  cluster: Cluster,
  id: ContainerId,
  address: string,
  port: number,
  protocol: "tcp" | "udp",
): bpf_isolator.Response.Explain {
  const levels = id.map((_, i) => registry.find(id.slice(0, i + 1) as unknown as ContainerId)?.container);
  if (!levels.at(-1)) {
    throw new IsolatorError(
      "no-container",
      `container ${formatId(id)} is not known here, or is under no policy`,
    );
  }
  const bytes = parseAddress(address);
  if (!bytes)
    throw new IsolatorError("bad-argument", `${JSON.stringify(address.slice(0, 60))} is no address`);
  const number = port === 0 ? 0 : PROTOCOL_NUMBERS[protocol];
  const { classes, local, owner } = cluster.find(bytes, port, number);
  const verdicts = levels
    .reverse()
    .flatMap((container) => container ?? [])
    .flatMap((container) => cluster.explain(container, placeKey(bytes, port, number), port) ?? []);
  return {
    verdicts,
    classes: [...classes],
    local,
    ...(owner === undefined ? {} : { owner: notices.nameOf(owner) ?? `with cgroup id ${owner}` }),
  };
}
