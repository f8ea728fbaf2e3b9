/**
 * Bandwidth: what a container's traffic comes to over a veth, in bytes of the IP layer a second. The machine may be busy
 * and the kernel emulated, so bounds are generous; bench:bandwidth has exact ones. What a limit keeps from being more is
 * bounded closely: a busy machine makes it less, never more.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { REASONS } from "../../isolator/features/accounting.js";
import type { BandwidthPolicy } from "../../isolator/features/bandwidth.js";
import {
  Held,
  jain,
  Link,
  SINK,
  SOURCE,
  THERE,
  THERE6,
  traffic,
  BANDWIDTH,
  type Datagrams,
  type Flows,
} from "../support/bandwidth.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { inNode } from "../support/process.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
let link: Link;
let next = 0;

before(async () => {
  link = await Link.create();
});
after(() => {
  link.close();
});

const MBIT = 125_000;

function limited(
  bandwidth: BandwidthPolicy,
  parent?: Cell,
  more: Parameters<typeof policy>[1] = {},
): Promise<Cell> {
  const name = `c${next++}`;
  return cell(
    parent ? [...parent.container.id, name] : [name],
    policy(parent ? undefined : "", { bandwidth, ...more }),
    parent,
  );
}

interface Measured {
  /** Of the rate: what left, or came, in the time. */
  share: number;
  /** The same in all the time that the program ran: some comes while it still connects. */
  whole: number;
  flows: Flows;
}

/** @param rate bytes/s that it is measured by */
async function measure(box: Cell, words: string, rate: number): Promise<Measured> {
  const count = (): number => {
    const { txBytes, rxBytes } = box.container.counts.usage();
    return Number(words.startsWith("receive") ? rxBytes : txBytes);
  };
  const begun = count();
  const time = process.hrtime.bigint();
  const flows = await traffic<Flows>(box.container.node, words);
  const bytes = count() - begun;
  const whole = bytes / (Number(process.hrtime.bigint() - time) / 1e9) / rate;
  return { share: bytes / (flows.ms / 1000) / rate, whole, flows };
}

const tcp = (flows: number, ms: number, more = "", to = THERE): string =>
  `send to=${to} port=${SINK} flows=${flows} ms=${ms} ${more}`.trim();
const udp = (ms: number, more = "", to = THERE): string => `udp to=${to} port=9 ms=${ms} ${more}`.trim();

