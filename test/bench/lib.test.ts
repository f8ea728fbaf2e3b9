/** The arithmetic under the benchmarks' tables: a mistake there would look like a measurement. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Phases } from "./lib/phases.js";
import { alignedRanges } from "./lib/portmapping.js";
import { abbaRounds, pairs, quantile, spread } from "./lib/stats.js";
import { figure, table } from "./lib/table.js";

describe("spread", () => {
  it("interpolates quartiles", () => {
    const { n, min, q1, median, q3, max } = spread([4, 1, 3, 2]);
    assert.deepEqual([n, min, q1, median, q3, max], [4, 1, 1.75, 2.5, 3.25, 4]);
  });

  it("gives an interval of the median that narrows with the number of values", () => {
    const values = Array.from({ length: 101 }, (_, index) => index);
    const { low, high } = spread(values);
    assert.deepEqual([low, high], [40, 60]);
    assert.deepEqual([spread([5]).low, spread([5]).high], [5, 5]);
  });

  it("refuses no values", () => {
    assert.throws(() => spread([]), /no values/);
  });
});

it("interpolates quantiles", () => {
  assert.deepEqual(
    [0, 0.5, 0.99, 1].map((share) => quantile([30, 10, 20], share)),
    [10, 20, 29.8, 30],
  );
});

it("counts a method for its phase, once, and only while something is timed", async () => {
  class Thing {
    async outer(): Promise<void> {
      await sleep(5);
      this.inner();
    }
    inner(): void {
      for (const end = performance.now() + 5; performance.now() < end;);
    }
  }
  const phases = new Phases();
  phases.watch("outer", Thing.prototype, "outer");
  phases.watch("inner", Thing.prototype, "inner");
  const thing = new Thing();
  const nested = await phases.time(() => thing.outer());
  assert.deepEqual([...nested.phases.keys()], ["outer"]);
  assert.ok((nested.phases.get("outer") ?? 0) >= 9 && nested.total >= (nested.phases.get("outer") ?? 0));
  thing.inner();
  const both = await phases.time(async () => {
    await thing.outer();
    thing.inner();
  });
  assert.deepEqual([...both.phases.keys()], ["outer", "inner"]);
});

describe("abbaRounds", () => {
  it("runs every variant once forwards and once backwards in each round", () => {
    for (const round of abbaRounds(["a", "b", "c", "d"], 8)) {
      assert.deepEqual(round.slice(4), round.slice(0, 4).toReversed());
      assert.deepEqual(round.slice(0, 4).toSorted(), ["a", "b", "c", "d"]);
    }
  });

  it("makes at least the pairs asked for, in orders that differ and are the same in each run", () => {
    assert.equal(abbaRounds(["a"], 5).length, 3);
    const first = abbaRounds(["a", "b", "c", "d"], 40);
    assert.deepEqual(first, abbaRounds(["a", "b", "c", "d"], 40));
    assert.ok(new Set(first.map((round) => round.join(""))).size > 5);
  });

  it("cancels a steady drift in the mean of the pairs", () => {
    // The machine gets 1 ns slower with each sample; all variants are the same.
    let now = 1000;
    const times = new Map<string, number[]>([
      ["a", []],
      ["b", []],
    ]);
    for (const variant of abbaRounds(["a", "b"], 40).flat()) times.get(variant)?.push(now++);
    const differences = pairs(times.get("a") ?? [], times.get("b") ?? [], (a, b) => a - b);
    assert.equal(
      differences.reduce((sum, value) => sum + value, 0),
      0,
    );
  });
});

it("splits port ranges as Mesos's getPortRanges() does", () => {
  const spelled = (begin: number, end: number) =>
    alignedRanges(begin, end).map((range) => `${range.begin}/${range.mask.toString(16)}`);
  assert.deepEqual(spelled(31000, 31005), ["31000/fffc", "31004/fffe"]);
  assert.deepEqual(spelled(32768, 33791), ["32768/fc00"]);
  assert.deepEqual(spelled(7, 7), ["7/ffff"]);
  assert.deepEqual(spelled(1, 6), ["1/ffff", "2/fffe", "4/fffe", "6/ffff"]);
});

it("writes figures with a sensible number of decimals", () => {
  assert.deepEqual([1234.56, 12.345, 0.123, -5.4].map(figure), ["1235", "12.3", "0.12", "−5.40"]);
  assert.equal(table(["a", "b"], [["1", "2"]]), "| a | b |\n| :-- | --: |\n| 1 | 2 |");
});
