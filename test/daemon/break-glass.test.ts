/** `break-glass` with a daemon that lives, and with one that is dead: what it says holds until it is taken back. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { it } from "node:test";
// not in the VM: cli/break-glass.test.ts has what the kernel does
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnMounts, enterOwnNetwork, sh } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
// What is mounted here is nobody else's.
enterOwnMounts();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);
const [web, other, strange] = [31000, 31010, 8080];

interface Problem {
  container: string;
  reason: string;
}

async function glass(...args: string[]) {
  const { status, stdout } = await runIsolator([
    ...["break-glass", "--instance", daemon.instance, "--json", ...args],
  ]);
  return {
    status,
    ...(JSON.parse(stdout) as { containers: string[]; failures: unknown[]; unwritten: Problem[] }),
  };
}

const shown = async (name: string): Promise<string | undefined> => (await agent.find(name))?.break_glass;

it("--audit of one container stays through update(), a reload and the daemon's death, until --restore", async () => {
  const [free, held] = [
    await agent.launch("web", { resources: [ports(`${web}`)] }),
    await agent.launch("other", { resources: [ports(`${other}`)] }),
  ];
  assert.deepEqual(await glass("--audit", "--container", "web"), {
    ...{ version: 1, instance: daemon.instance, mode: "audit", containers: ["web"], failures: [], status: 0 },
    unwritten: [],
    restore: `bpf-isolator break-glass --restore --instance ${daemon.instance} --container web`,
  });
  const check = async (): Promise<void> => {
    assert.deepEqual([await free.mayBind(strange), await held.mayBind(strange)], [true, false]);
    assert.deepEqual([await shown("web"), await shown("other")], ["audit", undefined]);
  };
  await check();
  await agent.update("web", ports(`${web + 1}`));
  await daemon.reload("ephemeral: deny\n");
  await check();
  // The daemon's look at itself.
  assert.match((await daemon.event("break_glass", "web")).msg, /nothing is refused any more/);
  await daemon.restart();
  await check();
  await until(() => daemon.events("break_glass", "web").length === 2, "the next daemon tells it too");
  assert.equal((await glass("--restore", "--container", "web")).status, 0);
  assert.deepEqual([await free.mayBind(strange), await free.mayBind(web + 1)], [false, true]);
  // A reload has it look at itself.
  await daemon.reload("");
  await until(
    () => daemon.events("break_glass", "web").find(({ msg }) => msg.includes("is enforced again")),
    "the daemon tells that it is taken back",
  );
});

it("--detach of all holds for new ones, and is taken back while the daemon is dead", async () => {
  assert.deepEqual((await glass("--detach")).containers, ["other", "web"]);
  assert.equal((await agent.facts()).break_glass, "detach");
  await until(
    () => daemon.events("break_glass").find(({ msg }) => msg.includes("taken away")),
    "the daemon tells it",
  );
  const fresh = await agent.launch("fresh", { resources: [ports("31020")] });
  assert.equal(await fresh.mayBind(strange), true);
  await daemon.stop("SIGKILL");
  assert.equal(await fresh.mayBind(strange), true);
  assert.deepEqual((await glass("--restore")).containers, ["fresh", "other", "web"]);
  assert.deepEqual([await fresh.mayBind(strange), await fresh.mayBind(31020)], [false, true]);
  await daemon.start();
  assert.equal((await agent.facts()).break_glass, undefined);
  assert.equal(await fresh.mayBind(strange), false);
  for (const name of ["fresh", "other", "web"]) await agent.cleanup(name);
});

/** Nothing can be written there while `work` is under way. */
async function readOnly(work: () => Promise<void>): Promise<void> {
  const state = join(STATE_ROOT, daemon.instance);
  sh("mount", "--bind", state, state);
  try {
    sh("mount", "-o", "remount,bind,ro", state);
    await work();
  } finally {
    sh("umount", "-l", state);
  }
}

const reasons = (problems: readonly Problem[]): [string, boolean, boolean][] =>
  problems.map(({ container, reason }) => [
    container,
    reason.includes("EROFS"),
    reason.startsWith("it holds only for as long as the daemon lives"),
  ]);

it("where nothing can be written: the daemon that lives keeps to it, and one that starts does not", async () => {
  const web_ = await agent.launch("web", { resources: [ports(`${web}`)] });
  const other_ = await agent.launch("other", { resources: [ports(`${other}`)] });
  const may = async () => [await web_.mayBind(strange), await other_.mayBind(strange)];
  // A reload has it look at itself: what it did not want it would put back.
  const look = async (): Promise<void> => {
    const before = (await agent.facts()).self_check?.time ?? 0;
    await daemon.reload("");
    await until(async () => ((await agent.facts()).self_check?.time ?? 0) > before, "it has looked");
  };
  await readOnly(async () => {
    const one = await glass("--audit", "--container", "web");
    assert.deepEqual([one.status, one.containers, one.failures], [3, ["web"], []]);
    assert.deepEqual(reasons(one.unwritten), [["web", true, true]]);
    await look();
    assert.deepEqual(await may(), [true, false]);
    assert.deepEqual([await shown("web"), await shown("other")], ["audit", undefined]);
    assert.equal((await glass("--restore", "--container", "web")).status, 0);
    assert.deepEqual(await may(), [false, false]);
    assert.equal(await shown("web"), undefined);

    const all = await glass("--detach");
    assert.deepEqual([all.status, reasons(all.unwritten)], [3, [["", true, true]]]);
    await look();
    assert.deepEqual(await may(), [true, true]);
    assert.equal((await agent.facts()).break_glass, "detach");
  });
  // Those to come, now that there may be some.
  const fresh = await agent.launch("fresh", { resources: [ports("31020")] });
  assert.equal(await fresh.mayBind(strange), true);
  assert.equal(daemon.events("repaired").length, 0);
  await daemon.restart();
  await look();
  assert.deepEqual([...(await may()), await fresh.mayBind(strange)], [false, false, false]);
  assert.equal((await agent.facts()).break_glass, undefined);
});

it("where nothing can be written, with no daemon: it works, and says for how long", async () => {
  const task = await agent.launch("alone", { resources: [ports("31030")] });
  await daemon.stop("SIGKILL");
  await readOnly(async () => {
    const { status, failures, unwritten } = await glass("--audit", "--container", "alone");
    assert.deepEqual([status, failures, unwritten.length], [3, [], 1]);
    assert.match(unwritten[0]?.reason ?? "", /^it holds only until a daemon starts: .*EROFS.*mount that/);
    assert.equal(await task.mayBind(strange), true);
  });
  await daemon.start();
  await until(async () => !(await task.mayBind(strange)), "a daemon that starts enforces it");
});

it("where nothing can be written, with a daemon that hangs: it works, and says what is to be done", async () => {
  const task = await agent.launch("hung", { resources: [ports("31040")] });
  await readOnly(async () => {
    process.kill(daemon.pid, "SIGSTOP");
    try {
      const { status, unwritten } = await glass("--audit", "--container", "hung");
      assert.equal(status, 3);
      assert.match(
        unwritten[0]?.reason ?? "",
        /^it holds only until the daemon looks .*: end it, and do this again/,
      );
      assert.equal(await task.mayBind(strange), true);
    } finally {
      process.kill(daemon.pid, "SIGCONT");
    }
  });
  for (const name of ["web", "other", "fresh", "alone", "hung"]) await agent.cleanup(name);
});
