/** `remap` of the configuration, and the port mappings that Mesos's messages say of a container. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import type { PortRange } from "../features/ports.js";
import {
  checkMappings,
  formatMapping,
  mappingsWithin,
  parseMappings,
  parseRemapProtocol,
  requirePort,
  type PortMapping,
} from "../features/remap.js";
import type { mesos } from "../mesos/messages.js";

/**
 * Of a task or executor: mappings, as in 80:31000/tcp. Of a port of its DiscoveryInfo (a label of Marathon's
 * portDefinitions): the container port of which that is the host port.
 */
export const REMAP_LABEL = "bpf-isolator.remap";

export const REMAP_MODES = ["on", "off"] as const;
export type RemapMode = (typeof REMAP_MODES)[number];

export const RemapSchema = z.enum(REMAP_MODES).default("on").meta({
  description:
    "Port mappings of tasks (NetworkInfo.port_mappings, labels). on: bind() to a container port binds its host port. off: they are ignored, as Mesos does for a task on the host's network.",
});

function labelsNamed(labels: mesos.Labels | undefined): string[] {
  return (labels?.labels ?? []).filter(({ key }) => key === REMAP_LABEL).map(({ value = "" }) => value);
}

function toMapping(containerPort: number, hostPort: number, protocol: string | undefined): PortMapping {
  const only = parseRemapProtocol(protocol);
  return {
    containerPort: requirePort(containerPort, "container port"),
    hostPort: requirePort(hostPort, "host port"),
    ...(only === undefined ? {} : { protocol: only }),
  };
}

function ofDiscovery(discovery: mesos.DiscoveryInfo | undefined): PortMapping[] {
  return (discovery?.ports?.ports ?? []).flatMap(({ number, protocol, labels }) =>
    labelsNamed(labels).map((text) =>
      toMapping(/^\d{1,6}$/.test(text.trim()) ? Number(text) : NaN, number, protocol),
    ),
  );
}

/** All that is said, each once: what two sources say alike is one mapping. */
function joined(sources: readonly PortMapping[][]): PortMapping[] {
  const known = new Set<string>();
  return sources.flatMap((source) => {
    const fresh = source.filter((mapping) => !known.has(formatMapping(mapping)));
    for (const mapping of source) known.add(formatMapping(mapping));
    return fresh;
  });
}

/**
 * The mappings of a container. A nested one has its own, and its parent's to the ports that it has, where they do not
 * contradict. Its executor_info is a copy of its root's and says nothing of itself.
 * @param ports of its own; undefined: its parent's
 * @param inherited its parent's mappings
 * @param name of the container, for errors
 * @throws bad-argument
 */
export function mappingsOf(
  config: mesos.slave.ContainerConfig,
  nested: boolean,
  ports: readonly PortRange[] | undefined,
  inherited: readonly PortMapping[],
  name: string,
): PortMapping[] {
  const { container_info, task_info, executor_info } = config;
  try {
    const ofNetworks = (container_info?.network_infos ?? []).flatMap(({ port_mappings = [] }) =>
      port_mappings.map(({ container_port, host_port, protocol }) =>
        toMapping(container_port, host_port, protocol),
      ),
    );
    // A command task's are in both of its infos.
    const labels = labelsNamed(task_info?.labels ?? executor_info?.labels);
    const own = nested
      ? ofNetworks
      : joined([
          ofNetworks,
          ofDiscovery(task_info?.discovery ?? executor_info?.discovery),
          labels.flatMap(parseMappings),
        ]);
    const mappings = checkMappings(own);
    const taken = new Set(mappings.flatMap(({ containerPort, hostPort }) => [containerPort, hostPort]));
    const free = mappingsWithin(inherited, ports ?? []).filter(
      ({ containerPort, hostPort }) => !taken.has(containerPort) && !taken.has(hostPort),
    );
    return [...mappings, ...free];
  } catch (error) {
    if (!(error instanceof IsolatorError)) throw error;
    throw new IsolatorError(error.code, `container ${name}: ${error.message}`, error);
  }
}
