/**
 * `bpf-isolator top`: the containers of an instance, live, those first that do most. On a terminal it has the screen to
 * itself and takes keys; elsewhere it prints one table after another.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { IsolatorError, messageOf } from "../errors.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { ProtocolClient } from "../protocol/client.js";
import { checkInstanceName } from "../containers/names.js";
import { paintFor, PLAIN, type Paint } from "./colours.js";
import { listContainers } from "./daemon.js";
import { stateText } from "./list.js";
import type { Sort } from "./operator.js";
import { columns, formatBytes, nameOf, portsText, printable, totalCount } from "./table.js";

export interface TopOptions {
  instance: string;
  sort: Sort;
  reverse?: boolean;
  /** s between two looks. */
  interval: number;
  /** Looks until it ends. */
  count?: number;
}

/** A container at one look. */
interface Line {
  name: string;
  state: string;
  ports: string;
  pids: number;
  /** Bytes a second since the look before; undefined at the first. */
  received: number | undefined;
  sent: number | undefined;
  /** Refusals in all. */
  denied: bigint;
  /** Refusals since the look before. */
  deniedNow: bigint;
  /** Undefined: not counted. */
  connections: number | undefined;
}

interface Look {
  /** ms, of a clock that only goes forward */
  at: number;
  containers: readonly bpf_isolator.ContainerSummary[];
}

const HEAD = ["CONTAINER", "STATE", "PORTS", "PIDS", "CONNS", "RECEIVED/s", "SENT/s", "DENIED", "+"];
const RIGHT = [3, 4, 5, 6, 7, 8];
const KEYS: Readonly<Partial<Record<string, Sort>>> = {
  r: "received",
  s: "sent",
  d: "denied",
  c: "connections",
  p: "pids",
  n: "name",
};
const HELP = "keys: r received, s sent, d denied, c connections, p pids, n name; R reverse; q quit";
const MAX_NAME = 48;
const MAX_PORTS = 24;

const ALTERNATE = "\u001b[?1049h\u001b[?25l";
const NORMAL = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const TO_LINE_END = "\u001b[K";
const TO_SCREEN_END = "\u001b[J";

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

/** What has happened between two looks. */
export function linesOf(now: Look, before: Look | undefined): Line[] {
  const old = new Map(before?.containers.map((container) => [nameOf(container.container_id), container]));
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  return now.containers.map((container) => {
    const name = nameOf(container.container_id);
    const { statistics } = container;
    const last = old.get(name);
    // A container of the same name that is another one has counted less.
    const rate = (field: "net_rx_bytes" | "net_tx_bytes"): number | undefined =>
      last && seconds > 0
        ? Math.max(0, Number((statistics?.[field] ?? 0n) - (last.statistics?.[field] ?? 0n))) / seconds
        : undefined;
    const denied = totalCount(container.denied);
    const more = last ? denied - totalCount(last.denied) : 0n;
    return {
      ...{ name, state: stateText(container), ports: portsText(container), pids: container.pids ?? 0 },
      ...{ received: rate("net_rx_bytes"), sent: rate("net_tx_bytes") },
      ...{ denied, deniedNow: more > 0n ? more : 0n },
      connections: statistics?.net_tcp_active_connections,
    };
  });
}

/** Most first; names from a to z. What is equal is in the order of names. */
export function sortLines(lines: readonly Line[], sort: Sort, reverse = false): Line[] {
  const byName = (a: Line, b: Line): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  const value = (line: Line): number =>
    sort === "name"
      ? 0
      : sort === "denied"
        ? Number(line.deniedNow) * 2 ** 32 + Number(line.denied)
        : (line[sort] ?? -1);
  const sorted = [...lines].sort((a, b) => value(b) - value(a) || byName(a, b));
  return reverse ? sorted.reverse() : sorted;
}

function cells(line: Line): string[] {
  const rate = (bytes: number | undefined): string =>
    bytes === undefined ? "-" : formatBytes(BigInt(Math.round(bytes)));
  return [
    cut(printable(line.name), MAX_NAME),
    line.state,
    cut(line.ports, MAX_PORTS),
    `${line.pids}`,
    line.connections === undefined ? "-" : `${line.connections}`,
    rate(line.received),
    rate(line.sent),
    `${line.denied}`,
    line.deniedNow > 0n ? `+${line.deniedNow}` : "",
  ];
}

