/**
 * kill -9 of the daemon at each point that it names (isolator/containers/points.ts): tasks of other containers notice
 * nothing, what was half done is finished or undone, and nothing is lost, counted back or left behind.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Instance } from "../../isolator/containers/instance.js";
import { POINTS, type Point } from "../../isolator/containers/points.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import { buildId } from "../../isolator/kernel/object.js";
import { sameLayouts } from "../support/builds.js";
import { Bystanders } from "../support/bystanders.js";
import { assertEnforced, CrashDaemon, endInstance, isGone, nodeOf } from "../support/crash-daemon.js";
import { instanceName, policy } from "../support/instance.js";
import { assertConsistent } from "../support/invariants.js";
import { enterOwnNetwork } from "../support/network.js";
import { Prober } from "../support/prober.js";

enterOwnNetwork();
const instance = instanceName();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
let bystanders: Bystanders;

type Ports = readonly [number, number];
/** Of a bystander. */
const FOREIGN = 31000;

/** A container that is half way through something when the daemon dies. */
class Victim {
  readonly id: [string];
  readonly ports: Ports;
  /** After an update: some are gone, some stay, some are new. */
  readonly nextPorts: Ports;
  /** One that it has before and after, and its task does not use. */
  readonly always: number;
  readonly task: Prober;
  running = false;

  constructor(
    readonly point: Point,
    index: number,
  ) {
    const first = 32000 + 10 * index;
    this.id = [point.replaceAll(":", "-")];
    this.ports = [first, first + 5];
    this.nextPorts = [first + 2, first + 7];
    this.always = first + 5;
    // It holds three of those that are always its own.
    this.task = Prober.spawn("verdicts", first + 2, FOREIGN, 8080);
  }

  async prepare(daemon: CrashDaemon): Promise<void> {
    await daemon.prepare(this.id, this.ports);
  }

  async isolate(daemon: CrashDaemon): Promise<void> {
    await daemon.isolate(this.id, this.task.pid);
    if (!this.running) await this.task.begin();
    this.running = true;
  }

  async launch(daemon: CrashDaemon): Promise<void> {
    await this.prepare(daemon);
    await this.isolate(daemon);
  }
}

interface Scenario {
  /** Before the call. */
  arrange(daemon: CrashDaemon, victim: Victim): Promise<void>;
  /** The call that the daemon does not survive; undefined: its start. */
  act?(daemon: CrashDaemon, victim: Victim): Promise<void>;
  /** What an agent does next, when there is a daemon again. */
  settle(daemon: CrashDaemon, victim: Victim): Promise<void>;
  /** The next start does of itself what the call was about: it must not be the next to die. */
  isFinishedByStart?: true;
  main?: string;
}

/** Whether others can have the ports: their owner is gone, or never was. */
async function assertFree(daemon: CrashDaemon, ports: Ports): Promise<void> {
  await daemon.prepare(["heir"], ports);
  await daemon.cleanup(["heir"]);
}

async function assertOwned(daemon: CrashDaemon, ports: Ports): Promise<void> {
  await assert.rejects(daemon.prepare(["heir"], ports), { code: "port-owned" });
}

const none = (): Promise<void> => Promise.resolve();

const SCENARIOS: Record<string, Scenario> = {
  "prepare:": {
    arrange: none,
    act: (daemon, victim) => victim.prepare(daemon),
    settle: async (daemon, victim) => {
      const isThere = (await daemon.list()).has(victim.id[0]);
      await (isThere ? assertOwned : assertFree)(daemon, victim.ports);
      // The agent asks again, and goes on.
      await victim.launch(daemon);
    },
  },
  "isolate:": {
    arrange: (daemon, victim) => victim.prepare(daemon),
    act: (daemon, victim) => daemon.isolate(victim.id, victim.task.pid),
    settle: (daemon, victim) => victim.isolate(daemon),
  },
  "update:": {
    arrange: (daemon, victim) => victim.launch(daemon),
    act: (daemon, victim) => daemon.update(victim.id, victim.nextPorts),
    settle: async (daemon, victim) => {
      const { ports, nextPorts } = victim;
      const has = Number((await daemon.list()).get(victim.id[0])?.ports?.[0]?.begin);
      assert([ports[0], nextPorts[0]].includes(has), `ports from ${has}`);
      const [mine, gone] = has === nextPorts[0] ? [nextPorts[1], ports[0]] : [ports[0], nextPorts[1]];
      const node = nodeOf(instance, victim.id);
      assert(node);
      await assertEnforced(node, mine, gone);
      await assertFree(daemon, [gone, gone]);
      await assertOwned(daemon, [mine, mine]);
      await daemon.update(victim.id, nextPorts);
      await assertEnforced(node, nextPorts[1], ports[0]);
      await assertFree(daemon, [ports[0], nextPorts[0] - 1]);
    },
  },
  "cleanup:": {
    arrange: (daemon, victim) => victim.launch(daemon),
    act: (daemon, victim) => daemon.cleanup(victim.id),
    settle: (daemon, victim) => daemon.cleanup(victim.id),
    isFinishedByStart: true,
  },
  "start:": {
    arrange: (daemon, victim) => victim.launch(daemon),
    settle: none,
  },
  "start:upgrade-": {
    arrange: (daemon, victim) => victim.launch(daemon),
    settle: none,
    main: sameLayouts(directory),
  },
};

