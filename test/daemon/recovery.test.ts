/** Agents and daemons that go and come back, and what of the same instance is not theirs. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmdirSync } from "node:fs";
import { describe, it } from "node:test";
import { nameOf } from "../../isolator/cli/table.js";
import { cgroupRoot, CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { pinRoot, removePins } from "../../isolator/kernel/pins.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, isolator, runIsolator } from "../support/process.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);

const { State } = bpf_isolator.ContainerSummary;

const names = async (): Promise<string[]> =>
  (await agent.list()).map(({ container_id }) => nameOf(container_id)).sort();

/** A `run` of the daemon's instance whose task holds a port until its stdin ends. */
async function startRun(name: string, port: number) {
  const options = ["--instance", daemon.instance, "--name", name, "--ports", `${port}`];
  const [file = "", ...args] = isolator("run", ...options, "--", ATTEMPT, "hold", `port=${port}`);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  await once(child.stdout, "data");
  return {
    end: async (): Promise<void> => {
      child.stdin.end();
      assert.deepEqual(await exited, [0, null]);
    },
  };
}

describe("recover()", () => {
  it("on a first start, with nothing on either side, does nothing", async () => {
    await agent.recover([]);
    assert.deepEqual(await names(), []);
  });

  it("removes what the agent does not know, keeps what it does, and leaves orphans to its cleanup()", async () => {
    const tasks = new Map<string, Task>();
    for (const [i, name] of ["known", "gone", "orphan"].entries()) {
      tasks.set(name, await agent.launch(name, { resources: [ports(`${31000 + i}`)] }));
    }
    tasks.set("gone.child", await agent.launch("gone.child", {}));
    await agent.recover(["known"], ["orphan"]);
    assert.deepEqual(await names(), ["known", "orphan"]);
    await until(() => tasks.get("gone")?.ended && tasks.get("gone.child")?.ended, "their processes are gone");
    await daemon.event("removed", "gone");
    assert.equal((await agent.find("known"))?.state, State.RECOVERED);
    assert.equal(await tasks.get("known")?.mayBind(31000), true, "its policy stays until the first update()");
    assert.equal(await tasks.get("known")?.mayBind(31002), false);
    await agent.update("known", ports("31005"));
    assert.equal((await agent.find("known"))?.state, State.ISOLATED);
    assert.equal(await tasks.get("orphan")?.mayBind(31002), true);
    await agent.cleanup("orphan");
    await agent.cleanup("known");
  });

  it("takes containers that it never saw for unmanaged, and what comes into them too", async () => {
    await agent.recover(["old", "old.task"]);
    for (const name of ["old", "old.task"]) {
      assert.equal((await agent.find(name))?.state, State.UNMANAGED);
      assert.match((await daemon.event("unmanaged", name)).msg, /launched without/);
    }
    const values = { resources: [ports("31100")] };
    await agent.prepare("old.new", values);
    await agent.prepare("old.new", values);
    assert.match((await daemon.event("unmanaged", "old.new")).msg, /nested in old/);
    const task = await Task.start();
    const { cgroup } = task;
    await agent.isolate("old.new", task.pid);
    assert.equal(task.cgroup, cgroup);
    await agent.update("old", ports("31100"));
    assert.deepEqual(await agent.status("old"), { container_id: { value: "old" } });
    const watch = await agent.watch("old");
    await agent.cleanup("old");
    await watch.ended;
    assert.deepEqual(await names(), []);
  });

  it("knows a check again that is in its parent's node", async () => {
    await agent.launch("checked", { resources: [ports("31110")] });
    const check = await agent.launch("checked.check-1", { container_class: "DEBUG" });
    await agent.recover([{ name: "checked" }, { name: "checked.check-1", pid: check.pid }]);
    assert.deepEqual(await names(), ["checked"]);
    assert.deepEqual(daemon.events("unmanaged", "checked.check-1"), []);
    await agent.cleanup("checked.check-1");
    await agent.cleanup("checked");
  });

  it("goes on where a node was removed under it", async () => {
    const task = await agent.launch("broken", { resources: [ports("31120")] });
    const node = await agent.node("broken");
    await agent.prepare("whole", { resources: [ports("31121")] });
    await daemon.stop("SIGKILL");
    await task.end();
    await until(() => !node.populated(), "nothing runs in it");
    rmdirSync(node.path);
    await daemon.start();
    await daemon.event("removed", "broken");
    await agent.recover(["broken", "whole"]);
    assert.equal((await agent.find("broken"))?.state, State.UNMANAGED);
    await agent.prepare("heir", { resources: [ports("31120")] });
    for (const name of ["broken", "whole", "heir"]) await agent.cleanup(name);
  });

  it("starts empty after a reboot, also where the state has outlived it, whatever pids the agent remembers", async (t) => {
    const tasks = [
      await agent.launch("before", { resources: [ports("31130")] }),
      await agent.launch("before.task", { resources: [ports("31130")] }),
    ];
    await daemon.stop("SIGKILL");
    for (const task of tasks) await task.end();
    await CgroupNode.open(cgroupRoot(requireCgroup2(), daemon.instance))?.remove();
    removePins(pinRoot(daemon.instance));
    await daemon.start();
    const other = await Task.start();
    t.after(() => other.end());
    const { cgroup } = other;
    // One is gone, the other's number is somebody else's now.
    await agent.recover([
      { name: "before", pid: 4_000_000 },
      { name: "before.task", pid: other.pid },
    ]);
    assert.equal(other.cgroup, cgroup);
    assert.deepEqual(Object.keys(await agent.usage("before")), ["timestamp"]);
    for (const name of ["before.task", "before"]) await agent.cleanup(name);
    assert.equal(other.ended, false);
    const next = await agent.launch("after", { resources: [ports("31130")] });
    assert.deepEqual([await next.mayBind(31130), await next.mayBind(31131)], [true, false]);
    await agent.cleanup("after");
    assert.deepEqual(await names(), []);
  });

  it("does not touch what `run` has started", async () => {
    const run = await startRun("mine", 31200);
    await agent.prepare("agents", { resources: [ports("31201")] });
    await agent.recover([]);
    assert.deepEqual(await names(), ["mine"]);
    assert.equal((await agent.find("mine"))?.origin, "run");
    await agent.cleanup("mine");
    assert.deepEqual(await names(), ["mine"], "nor does an agent's cleanup() of that name");
    await run.end();
  });
});

