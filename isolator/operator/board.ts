/**
 * What the status page shows, kept as long as the daemon lives: the history of each container always, rows of the table
 * only while somebody looks. Each round is worked out once, whatever the number of pages: those that are open are sent
 * what has changed, a new one gets all there is.
 */
import { setImmediate as breathe } from "node:timers/promises";
import type { Response } from "express";
import type { EventLog, IsolatorEvent } from "../containers/event-log.js";
import type { Isolator } from "../containers/isolator.js";
import { IsolatorError, messageOf } from "../errors.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { EventStreams, message, messageOfText } from "./event-stream.js";
import { countsOf, History, INTERVAL } from "./history.js";
import { toRow, type Words } from "./rows.js";
import type {
  ContainerView,
  DaemonView,
  FeatureView,
  Numbers,
  Row,
  ServiceView,
  ShownEvent,
  Snapshot,
  Tick,
} from "./wire.js";

/** Containers that are looked at before other calls have their turn: less than 1 ms. */
const AT_ONCE = 50;
/** Samples of a sparkline: 90 s. */
const SPARK = 30;
/** Events that a new page is sent. */
const RECENT = 200;
/** ms that events wait for others, and how many at most are sent together: more are counted. */
const FLUSH = 200;
const BATCH = 200;

type Summary = bpf_isolator.ContainerSummary;

/** Where all comes from. */
export interface BoardSources {
  isolator: Pick<Isolator, "list" | "named"> & { log: Pick<EventLog, "follow" | "recent"> };
  /** All containers, those of `run` too. */
  list: () => Promise<readonly Summary[]>;
  words: Words;
  daemon: () => DaemonView;
  /** Asked once, at the first page. */
  features: () => Promise<readonly FeatureView[]>;
  services: () => Promise<readonly ServiceView[]>;
  printable: (text: string) => string;
  onProblem: (problem: IsolatorError) => void;
}

interface Known {
  summary: Summary;
  row: Row;
  numbers: Numbers;
  /** JSON of each, to see what has changed. */
  rowText: string;
  numbersText: string;
}

export class Board {
  readonly history = new History();
  readonly streams = new EventStreams();
  private known = new Map<string, Known>();
  private daemonText = "";
  private services: readonly ServiceView[] = [];
  private servicesText = "";
  private snapshot: Buffer | undefined;
  private features: readonly FeatureView[] | undefined;
  private askedFeatures = false;
  private events: ShownEvent[] = [];
  private eventsLeft = 0;
  private sampling = false;
  /** When `known` was found out; ms of a clock that only goes forward. */
  private lookedAt = -Infinity;
  private looking: Promise<void> | undefined;
  /** A snapshot is being made, for all who wait for one. */
  private taking: Promise<void> | undefined;
  private readonly timers: NodeJS.Timeout[];
  private readonly ended = new AbortController();

  constructor(private readonly sources: BoardSources) {
    this.timers = [
      setInterval(() => void this.tick(), INTERVAL).unref(),
      setInterval(() => {
        this.flushEvents();
      }, FLUSH).unref(),
    ];
    void this.followEvents();
    void this.tick();
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.ended.abort();
    this.streams.close();
  }

  /** Answers GET /events until its client goes. @throws overloaded, and what the list throws */
  async open(response: Response): Promise<void> {
    this.askFeatures();
    if (performance.now() - this.lookedAt > INTERVAL * 1.5) await this.look();
    while (!this.snapshot && !response.destroyed)
      await (this.taking ??= this.takeSnapshot().finally(() => (this.taking = undefined)));
    // Nothing is waited for from here on: what is sent next is what comes next.
    if (!this.snapshot || response.destroyed) return;
    const recent = this.sources.isolator.log.recent().slice(-RECENT);
    const events = message(
      "log",
      recent.map((event) => this.toShown(event)),
    );
    this.streams.open(response, [this.snapshot, events]);
  }

  /** GET /container/KEY @throws not-found */
  async container(key: string): Promise<ContainerView> {
    if (performance.now() - this.lookedAt > INTERVAL / 2) await this.look();
    const found = this.known.get(key);
    if (!found) throw new IsolatorError("not-found", "there is no such container now");
    const { row, numbers, summary } = found;
    const { history } = this;
    return {
      row,
      numbers,
      details: this.sources.words.details(summary),
      times: history.readTimes(),
      past: history.readPast(key),
    };
  }

  /** Never rejects. */
  private async tick(): Promise<void> {
    // Where one takes longer than the interval, the next one is left out.
    if (this.sampling) return;
    try {
      await this.sample();
      if (this.streams.count > 0) await this.look();
    } catch (error) {
      const known = error instanceof IsolatorError ? error.code : "internal";
      this.sources.onProblem(
        new IsolatorError(known, `the status page cannot be made: ${messageOf(error)}`, error),
      );
    }
  }

