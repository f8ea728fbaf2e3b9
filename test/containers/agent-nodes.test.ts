/**
 * Containers in the cgroup v2 nodes of an agent that uses cgroup v2 itself: programs are all that is added there, whoever dies,
 * and whatever is found there.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { attachedIds } from "../../isolator/kernel/attach.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { HOOKS } from "../../isolator/kernel/hooks.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, CPUS, ports } from "../support/agent.js";
import { AgentTree } from "../support/agent-tree.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";

// not in the VM: the daemon is started so often that it takes two minutes there, and no kernel does it otherwise
enterOwnNetwork();
const tree = new AgentTree();
/** A task of the tests goes out of its node to be the other end, which BPF LSM would refuse. */
const config = (mode: string): string =>
  `cgroup: { mode: ${mode}, agent_root: ${tree.root} }\nescape: allow\n`;
const daemon = await TestDaemon.start({ config: config("auto") });
const agent = new Agent(daemon);

const { State } = bpf_isolator.ContainerSummary;
/** enum bpf_attach_type */
const CGROUP_DEVICE = 6;

/** What such an agent does for a launch. */
async function launch(name: string, ...resources: object[]): Promise<Task> {
  tree.make(name);
  await agent.prepare(name, { resources });
  const task = await Task.start();
  tree.put(name, task.pid);
  await agent.isolate(name, task.pid);
  return task;
}

async function end(name: string): Promise<void> {
  await tree.destroy(name);
  await agent.cleanup(name);
}

/** Programs of all hooks on a container's node. */
function programsOn(name: string): number {
  const node = CgroupNode.open(tree.path(name));
  const types = new Set(HOOKS.map(({ attachType }) => attachType));
  return node?.withFd((fd) => [...types].flatMap((type) => attachedIds(fd, type)).length) ?? 0;
}

describe("a container in the agent's node", () => {
  it("is under its rules there, where nothing is moved and no directory is made", async () => {
    const task = await launch("web", CPUS, ports("31000-31001"));
    const shown = await agent.find("web");
    assert.equal(shown?.cgroup, tree.path("web"));
    assert.equal(task.cgroup, `${tree.path("web")}/leaf`, "it is where the agent has put it");
    assert.deepEqual(tree.directories("web"), ["leaf"]);
    assert.deepEqual([await task.mayBind(31000), await task.mayBind(31002)], [true, false]);
    await task.attempt("udp-connected-send listen-port=31000");
    assert(((await agent.usage("web")).net_tx_packets ?? 0n) > 0n);
    const node = CgroupNode.open(tree.path("web"));
    assert.deepEqual(
      node?.withFd((fd) => attachedIds(fd, CGROUP_DEVICE)),
      [],
      "devices are the agent's",
    );
    const stray = await Task.start();
    await assert.rejects(agent.isolate("web", stray.pid), /not below .*web/);
    await stray.end();
  });

  it("may be a pod: tasks with nodes have their own rules, those without have the pod's, and an event says so", async () => {
    const pod = await launch("pod", CPUS, ports("31010-31019"));
    const own = await launch("pod.own", CPUS, ports("31010-31011"));
    assert.equal((await agent.find("pod.own"))?.cgroup, `${tree.path("pod")}/mesos/own`);
    assert.deepEqual([await own.mayBind(31011), await own.mayBind(31012)], [true, false]);
    assert.equal(await pod.mayBind(31012), true);
    // It has no directory, as one that shares its parent's.
    await agent.prepare("pod.shared", { resources: [CPUS, ports("31012")] });
    assert.match((await daemon.event("shares_node", "pod.shared")).msg, /in that of pod:.*\(31010-31019\)/);
    const shared = await Task.start();
    tree.put("pod", shared.pid);
    await agent.isolate("pod.shared", shared.pid);
    assert.deepEqual([await shared.mayBind(31019), await shared.mayBind(31020)], [true, false]);
    const shown = await agent.find("pod.shared");
    assert.deepEqual(
      [shown?.state, shown?.inherits_ports, shown?.cgroup],
      [State.ISOLATED, true, tree.path("pod")],
    );
    assert.equal((await agent.usage("pod.shared")).net_tx_bytes, undefined, "counted once, for the pod");
    // A session has a directory below its parent's, and no prepare() of its own.
    tree.make("pod.own.session");
    const session = await Task.start();
    tree.put("pod.own.session", session.pid);
    await agent.isolate("pod.own.session", session.pid);
    assert.deepEqual([await session.mayBind(31011), await session.mayBind(31012)], [true, false]);
  });

  it("stays as it is when the daemon dies, also where its record is damaged, and is known again", async () => {
    const task = await launch("hurt", ports("31030"));
    await daemon.stop("SIGKILL");
    assert.equal(await task.mayBind(31031), false);
    writeFileSync(join(STATE_ROOT, daemon.instance, "containers/hurt/record.json"), "{");
    await daemon.start();
    await agent.recover(["web", "pod", "pod.own", { name: "pod.shared" }, "hurt"]);
    for (const name of ["web", "pod", "pod.own", "hurt"])
      assert.equal((await agent.find(name))?.state, State.RECOVERED, name);
    assert.equal((await agent.find("pod.shared"))?.inherits_ports, true);
    assert.deepEqual([await task.mayBind(31030), await task.mayBind(31031)], [true, false]);
    assert.deepEqual(tree.directories("web"), ["leaf"]);
  });

  it("ends with the agent's node, or is left without programs where that stays", async () => {
    for (const name of ["pod.own.session", "pod.own", "pod.shared", "pod", "web"]) await end(name);
    await agent.cleanup("hurt");
    await daemon.event("cleanup_pending", "hurt");
    assert(programsOn("hurt") > 0, "what runs stays under its rules");
    CgroupNode.open(tree.path("hurt"))?.kill();
    await until(async () => (await agent.list()).length === 0, "all are gone", 30_000);
    assert.equal(programsOn("hurt"), 0);
    assert.deepEqual(tree.directories("hurt"), ["leaf"], "the agent's to remove");
    await tree.destroy("hurt");
    const heir = await launch("heir", ports("31000-31030"));
    assert.equal(await heir.mayBind(31030), true);
    await end("heir");
  });

  it("is begun again where a daemon died within its prepare()", async () => {
    tree.make("again");
    await daemon.stop();
    await daemon.start({ BPF_ISOLATOR_KILL_AT: "prepare:attached" });
    await assert.rejects(agent.prepare("again", { resources: [ports("31040")] }));
    await daemon.start();
    assert.equal(programsOn("again"), 0, "undone");
    const task = await launch("again", ports("31040"));
    assert.deepEqual([await task.mayBind(31040), await task.mayBind(31041)], [true, false]);
    await end("again");
  });
});

describe("cgroup.mode", () => {
  it("own refuses to take a process out of an agent's node, and agent to go without one", async () => {
    await daemon.reload(config("own"));
    tree.make("mine");
    await agent.prepare("mine", { resources: [ports("31050")] });
    const task = await Task.start();
    tree.put("mine", task.pid);
    await assert.rejects(
      agent.isolate("mine", task.pid),
      new RegExp(`set cgroup.mode to auto and cgroup.agent_root to ${tree.root}`),
    );
    await end("mine");
    await daemon.reload(config("agent"));
    await assert.rejects(agent.prepare("none", {}), /the agent has made no cgroup .*none/);
    await agent.cleanup("none");
    assert.deepEqual(await agent.list(), []);
  });
});
