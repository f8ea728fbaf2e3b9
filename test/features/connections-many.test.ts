/** Many connections of every kind, by threads: what is counted at their end. */
// not in the VM: it waits for minutes there for timewait that a cloud kernel cannot end, and adds only numbers
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Connector, Listener, receiver } from "../support/connections.js";
import { policy, testInstance } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { cell } = testInstance();
/** A cycle of each kind by each of 8 threads makes 9 * 8. */
const KINDS = [
  ...["close", "abort", "mptcp", "udp", "udplite", "unspec", "nonblock", "fast", "ring"],
] as const;
const THREADS = 8;
/** The issue's own size takes minutes: CONNECTION_CYCLES=1000000. */
const CYCLES = Number(process.env["CONNECTION_CYCLES"] ?? 8_000);

describe("many connections", () => {
  it(`of every kind, by ${THREADS} threads, leave a count of 0`, async () => {
    const peer = await Listener.start("127.0.0.1", false, true);
    const udp = await receiver();
    const { container } = await cell(["many"], policy("", { connections: { max: 1_000_000 } }));
    const task = Connector.start(container.node);
    const live = (): number => container.counts.connections()?.live ?? -1;
    const held = (): number => container.counts.connections()?.held ?? -1;
    const each = Math.ceil(CYCLES / KINDS.length / THREADS);
    for (const kind of KINDS) {
      const port = kind.startsWith("udp") ? udp : peer.port;
      const answer = await task.tell(`cycles ${THREADS} ${each} ${kind} 127.0.0.1 ${port}`);
      const [connected = 0, refused = 0] = answer as number[];
      assert(connected > 0, kind);
      assert.equal(refused, 0, kind);
    }
    const gone = await Listener.start();
    await gone.close();
    const answer = await task.tell(`cycles ${THREADS} ${each} abort 127.0.0.1 ${gone.port}`);
    assert.deepEqual(answer, [0, 0, THREADS * each]);
    await until(() => live() === 0, "the last is gone", 90_000);
    sh("ss", "-K", "state", "time-wait");
    await until(async () => {
      await container.releaseClosed();
      return held() === 0;
    }, "and so is the last timewait", 150_000); // prettier-ignore
    assert.deepEqual(container.counts.destinations(), []);
    // Where nothing was given back too often, the next ones are counted from 0 on.
    assert.deepEqual(await task.tell(`hold 5 tcp 127.0.0.1 ${peer.port}`), [5, 0, 0]);
    assert.equal(live(), 5);
  });
});
