/** What is kept of a container's last 15 minutes, and how much memory that takes. */
// not in the VM: nothing of the kernel is in it
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { History, INTERVAL, POINTS } from "../../isolator/operator/history.js";

const counts = (received: number, denied = 0) => ({ received, sent: 0, connections: 2, denied });

describe("the history of containers", () => {
  it("is of 15 minutes, and as large after a day as after them: 4.8 KB a container", () => {
    assert.equal(POINTS * INTERVAL, 15 * 60_000);
    const history = new History();
    for (let round = 0; round < 2 * POINTS + 7; round++) {
      history.begin(round * INTERVAL);
      for (let i = 0; i < 1_000; i++) history.add(`c${i}`, round * INTERVAL, counts(round * 3_000));
      history.end();
    }
    assert.equal(history.bytes, 4_800_000);
    const { received, connections } = history.readPast("c7");
    assert.deepEqual([received.length, new Set(received)], [POINTS, new Set([1_000])]);
    assert.deepEqual(new Set(connections), new Set([2]));
    const times = history.readTimes();
    assert.deepEqual([times.length, times[0], times.at(-1)], [POINTS, 307 * INTERVAL, 606 * INTERVAL]);
  });

  it("forgets who is gone, and knows nothing of when somebody was not there", () => {
    const history = new History();
    const round = (time: number, ...present: [string, ReturnType<typeof counts>][]): void => {
      history.begin(time);
      for (const [name, count] of present) history.add(name, time, count);
      history.end();
    };
    round(0, ["old", counts(0)]);
    round(1_000, ["old", counts(500, 3)], ["young", counts(10)]);
    assert.deepEqual(history.readPast("old").received, [null, 500]);
    assert.deepEqual(history.readPast("old").denied, [null, 3]);
    assert.deepEqual(history.readPast("young").connections, [null, 2]);
    // Another container of this name, which has counted less.
    round(2_000, ["old", counts(100)]);
    assert.deepEqual(history.readPast("old").received, [null, 500, 0]);
    assert.deepEqual(history.readPast("young").connections, [null, null, null]);
    assert.equal(history.bytes, 4_800);
  });
});
