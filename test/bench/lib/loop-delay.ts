/**
 * Loaded into a daemon with `node --import`, beside the product: answers each message of its parent with how long the
 * event loop was kept from its timers since the last one, and what CPU time the process took. It looks every
 * millisecond, so that a figure is up to a millisecond too high.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

/** ms. */
export interface LoopDelay {
  p99: number;
  max: number;
  /** The most CPU time between two looks: what is left of `max` where nobody else takes the CPU meanwhile. */
  maxCpu: number;
  /** CPU time in all. */
  cpu: number;
}

const PERIOD = 1;

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const delay = monitorEventLoopDelay({ resolution: PERIOD });
delay.enable();
let [begin, last, maxCpu] = [cpuTime(), cpuTime(), 0];
setInterval(() => {
  const now = cpuTime();
  maxCpu = Math.max(maxCpu, now - last);
  last = now;
}, PERIOD).unref();
process.on("message", () => {
  void (async () => {
    // What has just been done is seen at the next look, and what comes now only after another one.
    await sleep(5 * PERIOD);
    const now = cpuTime();
    const answer: LoopDelay = {
      ...{ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
      ...{ maxCpu: Math.max(maxCpu, now - last), cpu: now - begin },
    };
    delay.reset();
    [begin, last, maxCpu] = [now, now, 0];
    await sleep(5 * PERIOD);
    process.send?.(answer);
  })();
});
// A benchmark that was killed has no more use for it.
process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
// The daemon ends when it has nothing to do: the channel is no reason to stay.
process.channel?.unref();
