/** Samples the rates of all containers' traffic, for as long as the configuration asks for it. */
import { setImmediate as breathe } from "node:timers/promises";
import type { RateOptions } from "../features/rates.js";
import type { Container } from "./container.js";

/** Containers that are looked at before other calls have their turn: less than 1 ms. */
const AT_ONCE = 50;

export class RateSampler {
  private options: RateOptions | undefined;
  private timer: NodeJS.Timeout | undefined;
  private sampling = false;

  /** @param containers those that there are */
  constructor(private readonly containers: () => readonly Container[]) {}

  /** @param options undefined: nothing is sampled from now on */
  set(options: RateOptions | undefined): void {
    if (JSON.stringify(options) === JSON.stringify(this.options)) return;
    this.stop();
    this.options = options;
    if (!options) {
      for (const container of this.containers()) container.counts.forgetRates();
      return;
    }
    this.timer = setInterval(() => void this.sample(options), 1000 * options.interval).unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async sample(options: RateOptions): Promise<void> {
    // Where one takes longer than the interval, the next one is left out.
    if (this.sampling) return;
    this.sampling = true;
    try {
      for (const [index, container] of this.containers().entries()) {
        if (index % AT_ONCE === AT_ONCE - 1) await breathe();
        if (this.options === options) container.counts.sampleRates(options, performance.now() / 1000);
      }
    } finally {
      this.sampling = false;
    }
  }
}
