/** Events of a time without a daemon: the next one shows them, none twice, and what found no room is counted. */
import assert from "node:assert/strict";
import { after, it } from "node:test";
import { CrashDaemon, denials, endInstance, nodeOf } from "../support/crash-daemon.js";
import { instanceName } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { Prober } from "../support/prober.js";
import { attempt } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const instance = instanceName();
let daemon: CrashDaemon | undefined;
after(() => endInstance(instance));

async function start(): Promise<CrashDaemon> {
  daemon = await CrashDaemon.start(instance);
  return daemon;
}

it("shows what happened while there was none, once", async () => {
  const first = await start();
  await first.prepare(["box"], [31000, 31000]);
  const node = nodeOf(instance, ["box"]);
  assert(node);
  await attempt("bind port=8080", node);
  await until(() => denials(first, "box").length > 0, "an event of its own time is shown");
  await first.kill();
  for (const port of [8081, 8082, 8083]) await attempt(`bind port=${port}`, node);
  const second = await start();
  await until(() => denials(second, "box").length >= 3, "they are shown");
  await second.stop();
  await attempt("bind port=8084", node);
  const third = await start();
  await until(() => denials(third, "box").length > 0, "it is shown");
  await attempt("bind port=8085", node);
  await until(() => denials(third, "box").length > 1, "it goes on");
  assert.deepEqual(
    [first, second, third].map((each) => denials(each, "box")),
    [[8080], [8081, 8082, 8083], [8084, 8085]],
  );
});

it("counts those that found no room, and keeps the count", async () => {
  const first = daemon ?? (await start());
  // More than a ring of 2 MiB has room for, at 88 bytes each.
  const times = 30_000;
  const flood = Prober.spawn("flood", 8080, times);
  await first.prepare(["flood"], [31001, 31001]);
  await first.isolate(["flood"], flood.pid);
  await first.kill();
  const { wrong } = await flood.end(true);
  assert.equal(wrong, 0);

  const second = await start();
  const counts = async (of: CrashDaemon): Promise<{ denied: number; lost: number }> => {
    const summary = (await of.list()).get("flood");
    return {
      denied: Number(summary?.denied?.find(({ name }) => name === "bind")?.count ?? 0),
      lost: Number(summary?.events_lost ?? 0),
    };
  };
  const { denied, lost } = await counts(second);
  assert.equal(denied, times);
  assert(lost > 0, "some found no room");
  const told = (): number =>
    second.log
      .filter(({ container }) => container === "flood")
      .reduce((sum, { denial, count = 0 }) => sum + (denial ? 1 : count), 0);
  await until(() => told() >= times - lost, "every other one is shown, or counted as not shown");
  assert.equal(told(), times - lost);
  await second.kill();
  assert.deepEqual(await counts(await start()), { denied, lost });
});
