/** `break-glass` with a daemon that lives, and with one that is dead: what it says holds until it is taken back. */
import assert from "node:assert/strict";
import { it } from "node:test";
// not in the VM: cli/break-glass.test.ts has what the kernel does
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);
const [web, other, strange] = [31000, 31010, 8080];

async function glass(...args: string[]) {
  const { status, stdout } = await runIsolator([
    ...["break-glass", "--instance", daemon.instance, "--json", ...args],
  ]);
  return { status, ...(JSON.parse(stdout) as { containers: string[]; failures: unknown[] }) };
}

const shown = async (name: string): Promise<string | undefined> => (await agent.find(name))?.break_glass;

it("--audit of one container stays through update(), a reload and the daemon's death, until --restore", async () => {
  const [free, held] = [
    await agent.launch("web", { resources: [ports(`${web}`)] }),
    await agent.launch("other", { resources: [ports(`${other}`)] }),
  ];
  assert.deepEqual(await glass("--audit", "--container", "web"), {
    ...{ version: 1, instance: daemon.instance, mode: "audit", containers: ["web"], failures: [], status: 0 },
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
