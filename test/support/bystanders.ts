/** Containers of an agent whose tasks go on whatever happens to the daemon, and must never notice it. */
import assert from "node:assert/strict";
import type { CrashDaemon, Summary } from "./crash-daemon.js";
import { Prober } from "./prober.js";

type Id = readonly [string, ...string[]];
type Ports = readonly [number, number];

/** Parents before children. */
const CONTAINERS: { id: Id; ports: Ports }[] = [
  { id: ["by"], ports: [31000, 31009] },
  { id: ["pod"], ports: [31010, 31029] },
  { id: ["pod", "child"], ports: [31010, 31019] },
  { id: ["counted"], ports: [31030, 31031] },
  { id: ["counted", "in"], ports: [31030, 31030] },
];

const TOTALS = ["net_rx_packets", "net_rx_bytes", "net_tx_packets", "net_tx_bytes"] as const;
/** Of a datagram of the prober: 100 bytes, and its headers. */
const DATAGRAM = 128n;

/** Everything of a summary that only grows. */
function countersOf({ statistics, denied = [], events_lost: lost = 0n }: Summary): Record<string, bigint> {
  return {
    ...Object.fromEntries(TOTALS.map((name) => [name, statistics?.[name] ?? 0n])),
    ...Object.fromEntries(denied.map(({ name = "", count = 0n }) => [name, count])),
    lost,
  };
}

export class Bystanders {
  private readonly tasks: [Id, Prober][] = [
    [["by"], Prober.spawn("verdicts", 31000, 31010, 8080)],
    [["pod", "child"], Prober.spawn("verdicts", 31010, 31020, 8080)],
    [["counted", "in"], Prober.spawn("count", 31030)],
  ];
  private last = new Map<string, Record<string, bigint>>();

  async launch(daemon: CrashDaemon): Promise<void> {
    for (const { id, ports } of CONTAINERS) await daemon.prepare(id, ports);
    for (const [id, task] of this.tasks) {
      await daemon.isolate(id, task.pid);
      await task.begin();
    }
  }

  /** Fails where one is not as it was, was judged wrongly, or is counted less than before. */
  async check(daemon: CrashDaemon): Promise<void> {
    for (const [id, task] of this.tasks) {
      const { wrong, first } = await task.report();
      assert.equal(wrong, 0, `${id.join(".")}: ${first.join("\n")}`);
    }
    const list = await daemon.list();
    for (const { id, ports } of CONTAINERS) {
      const name = id.join(".");
      const summary = list.get(name);
      assert(summary, `the daemon knows ${name}`);
      assert.deepEqual(
        summary.ports?.map(({ begin, end }) => [Number(begin), Number(end)]),
        [ports],
        name,
      );
      const now = countersOf(summary);
      for (const [counter, before] of Object.entries(this.last.get(name) ?? {})) {
        assert(
          (now[counter] ?? 0n) >= before,
          `${counter} of ${name} went from ${before} to ${now[counter]}`,
        );
      }
      this.last.set(name, now);
    }
  }

  /** Ends the tasks and compares what was counted with what was sent, then removes the containers. */
  async end(daemon: CrashDaemon): Promise<void> {
    await this.check(daemon);
    for (const [id, task] of this.tasks) {
      const { rounds, wrong, first } = await task.end();
      assert.equal(wrong, 0, `${id.join(".")}: ${first.join("\n")}`);
      if (id[0] !== "counted") continue;
      const sent = BigInt(rounds);
      for (const level of [["counted"], ["counted", "in"]] as const) {
        const usage = await daemon.usage(level);
        assert.deepEqual(
          TOTALS.map((name) => usage[name]),
          [sent, sent * DATAGRAM, sent, sent * DATAGRAM],
          `${level.join(".")}: each of ${sent} datagrams is counted once`,
        );
      }
    }
    for (const { id } of [...CONTAINERS].reverse()) await daemon.cleanup(id);
  }
}
