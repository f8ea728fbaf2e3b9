/** Containers that go on doing what they may not: told, or ended by their agent with a reason that says what to do. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { mesos } from "../../isolator/mesos/messages.js";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const KILL = "violations: { limit: 3, window: 600, action: kill }\n";
const daemon = await TestDaemon.start({ config: KILL });
const agent = new Agent(daemon);

it("ends a container by a limitation that an agent takes, for all who watch it", async () => {
  const watch = await agent.watch("web");
  const other = await agent.launch("other", { resources: [ports("31010")] });
  const task = await agent.launch("web", { resources: [ports("31000-31001")] });
  for (let i = 0; i < 2; i++) assert.equal(await task.mayBind(31005), false);
  for (let i = 0; i < 2; i++) assert.equal(await other.mayBind(31005), false);
  assert.deepEqual(daemon.events("violations"), []);
  assert.equal(await task.mayBind(31006), false);
  await until(() => watch.records.length > 0, "the third is one too many");
  const limitation = watch.records[0]?.watch?.limitation;
  assert(limitation);
  assert.equal(limitation.reason, mesos.TaskStatus.Reason.REASON_CONTAINER_LIMITATION);
  assert.match(
    limitation.message ?? "",
    /container web: 3 refusals within 600 s \(bind 3\); its ports are 31000-31001/,
  );
  assert.deepEqual(limitation.resources, [
    {
      name: "ports",
      type: mesos.Value.Type.RANGES,
      ranges: { range: [{ begin: 31000n, end: 31001n }] },
    },
  ]);
  assert(watch.isOpen(), "it stays until cleanup");
  const again = await agent.watch("web");
  await until(() => again.records.length > 0, "a watch after a lost connection is told too");
  await agent.cleanup("web");
  await Promise.all([watch.ended, again.ended]);
  assert.equal(watch.records.length, 1, "once each");
  assert.equal(daemon.events("violations", "other").length, 0, "each is counted for itself");
  await agent.cleanup("other");
});

it("ends it also where the daemon was killed before it had told anybody", async () => {
  const task = await agent.launch("late", { resources: [ports("31020")] });
  for (let i = 0; i < 3; i++) assert.equal(await task.mayBind(31005), false);
  await until(() => daemon.events("limitation", "late").length > 0, "it is to be told");
  await daemon.stop("SIGKILL");
  await daemon.start();
  const watch = await agent.watch("late");
  await until(() => watch.records.length > 0, "it is told by the next");
  assert.match(
    watch.records[0]?.watch?.limitation?.message ?? "",
    /container late: 3 refusals .* its ports are 31020/,
  );
  await agent.cleanup("late");
  await watch.ended;
});

it("only says so where action is log, and counts from when the rule came", async () => {
  await daemon.reload("");
  const watch = await agent.watch("job");
  const task = await agent.launch("job", { resources: [ports("31000")] });
  for (let i = 0; i < 10; i++) assert.equal(await task.mayBind(31005), false);
  await daemon.reload("violations: { limit: 3, window: 600, action: log }\n");
  // This one tells the daemon of it for the first time since.
  assert.equal(await task.mayBind(31005), false);
  for (let i = 0; i < 3; i++) {
    await until(() => daemon.events("denied", "job").length > 0, "it is told");
    assert.equal(await task.mayBind(31005), false);
  }
  await until(async () => {
    await task.mayBind(31005);
    return daemon.events("violations", "job").length > 0;
  }, "the event");
  assert.deepEqual(watch.records, []);
  await agent.cleanup("job");
});

it("ends a container of which a process has left", async (t) => {
  await daemon.reload(KILL);
  const watch = await agent.watch("out");
  const task = await agent.launch("out", { resources: [ports("31000")] });
  const home = CgroupNode.open(requireCgroup2());
  assert(home);
  t.after(() => agent.cleanup("out"));
  home.add(task.pid);
  await until(() => watch.records.length > 0, "it is found", 30_000);
  assert.match(
    watch.records[0]?.watch?.limitation?.message ?? "",
    /container out: sh\[\d+\] has left it for cgroup/,
  );
  await task.end();
});
