/** What the calls of an agent share: which containers there are, how they are judged, who is told of what. */
import type { Config } from "../../config/schema.js";
import type { EventRing } from "../../kernel/events.js";
import { setsOf } from "../egress.js";
import type { EventLog } from "../event-log.js";
import type { Instance } from "../instance.js";
import type { ContainerId } from "../names.js";
import { Queues, Registry, Watchers } from "../registry.js";
import { Cleanups } from "./cleanup.js";
import { Judgement } from "./judgement.js";
import { Notices } from "./notices.js";
import { Rounds } from "../rounds.js";

export class Parts {
  readonly registry = new Registry();
  readonly queues = new Queues();
  readonly watchers = new Watchers();
  readonly notices: Notices;
  readonly judgement: Judgement;
  readonly rounds: Rounds;
  readonly cleanups: Cleanups;
  /** That containers' events go to; there is one from the moment when those that are there are taken up. */
  ring!: EventRing;

  constructor(
    readonly instance: Instance,
    config: Config,
    readonly log: EventLog,
  ) {
    this.notices = new Notices(this);
    this.judgement = new Judgement(this, config);
    this.rounds = new Rounds(this, config);
    this.cleanups = new Cleanups(this);
    instance.liveName = (cgroupId) => this.notices.liveName(cgroupId);
    instance.sets.inUse = () =>
      this.registry.list().flatMap(({ container }) => (container ? setsOf(container.policy) : []));
    instance.sockets.onEnded = (sockets) => {
      this.notices.ended(sockets);
    };
  }

  /** Runs what is about one root container and what is nested in it, one after another. */
  serially<T>(id: ContainerId, work: () => Promise<T>): Promise<T> {
    return this.queues.run(id[0], work);
  }
}
