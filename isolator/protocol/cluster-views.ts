/** Sources of endpoints, and services, as messages. */
import type { SourceSummary } from "../cluster/cluster.js";
import type { ServiceDirectory, ServiceView } from "../cluster/services.js";
import { bpf_isolator } from "../mesos/messages.js";

export function toEndpointSource(source: SourceSummary): bpf_isolator.EndpointSource {
  const { name, where, state, endpoints, age, error, duplicates, ignored } = source;
  return {
    ...{ name, where, state },
    endpoints: BigInt(endpoints),
    ...(age === undefined ? {} : { age }),
    ...(error === undefined ? {} : { error }),
    ...(duplicates === 0 ? {} : { duplicates: BigInt(duplicates) }),
    ignored: [...ignored].map(([kind, count]) => ({ name: kind, count: BigInt(count) })),
  };
}

/** A service with what is known of its backends. */
export function toService({ service, host, backends, misses }: ServiceView): bpf_isolator.Service {
  const { name, address, port, protocol } = service;
  return {
    ...(name === undefined ? {} : { name }),
    ...(host === undefined ? {} : { host }),
    ...{ address, port, protocol, misses },
    backends: backends.map(({ counts, state, weight = 1, ...at }) => ({
      ...{ address: at.address, port: at.port, weight, state, connections: counts.live },
      ...{ connects: counts.connects, refused: counts.refused, unanswered: counts.unanswered },
    })),
  };
}

export function toServiceTotals(directory: ServiceDirectory): bpf_isolator.ServiceTotals {
  const totals = { services: 0, backends: 0, avoided: 0, without: 0 };
  for (const { backends } of directory.list()) {
    const active = backends.filter(({ state }) => state !== "draining");
    totals.services++;
    totals.backends += active.length;
    totals.avoided += active.filter(({ state }) => state === "avoided").length;
    if (active.length === 0) totals.without++;
  }
  return {
    ...totals,
    ignored: [...directory.ignored].map(([name, count]) => ({ name, count: BigInt(count) })),
    ...(directory.problem === undefined ? {} : { error: directory.problem }),
  };
}
