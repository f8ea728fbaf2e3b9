/** Samples the rates of all containers' traffic, for as long as the configuration asks for it. */
import type { RateOptions } from "../features/rates.js";
import { pacing } from "./background.js";
import type { Container } from "./container.js";

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
      const rest = pacing(() => this.timer === undefined);
      for (const container of this.containers()) {
        const due = rest();
        if (due) await due;
        if (this.options === options) container.counts.sampleRates(options, performance.now() / 1000);
      }
    } finally {
      this.sampling = false;
    }
  }
}
