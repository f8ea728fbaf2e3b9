/** A container of the status page, from what the daemon knows of it. */
import type { bpf_isolator } from "../mesos/messages.js";
import type { History } from "./history.js";
import { AT, type Detail, type LimitUnit, type Numbers, type Row } from "./wire.js";

type Summary = bpf_isolator.ContainerSummary;

/** What a summary says in words: the command line's own, so that both say the same. All of it escaped. */
export interface Words {
  key: (summary: Summary) => string;
  name: (summary: Summary) => string;
  task: (summary: Summary) => string;
  state: (summary: Summary) => string;
  classes: (summary: Summary) => string;
  ports: (summary: Summary) => string;
  enforcement: (summary: Summary) => string;
  /** All that there is to say of it. */
  details: (summary: Summary) => readonly Detail[];
}

interface Limit {
  name: string;
  most: number | undefined;
  used: number;
  unit: LimitUnit;
}

/** Limits and how much of each is in use. A limit that is not set has no `most`. */
function limitsOf(summary: Summary, received: number | null, sent: number | null): Limit[] {
  const { connections, bandwidth } = summary;
  const direction = (
    name: string,
    limit: bpf_isolator.Bandwidth.Direction = {},
    now: number | null,
  ): Limit => ({
    name,
    most: limit.rate === undefined ? undefined : Number(limit.rate),
    used: limit.measured === undefined ? (now ?? 0) : Number(limit.measured),
    unit: "bytes/s",
  });
  const all: Limit[] = [
    {
      ...{ name: "connections in all", most: connections?.limit_total },
      ...{ used: connections?.held ?? 0, unit: "connections" },
    },
    {
      ...{ name: "connections to the destination with most", most: connections?.limit },
      ...{ used: connections?.top?.[0]?.held ?? 0, unit: "connections" },
    },
    direction("received", bandwidth?.ingress, received),
    direction("sent", bandwidth?.egress, sent),
  ];
  return all.filter(({ most }) => most !== undefined);
}

function total(counts: readonly bpf_isolator.Count[] = []): number {
  return counts.reduce(
    (sum, { name, count = 0n }) => (name === "source_port" ? sum : sum + Number(count)),
    0,
  );
}

/** @param history of the daemon's own containers: rates of others are not known */
export function toRow(summary: Summary, words: Words, history: History): { row: Row; numbers: Numbers } {
  const key = words.key(summary);
  const received = history.last(key, "received");
  const sent = history.last(key, "sent");
  const limits = limitsOf(summary, received, sent);
  const numbers: (number | null)[] = [];
  numbers[AT.received] = received;
  numbers[AT.sent] = sent;
  numbers[AT.connections] = summary.statistics?.net_tcp_active_connections ?? null;
  numbers[AT.processes] = summary.pids ?? 0;
  numbers[AT.denied] = total(summary.denied);
  numbers[AT.audited] = total(summary.audited);
  for (const [i, { used }] of limits.entries()) numbers[AT.limits + i] = used;
  return {
    row: {
      key,
      name: words.name(summary),
      task: words.task(summary),
      state: words.state(summary),
      classes: words.classes(summary),
      ports: words.ports(summary),
      enforcement: words.enforcement(summary),
      limits: limits.map(({ name, most = 0, unit }) => ({ name, most, unit })),
    },
    numbers,
  };
}