  private async sample(): Promise<void> {
    this.sampling = true;
    const { isolator } = this.sources;
    try {
      this.history.begin(Date.now());
      for (const [index, entry] of isolator.list().entries()) {
        if (index % AT_ONCE === AT_ONCE - 1) await breathe();
        // Gone meanwhile?
        if (!entry.container || isolator.named(entry.name) !== entry) continue;
        this.history.add(entry.name, performance.now(), countsOf(entry.container.counts.usage()));
      }
      this.history.end();
    } finally {
      this.sampling = false;
    }
  }

  /** Finds out how all is now, and tells the open pages what has changed. */
  private look(): Promise<void> {
    return (this.looking ??= this.lookNow().finally(() => (this.looking = undefined)));
  }

  private async lookNow(): Promise<void> {
    const { list, words, daemon, services } = this.sources;
    const rows: Row[] = [];
    const numbers: Record<string, Numbers> = {};
    const now = new Map<string, Known>();
    for (const [index, summary] of (await list()).entries()) {
      if (index % AT_ONCE === AT_ONCE - 1) await breathe();
      const made = toRow(summary, words, this.history);
      const { key } = made.row;
      const texts = { rowText: JSON.stringify(made.row), numbersText: JSON.stringify(made.numbers) };
      const before = this.known.get(key);
      if (before?.rowText !== texts.rowText) rows.push(made.row);
      if (before?.numbersText !== texts.numbersText) numbers[key] = made.numbers;
      now.set(key, { summary, ...made, ...texts });
    }
    const servicesNow = await services();
    // Nothing is waited for from here on: a page that comes meanwhile has all of it or nothing.
    const gone = [...this.known.keys()].filter((key) => !now.has(key));
    this.known = now;
    this.lookedAt = performance.now();
    this.snapshot = undefined;
    const daemonNow = daemon();
    const daemonText = JSON.stringify(daemonNow);
    const servicesText = JSON.stringify(servicesNow);
    const tick: Tick = {
      ...{ time: Date.now(), gone, rows, numbers },
      ...(daemonText === this.daemonText ? {} : { daemon: daemonNow }),
      ...(servicesText === this.servicesText ? {} : { services: servicesNow }),
    };
    Object.assign(this, { daemonText, servicesText, services: servicesNow });
    if (this.streams.count > 0) this.streams.send(message("tick", tick));
  }

  /** Makes a snapshot, in parts; not where all has been looked at again meanwhile. */
  private async takeSnapshot(): Promise<void> {
    const { known } = this;
    const containers: string[] = [];
    for (const [key, { rowText, numbersText }] of known) {
      if (containers.length % AT_ONCE === AT_ONCE - 1) await breathe();
      const { received, sent, connections } = this.history.readPast(key, SPARK);
      const past = JSON.stringify({ received, sent, connections });
      containers.push(`{"row":${rowText},"numbers":${numbersText},"past":${past}}`);
    }
    if (this.known !== known) return;
    const rest: Omit<Snapshot, "containers"> = {
      interval: INTERVAL,
      daemon: this.sources.daemon(),
      services: this.services,
      features: this.features ?? null,
    };
    const text = `${JSON.stringify(rest).slice(0, -1)},"containers":[${containers.join()}]}`;
    this.snapshot = messageOfText("snapshot", text);
  }

  private askFeatures(): void {
    if (this.askedFeatures) return;
    this.askedFeatures = true;
    this.sources.features().then(
      (features) => {
        this.features = features;
        this.snapshot = undefined;
        this.streams.send(message("features", features));
      },
      (error: unknown) => {
        // Asked again by the next page.
        this.askedFeatures = false;
        this.sources.onProblem(
          new IsolatorError(
            "internal",
            `what the kernel can do is not known to the status page: ${messageOf(error)}`,
            error,
          ),
        );
      },
    );
  }

  private toShown({ sequence, time, container, kind, message: text }: IsolatorEvent): ShownEvent {
    const { printable } = this.sources;
    const name = printable(container);
    return { sequence, time, container, name, kind, message: printable(text) };
  }

  private async followEvents(): Promise<void> {
    for await (const event of this.sources.isolator.log.follow(this.ended.signal)) {
      if (this.streams.count === 0) continue;
      if (this.events.length < BATCH) this.events.push(this.toShown(event));
      else this.eventsLeft++;
    }
  }

  private flushEvents(): void {
    if (this.events.length === 0) return;
    const { events, eventsLeft } = this;
    this.events = [];
    this.eventsLeft = 0;
    if (eventsLeft > 0) {
      const text = `${eventsLeft} events are not shown here: they came too fast`;
      events.push({
        ...{ sequence: 0, time: Date.now(), container: "", name: "", kind: "not_shown", message: text },
      });
    }
    this.streams.send(message("log", events));
  }
}
