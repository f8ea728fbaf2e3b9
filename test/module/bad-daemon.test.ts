/**
 * The module with a daemon that is absent or out of its mind, at each call: nothing hangs, nothing an agent would destroy a
 * container for, and the right things fail. A real libprocess has it loaded.
 */
// not in the VM: it needs a built Mesos, and nothing of it is the kernel's
import assert from "node:assert/strict";
import { before, it } from "node:test";
import { CPUS, ports } from "../support/agent.js";
import { BadDaemon, MANNERS } from "../support/bad-daemon.js";
import { describeUnless } from "../support/describe.js";
import { buildModule, Module, SKIPPED } from "../support/module.js";

/** Short, so that a test need not wait; what they are is not what is tested. */
const TIMEOUTS = {
  timeout_prepare: "400ms",
  timeout_isolate: "400ms",
  timeout_update: "100ms",
  timeout_usage: "100ms",
  timeout_delivery: "1secs",
};

/** What an agent asks of a module whose daemon is of no use. */
async function endure(socket: string): Promise<void> {
  const module = await Module.load({ socket, startup_timeout: "500ms", fail_open: "true", ...TIMEOUTS });
  const recovered = await module.recover(["old"]);
  assert.deepEqual(recovered.ready, {}, "fail_open lets the agent start");
  const watches = [module.watch("old"), module.watch("web")];

  const prepared = await module.prepare("web", { resources: [ports("31000")] });
  assert.match(prepared.failed ?? "", /PREPARE of container web/);
  assert(prepared.failed?.includes(socket), "the message names the socket");
  const isolated = await module.isolate("web", process.pid);
  assert.match(isolated.failed ?? "", /ISOLATE of container web/);
  assert(isolated.failed?.includes("bpf-isolator"), "the message names the daemon");

  assert.deepEqual((await module.update("old", CPUS)).ready, {});
  assert.deepEqual((await module.of("old", "usage")).ready, {});
  assert.deepEqual((await module.of("old", "status")).ready, {});
  assert.deepEqual((await module.of("web", "cleanup")).ready, {});
  assert.deepEqual((await module.of("never-seen", "cleanup")).ready, {});
  // A session: nothing of it is asked of the daemon but isolate(). What it may do is not known of a container that was
  // recovered, and is of one that was prepared here.
  const session = { container_class: "DEBUG" };
  assert.match((await module.prepare("old.check", session)).failed ?? "", /STATUS of container old within/);
  assert.deepEqual((await module.prepare("web.check", session)).ready, {});
  watches.push(module.watch("old.check"));
  assert.deepEqual((await module.of("old.check", "usage")).ready, {});
  assert.deepEqual((await module.of("old.check", "cleanup")).ready, {});

  const discarded = module.start("prepare", {
    id: { value: "gone" },
    config: { directory: "/sandbox", command_info: {} },
  });
  module.discard(discarded);
  assert.equal((await module.outcome(discarded)).discarded, true, "a discard ends a launch at once");
  for (const watch of watches) assert(module.isPending(watch), "no watch has failed or ended");
  await module.end();
}

describeUnless(SKIPPED, "the module with a daemon that", () => {
  before(buildModule);

  it("is not there", () => endure("/run/bpf-isolator/there-is-no-such/isolator.sock"));

  for (const [manners, how] of Object.entries(MANNERS)) {
    it(manners, async () => {
      const daemon = new BadDaemon(how);
      await daemon.start();
      await endure(daemon.path);
      assert(daemon.connections > 0, "it was asked");
    });
  }

  it("is not there keeps an agent from starting, unless told otherwise", async () => {
    const socket = "/run/bpf-isolator/there-is-no-such/isolator.sock";
    const module = await Module.load({ socket, startup_timeout: "300ms" });
    const { failed } = await module.recover([]);
    assert.match(failed ?? "", /there-is-no-such.*300ms.*fail_open/s);
    await module.end();
  });

  it("answers every call as a handshake has neither recovered, nor updated, nor cleaned up anything", async () => {
    const daemon = new BadDaemon(MANNERS["answers every call as a handshake"]);
    await daemon.start();
    const module = await Module.load({ socket: daemon.path, startup_timeout: "300ms", ...TIMEOUTS });
    assert.match((await module.recover(["old"])).failed ?? "", /300ms \(.*another call's answer.*fail_open/s);
    await module.end();

    // Without a recover() before them, an update and a cleanup are the queue.
    const other = await Module.load({ socket: daemon.path, ...TIMEOUTS });
    for (const call of [() => other.update("old", CPUS), () => other.of("old", "cleanup")])
      assert.deepEqual((await call()).ready, {});
    for (const name of ["web", "web-2"]) {
      const { failed } = await other.prepare(name, {});
      assert.match(
        failed ?? "",
        /: 2 earlier updates and cleanups are not delivered.*another call's answer/s,
      );
      // The daemon was not asked about it, and need not be told: the queue stays as long.
      assert.deepEqual((await other.of(name, "cleanup")).ready, {});
    }
    await other.end();
  });
});

describeUnless(SKIPPED, "parameters of the module", () => {
  before(buildModule);

  const mistakes: [Record<string, string>, RegExp][] = [
    [{ sockets: "/x" }, /'sockets' is not known: the parameters are socket, fail_open, startup_timeout/],
    [{ socket: "relative" }, /socket is 'relative': give the absolute path/],
    [{ socket: `/${"x".repeat(200)}` }, /at most 107 bytes/],
    [{ fail_open: "yes" }, /fail_open is 'yes': give true or false/],
    [{ timeout_usage: "2secs" }, /timeout_usage is '2secs': give a duration from 1ms to 1secs/],
    [{ timeout_prepare: "soon" }, /timeout_prepare is 'soon'/],
    [{ timeout_prepare: "40secs", timeout_isolate: "40secs" }, /more than 50secs together/],
  ];
  for (const [parameters, message] of mistakes) {
    it(`refuses ${JSON.stringify(parameters).slice(0, 60)}`, async () => {
      await assert.rejects(Module.load(parameters), message);
    });
  }
});
