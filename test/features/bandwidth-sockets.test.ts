/**
 * Bandwidth: connections that are half closed, or older than their limit, and what a share of the host's budget may come to.
 * What the kernel has of a socket is looked at rather than rates, wherever that tells as much.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { decode, u64Key } from "../../isolator/kernel/codec.js";
import { BANDWIDTH, Held, Link, SINK, SOURCE, THERE, traffic, type Flows } from "../support/bandwidth.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
/** A sink that closes its own way of each connection at once. */
const HALF = 32102;
const MBIT = 125_000;
let link: Link;
let next = 0;

before(async () => {
  link = await Link.create();
  await link.serve(link.far.command(BANDWIDTH, "sink", `port=${HALF}`, "half=1"));
});
after(() => {
  link.close();
});

const make = (rules: Parameters<typeof policy>[1]): Promise<Cell> =>
  cell([`c${next++}`], policy(undefined, rules));

/** What the programs have of one direction. */
function stateOf({ container: { cgroupId } }: Cell, side: "egress" | "ingress") {
  const value = instance.loaded.map("bandwidths").lookup(u64Key(cgroupId));
  assert(value);
  const { size } = layouts.structs.bandwidth_state;
  return decode(layouts.structs.bandwidth_state, side === "egress" ? value : value.subarray(size));
}

/** Whether sockets are paced to a level that follows from a rate, which is at most a quarter more. */
const isPaced = (pacing: readonly number[], rate: number): boolean =>
  pacing.every((each) => each > 0 && each <= rate * 1.25);

describe("a connection that is half closed", () => {
  it("by its peer is paced, counted once, and no sender any more when it has ended", async () => {
    const rate = 20 * MBIT;
    const box = await make({ bandwidth: { egress: { rate } } });
    const begun = box.container.counts.usage().txBytes;
    const flows = await traffic<Flows>(box.container.node, `send to=${THERE} port=${HALF} flows=3 ms=900`);
    const share = Number(box.container.counts.usage().txBytes - begun) / (flows.ms / 1000) / rate;
    assert(share > 0.6 && share < 1.15, `${share} of the limit`);
    assert(isPaced(flows.pacing, rate), `paced to ${flows.pacing.join()}`);
    const counted = ({ senders, senders_before }: ReturnType<typeof stateOf>) => [senders, senders_before];
    const three = counted(stateOf(box, "egress"));
    assert(
      three.every((senders) => senders <= 3n) && three.includes(3n),
      `${three.join(" and before ")} of 3`,
    );
    await traffic<Flows>(box.container.node, `send to=${THERE} port=${HALF} flows=1 ms=600`);
    assert.deepEqual(counted(stateOf(box, "egress")), [1n, 1n]);
  });

  it("by the container is held to what it may receive", async () => {
    const rate = 20 * MBIT;
    const box = await make({ bandwidth: { ingress: { rate } } });
    const begun = box.container.counts.usage().rxBytes;
    const time = process.hrtime.bigint();
    const words = `receive to=${THERE} port=${SOURCE} flows=2 ms=900 half=1`;
    const flows = await traffic<Flows>(box.container.node, words);
    const seconds = Number(process.hrtime.bigint() - time) / 1e9;
    const share = Number(box.container.counts.usage().rxBytes - begun) / seconds / rate;
    assert(share < 1.25, `${share} of the limit`);
    assert(Math.min(...flows.bytes) > 0, flows.bytes.join());
    const { senders, senders_before } = stateOf(box, "ingress");
    assert(senders <= 2n && senders_before <= 2n, `${senders}, before ${senders_before} of 2`);
  });
});

describe("a connection that is older than the limit", () => {
  for (const [port, how] of [
    [SINK, "whole"],
    [HALF, "half closed by its peer"],
  ] as const) {
    it(`and is ${how} is paced to it, to another that comes, and to none when there is none`, async () => {
      const box = await make({});
      const held = await Held.connect(box.container.node, `to=${THERE} port=${port} flows=2`);
      try {
        assert.deepEqual((await held.send()).pacing, [-1, -1]);
        for (const rate of [40 * MBIT, 8 * MBIT]) {
          await box.container.update({ ...box.container.policy, bandwidth: { egress: { rate } } });
          await until(async () => isPaced((await held.send()).pacing, rate), `they are paced by ${rate}`);
        }
        const without = { ...box.container.policy };
        delete without.bandwidth;
        await box.container.update(without);
        await until(
          async () => (await held.send()).pacing.every((each) => each === -1),
          "they are free again",
        );
      } finally {
        held.close();
      }
    });
  }
});

it("older connections of containers that get a limit while others' are looked for are paced too", async () => {
  const rate = 40 * MBIT;
  const boxes: Cell[] = [];
  const helds: Held[] = [];
  try {
    for (let i = 0; i < 8; i++) {
      const box = await make({});
      boxes.push(box);
      helds.push(await Held.connect(box.container.node, `to=${THERE} port=${SINK} flows=1`));
    }
    // Each while the look that the one before has asked for is under way.
    for (const { container } of boxes)
      await container.update({ ...container.policy, bandwidth: { egress: { rate } } });
    for (const held of helds)
      await until(async () => isPaced((await held.send()).pacing, rate), "it is paced");
  } finally {
    for (const held of helds) held.close();
  }
});

describe("a share of the host's budget", () => {
  it("is never more than the budget, whatever the weight and however few use it", async () => {
    const rate = 40 * MBIT;
    const [light, heavy] = [
      await make({ bandwidth: { weight: 1 } }),
      await make({ bandwidth: { weight: 1000 } }),
    ];
    instance.setHostBandwidth({ egress: { rate } });
    try {
      const shares: number[] = [];
      for (const box of [light, heavy]) {
        const held = await Held.connect(box.container.node, `to=${THERE} port=${SINK} flows=1`);
        try {
          for (let i = 0; i < 30; i++) {
            await held.send();
            shares.push(Number(stateOf(box, "egress").rate));
          }
        } finally {
          held.close();
        }
      }
      assert(
        shares.every((share) => share > 0 && share <= rate),
        `${shares.join()} of ${rate}`,
      );
    } finally {
      instance.setHostBandwidth(undefined);
    }
  });
});
