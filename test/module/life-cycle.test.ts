/** The module with a real daemon: an agent's calls from a real libprocess program, real processes, and daemons that die. */
// not in the VM: it needs a built Mesos, and the daemon's own tests have the kernel
import assert from "node:assert/strict";
import { before, it } from "node:test";
import { Agent, CPUS, ports } from "../support/agent.js";
import { CountingProxy } from "../support/counting-proxy.js";
import { TestDaemon } from "../support/daemon.js";
import { describeUnless } from "../support/describe.js";
import { hasLsm } from "../support/lsm.js";
import { buildModule, jsonId, Module, SKIPPED, type Outcome } from "../support/module.js";
import { enterOwnNetwork } from "../support/network.js";
import { socketPath } from "../../isolator/protocol/client.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";

describeUnless(SKIPPED, "the module with a daemon", async () => {
  enterOwnNetwork();
  const daemon = await TestDaemon.start();
  const agent = new Agent(daemon);
  const socket = socketPath(daemon.instance);
  let module: Module;

  before(async () => {
    buildModule();
    module = await Module.load({ socket });
    assert.deepEqual((await module.recover([])).ready, {});
  });

  it("supports nested and standalone containers, and says who the agent is", async () => {
    assert.equal(module.facts["nesting"], true);
    assert.equal(module.facts["standalone"], true);
    const { agent: handshake } = await agent.facts();
    assert.equal(handshake?.mesos_version, module.facts["mesos_version"]);
    assert.equal(handshake?.agent_address?.port, module.facts["port"]);
    assert.equal(handshake?.agent_address?.ip, module.facts["ip"]);
  });

  it("takes a container from prepare to cleanup", async () => {
    assert.deepEqual((await module.prepare("web", { resources: [CPUS, ports("31000-31001")] })).ready, {});
    const watch = module.watch("web");
    const task = await Task.start();
    assert.deepEqual((await module.isolate("web", task.pid)).ready, {});
    assert.equal(await task.mayBind(31000), true);
    assert.equal(await task.mayBind(31002), false);
    assert.deepEqual((await module.update("web", CPUS, ports("31002"))).ready, {});
    assert.equal(await task.mayBind(31002), true, "update() answers when it holds");
    const { ready: usage } = await module.of("web", "usage");
    assert.equal(typeof usage?.["net_rx_bytes"], "number");
    assert.equal(usage?.["timestamp"], undefined, "the agent's own time is kept");
    assert.deepEqual((await module.of("web", "status")).ready, {});
    assert(module.isPending(watch));
    await task.end();
    assert.deepEqual((await module.of("web", "cleanup")).ready, {});
    await until(async () => !(await agent.find("web")), "the daemon cleans it up");
  });

  it("shows the mark of a container as its class id, from what prepare() was answered", async () => {
    await daemon.reload("marking: [{ mark: 4242 }]");
    assert.deepEqual((await module.prepare("marked", { resources: [ports("31003")] })).ready, {});
    process.kill(daemon.pid, "SIGSTOP");
    try {
      const { ready } = await module.of("marked", "status");
      assert.deepEqual(ready, { cgroup_info: { net_cls: { classid: 4242 } } });
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
    await module.of("marked", "cleanup");
    assert.deepEqual((await module.of("marked", "status")).ready, {});
    await daemon.reload("");
  });

  it("says what the daemon refuses, in its words", async () => {
    await module.prepare("one", { resources: [ports("31005")] });
    const { failed } = await module.prepare("two", { resources: [ports("31005")] });
    assert.match(failed ?? "", /31005.*one.*\(port-owned\)/s);
    await module.of("two", "cleanup");
    await module.of("one", "cleanup");
  });

  it("moves a session into its parent, and asks nothing else of the daemon", async () => {
    await module.prepare("pod", { resources: [ports("31010")] });
    await module.prepare("pod.task", { resources: [ports("31010")] });
    assert.deepEqual((await module.prepare("pod.task.check", { container_class: "DEBUG" })).ready, {});
    const watch = module.watch("pod.task.check");
    const check = await Task.start();
    assert.deepEqual((await module.isolate("pod.task.check", check.pid)).ready, {});
    assert.equal(check.cgroup, (await agent.find("pod.task"))?.cgroup);
    assert.equal(await check.mayBind(31099), false);
    await check.end();
    await module.of("pod.task.check", "cleanup");
    assert(module.isPending(watch));
    await module.of("pod.task", "cleanup");
    await module.of("pod", "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
  });

  it("delivers what the daemon missed, in order, before the next launch", async () => {
    await module.prepare("left", { resources: [ports("31020")] });
    await module.prepare("ends", { resources: [ports("31021")] });
    const watch = module.watch("left");
    await daemon.stop("SIGKILL");
    assert.deepEqual((await module.update("left")).ready, {}, "its port goes back to the scheduler");
    assert.deepEqual((await module.of("ends", "cleanup")).ready, {});
    const prepared = module.start("prepare", {
      id: { value: "next" },
      config: { directory: "/sandbox", command_info: {}, resources: [ports("31020-31021")] },
    });
    assert(module.isPending(prepared), "a launch waits");
    await daemon.start();
    assert.deepEqual((await module.outcome(prepared)).ready, {}, "and has both ports");
    assert.deepEqual((await agent.find("left"))?.ports ?? [], []);
    assert.equal(await agent.find("ends"), undefined);
    assert(module.isPending(watch), "no watch has failed");
    assert((await agent.facts()).agent, "the new daemon knows the agent");
    await until(async () => ((await agent.facts()).streams ?? 0) >= 1, "the watch is heard again");
    await module.of("next", "cleanup");
    await module.of("left", "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
  });

  it("cleans up after a launch that it gave up while the daemon was still at it", async () => {
    const other = await Module.load({ socket, timeout_prepare: "300ms" });
    assert.deepEqual((await other.recover([])).ready, {});
    process.kill(daemon.pid, "SIGSTOP");
    try {
      const { failed } = await other.prepare("late", { resources: [ports("31030")] });
      assert.match(failed ?? "", /has not answered PREPARE of container late/);
      assert.deepEqual((await other.of("late", "cleanup")).ready, {});
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
    // Both are done by then, whatever their order on the daemon's connections.
    assert.deepEqual((await other.prepare("after", { resources: [ports("31030")] })).ready, {});
    assert.equal(await agent.find("late"), undefined);
    await other.of("after", "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    await other.end();
  });

  it("tells a daemon that comes late of the agent's containers, before anything else", async () => {
    await module.prepare("stays", { resources: [ports("31040")] });
    await module.prepare("forgotten", { resources: [ports("31041")] });
    await daemon.stop("SIGKILL");
    const next = await Module.load({ socket, startup_timeout: "300ms", fail_open: "true" });
    assert.deepEqual((await next.recover(["stays"])).ready, {});
    assert.match(next.log, /the agent starts without it/);
    await daemon.start();
    assert.deepEqual((await next.prepare("new", { resources: [ports("31041")] })).ready, {});
    assert.deepEqual((await agent.list()).map(({ container_id }) => container_id?.value).sort(), [
      "new",
      "stays",
    ]);
    await next.of("new", "cleanup");
    await next.of("stays", "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    await next.end();
  });

  it("hands on what a launch loses, and takes it from sessions without asking the daemon", async (t) => {
    if (hasLsm()) {
      t.skip("this kernel refuses packet sockets by itself");
      return;
    }
    await daemon.reload("sockets: { packet: deny }\nnet_raw: take\n");
    const { ready: launch } = await module.prepare("bound", {});
    const { capabilities } = launch?.["bounding_capabilities"] as { capabilities: string[] };
    assert(capabilities.includes("CHOWN") && !capabilities.includes("NET_RAW"));
    const session = { container_class: "DEBUG" };
    assert.deepEqual((await module.prepare("bound.session", session)).ready, launch);
    const linux_info = { effective_capabilities: { capabilities: ["NET_RAW"] } };
    const greedy = { ...session, container_info: { type: "MESOS", linux_info } };
    assert.match((await module.prepare("bound.greedy", greedy)).failed ?? "", /asks for the capability/);
    // A session in a session runs in the same container.
    assert.deepEqual((await module.prepare("bound.session.inner", session)).ready, launch);

    const proxy = new CountingProxy(socket);
    await proxy.start();
    proxy.swallows = "STATUS";
    const next = await Module.load({ socket: proxy.path, timeout_prepare: "600ms" });
    assert.deepEqual((await next.recover(["bound"])).ready, {});
    assert.match(
      (await next.prepare("bound.early", session)).failed ?? "",
      /has not answered STATUS of container bound within 600ms/,
      "an agent that starts again does not launch a session before it knows",
    );
    proxy.swallows = undefined;
    await until(
      async () => (await next.prepare("bound.again", session)).failed === undefined,
      "it asks again until it is answered",
    );
    assert.deepEqual((await next.prepare("bound.later", session)).ready, launch);
    await next.end();
    await module.of("bound", "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    await daemon.reload("");
    return undefined;
  });

  it("goes on where the daemon has lost a call", async () => {
    const proxy = new CountingProxy(socket);
    await proxy.start();
    const other = await Module.load({ socket: proxy.path, timeout_prepare: "300ms" });
    assert.deepEqual((await other.recover([])).ready, {});
    proxy.swallows = "PREPARE";
    assert.match(
      (await other.prepare("lost", {})).failed ?? "",
      /has not answered PREPARE of container lost/,
    );
    assert.deepEqual((await other.of("lost", "cleanup")).ready, {});
    proxy.swallows = undefined;
    let n = 0;
    await until(async () => (await other.prepare(`later-${n++}`, {})).ready, "launches succeed again");
    for (let i = 0; i < n; i++) await other.of(`later-${i}`, "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    // Of the one that got lost, and of the one that did not fail; others may not have left.
    assert(proxy.count("CLEANUP") >= 2);
    await other.end();
  });

  it("keeps of a long queue what later calls do not replace, and has those wait who waited for that", async () => {
    const proxy = new CountingProxy(socket);
    await proxy.start();
    const other = await Module.load({ socket: proxy.path, timeout_update: "1ms" });
    assert.deepEqual((await other.recover([])).ready, {});
    for (const name of ["changes", "goes"]) assert.deepEqual((await other.prepare(name, {})).ready, {});
    proxy.cut();
    const queued: Promise<Outcome>[] = [];
    const update = (name: string, port: number): void => {
      queued.push(other.update(name, ports(`${port}`)));
    };
    for (let i = 0; i < 10; i++) update("goes", 31060 + i);
    const early = other.start("prepare", {
      id: jsonId("early"),
      config: { directory: "/sandbox", command_info: {}, resources: [ports("31080")] },
    });
    queued.push(other.of("goes", "cleanup"));
    // More than are kept whatever they are.
    for (let i = 0; i < 1050; i++) update("changes", 31070 + (i % 10));
    for (const { ready } of await Promise.all(queued)) assert.deepEqual(ready, {});
    assert(other.isPending(early));
    const before = proxy.count("UPDATE");
    proxy.mend();
    assert.deepEqual((await other.outcome(early)).ready, {}, "what it waited for is replaced, not lost");
    // After all that was queued.
    assert.deepEqual((await other.prepare("last", {})).ready, {});
    assert.equal(await agent.find("goes"), undefined);
    const { ports: held = [] } = (await agent.find("changes")) ?? {};
    assert.deepEqual(
      held.map(({ begin, end }) => [begin, end]),
      [[31079n, 31079n]],
    );
    // What came after the 1,024, the first, which may have been on its way, and the newest before.
    const delivered = proxy.count("UPDATE") - before;
    assert(delivered <= 1050 + 11 - 1024 + 2, `${delivered} updates`);
    for (const name of ["changes", "early", "last"]) await other.of(name, "cleanup");
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
    await other.end();
  });

  it("keeps its connections for calls: a launch opens one for its watch, and shakes hands with no daemon anew", async () => {
    const proxy = new CountingProxy(socket);
    await proxy.start();
    const other = await Module.load({ socket: proxy.path });
    assert.deepEqual((await other.recover([])).ready, {});
    const launches = 5;
    for (let i = 0; i < launches; i++) {
      const name = `launch-${i}`;
      assert.deepEqual((await other.prepare(name, { resources: [ports("31050")] })).ready, {});
      other.watch(name);
      const task = await Task.start();
      assert.deepEqual((await other.isolate(name, task.pid)).ready, {});
      await until(() => proxy.count("WATCH") === i + 1, "it is watched");
      await task.end();
      assert.deepEqual((await other.of(name, "cleanup")).ready, {});
    }
    await until(() => proxy.count("CLEANUP") === launches, "all is delivered");
    assert.equal(proxy.count("HANDSHAKE"), 1);
    // One call at a time needs one, and a second where one was not back yet.
    assert(proxy.connections <= launches + 2, `${proxy.connections} connections`);
    await other.end();
    await until(async () => (await agent.list()).length === 0, "all is cleaned up");
  });

  it("answers the usage of 500 containers asked at once", async () => {
    const names = Array.from({ length: 500 }, (_, i) => `many-${i}`);
    await Promise.all(names.map((name) => module.prepare(name, { resources: [CPUS] })));
    const { ready } = await module.call("usages", { ids: names.map(jsonId) });
    assert(ready);
    // On a busy machine some may be empty, which is as it should be: not all.
    assert(Number(ready["net_rx_packets"] ?? 0) > 0);
    await Promise.all(names.map((name) => module.of(name, "cleanup")));
    await until(async () => (await agent.list()).length === 0, "all is cleaned up", 60_000);
    await module.end();
  });
});
