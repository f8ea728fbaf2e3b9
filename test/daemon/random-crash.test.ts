/**
 * kill -9 of the daemon at any instant, at its start or under calls: what an agent was told is true afterwards, and what it
 * was not told it can ask for again. SEED=NUMBER repeats a run.
 */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildId } from "../../isolator/kernel/object.js";
import { Bystanders } from "../support/bystanders.js";
import { CrashDaemon, endInstance, isGone, nodeOf } from "../support/crash-daemon.js";
import { instanceName } from "../support/instance.js";
import { assertConsistent } from "../support/invariants.js";
import { enterOwnNetwork } from "../support/network.js";
import { Prober } from "../support/prober.js";

const ROUNDS = 30;
const WORKERS = 4;
/** ms: a start takes longer, so that its first part is met as often as its last. */
const MOST_OF_START = 1000;
const MOST_OF_LOAD = 200;
const FOREIGN = 31000;

enterOwnNetwork();
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const instance = instanceName();
let bystanders: Bystanders;
let daemon: CrashDaemon | undefined;

/** mulberry32: numbers from 0 to 1, the same for the same seed. */
function randomNumbers(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A pod's life, call by call; each is asked for again until it is answered, as an agent's module does. */
class Life {
  private readonly id: [string];
  private readonly child: [string, string];
  private readonly first: number;
  private task: Prober | undefined;
  private step = 0;
  private sent = 0n;
  /** Whole lives. */
  lives = 0;

  constructor(n: number) {
    this.id = [`load-${n}`];
    this.child = [`load-${n}`, "child"];
    // Below the ports that the kernel chooses from.
    this.first = 32300 + 20 * n;
  }

  private readonly steps: ((daemon: CrashDaemon) => Promise<void>)[] = [
    (daemon) => daemon.prepare(this.id, [this.first, this.first + 9]),
    async (daemon) => {
      this.task ??= Prober.spawn("verdicts", this.first + 5, FOREIGN, 8080);
      await daemon.isolate(this.id, this.task.pid);
    },
    () => this.task?.begin() ?? Promise.resolve(),
    (daemon) => daemon.prepare(this.child, [this.first, this.first + 4]),
    (daemon) => daemon.update(this.id, [this.first, this.first + 12]),
    async (daemon) => {
      this.sent = (await daemon.usage(this.id)).net_tx_packets ?? 0n;
      assert(this.sent > 0n);
    },
    (daemon) => daemon.cleanup(this.child),
    () => this.checkTask(),
    (daemon) => daemon.cleanup(this.id),
    async () => {
      await this.task?.kill();
      this.task = undefined;
      this.sent = 0n;
      this.lives++;
    },
  ];

  private static readonly BEGUN = 3;
  private static readonly CLEANUP = 8;

  private async checkTask(): Promise<void> {
    const { wrong = 0, first = [] } = (await this.task?.report()) ?? {};
    assert.equal(wrong, 0, first.join("\n"));
  }

  /** Goes on until the daemon is gone. */
  async live(daemon: CrashDaemon): Promise<void> {
    try {
      for (;;) await this.next(daemon);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  /** Goes on to the end of this life. */
  async finish(daemon: CrashDaemon): Promise<void> {
    while (this.step > 0) await this.next(daemon);
  }

  private async next(daemon: CrashDaemon): Promise<void> {
    await this.steps[this.step]?.(daemon);
    this.step = (this.step + 1) % this.steps.length;
  }

  /** Fails where something is not so that an agent was told. */
  async check(list: Awaited<ReturnType<CrashDaemon["list"]>>): Promise<void> {
    if (this.step === 0 || this.step >= Life.CLEANUP) return;
    const [name] = this.id;
    const summary = list.get(name);
    assert(summary, `${name} was prepared`);
    const ends = this.step < 4 ? [9] : this.step === 4 ? [9, 12] : [12];
    const end = Number(summary.ports?.[0]?.end) - this.first;
    assert(ends.includes(end), `${name} has ports to ${end}, not ${ends.join(" or ")}`);
    if (this.step < Life.BEGUN) return;
    assert(
      nodeOf(instance, this.id)
        ?.pids()
        .includes(this.task?.pid ?? 0),
      `${name} has its process`,
    );
    await this.checkTask();
    const sent = summary.statistics?.net_tx_packets ?? 0n;
    assert(sent >= this.sent, `${name} had sent ${this.sent} packets, and has ${sent}`);
    this.sent = sent;
    if (this.step > 3 && this.step < 6) assert(list.has(`${name}.child`), `${name}.child was prepared`);
  }
}

before(async () => {
  bystanders = new Bystanders();
  daemon = await CrashDaemon.start(instance);
  await bystanders.launch(daemon);
});
after(() => endInstance(instance, (last) => bystanders.end(last)));

it(`survives kill -9 at random instants (SEED=${seed})`, async (t) => {
  const random = randomNumbers(seed);
  const lives = Array.from({ length: WORKERS }, (_, n) => new Life(n));
  for (let round = 0; round < ROUNDS; round++) {
    await daemon?.kill();
    daemon = CrashDaemon.spawn(instance);
    if (random() < 0.4) {
      await Promise.race([sleep(random() * MOST_OF_START), daemon.ready]);
      continue;
    }
    await daemon.ready;
    const list = await assertConsistent(daemon, instance, buildId());
    await bystanders.check(daemon);
    for (const life of lives) await life.check(list);
    const living = daemon;
    const load = Promise.all(lives.map((life) => life.live(living)));
    // What goes wrong is told at once.
    await Promise.race([load, sleep(random() * MOST_OF_LOAD)]);
    await daemon.kill();
    await load;
  }
  await daemon?.kill();
  daemon = await CrashDaemon.start(instance);
  for (const life of lives) await life.finish(daemon);
  await assertConsistent(daemon, instance, buildId());
  t.diagnostic(`SEED=${seed}: ${lives.reduce((sum, { lives }) => sum + lives, 0)} lives`);
});
