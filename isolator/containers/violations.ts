/**
 * Containers that go on doing what they may not: how many refusals there were in the last window. Events only say which
 * container to look at, since they may be lost; what counts are the kernel's counters.
 */
import type { ViolationRule } from "../config/violations.js";
import type { Reason } from "../features/accounting.js";
import { formatPorts, type PortRange } from "../features/ports.js";
import { mesos } from "../mesos/messages.js";

/**
 * Reasons that are no doing of the container's own (packets that others send it, a port that the kernel chose), or none of
 * ill will (a limit that it meets). Names of reasons of later versions are among them.
 */
const NOT_COUNTED: ReadonlySet<string> = new Set([
  ...["listen", "receive", "received", "source_port"],
  ...["connections", "connections_total", "bandwidth", "service"],
]);
/** Looks kept for a window: how finely its edge is told. */
const LOOKS = 60;
/** Reasons named in a message. */
const NAMED = 5;

export type DeniedCounts = Readonly<Record<Reason, bigint>>;

/** What a container was refused at a time, as far as it counts. */
interface Look {
  /** ms. */
  time: number;
  total: bigint;
  denied: DeniedCounts;
}

export interface Violation {
  count: bigint;
  /** s. */
  window: number;
  /** Most first. */
  reasons: [reason: string, count: bigint][];
}

function counted(denied: DeniedCounts): [string, bigint][] {
  return Object.entries(denied).filter(([reason]) => !NOT_COUNTED.has(reason));
}

/** Of one container. */
class History {
  private readonly looks: Look[] = [];

  /** @returns the violation, once in each window */
  look(rule: ViolationRule, denied: DeniedCounts, now: number): Violation | undefined {
    const total = counted(denied).reduce((sum, [, count]) => sum + count, 0n);
    const window = rule.window * 1000;
    // The newest look that is as old as the window is what it began with.
    while ((this.looks[1]?.time ?? now) <= now - window) this.looks.shift();
    const [first] = this.looks;
    const last = this.looks.at(-1);
    if (!last || now - last.time >= window / LOOKS) this.looks.push({ time: now, total, denied });
    // Told of for the first time: what it was refused until now is not held against it.
    if (!first) return undefined;
    const before = first.total;
    if (total - before < BigInt(rule.limit)) return undefined;
    const reasons = counted(denied)
      .map(([reason, count]): [string, bigint] => [reason, count - first.denied[reason as Reason]])
      .filter(([, count]) => count > 0n)
      .sort(([, a], [, b]) => (a < b ? 1 : -1));
    this.looks.splice(0, this.looks.length, { time: now, total, denied });
    return { count: total - before, window: rule.window, reasons };
  }
}

export class Violations {
  private readonly histories = new Map<string, History>();
  /** Containers with an event since the last look. */
  private readonly noted = new Set<string>();

  /** @param rule undefined: nothing is counted */
  constructor(private rule: ViolationRule | undefined) {}

  set(rule: ViolationRule | undefined): void {
    if (JSON.stringify(rule) !== JSON.stringify(this.rule)) this.histories.clear();
    this.rule = rule;
  }

  /** Whether anything is counted. */
  get counts(): boolean {
    return this.rule !== undefined;
  }

  /** Whether whoever does it is ended. */
  get kills(): boolean {
    return this.rule?.action === "kill";
  }

  /** Something of it was refused. */
  note(container: string): void {
    if (this.rule) this.noted.add(container);
  }

  /** Containers with refusals since the last call. */
  take(): string[] {
    const noted = [...this.noted];
    this.noted.clear();
    return noted;
  }

  /** To be called when a container comes too. @param now ms @returns what is over the limit, once in each window */
  look(container: string, denied: DeniedCounts, now: number): Violation | undefined {
    if (!this.rule) return undefined;
    const history = this.histories.get(container) ?? new History();
    this.histories.set(container, history);
    return history.look(this.rule, denied, now);
  }

  forget(container: string): void {
    this.histories.delete(container);
    this.noted.delete(container);
  }
}

/** For people: what it did. */
export function describeViolation({ count, window, reasons }: Violation): string {
  const named = reasons.slice(0, NAMED).map(([reason, each]) => `${reason} ${each}`);
  return `${count} refusals within ${window} s (${named.join(", ")})`;
}

/**
 * What an agent ends a container with. Its message is in the task's status, for whoever runs the task.
 * @param ports of the container
 */
export function limitationOf(
  name: string,
  what: string,
  ports: readonly PortRange[],
): mesos.slave.ContainerLimitation {
  const range = ports.map(({ begin, end }) => ({ begin: BigInt(begin), end: BigInt(end) }));
  const may = ports.length > 0 ? `its ports are ${formatPorts(ports)}` : "it has no ports";
  return {
    message:
      `bpf-isolator ended container ${name}: ${what}; ${may}. Have the task bind what its ports resource gives it ` +
      "(PORT0 and so on, as the framework passes them), and ask for what it needs; the agent's operator sees each " +
      "refusal with `bpf-isolator events`",
    reason: mesos.TaskStatus.Reason.REASON_CONTAINER_LIMITATION,
    ...(range.length > 0
      ? { resources: [{ name: "ports", type: mesos.Value.Type.RANGES, ranges: { range } }] }
      : {}),
  };
}
