/**
 * Loaded into a daemon with `node --import`, beside the product: answers each message of its parent with how long the
 * event loop was kept from its timers since the last one, and by what. It looks every millisecond, and the kernel counts
 * what a thread has run at ticks (4 ms where CONFIG_HZ is 250): a figure is up to a tick too high.
 */
import { openSync, readSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

/** ms. */
export interface LoopDelay {
  p99: number;
  /** By anything: also by other processes that had the CPU. */
  max: number;
  /**
   * By the daemon itself: the longest that its thread ran, or that the loop did not wait for anything to do, less the time
   * in which the thread waited for a CPU. That one is counted also just after the loop has waited: where others have the
   * CPUs, a call that sleeps in the kernel may take that much longer than is said here.
   */
  busy: number;
  /** CPU time of the process. */
  cpu: number;
}

const PERIOD = 1;

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** /proc/PID/task/TID/schedstat: ns on a CPU, ns of waiting for one. */
const schedstat = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
const text = Buffer.alloc(100);

interface Look {
  /** ms in which the loop did not wait for anything to do. */
  active: number;
  /** ms on a CPU. */
  ran: number;
  /** ms of waiting for one. */
  waited: number;
}

function look(): Look {
  const read = readSync(schedstat, text, 0, text.length, 0);
  const [ran = 0, waited = 0] = text.toString("latin1", 0, read).split(" ", 2).map(Number);
  return { active: performance.eventLoopUtilization().active, ran: ran / 1e6, waited: waited / 1e6 };
}

const delay = monitorEventLoopDelay({ resolution: PERIOD });
delay.enable();
let begin = cpuTime();
let last = look();
let busy = 0;

function note(): void {
  const now = look();
  busy = Math.max(busy, now.ran - last.ran, now.active - last.active - (now.waited - last.waited));
  last = now;
}

setInterval(note, PERIOD).unref();
process.on("message", () => {
  void (async () => {
    // What has just been done is seen at the next look, and what comes now only after another one.
    await sleep(5 * PERIOD);
    const now = cpuTime();
    note();
    const answer: LoopDelay = {
      ...{ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
      ...{ busy, cpu: now - begin },
    };
    delay.reset();
    [begin, busy] = [now, 0];
    await sleep(5 * PERIOD);
    process.send?.(answer);
  })();
});
// A benchmark that was killed has no more use for it.
process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
// The daemon ends when it has nothing to do: the channel is no reason to stay.
process.channel?.unref();
