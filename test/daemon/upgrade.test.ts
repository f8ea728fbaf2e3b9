/**
 * Daemons of one build after those of another, with tasks that go on: nothing is judged wrongly for a moment, each packet is
 * counted once, events are not lost, and what the old build has left goes away.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Instance, STATE_ROOT } from "../../isolator/containers/instance.js";
import { POINTS } from "../../isolator/containers/points.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { buildOf, otherLayouts, sameLayouts } from "../support/builds.js";
import { Bystanders } from "../support/bystanders.js";
import { assertEnforced, CrashDaemon, denials, endInstance, nodeOf } from "../support/crash-daemon.js";
import { instanceName } from "../support/instance.js";
import { assertConsistent } from "../support/invariants.js";
import { enterOwnNetwork } from "../support/network.js";
import { Prober } from "../support/prober.js";
import { attempt, ATTEMPT, inNode, isolator, MAIN } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
after(() => {
  rmSync(directory, { recursive: true });
});

/** Whether a server is reached there from outside of every container. */
function echoes(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 1_500 });
    const end = (answer: boolean) => () => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("connect", () => socket.write("x")).on("data", end(true));
    socket.on("timeout", end(false)).on("error", end(false)).on("close", end(false));
  });
}

const UPGRADE_POINTS = POINTS.filter((point) => point.startsWith("start:upgrade-"));

for (const [layouts, make] of Object.entries({ same: sameLayouts, other: otherLayouts })) {
  describe(`to a build of ${layouts} data layouts`, () => {
    const instance = instanceName();
    let bystanders: Bystanders;
    let run: ChildProcess | undefined;
    const newer = make(directory);
    let daemon: CrashDaemon | undefined;

    before(() => {
      bystanders = new Bystanders();
    });
    after(async () => {
      run?.kill("SIGTERM");
      await endInstance(instance, (last) => bystanders.end(last));
    });

    /** Starts a daemon where none lives any more, and checks that all is its own then. */
    async function start(main: string): Promise<CrashDaemon> {
      daemon = await CrashDaemon.start(instance, { main });
      await assertConsistent(
        daemon,
        instance,
        main === MAIN || layouts === "same" ? buildOf(main) : undefined,
      );
      await bystanders.check(daemon);
      const records = Instance.open(instance).records.list();
      const agents = records.filter(({ source }) => source === "agent");
      assert.deepEqual(new Set(agents.map(({ build }) => build)), new Set([buildOf(main)]));
      // A `run` has what it began with.
      const builds = new Set([buildOf(main), ...records.map(({ build }) => build)]);
      assert.deepEqual(readdirSync(pinRoot(instance)).sort(), [...builds].sort(), "pins that nobody needs");
      return daemon;
    }

    /** Starts one that dies on its way. */
    async function dieAt(main: string, killAt: string): Promise<void> {
      await daemon?.kill();
      daemon = undefined;
      await CrashDaemon.spawn(instance, { main, killAt }).died();
    }

    it("goes up after SIGTERM and down again after SIGKILL, and loses nothing", async () => {
      const first = await CrashDaemon.start(instance);
      daemon = first;
      await bystanders.launch(first);
      await first.prepare(["keeper"], [31200, 31201]);
      await first.prepare(["noisy"], [31210, 31210]);
      const [keeper, noisy] = [nodeOf(instance, ["keeper"]), nodeOf(instance, ["noisy"])];
      assert(keeper && noisy);
      const [file = "", ...args] = inNode(keeper, [ATTEMPT, "hold", "port=31200"]);
      const server = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
      await once(server.stdout, "data");
      // Its port is another's now; what listens already stays.
      await first.update(["keeper"], [31201, 31201]);
      await first.prepare(["heir"], [31200, 31200]);
      assert(await echoes(31200));
      await first.stop();

      for (const port of [8081, 8082, 8083]) await attempt(`bind port=${port}`, noisy);
      const second = await start(newer);
      const upgraded = second.log.filter(({ event }) => event === "upgraded");
      const all = ["by", "counted", "counted.in", "heir", "keeper", "noisy", "pod", "pod.child"];
      assert.deepEqual(
        upgraded.map(({ container }) => container),
        all,
      );
      await until(() => denials(second, "noisy").length >= 3, "what happened without a daemon is shown");
      // What is noted on a socket goes with the maps of its build.
      assert.equal(await echoes(31200), layouts === "same");
      await second.kill();

      const third = await start(MAIN);
      await attempt("bind port=8084", noisy);
      await until(() => denials(third, "noisy").length > 0, "the next event is shown");
      assert.deepEqual([denials(second, "noisy"), denials(third, "noisy")], [[8081, 8082, 8083], [8084]]);
      assert.equal(await echoes(31200), layouts === "same");
      server.kill("SIGKILL");
    });

    const killAll = async (): Promise<void> => {
      let [from, to] = [MAIN, newer];
      for (const [i, point] of UPGRADE_POINTS.entries()) {
        // Back to what it came from, with some containers on each.
        await dieAt(to, `${point}#${1 + (i % 3)}`);
        await start(from);
        await dieAt(to, `${point}#${3 - (i % 3)}`);
        await start(to);
        [from, to] = [to, from];
      }
      if (from !== MAIN) {
        await daemon?.kill();
        await start(MAIN);
      }
    };
    // Between builds of the same layouts crash.test.ts does it.
    if (layouts === "other") it("survives kill -9 at each of its points, and goes on up or back", killAll);

    it("takes up a container whose record is damaged, or leaves it as it is", async () => {
      assert(daemon);
      const task = Prober.spawn("verdicts", 31220, 31000, 8080);
      await daemon.prepare(["damaged"], [31220, 31223]);
      await daemon.isolate(["damaged"], task.pid);
      await task.begin();
      await daemon.kill();
      writeFileSync(join(STATE_ROOT, instance, "containers/damaged/record.json"), '{"version": 2, "id');
      daemon = await CrashDaemon.start(instance, { main: newer });
      // The policy is known where its layout is.
      const summary = (await daemon.list()).get("damaged");
      assert.equal(summary?.ports?.[0]?.begin, layouts === "same" ? 31220n : undefined);
      const node = nodeOf(instance, ["damaged"]);
      assert(node);
      await assertEnforced(node, 31223, 31000);
      const { wrong, first } = await task.report();
      assert.equal(wrong, 0, first.join("\n"));
      await daemon.cleanup(["damaged"]);
      assert(!nodeOf(instance, ["damaged"]));
      await task.kill();
      await daemon.kill();
      await start(MAIN);
    });

    it("leaves a `run` of the old build alone, and says so", async () => {
      const [file = "", ...args] = isolator(
        ...["run", "--instance", instance, "--name", "runner", "--ports", "31300", "--", "sleep", "1000"],
      );
      run = spawn(file, args, { stdio: "ignore" });
      const ended = once(run, "exit");
      const node = await until(() => {
        const found = nodeOf(instance, ["runner"]);
        return found && found.pids().length > 0 && found;
      }, "the run has its task");
      assert(node);
      await daemon?.kill();
      const second = await start(newer);
      const warning = second.log.find(
        ({ event, container }) => event === "warning" && container === "runner",
      );
      assert.match(warning?.msg ?? "", /runs under programs of another version/);
      await assertEnforced(node, 31300, 31000);
      // Its build's maps are still there, with what they have counted of all.
      await second.kill();
      await start(MAIN);
      await assertEnforced(node, 31300, 31000);
      run.kill("SIGTERM");
      await ended;
      assert(!nodeOf(instance, ["runner"]));
    });
  });
}
