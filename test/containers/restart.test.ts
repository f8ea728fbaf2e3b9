/**
 * A life cycle that ends and begins again in this process: the kernel-facing half of a daemon's restart, on every kernel of
 * the lab. With processes and their kills it is tested in test/daemon/.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import type { Config } from "../../isolator/config/schema.js";
import { EventLog } from "../../isolator/containers/event-log.js";
import { Instance } from "../../isolator/containers/instance.js";
import { Isolator } from "../../isolator/containers/isolator.js";
import { totalDenied } from "../../isolator/features/accounting.js";
import { mesos } from "../../isolator/mesos/messages.js";
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
});
