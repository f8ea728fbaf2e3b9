/**
 * A life cycle that ends and begins again in this process: the kernel-facing half of a daemon's restart, on every kernel of
 * the lab. With processes and their kills it is tested in test/daemon/.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import type { Config } from "../../isolator/config/schema.js";
import { EventLog } from "../../isolator/containers/event-log.js";
import { Instance } from "../../isolator/containers/instance.js";
import { Isolator } from "../../isolator/containers/isolator.js";
import { totalDenied } from "../../isolator/features/accounting.js";
import { mesos } from "../../isolator/mesos/messages.js";
import { Held } from "../support/bandwidth.js";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();

const config = (text: string): Config => parseConfig(Buffer.from(text), "isolator.yaml").config;

function containerConfig(begin: bigint, end: bigint): mesos.slave.ContainerConfig {
  const ports = { name: "ports", type: mesos.Value.Type.RANGES, ranges: { range: [{ begin, end }] } };
  return { directory: "/tmp", command_info: {}, resources: [ports] };
}

describe("a life cycle that begins again", () => {
  it("takes containers up with their programs and counts, and attaches what another configuration asks for", async () => {
    const instance = instanceName();
    const start = (text: string): Promise<Isolator> =>
      Isolator.start(Instance.open(instance), config(text), new EventLog());
    // Attempts' peers leave the node.
    let isolator = await start("escape: allow\nephemeral: clients\n");
    await isolator.prepare(["web"], containerConfig(31000n, 31009n));
    await isolator.prepare(["web", "child"], containerConfig(31000n, 31000n));
    const tries = async (words: string): Promise<number> => {
      const node = isolator.find(["web", "child"])?.container?.node;
      assert(node);
      return (await attempt(words, node)).status;
    };
    const denied = (): bigint =>
      totalDenied(isolator.find(["web", "child"])?.container?.counts.usage().denied ?? assert.fail());
    assert.deepEqual([await tries("bind port=31000"), await tries("bind port=8080")], [0, 1]);
    for (const text of [
      "escape: allow\nephemeral: clients\n",
      "escape: allow\nephemeral: clients\nsockets: {raw: deny, packet: deny, received: deny}\n",
      "escape: allow\nephemeral: clients\n",
    ]) {
      const before = denied();
      await isolator.stop();
      isolator = await start(text);
      assert.equal(denied(), before, "counts go on");
      assert.deepEqual([await tries("bind port=31000"), await tries("bind port=31001")], [0, 1], text);
      // Unreachable without BPF LSM, refused with it: by a program that is attached once, and judges.
      assert.equal(await tries("listen-unbound"), 1, text);
      const refused = text.includes("sockets");
      // A configuration that changed meanwhile is applied after the start.
      await until(
        () => (isolator.find(["web", "child"])?.container?.policy.sockets?.raw === "deny") === refused,
        "the new configuration is in use",
      );
      assert.equal(await tries("socket create=raw-icmp"), refused ? 1 : 0, text);
    }
    await isolator.cleanup(["web"]);
    await isolator.stop();
    assertNothingLeft(instance);
  });

  it("has connections that are older than a limit follow it still", async () => {
    const instance = instanceName();
    const limited = (rate: string): string =>
      `escape: allow\nbandwidth: { default: { egress: ${rate} }, loopback: count }\n`;
    let own = Instance.open(instance);
    let isolator = await Isolator.start(own, config("escape: allow\n"), new EventLog());
    await isolator.prepare(["web"], containerConfig(31000n, 31009n));
    const container = isolator.find(["web"])?.container ?? assert.fail();
    const sink = createServer((peer) => peer.resume()).listen(0, "127.0.0.1");
    await once(sink, "listening");
    const { port } = sink.address() as AddressInfo;
    const held = await Held.connect(container.node, `to=127.0.0.1 port=${port} flows=1`);
    // A level is at most a quarter above the rate.
    const follows = (mbit: number): Promise<unknown> =>
      until(async () => {
        const [rate = 0] = (await held.send()).pacing;
        return rate > 0 && rate <= mbit * 125_000 * 1.25;
      }, `it follows ${mbit} Mbit/s`);
    try {
      await isolator.reconfigure(config(limited("40Mbit")));
      await follows(40);
      // A process that ends looks no more.
      await own.older.delete(container.cgroupId);
      await isolator.stop();
      own = Instance.open(instance);
      isolator = await Isolator.start(own, config(limited("8Mbit")), new EventLog());
      await follows(8);
    } finally {
      held.close();
      sink.close();
    }
    await isolator.cleanup(["web"]);
    await isolator.stop();
    assertNothingLeft(instance);
  });
});