describe("egress of TCP", () => {
  it("is far above the limit where there is none, so that the others could fail", async () => {
    const box = await limited({});
    const { share } = await measure(box, tcp(1, 500), 20 * MBIT);
    assert(share > 2, `${share} of 20 Mbit/s`);
  });

  for (const flows of [1, 4, 16]) {
    it(`is the limit, with no retransmission, and each of ${flows} flows has the same`, async () => {
      const box = await limited({ egress: { rate: 20 * MBIT } });
      const { share, flows: told } = await measure(box, tcp(flows, 1200), 20 * MBIT);
      assert(share > 0.7 && share < 1.12, `${share} of the limit`);
      // A busy machine answers so late that a sender may think something lost.
      assert.equal(told.retransmitted - told.needless, 0);
      assert(jain(told.bytes) > 0.9, told.bytes.join());
      // What 16 connections send at once before they hear anything is nearly a tenth of a second's worth.
      const first = (told.first * 1500) / 1448 / (20 * MBIT);
      assert(first < (flows === 16 ? 1.15 : 1.05), `${first} of the limit in the first second`);
      const use = box.container.counts.bandwidth();
      assert.equal(use?.egress.rate, 20 * MBIT);
      assert(use.egress.throttled > 0);
      assert.equal(use.egress.droppedPackets, 0n);
    });
  }

  it("gives what slow flows leave to the others", async () => {
    const box = await limited({ egress: { rate: 40 * MBIT } });
    // Two of 0.8 Mbit/s each: were all four to have the same, the fast ones had half of the limit.
    const { flows } = await measure(box, tcp(4, 1200, "slow=2"), 40 * MBIT);
    const fast = ((flows.bytes[2] ?? 0) + (flows.bytes[3] ?? 0)) / (flows.ms / 1000);
    assert(fast > 0.6 * 40 * MBIT, `${fast / MBIT} Mbit/s of 40`);
    const { flows: left } = await measure(box, tcp(4, 600, "stop=2 more=600"), 40 * MBIT);
    // An emulated machine beside another may not come to send within so short a time.
    if (process.env["BPF_ISOLATOR_VM"] !== undefined) return;
    assert(left.rest > 0.75 * 40 * MBIT, `${left.rest / MBIT} Mbit/s of 40 from 100 ms after two stopped`);
  });

  it("departs by time where the device has sch_fq, and then nothing is dropped", async (t) => {
    try {
      sh("tc", "qdisc", "add", "dev", "near", "root", "fq");
    } catch {
      t.skip("this kernel has no sch_fq");
      return;
    }
    try {
      const box = await limited({ egress: { rate: 20 * MBIT }, departures: true });
      const { share, flows } = await measure(box, tcp(4, 1200), 20 * MBIT);
      assert(share > 0.7 && share < 1.15, `${share} of the limit`);
      assert(jain(flows.bytes) > 0.5, flows.bytes.join());
      // Its socket waits for room: without departure times most of them were dropped.
      const { share: rest } = await measure(box, udp(700), 20 * MBIT);
      assert(rest > 0.7 && rest < 1.25, `${rest} of the limit`);
      assert.equal(box.container.counts.bandwidth()?.egress.droppedPackets, 0n);
    } finally {
      sh("tc", "qdisc", "del", "dev", "near", "root");
    }
  });

  it("cannot be had more of by a pacing rate or a congestion control of the task's own, nor by IPv6", async () => {
    const box = await limited({ egress: { rate: 20 * MBIT } });
    const { share: paced } = await measure(box, tcp(2, 500, `pace=${500 * MBIT}`, THERE6), 20 * MBIT);
    assert(paced > 0.3 && paced < 1.2, `${paced} of the limit with a pacing rate above it, by IPv6`);
    // Those that the kernel has: it loads them when asked.
    for (const name of ["reno", "cubic", "bbr", "dctcp"]) {
      const words = tcp(2, 500, `cc=${name}`, `::ffff:${THERE}`);
      const { share } = await measure(box, words, 20 * MBIT).catch((error: unknown) => {
        assert(name !== "reno" && String(error).includes("TCP_CONGESTION"), String(error));
        return { share: 1 };
      });
      assert(share > 0.3 && share < 1.2, `${share} of the limit with ${name}`);
    }
    const { flows } = await measure(box, tcp(1, 700, `pace=${2 * MBIT}`), 20 * MBIT);
    const rate = (flows.bytes[0] ?? 0) / (flows.ms / 1000);
    assert(rate < 4 * MBIT, `a flow that asks for 2 Mbit/s has ${rate / MBIT}`);
  });

  it("cannot be had more of by connections that end before they are paced", async () => {
    const box = await limited({ egress: { rate: 10 * MBIT } });
    const { ms } = await traffic<{ ms: number }>(
      box.container.node,
      `short to=${THERE} port=${SINK} ms=2500`,
    );
    const { txBytes, txPackets } = box.container.counts.usage();
    const { droppedPackets = 0n } = box.container.counts.bandwidth()?.egress ?? {};
    // SYN, ACK and RST always pass, and there are the more of them the faster the machine: they are shorter than that.
    const sent = Number(txBytes - 120n * txPackets) / (10 * MBIT);
    assert(sent < ms / 1000 + 2, `${sent} seconds' worth in ${ms} ms`);
    assert(process.env["BPF_ISOLATOR_VM"] !== undefined || droppedPackets > 0n, "it never came to drops");
  });

  it("may be more than 32 bits of bytes/s, which a connection's pacing rate cannot be", async () => {
    // Cut to 32 bits they are 10,000 bytes/s and none at all.
    for (const rate of [2 ** 32 + 10_000, 2 ** 32]) {
      const box = await limited({ egress: { rate } });
      const { share } = await measure(box, tcp(2, 300), 20 * MBIT);
      assert(share > 1, `${share} of 20 Mbit/s under a limit of ${rate}`);
    }
  });

  it("changes within a second, for connections that are there, and ends", async () => {
    const box = await limited({ egress: { rate: 100 * MBIT } });
    const [file = "", ...args] = inNode(box.container.node, [
      BANDWIDTH,
      ...tcp(2, 8000, "report=1").split(" "),
    ]);
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    const rateOf = async (ms: number): Promise<number> => {
      const begun = box.container.counts.usage().txBytes;
      const time = process.hrtime.bigint();
      await new Promise((resolve) => setTimeout(resolve, ms));
      return (
        Number(box.container.counts.usage().txBytes - begun) / (Number(process.hrtime.bigint() - time) / 1e9)
      );
    };
    try {
      await once(child.stdout, "data");
      await rateOf(200);
      const before = await rateOf(300);
      await box.container.update({ ...box.container.policy, bandwidth: { egress: { rate: 10 * MBIT } } });
      await rateOf(1000);
      const limited = await rateOf(500);
      assert(limited < 13 * MBIT && limited > 5 * MBIT, `${limited / MBIT} of 10, before ${before / MBIT}`);
      const without = { ...box.container.policy };
      delete without.bandwidth;
      await box.container.update(without);
      await rateOf(300);
      const free = await rateOf(300);
      assert(free > 20 * MBIT, `${free / MBIT} without a limit`);
      assert.equal(child.exitCode, null, "a connection of it failed");
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("holds connections that are older than the limit", async () => {
    const young = await cell([`c${next++}`], policy(""));
    const [file = "", ...args] = inNode(young.container.node, [
      BANDWIDTH,
      ...tcp(2, 6000, "report=1").split(" "),
    ]);
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(child.stdout, "data");
      await young.container.update({ ...young.container.policy, bandwidth: { egress: { rate: 10 * MBIT } } });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const begun = young.container.counts.usage().txBytes;
      const time = process.hrtime.bigint();
      await new Promise((resolve) => setTimeout(resolve, 500));
      const sent = Number(young.container.counts.usage().txBytes - begun);
      const rate = sent / (Number(process.hrtime.bigint() - time) / 1e9);
      assert(rate < 14 * MBIT, `${rate / MBIT} of 10`);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

describe("egress of all else", () => {
  it("is dropped as by a full queue: no error, ENOBUFS for who asks, and an event", async () => {
    const box = await limited({ egress: { rate: 10 * MBIT } });
    const { share } = await measure(box, udp(700), 10 * MBIT);
    // What a sender does that has no CPU for it is less.
    assert(share > 0.2 && share < 1.15, `${share} of the limit`);
    const plain = await traffic<Datagrams>(box.container.node, udp(300));
    assert.deepEqual([plain.full, plain.denied, plain.again, plain.other], [0, 0, 0, 0]);
    const raw = await measure(box, udp(300, "raw=1"), 10 * MBIT);
    assert(raw.share > 0.2 && raw.share < 1.25, `what a raw socket calls TCP: ${raw.share} of the limit`);
    const told = await traffic<Datagrams>(box.container.node, udp(300, "recverr=1 connect=1"));
    assert(told.full > 0 && told.denied === 0, JSON.stringify(told));
    const { txDropped, denied } = box.container.counts.usage();
    const use = box.container.counts.bandwidth();
    assert(use && use.egress.droppedPackets > 0n);
    assert.equal(txDropped, use.egress.droppedPackets);
    assert.equal(denied.bandwidth, 0n);
    assert.deepEqual(
      box.poll().map(({ reason }) => REASONS[reason]),
      ["bandwidth"],
    );
  });

  it("is EPERM, or EAGAIN of an unconnected socket, where the policy says so", async () => {
    // An emulated machine sends few.
    const slow = { rate: MBIT, burst: 3000 };
    const eperm = await limited({ egress: slow, onFull: "eperm" });
    const refused = await traffic<Datagrams>(eperm.container.node, udp(300));
    assert(refused.denied > 0 && refused.again === 0, JSON.stringify(refused));
    assert(eperm.container.counts.usage().denied.bandwidth > 0n);
    const eagain = await limited({ egress: slow, onFull: "eagain" });
    for (const to of [THERE, THERE6]) {
      const later = await traffic<Datagrams>(eagain.container.node, udp(200, "", to));
      assert(later.again > 0 && later.denied === 0, JSON.stringify(later));
    }
    // There is no room still, and these need none.
    await Promise.all([
      traffic<Datagrams>(eagain.container.node, udp(600)),
      ...["127.0.0.1", "::1", "::ffff:127.0.0.1"].map(async (to) => {
        const local = await traffic<Datagrams>(eagain.container.node, udp(300, "", to));
        assert(local.sent > 0 && local.again === 0, `${to}: ${JSON.stringify(local)}`);
      }),
    ]);
  });

  it("shares the limit with TCP, and neither starves", async () => {
    const box = await limited({ egress: { rate: 20 * MBIT } });
    const [{ share, flows }] = await Promise.all([
      measure(box, tcp(2, 1200), 20 * MBIT),
      traffic<Datagrams>(box.container.node, udp(1200)),
    ]);
    assert(share < 1.15, `${share} of the limit`);
    const acked = flows.bytes.reduce((sum, bytes) => sum + bytes, 0) / (flows.ms / 1000) / (20 * MBIT);
    assert(acked > 0.2 && acked < 0.8, `TCP has ${acked}`);
  });

  it("is counted only, where the container is audited", async () => {
    const box = await limited({ egress: { rate: 10 * MBIT } }, undefined, { enforce: "audit" });
    const { share } = await measure(box, udp(200), 10 * MBIT);
    assert(share > 1.5, `${share} of the limit`);
    assert(box.container.counts.usage().audited.bandwidth > 0n);
    const { share: bulk, flows } = await measure(box, tcp(2, 300), 10 * MBIT);
    // Over a way without delay much passes whatever a socket is paced to.
    assert.deepEqual(flows.pacing, [-1, -1]);
    assert(bulk > 1.5, `TCP has ${bulk} of the limit`);
    assert.equal(box.container.counts.bandwidth()?.egress.droppedPackets, 0n);
    const inward = await limited({ ingress: { rate: 10 * MBIT } }, undefined, { enforce: "audit" });
    // One that receives fast has its window made larger by the kernel, whatever it was bound to.
    const held = await Held.connect(inward.container.node, `to=${THERE} port=${SINK} flows=1`);
    try {
      const words = `receive to=${THERE} port=${SOURCE} flows=2 ms=300`;
      const { share: come } = await measure(inward, words, 10 * MBIT);
      const [window = 0] = (await held.send()).clamps;
      assert(window > 60_000, `a window of ${window} bytes is all that is offered`);
      assert(come > 1.5, `${come} of the limit is received`);
    } finally {
      held.close();
    }
  });
});

describe("ingress", () => {
  for (const [flows, ecn] of [
    [1, 0],
    [4, 0],
    [16, 0],
    [4, 1],
  ] as const) {
    it(`of TCP is the limit, with ${flows} flows${ecn ? " that are told by ECN" : ""}`, async () => {
      for (const host of [sh, link.far.run.bind(link.far)]) host("sysctl", "-qw", `net.ipv4.tcp_ecn=${ecn}`);
      const box = await limited({ ingress: { rate: 20 * MBIT } });
      const words = `receive to=${THERE} port=${SOURCE} flows=${flows} ms=1200`;
      const { share, whole, flows: told } = await measure(box, words, 20 * MBIT);
      // On a kernel that is emulated, senders wait for their timers most of the time.
      const vm = process.env["BPF_ISOLATOR_VM"] !== undefined;
      assert(share > (vm ? 0.05 : 0.5) && whole < 1.25, `${share}, ${whole} of the limit`);
      // The first to come has all of the burst, since it is alone then.
      const mean = told.bytes.reduce((sum, bytes) => sum + bytes, 0) / flows;
      assert(vm || Math.min(...told.bytes) > mean / 5, told.bytes.join());
      const marked = box.container.counts.bandwidth()?.ingress.marked ?? 0n;
      assert(ecn ? marked > 0n : marked === 0n, `${marked} packets are marked`);
    });
  }
});

describe("limits of several", () => {
  it("hold for a nested container, its own and its parent's", async () => {
    const parent = await limited({ egress: { rate: 20 * MBIT } });
    const tight = await limited({ egress: { rate: 5 * MBIT } }, parent);
    const wide = await limited({ egress: { rate: 100 * MBIT } }, parent);
    const own = await measure(tight, tcp(2, 700), 5 * MBIT);
    assert(own.share < 1.2, `${own.share} of its own limit`);
    const above = await measure(wide, tcp(2, 700), 20 * MBIT);
    assert(above.share < 1.15, `${above.share} of its parent's`);
    // What its parent's limit drops, a child has counted as sent before.
    for (const box of [wide, tight]) {
      const begun = parent.container.counts.usage().txBytes;
      const { ms } = await traffic<Datagrams>(box.container.node, udp(500));
      const share = Number(parent.container.counts.usage().txBytes - begun) / (ms / 1000) / (20 * MBIT);
      assert(share < (box === wide ? 1.2 : 0.35), `${share} of the parent's limit`);
    }
    // What a child drops of what comes, its parent has not received either.
    const outer = await limited({ ingress: { rate: 100 * MBIT } });
    const below = await limited({ ingress: { rate: 5 * MBIT, burst: 3000 } }, outer);
    await traffic<Flows>(below.container.node, `receive to=${THERE} port=${SOURCE} flows=4 ms=400`);
    const [child, both] = [below, outer].map(({ container }) => container.counts);
    assert((child?.bandwidth()?.ingress.droppedPackets ?? 0n) > 0n);
    assert.equal(both?.usage().rxBytes, child?.usage().rxBytes);
  });

  it("leave the loopback device alone, unless it counts", async () => {
    const local = (more: string): string => `udp to=127.0.0.1 port=9 ms=300 ${more}`.trim();
    const box = await limited({ egress: { rate: 10 * MBIT } });
    const free = await measure(box, local("size=1000"), 10 * MBIT);
    assert(free.share > 1.5, `${free.share} of the limit`);
    const counted = await limited({ egress: { rate: 10 * MBIT }, loopback: true });
    const held = await measure(counted, local("size=1000"), 10 * MBIT);
    assert(held.share < 1.25, `${held.share} of the limit`);
  });

  it("come from the host's budget, by weight, and one has what another leaves", async () => {
    const one = await limited({ weight: 1 });
    const three = await limited({ weight: 3 });
    instance.setHostBandwidth({ egress: { rate: 40 * MBIT } });
    try {
      const alone = await measure(one, tcp(2, 900), 40 * MBIT);
      const least = process.env["BPF_ISOLATOR_VM"] === undefined ? 0.5 : 0.03;
      assert(alone.share > least && alone.share < 1.15, `alone it has ${alone.share} of the budget`);
      const [less, more] = await Promise.all([
        measure(one, tcp(2, 1800), 40 * MBIT),
        measure(three, tcp(2, 1800), 40 * MBIT),
      ]);
      assert(less.share + more.share < 1.15, `both have ${less.share + more.share} of the budget`);
      const ratio = more.share / less.share;
      assert(ratio > 1.7 && ratio < 5, `${more.share} by weight 3, ${less.share} by weight 1`);
    } finally {
      instance.setHostBandwidth(undefined);
    }
  });
});
