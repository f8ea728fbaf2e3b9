/** What the daemon looks at again and again, for all containers. */
import type { Config } from "../config/schema.js";
import { messageOf } from "../errors.js";
import type { Parts } from "./calls/parts.js";
import type { Container } from "./container.js";
import { EscapePatrol } from "./escape-patrol.js";
import type { GlassMode } from "./glass.js";
import { HostShare } from "./host-share.js";
import { MarkingDevices } from "./marking-devices.js";
import { RateSampler } from "./rate-sampler.js";
import type { Entry } from "./registry.js";
import { SelfCheck, type SelfCheckResult } from "./self-check.js";
import { describeViolation, limitationOf, Violations } from "./violations.js";

/** ms between two looks at denials that were not shown, and at what an operator has switched off. */
const FLUSH = 1_000;

const GLASS: Record<GlassMode | "restore", string> = {
  audit: "break-glass: nothing is refused any more, what would be is reported and counted",
  detach: "break-glass: the programs are taken away, nothing is refused, reported or counted any more",
  restore: "break-glass is taken back: the policy is enforced again",
};

export class Rounds {
  readonly hostShare: HostShare;
  private readonly patrol: EscapePatrol;
  private readonly selfCheck: SelfCheck;
  private readonly sampler: RateSampler;
  private readonly devices: MarkingDevices;
  private readonly violations: Violations;
  private readonly flusher: NodeJS.Timeout;
  /** What `break-glass` has switched off of each container, and of all (""), as it was told last. */
  private readonly glass = new Map<string, GlassMode>();

  constructor(
    private readonly parts: Pick<Parts, "instance" | "registry" | "log" | "watchers">,
    config: Config,
  ) {
    const { instance, log, registry } = parts;
    this.patrol = new EscapePatrol((container, { pid, process, cgroup }) => {
      const what = `${process}[${pid}] has left it for cgroup ${cgroup}, where its rules do not hold`;
      log.add("escaped", container, what);
      if (this.violations.kills) this.endContainer(container, what);
    });
    this.selfCheck = new SelfCheck({
      entries: () => registry.list(),
      onLook: (name, { glass }) => {
        if (instance.glass === undefined) this.tellGlass(name, glass);
      },
      onRepair: (container, message) => {
        log.add("repaired", container, message);
      },
      onFailure: (container, message) => {
        log.add("self_check", container, `it is not enforced as it should be: ${message}`);
      },
    });
    this.sampler = new RateSampler(() =>
      [...registry.all()].flatMap(({ container, cleaning }) => (container && !cleaning ? [container] : [])),
    );
    this.hostShare = new HostShare(instance, log, () =>
      [...registry.all()].flatMap(({ container }) => container ?? []),
    );
    this.devices = new MarkingDevices(
      instance,
      () => instance.loaded.device("marking_rewrite"),
      (message) => {
        log.add("warning", "", message);
      },
    );
    this.violations = new Violations(config.violations);
    this.flusher = setInterval(() => {
      for (const { name } of registry.all()) log.flush(name);
      this.judgeViolations();
      this.lookAtGlass();
    }, FLUSH).unref();
  }

  private lookAtGlass(): void {
    try {
      this.tellGlass("", this.parts.instance.glass);
    } catch {
      // It cannot be read: the look at each container says so.
    }
  }

  /** An operator's command has switched something off, or on again: it works without this process. */
  private tellGlass(name: string, mode: GlassMode | undefined): void {
    if (this.glass.get(name) === mode) return;
    if (mode === undefined) this.glass.delete(name);
    else this.glass.set(name, mode);
    this.parts.log.add("break_glass", name, GLASS[mode ?? "restore"]);
  }

  /** Of statistics: before containers are taken up, so that theirs are kept. */
  measure({ statistics: { interval, rates } }: Config): void {
    this.parts.instance.sockets.keepStatistics(1000 * interval);
    this.sampler.set(rates);
  }

  /** All else that a configuration says of it. */
  configure(config: Config): void {
    this.violations.set(config.violations);
    this.devices.use(config.markingDevices);
  }

  /** What the last look of the daemon at itself has found. */
  get health(): SelfCheckResult {
    return this.selfCheck.result;
  }

  checkSoon(): void {
    void this.selfCheck.look();
  }

  /** Resolves when no round is under way. */
  async stop(): Promise<void> {
    clearInterval(this.flusher);
    this.sampler.stop();
    this.parts.instance.sockets.stop();
    this.hostShare.stop();
    this.devices.stop();
    this.patrol.stop();
    await this.selfCheck.stop();
  }

  /** A container is there from now on. */
  add({ name, container }: Entry): void {
    if (container && this.violations.counts)
      this.violations.look(name, container.counts.usage().denied, Date.now());
    // A daemon before this one may not have come to tell it.
    if (container?.record.limited !== undefined) this.raise(name, container, container.record.limited);
    const watch = container?.enforcement.escapeWatch();
    if (watch) this.patrol.add(name, watch);
  }

  /** A process was put into a container. */
  joined(name: string, pid: number): void {
    this.patrol.note(name, pid);
  }

  /** A container was refused something. */
  denied(name: string): void {
    this.violations.note(name);
  }

  /** A container is gone. */
  delete(name: string): void {
    this.patrol.remove(name);
    this.violations.forget(name);
    this.glass.delete(name);
  }

  /** Looks at the containers that were refused something since the last look. */
  private judgeViolations(): void {
    for (const name of this.violations.take()) {
      const entry = this.parts.registry.named(name);
      if (!entry?.container || entry.cleaning) continue;
      const violation = this.violations.look(name, entry.container.counts.usage().denied, Date.now());
      if (!violation) continue;
      const what = describeViolation(violation);
      this.parts.log.add("violations", name, what);
      if (this.violations.kills) this.endContainer(name, what);
    }
  }

  private raise(name: string, { policy }: Container, what: string): void {
    this.parts.watchers.raise(name, limitationOf(name, what, policy.ports ?? []));
  }

  /** The agent is told to. @param what the container did */
  private endContainer(name: string, what: string): void {
    const { registry, watchers, log } = this.parts;
    const container = registry.named(name)?.container;
    if (!container || watchers.isLimited(name)) return;
    // Before it is told: this process may be killed between the two.
    try {
      container.limit(what);
    } catch (error) {
      log.add("warning", name, `a daemon after this one would not tell the agent again: ${messageOf(error)}`);
    }
    this.raise(name, container, what);
    log.add("limitation", name, "the agent is told to end it");
  }
}