describe("a daemon that ends", () => {
  it("by SIGTERM leaves its tasks enforced and counted; the next one knows them, and tells what happened", async () => {
    const task = await agent.launch("task", { resources: [ports("31300")] });
    await agent.launch("task.child", { resources: [ports("31300")] });
    await task.attempt("udp-connected-send listen-port=31300");
    const watch = await agent.watch("task");
    const before = await agent.usage("task");
    assert.equal(await daemon.stop("SIGTERM"), 0);
    await watch.ended;
    assert.equal(watch.records.at(-1)?.error?.code, "shutting-down");
    assert.deepEqual([await task.mayBind(8081), await task.mayBind(31301)], [false, false]);
    await task.attempt("udp-connected-send listen-port=31300");
    await daemon.start();
    assert.deepEqual(await names(), ["task", "task.child"]);
    const denied = await until(
      () => daemon.events("denied", "task").find(({ msg }) => msg.includes(":8081")),
      "the refusal of the time without a daemon is told",
    );
    assert.match(denied.msg, /denied bind\(\) tcp 127\.0\.0\.1:8081 by attempt/);
    const after = await agent.usage("task");
    assert((after.net_tx_bytes ?? 0n) > (before.net_tx_bytes ?? 0n));
    const bind = (await agent.find("task"))?.denied?.find(({ name }) => name === "bind");
    assert.equal(bind?.count, 2n);
    await agent.cleanup("task");
  });

  it("is not replaced while it lives: a second one is refused, and changes nothing", async () => {
    const task = await agent.launch("guarded", { resources: [ports("31310")] });
    const options = ["--instance", daemon.instance, "--config", daemon.configFile];
    const { status, stderr } = await runIsolator(["serve", ...options]);
    assert.equal(status, 1);
    assert.match(stderr, /^bpf-isolator: another daemon serves instance/);
    assert.deepEqual(await names(), ["guarded"]);
    assert.equal(await task.mayBind(31310), true);
    await agent.cleanup("guarded");
  });
});

describe("a `run` beside the daemon", () => {
  it("starts and ends, and the daemon's programs and state stay", async () => {
    const task = await agent.launch("daemons", { resources: [ports("31400")] });
    const run = await startRun("beside", 31401);
    assert.deepEqual([await task.mayBind(31400), await task.mayBind(31401)], [true, false]);
    await assert.rejects(
      agent.prepare("thief", { resources: [ports("31401")] }),
      /31401 of container beside/,
    );
    const { status, stderr } = await runIsolator([
      ...["run", "--instance", daemon.instance, "--ports", "31400", "--", "true"],
    ]);
    assert.deepEqual([status, stderr.includes("31400 of container daemons")], [125, true], stderr);
    await run.end();
    await agent.cleanup("daemons");
    assert.deepEqual(await names(), []);
    // The last container has ended, and the daemon goes on with the programs that it has.
    assert(existsSync(pinRoot(daemon.instance)));
    await (await startRun("alone", 31402)).end();
    const next = await agent.launch("next", { resources: [ports("31401")] });
    assert.deepEqual([await next.mayBind(31401), await next.mayBind(31402)], [true, false]);
    await agent.cleanup("next");
  });

  it("goes on when the daemon ends, and the daemon's tasks when the run does", async () => {
    const run = await startRun("stays", 31410);
    const task = await agent.launch("survivor", { resources: [ports("31411")] });
    await daemon.stop("SIGTERM");
    await run.end();
    assert.deepEqual([await task.mayBind(31411), await task.mayBind(31410)], [true, false]);
    await daemon.start();
    assert.deepEqual(await names(), ["survivor"]);
    await agent.cleanup("survivor");
  });
});