/** The table, head first, without what goes beyond the width. */
export function renderLines(lines: readonly Line[], width: number, paint: Paint = PLAIN): string[] {
  const rows = columns([HEAD, ...lines.map(cells)], RIGHT)
    .trimEnd()
    .split("\n");
  return rows.map((row, i) => {
    const text = row.slice(0, width);
    if (i === 0) return paint("inverse", text.padEnd(Math.min(width, 200)));
    return (lines[i - 1]?.deniedNow ?? 0n) > 0n ? paint("red", text) : text;
  });
}

class Top {
  private before: Look | undefined;
  private now: Look | undefined;
  private trouble = "";
  private sort: Sort;
  private reverse: boolean;
  private readonly ended = new AbortController();
  private readonly client: ProtocolClient;
  private readonly screen = process.stdout.isTTY && process.stdin.isTTY;
  private readonly paint = paintFor(process.stdout);

  constructor(private readonly options: TopOptions) {
    this.client = ProtocolClient.of(checkInstanceName(options.instance));
    this.sort = options.sort;
    this.reverse = options.reverse ?? false;
  }

  /** @throws as withDaemon(), at the first look; later it waits for the daemon to be back */
  async run(): Promise<void> {
    const end = (): void => {
      this.ended.abort();
    };
    process.stdout.on("error", end);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, end);
    try {
      await this.look();
      if (this.screen) this.open(end);
      await this.goOn();
    } finally {
      this.client.close();
      if (this.screen) {
        process.stdin.setRawMode(false).pause();
        process.stdout.write(NORMAL);
      }
    }
  }

  private async goOn(): Promise<void> {
    const { interval, count = Infinity } = this.options;
    for (let looks = 1; !this.ended.signal.aborted; looks++) {
      this.show();
      if (looks >= count) return;
      try {
        await sleep(interval * 1000, undefined, { signal: this.ended.signal });
      } catch {
        return;
      }
      try {
        await this.look();
        this.trouble = "";
      } catch (error) {
        // The daemon is being restarted, say: tasks go on, and so does this.
        if (!(error instanceof IsolatorError)) throw error;
        if (!this.screen) throw error;
        this.trouble = messageOf(error);
      }
    }
  }

  private async look(): Promise<void> {
    const containers = await listContainers(this.client);
    this.before = this.now;
    this.now = { at: performance.now(), containers };
  }

  private open(end: () => void): void {
    process.stdout.write(ALTERNATE);
    process.stdout.on("resize", () => {
      this.show();
    });
    process.stdin.setRawMode(true).setEncoding("utf8");
    process.stdin.on("data", (keys) => {
      for (const key of keys.toString()) {
        if (key === "q" || key === "\u0003") end();
        else if (key === "R") this.reverse = !this.reverse;
        else this.sort = KEYS[key] ?? this.sort;
      }
      this.show();
    });
  }

  private show(): void {
    if (!this.now || this.ended.signal.aborted) return;
    const lines = sortLines(linesOf(this.now, this.before), this.sort, this.reverse);
    if (!this.screen) {
      process.stdout.write(`${renderLines(lines, Infinity, PLAIN).join("\n").trimEnd()}\n\n`);
      return;
    }
    // 0 by 0 is a terminal that nobody has told its size.
    const [width, height] = [process.stdout.columns || 80, process.stdout.rows || 24];
    const denied = lines.reduce((sum, line) => sum + line.deniedNow, 0n);
    const order = `by ${this.sort}${this.reverse ? ", reversed" : ""}`;
    const title = `${lines.length} containers ${order}, ${denied} denied since the last look; instance ${this.options.instance}`;
    const body = [
      this.paint("bold", title.slice(0, width)),
      this.trouble === "" ? HELP.slice(0, width) : this.paint("red", printable(this.trouble).slice(0, width)),
      ...renderLines(lines, width, this.paint),
    ].slice(0, height - 1);
    process.stdout.write(HOME + body.map((row) => row + TO_LINE_END).join("\r\n") + TO_SCREEN_END);
  }
}

/** @returns exit status @throws bad-argument, no-daemon, not-root, and what the daemon answers */
export async function top(options: TopOptions): Promise<number> {
  await new Top(options).run();
  return 0;
}