function scenarioOf(point: Point): string | undefined {
  return Object.keys(SCENARIOS)
    .filter((prefix) => point.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0];
}

let daemon: CrashDaemon | undefined;

/** Replaces the daemon that lives, if one does. */
async function restart(killAt?: Point): Promise<CrashDaemon> {
  await daemon?.kill();
  daemon = undefined;
  daemon = await CrashDaemon.start(instance, killAt === undefined ? {} : { killAt });
  return daemon;
}

before(async () => {
  bystanders = new Bystanders();
  await bystanders.launch(await restart());
});
after(async () => {
  rmSync(directory, { recursive: true });
  await endInstance(instance, (last) => bystanders.end(last));
});

/** A `run` of the same instance: it sweeps what other runs have left, and nothing of an agent's. */
async function comeAndGo(): Promise<void> {
  const own = Instance.open(instance);
  const prepared = prepareContainer(own, { id: ["passer-by"], policy: policy("31900") });
  if (own.records.list().some(({ build }) => build !== buildId())) {
    await assert.rejects(prepared, { code: "other-build" });
    return;
  }
  await (await prepared).cleanup();
}

/** Gets a daemon to the point, where it dies. */
async function die(victim: Victim, scenario: Scenario): Promise<void> {
  const { main } = scenario;
  if (scenario.act) {
    assert(daemon);
    await scenario.act(daemon, victim).catch((error: unknown) => {
      if (!isGone(error)) throw error;
    });
  } else {
    await daemon?.kill();
    daemon = CrashDaemon.spawn(instance, { killAt: victim.point, ...(main === undefined ? {} : { main }) });
  }
  await daemon.died();
  daemon = undefined;
}

it("has a scenario for every point", () => {
  assert.deepEqual(
    POINTS.filter((point) => scenarioOf(point) === undefined),
    [],
  );
});

for (const [prefix, scenario] of Object.entries(SCENARIOS)) {
  const points = POINTS.filter((point) => scenarioOf(point) === prefix);
  const armed = (i: number): Point | undefined => (scenario.act ? points[i] : undefined);

  describe(`kill -9 at ${prefix}`, () => {
    const victims = points.map((point) => new Victim(point, POINTS.indexOf(point)));

    before(async () => {
      const living = daemon ?? (await restart());
      for (const victim of victims) await scenario.arrange(living, victim);
      await restart(armed(0));
    });

    for (const [i, victim] of victims.entries()) {
      it(victim.point, async () => {
        if (scenario.isFinishedByStart) await restart(armed(i));
        const counted = (await daemon?.list())?.get(victim.id[0])?.statistics?.net_tx_packets ?? 0n;
        await die(victim, scenario);

        // Nobody is there, and everything holds.
        const node = nodeOf(instance, victim.id);
        if (node?.populated()) await assertEnforced(node, victim.always, FOREIGN);
        await comeAndGo();

        const next = await restart(scenario.isFinishedByStart ? undefined : armed(i + 1));
        const list = await assertConsistent(next, instance, buildId());
        await bystanders.check(next);
        const summary = list.get(victim.id[0]);
        if (summary) assert((summary.statistics?.net_tx_packets ?? 0n) >= counted, "its counters went back");
        if (summary && victim.running) {
          const { wrong, first } = await victim.task.report();
          assert.equal(wrong, 0, first.join("\n"));
        }
      });
    }

    it("leaves nothing undone", async () => {
      const living = await restart();
      for (const victim of victims) {
        await scenario.settle(living, victim);
        await living.cleanup(victim.id);
        assert(!(await living.list()).has(victim.id[0]));
        await assertFree(living, victim.ports);
        await victim.task.kill();
      }
      await assertConsistent(living, instance, buildId());
      await bystanders.check(living);
    });
  });
}
