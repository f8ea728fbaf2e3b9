/** The agent's own address is under no limit of connections: from its handshake on, and for daemons that come after. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, ports } from "../support/agent.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start({
  config: "escape: allow\nconnections:\n  - to: { cidr: 127.0.0.0/8 }\n    limit: 1\n",
});
const agent = new Agent(daemon);

it("is exempt for containers that were there before, and stays so when the daemon starts again", async () => {
  const [own, other] = [await Listener.start(), await Listener.start()];
  await agent.prepare("web", { resources: [ports("31000")] });
  const { list } = await daemon.client.call({ type: bpf_isolator.Call.Type.LIST });
  const node = CgroupNode.open(list?.containers?.[0]?.cgroup ?? "");
  assert(node);
  const task = Connector.start(node);
  assert.equal((await task.connect(own.port)).result, "ok");
  assert.equal((await task.connect(own.port)).result, "EAGAIN", "without a handshake it is as any other");

  const address = { ip: "127.0.0.1", port: own.port };
  const handshake = { name: "test", mesos_version: "1.11.0", protocol_versions: [1], agent_address: address };
  await daemon.client.call({ type: bpf_isolator.Call.Type.HANDSHAKE, handshake });
  await until(async () => (await task.connect(own.port)).result === "ok", "the policy knows the agent");

  await daemon.restart();
  // A daemon that starts applies its configuration after its first answers: time and again, and never refused.
  for (let i = 0; i < 20; i++) assert.equal((await task.connect(own.port)).result, "ok");
  assert.equal((await task.connect(other.port)).result, "ok");
  assert.equal((await task.connect(other.port)).result, "EAGAIN", "others are limited");
  await task.kill();
});
