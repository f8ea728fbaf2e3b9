/** Who is let in: calls, streams and bytes of bodies at once, counted. */
import { IsolatorError } from "../errors.js";
import type { ProtocolLimits } from "./limits.js";

/** Gives back what was taken; safe to repeat. */
export type Release = () => void;

/** A number that many take from. */
class Budget {
  private taken = 0;

  constructor(
    private readonly what: string,
    private readonly limit: number,
  ) {}

  get used(): number {
    return this.taken;
  }

  /** @throws overloaded */
  take(amount = 1): Release {
    if (this.taken + amount > this.limit) {
      throw new IsolatorError(
        "overloaded",
        `bpf-isolator has ${this.taken} ${this.what} of at most ${this.limit}: try again in a moment`,
      );
    }
    this.taken += amount;
    let left = amount;
    return () => {
      this.taken -= left;
      left = 0;
    };
  }
}

export class Admission {
  readonly calls: Budget;
  readonly bodies: Budget;
  readonly watches: Budget;
  readonly eventStreams: Budget;

  constructor(limits: Readonly<ProtocolLimits>) {
    this.calls = new Budget("calls under way", limits.calls);
    this.bodies = new Budget("bytes of requests under way", limits.bodies);
    this.watches = new Budget("WATCH streams", limits.watches);
    this.eventStreams = new Budget("EVENTS streams", limits.eventStreams);
  }

  /** Open streams of both kinds. */
  get streams(): number {
    return this.watches.used + this.eventStreams.used;
  }
}
