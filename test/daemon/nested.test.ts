/** Nested containers, checks and sessions in them, and containers with a network namespace of their own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Agent, CPUS, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { Task } from "../support/task.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);

const DEBUG = { container_class: "DEBUG" };
/** As it comes with a copy of its root's ExecutorInfo, which has the whole pod's ports. */
const EXECUTOR = {
  executor_info: {
    ...{ executor_id: { value: "e" }, framework_id: { value: "f" }, command: {} },
    resources: [ports("31000-31999")],
  },
};
const named = (name: string): object => ({ container_info: { type: "MESOS", network_infos: [{ name }] } });

/** Which of some ports a task may bind. */
async function bindable(task: Task, ...candidates: number[]): Promise<number[]> {
  const allowed: number[] = [];
  for (const port of candidates) if (await task.mayBind(port)) allowed.push(port);
  return allowed;
}

describe("a nested container", () => {
  it("has its own ports, and the parent has all of its children's", async () => {
    const pod = await agent.launch("pod", { resources: [CPUS, ports("31000-31009")], ...EXECUTOR });
    const web = await agent.launch("pod.web", { resources: [CPUS, ports("31000-31001")], ...EXECUTOR });
    const db = await agent.launch("pod.db", { resources: [ports("31002")], ...EXECUTOR });
    const all = [31000, 31001, 31002, 31003, 31010];
    assert.deepEqual(await bindable(pod, ...all), [31000, 31001, 31002, 31003]);
    assert.deepEqual(await bindable(web, ...all), [31000, 31001]);
    assert.deepEqual(await bindable(db, ...all), [31002]);
    assert.equal(web.cgroup, `${pod.cgroup}/web`);
  });

  it("with no resources of its own has its parent's; with some and no ports it has none", async () => {
    const sidecar = await agent.launch("pod.sidecar", EXECUTOR);
    const worker = await agent.launch("pod.worker", { resources: [CPUS], ...EXECUTOR });
    const deep = await agent.launch("pod.web.deep", {});
    assert.deepEqual(await bindable(sidecar, 31003, 31010), [31003]);
    assert.deepEqual(await bindable(worker, 31003, 31010), []);
    assert.deepEqual(await bindable(deep, 31001, 31003), [31001]);
    await agent.cleanup("pod.sidecar");
    await agent.cleanup("pod.worker");
  });

  it("with ports that its parent has not, or its sibling has, is refused until the parent has them", async () => {
    const values = { resources: [ports("31010")] };
    await assert.rejects(agent.prepare("pod.more", values), /31010 .*parent pod/);
    await agent.update("pod", CPUS, ports("31000-31010"));
    const more = await agent.launch("pod.more", values);
    assert.deepEqual(await bindable(more, 31000, 31010), [31010]);
    await assert.rejects(agent.prepare("pod.thief", values), /31010 of container pod\.more/);
  });

  it("keeps its ports when the parent's become fewer, and they are the parent's again at its end", async () => {
    await agent.cleanup("pod.more");
    const pod = await agent.launch("pod.again", { resources: [ports("31010")] });
    assert.deepEqual(await bindable(pod, 31010), [31010]);
    await agent.cleanup("pod.again");
    await agent.update("pod", ports("31000-31002"));
    await agent.prepare("other", { resources: [ports("31003-31010")] });
    await agent.cleanup("other");
  });

  it("of one that is not there, or on its way out, is refused", async () => {
    await assert.rejects(agent.prepare("nobody.child", {}), /nobody.*not known/);
    await assert.rejects(agent.prepare("pod.nobody.child", {}), /pod\.nobody.*not known/);
  });

  it("keeps all of it when the daemon is killed", async () => {
    await daemon.restart();
    const web = await Task.start();
    await agent.isolate("pod.web", web.pid);
    assert.deepEqual(await bindable(web, 31000, 31002), [31000]);
    await agent.prepare("pod.web", { resources: [CPUS, ports("31000-31001")], ...EXECUTOR });
  });
});

