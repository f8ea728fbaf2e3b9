/** What watch() of the module gives an agent: limitations of a real daemon, and those that an agent would abort at. */
// not in the VM: it needs a built Mesos, and test/daemon/violations.test.ts has the kernel
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { before, it } from "node:test";
import { bpf_isolator, codecs, mesos } from "../../isolator/mesos/messages.js";
import { socketPath } from "../../isolator/protocol/client.js";
import { Agent, ports } from "../support/agent.js";
import { BadDaemon, httpAnswer } from "../support/bad-daemon.js";
import { CountingProxy, sizeOf } from "../support/counting-proxy.js";
import { TestDaemon } from "../support/daemon.js";
import { describeUnless } from "../support/describe.js";
import { buildModule, Module, SKIPPED, type Json } from "../support/module.js";
import { enterOwnNetwork } from "../support/network.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";

const { Type: CallType } = bpf_isolator.Call;
const { Type } = bpf_isolator.Response;

describeUnless(SKIPPED, "a limitation", async () => {
  enterOwnNetwork();
  const daemon = await TestDaemon.start({ config: "violations: { limit: 3, window: 600, action: kill }\n" });
  const agent = new Agent(daemon);
  before(buildModule);

  it("is handed on with reason, ports and a message, also where the connection was lost meanwhile", async () => {
    const proxy = new CountingProxy(socketPath(daemon.instance));
    await proxy.start();
    const module = await Module.load({ socket: proxy.path });
    assert.deepEqual((await module.recover([])).ready, {});
    const { streams = 0 } = await agent.facts();
    const tasks = new Map<string, Task>();
    const watches = new Map<string, number>();
    for (const [name, port] of [
      ["at-once", "31000-31001"],
      ["later", "31010"],
    ] as const) {
      assert.deepEqual((await module.prepare(name, { resources: [ports(port)] })).ready, {});
      watches.set(name, module.watch(name));
      const task = await Task.start();
      assert.deepEqual((await module.isolate(name, task.pid)).ready, {});
      tasks.set(name, task);
    }
    await until(async () => ((await agent.facts()).streams ?? 0) === streams + 2, "both are watched");
    const violate = async (name: string): Promise<void> => {
      for (let i = 0; i < 3; i++) assert.equal(await tasks.get(name)?.mayBind(31005), false);
      await until(() => daemon.events("violations", name).length > 0, "the third is one too many");
    };

    await violate("at-once");
    const { ready } = await module.outcome(watches.get("at-once") ?? 0);
    assert.equal(ready?.["reason"], "REASON_CONTAINER_LIMITATION");
    assert.match(String(ready["message"]), /container at-once: 3 refusals.*its ports are 31000-31001/);
    const [resource] = ready["resources"] as Json[];
    assert.equal(resource?.["name"], "ports");
    assert.deepEqual(resource["ranges"], { range: [{ begin: 31000, end: 31001 }] });

    proxy.cut();
    await violate("later");
    assert(module.isPending(watches.get("later") ?? 0), "a lost connection ends no container");
    proxy.mend();
    const late = await module.outcome(watches.get("later") ?? 0);
    assert.match(String(late.ready?.["message"]), /container later: 3 refusals/);

    for (const [name, task] of tasks) {
      await task.end();
      await module.of(name, "cleanup");
    }
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    await module.end();
  });

  it("that an agent could not take is made one that it can", async () => {
    const { REASON_CONTAINER_LIMITATION_MEMORY, REASON_CONTAINER_PREEMPTED } = mesos.TaskStatus.Reason;
    const { RANGES } = mesos.Value.Type;
    const held = { name: "ports", type: RANGES, ranges: { range: [{ begin: 31000n, end: 31001n }] } };
    const limitations: Record<string, mesos.slave.ContainerLimitation> = {
      reason: { reason: REASON_CONTAINER_PREEMPTED, message: "why", resources: [held] },
      resources: {
        reason: REASON_CONTAINER_LIMITATION_MEMORY,
        message: "why",
        resources: [held, { name: "ports", type: RANGES }],
      },
      // In two bytes each: the most that a message may have ends within one.
      message: { message: `x${"é".repeat(3000)}` },
      nothing: {},
    };
    const answer = (call: bpf_isolator.Call): Buffer => {
      const limitation = limitations[call.watch?.container_id?.value ?? ""];
      if (call.type === CallType.HANDSHAKE)
        return httpAnswer(codecs.Response.encode({ type: Type.HANDSHAKE, handshake: {} }));
      if (!limitation) return httpAnswer(codecs.Response.encode({ type: Type.RECOVER }));
      const record = Buffer.from(codecs.Response.encode({ type: Type.WATCH, watch: { limitation } }));
      const data = Buffer.concat([Buffer.from(`${record.length}\n`), record]);
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      return Buffer.concat([
        Buffer.from(`${head}${data.length.toString(16)}\r\n`),
        data,
        Buffer.from("\r\n"),
      ]);
    };
    const pending = new WeakMap<Socket, Buffer>();
    const bad = new BadDaemon({
      onData: (socket, data) => {
        const all = Buffer.concat([pending.get(socket) ?? Buffer.alloc(0), data]);
        const size = sizeOf(all);
        pending.set(socket, all.subarray(size));
        if (size > 0)
          socket.write(answer(codecs.Call.decode(all.subarray(all.indexOf("\r\n\r\n") + 4, size))));
      },
    });
    await bad.start();
    const module = await Module.load({ socket: bad.path });
    assert.deepEqual((await module.recover([])).ready, {});
    const ended: Record<string, Json> = {};
    for (const name of Object.keys(limitations)) ended[name] = (await module.of(name, "watch")).ready ?? {};

    assert.equal(ended["reason"]?.["reason"], "REASON_CONTAINER_LIMITATION", "with resources it is of three");
    assert.equal(ended["reason"]["message"], "why");
    assert.equal((ended["reason"]["resources"] as Json[]).length, 1);
    assert.equal(ended["resources"]?.["reason"], "REASON_CONTAINER_LIMITATION_MEMORY");
    assert.deepEqual(ended["resources"]["resources"] ?? [], [], "all or none");
    assert.equal(ended["message"]?.["message"], `x${"é".repeat(2047)}`, "cut, and no character in two");
    assert.match(String(ended["nothing"]?.["message"]), /gave no reason/);
    assert.equal(ended["nothing"]?.["reason"], "REASON_CONTAINER_LIMITATION");
    await module.end();
  });
});
