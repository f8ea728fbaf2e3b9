/** What the daemon looks at again and again, for all containers. */
import type { Config } from "../config/schema.js";
import type { Parts } from "./calls/parts.js";
import { EscapePatrol } from "./escape-patrol.js";
import { HostShare } from "./host-share.js";
import { MarkingDevices } from "./marking-devices.js";
import { RateSampler } from "./rate-sampler.js";
import type { Entry } from "./registry.js";
import { SelfCheck, type SelfCheckResult } from "./self-check.js";
import { describeViolation, limitationOf, Violations } from "./violations.js";

/** ms between two looks at denials that were not shown. */
const FLUSH = 1_000;

export class Rounds {
  readonly hostShare: HostShare;
  private readonly patrol: EscapePatrol;
  private readonly selfCheck: SelfCheck;
  private readonly sampler: RateSampler;
  private readonly devices: MarkingDevices;
  private readonly violations: Violations;
  private readonly flusher: NodeJS.Timeout;

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
    }, FLUSH).unref();
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

  /** The agent is told to. @param what the container did */
  private endContainer(name: string, what: string): void {
    const { registry, watchers, log } = this.parts;
    const ports = registry.named(name)?.container?.policy.ports ?? [];
    if (watchers.raise(name, limitationOf(name, what, ports)))
      log.add("limitation", name, "the agent is told to end it");
  }
}