describe("a DEBUG container", () => {
  it("is in its parent's node, under its parent's policy, and nothing of its own", async () => {
    const before = (await agent.list()).length;
    for (const name of ["pod.web.check-1", "pod.session", "pod.web.deep.exec"]) {
      const check = await agent.launch(name, { ...EXECUTOR, ...DEBUG });
      const parent = name.slice(0, name.lastIndexOf("."));
      assert.equal(check.cgroup, (await agent.find(parent))?.cgroup);
      assert.deepEqual(
        await bindable(check, 31001, 31002, 8080),
        name === "pod.session" ? [31001, 31002] : [31001],
      );
      assert.deepEqual(await agent.status(name), {});
      await agent.cleanup(name);
      assert.equal(check.ended, false, "what its parent's node holds is not the check's to end");
      await check.end();
    }
    assert.equal((await agent.list()).length, before);
  });

  it("whose prepare() never came joins its parent all the same", async () => {
    const check = await Task.start();
    await agent.isolate("pod.web.check-2", check.pid);
    assert.equal(check.cgroup, (await agent.find("pod.web"))?.cgroup);
    await check.end();
  });

  it("below the deepest level that there can be joins that", async () => {
    await agent.prepare("pod.web.deep.four", {});
    const check = await agent.launch("pod.web.deep.four.check-3", DEBUG);
    assert.equal(check.cgroup, (await agent.find("pod.web.deep.four"))?.cgroup);
    await agent.cleanup("pod");
  });
});

describe("a container that names a network", () => {
  it("and has a namespace of its own is counted, and no port is judged", async () => {
    await agent.prepare("apart", { resources: [ports("31100")], ...named("blue") });
    const task = await Task.apart();
    await agent.isolate("apart", task.pid);
    assert.deepEqual(await bindable(task, 80, 31100, 8080), [80, 31100, 8080]);
    const summary = await agent.find("apart");
    assert.equal(summary?.network, "blue");
    assert.deepEqual(summary.denied ?? [], []);
    assert(((await agent.usage("apart")).net_rx_packets ?? 0n) > 0n);
    // The host's port of the same number is another one.
    const host = await agent.launch("host", { resources: [ports("31100")] });
    assert.deepEqual(await bindable(host, 31100), [31100]);
    await agent.update("apart", ports("31100"));
    assert.deepEqual(await bindable(task, 80), [80]);
  });

  it("with containers nested in it: they are in it", async () => {
    await agent.prepare("apart.task", { resources: [ports("31100")] });
    const task = await Task.apart();
    await agent.isolate("apart.task", task.pid);
    assert.deepEqual(await bindable(task, 80, 31100), [80, 31100]);
  });

  it("stays that after the daemon was killed", async () => {
    await daemon.restart();
    const task = await Task.apart();
    await agent.isolate("apart", task.pid);
    assert.deepEqual(await bindable(task, 80), [80]);
    assert.equal((await agent.find("apart"))?.network, "blue");
    await agent.cleanup("apart");
    await agent.cleanup("host");
  });

  it("and runs in the host's is judged as the host's, with a warning", async () => {
    const task = await agent.launch("pretender", { resources: [ports("31200")], ...named("blue") });
    assert.match((await daemon.event("warning", "pretender")).msg, /judged as the host's/);
    assert.deepEqual(await bindable(task, 80, 31200), [31200]);
    await daemon.restart();
    assert.deepEqual(await bindable(task, 80, 31200), [31200]);
    assert.equal((await agent.find("pretender"))?.network, undefined);
    await agent.update("pretender", ports("31201"));
    assert.deepEqual(await bindable(task, 31200, 31201), [31201]);
  });

  it("and runs in the host's with ports of another is refused", async () => {
    await agent.prepare("second", { resources: [ports("31201")], ...named("blue") });
    const task = await Task.start();
    await assert.rejects(agent.isolate("second", task.pid), /31201 of container pretender/);
    assert.deepEqual((await agent.node("second")).pids(), [], "no process is in a node without rules");
    await task.end();
    await agent.cleanup("second");
    await agent.cleanup("pretender");
  });

  it("and is nested in the host's, runs in the host's too, and is judged so", async () => {
    await agent.prepare("pod", { resources: [ports("31300-31302")] });
    await agent.launch("pod.db", { resources: [ports("31301")] });
    const task = await agent.launch("pod.web", { resources: [ports("31300")], ...named("blue") });
    assert.deepEqual(await bindable(task, 31300, 31301, 31302, 80), [31300]);
    await daemon.event("warning", "pod.web");
    await agent.cleanup("pod");
  });
});
