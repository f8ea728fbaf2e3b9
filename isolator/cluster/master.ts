/**
 * Endpoints from a Mesos master's stream of events: the leading master is found, a stream that breaks or falls silent is
 * begun again with growing pauses, and what was known holds until the next first state.
 */
import { readFileSync } from "node:fs";
import { setImmediate as breathe } from "node:timers/promises";
import type { MasterConfig } from "../config/endpoints.js";
import { messageOf, type IsolatorError } from "../errors.js";
import { readRecord, type FirstState } from "./master-events.js";
import { MasterConnection, type Credential } from "./master-connection.js";
import { MasterState } from "./master-state.js";
import type { Classifier, EndpointSource, SourceSink, SourceStatus } from "./source.js";
import { Turn } from "./turns.js";

export interface MasterTimes {
  /** ms of the first pause after a stream has ended, and of the longest. */
  pauses?: { first: number; longest: number };
  /** ms for an answer to begin. */
  timeout?: number;
}

const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 30_000;
const TIMEOUT = 10_000;
/** As Mesos's --credential has it. @throws IsolatorError, and what reading throws */
function readCredential(path: string): Credential {
  const { principal, secret } = JSON.parse(readFileSync(path, "utf8")) as Partial<Record<string, unknown>>;
  if (typeof principal === "string" && typeof secret === "string") return { principal, secret };
  throw new Error("it has no principal and secret");
}

/** Seconds between heartbeats where the master does not say. */
const HEARTBEAT = 15;
/** Heartbeats that may be missing: dcos-net gives up after as many. */
const MISSING = 3;

export class MasterSource implements EndpointSource {
  readonly name = "master";
  private readonly state: MasterState;
  private readonly first: number;
  private readonly longest: number;
  private sink: SourceSink | undefined;
  private connection: MasterConnection | undefined;
  private timer: NodeJS.Timeout | undefined;
  private watchdog: NodeJS.Timeout | undefined;
  private stopped = false;
  /** Streams that ended one after another without a first state. */
  private failures = 0;
  private heartbeat = HEARTBEAT;
  private readonly queue: (() => Promise<void>)[] = [];
  private working = false;
  /** The stream whose first state holds. */
  private begunBy: MasterConnection | undefined;
  private subscribed = false;
  private everSubscribed = false;
  /** ms of the monotonic clock: a clock that jumps is none of a stream's business. */
  private heardAt: number | undefined;
  private error: string | undefined;

  constructor(
    private readonly config: MasterConfig,
    classifier: Classifier,
    private readonly times: MasterTimes = {},
  ) {
    this.state = new MasterState(classifier, config.addressAttribute);
    this.first = times.pauses?.first ?? FIRST_PAUSE;
    this.longest = times.pauses?.longest ?? LONGEST_PAUSE;
  }

  start(sink: SourceSink): void {
    this.sink = sink;
    this.state.tell(sink);
    this.connect();
  }

  reclassify(classifier: Classifier): void {
    void this.enqueue(() => this.state.reclassify(classifier, this.everSubscribed));
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.connection?.close();
  }

  status(): SourceStatus {
    const { heardAt, error } = this;
    return {
      name: this.name,
      where: this.connection?.host ?? new URL(this.url()).host,
      state: this.subscribed ? "current" : this.everSubscribed ? "stale" : "waiting",
      ...(heardAt === undefined ? {} : { age: (performance.now() - heardAt) / 1000 }),
      ...(error === undefined ? {} : { error }),
      ignored: this.state.ignored.all,
    };
  }

  /** Each in its turn: one that is down does not keep from the others. */
  private url(): string {
    const { urls } = this.config;
    return urls[this.failures % urls.length] ?? "";
  }

  private connect(): void {
    const { encoding, credential: file } = this.config;
    const { timeout = TIMEOUT } = this.times;
    let credential: Credential | undefined;
    try {
      credential = file === undefined ? undefined : readCredential(file);
    } catch (error) {
      this.onEnd({ message: `the credential ${file} cannot be used: ${messageOf(error)}` });
      return;
    }
    this.watch();
    this.connection = new MasterConnection(
      new URL(this.url()),
      { encoding, timeout, ...(credential ? { credential } : {}) },
      {
        onBytes: () => {
          this.heardAt = performance.now();
        },
        onRecord: (record, encoding) => {
          const from = this.connection;
          void this.enqueue(async () => {
            try {
              const read = readRecord(record, encoding);
              if ("first" in read) await this.onFirst(read.first, from);
              // Without a first state nobody knows what a change is of.
              else if (this.begunBy === from) this.state.handle(read);
            } catch (error) {
              // One that was ended meanwhile has told why.
              from?.fail(error);
            }
          });
        },
        onEnd: (why) => {
          this.onEnd(why);
        },
      },
    );
  }

  /** What comes is taken in one after another, and read on meanwhile: a first state takes a while. */
  private async enqueue(work: () => Promise<void>): Promise<void> {
    this.queue.push(work);
    if (this.working) return;
    this.working = true;
    let turn = new Turn();
    for (let next = this.queue.shift(); next && !this.stopped; next = this.queue.shift()) {
      await next();
      if (turn.isOver) {
        await breathe();
        turn = new Turn();
      }
    }
    this.working = false;
  }

  private async onFirst(first: FirstState, from: MasterConnection | undefined): Promise<void> {
    this.heartbeat = Math.min(Math.max(first.heartbeat ?? HEARTBEAT, 0.05), 3600);
    if (from === this.connection) this.watch();
    await this.state.begin(first);
    this.begunBy = from;
    this.everSubscribed = true;
    // It may have ended meanwhile.
    if (from !== this.connection) return;
    this.failures = 0;
    this.error = undefined;
    this.subscribed = true;
  }

  /** Looks whether the stream is still alive: a timer that is only moved on when it is due. */
  private watch(): void {
    clearTimeout(this.watchdog);
    const patience = this.heartbeat * MISSING * 1000;
    const begun = performance.now();
    const look = (): void => {
      const quiet = performance.now() - Math.max(this.heardAt ?? begun, begun);
      const limit = this.heartbeat * MISSING * 1000;
      if (quiet >= limit) this.silent(quiet);
      else this.watchdog = setTimeout(look, Math.min(limit - quiet + 1, patience)).unref();
    };
    this.watchdog = setTimeout(look, patience).unref();
  }

  private silent(quiet: number): void {
    const { connection } = this;
    if (!connection) return;
    connection.close();
    this.onEnd({
      message: `the master at ${connection.host} has sent nothing for ${Math.round(quiet / 1000)} s`,
    });
  }

  private onEnd({ message }: Pick<IsolatorError, "message">): void {
    clearTimeout(this.watchdog);
    if (this.stopped) return;
    if (this.subscribed || this.error === undefined) {
      const kept = this.everSubscribed ? "; what it said last holds" : "";
      this.sink?.warn(`${message}${kept}`);
    }
    this.subscribed = false;
    this.error = message;
    this.connection = undefined;
    const pause = Math.min(this.longest, this.first * 2 ** Math.min(this.failures, 20));
    this.failures++;
    // Agents that lost the same master do not all come back in the same moment.
    this.timer = setTimeout(
      () => {
        this.connect();
      },
      pause * (0.5 + Math.random() / 2),
    ).unref();
  }
}
