/**
 * What `run` tells, on stderr since stdout is the task's: denials as they happen, rate-limited with a count of what
 * was not shown, and the usage at the end. As text, or one JSON object a line.
 */
import { totalDenied, REASONS, type Reason, type Usage } from "../features/accounting.js";
import type { EscapedProcess } from "../containers/escaped.js";
import { describe, type Denial } from "../features/events.js";
import { toStatisticsJson, type StatisticsFields } from "../features/statistics.js";

/** Shown at once, then so many a second. */
const BURST = 20;
const PER_SECOND = 5;

export class Reporter {
  private allowance = BURST;
  private last = Date.now();
  private hidden = 0;

  constructor(
    private readonly container: string,
    private readonly json: boolean,
    private readonly write: (text: string) => void = (text) => process.stderr.write(text),
  ) {}

  /** @param describeDenial called only for a denial that is shown: names cost reading all records */
  denial(describeDenial: () => Denial): void {
    const now = Date.now();
    this.allowance = Math.min(BURST, this.allowance + ((now - this.last) / 1000) * PER_SECOND);
    this.last = now;
    if (this.allowance < 1) {
      this.hidden++;
      return;
    }
    this.allowance--;
    this.flushHidden();
    const denial = describeDenial();
    this.line(denial, describe(denial));
  }

  /** @param what the policy asks to be refused, and this kernel cannot refuse */
  gap(what: string): void {
    const event = { event: "not_closed", container: this.container, what };
    this.line(event, `not closed: ${what}; "bpf-isolator check" says what this kernel lacks`);
  }

  /** @param what connections that were ended, in words */
  ended(what: string): void {
    this.line({ event: "ended", container: this.container, what }, what);
  }

  /** A process that the rules do not hold for any more. */
  escaped(found: EscapedProcess): void {
    const { pid, process, cgroup } = found;
    this.line(
      { event: "escaped", container: this.container, ...found },
      `escaped: ${process}[${pid}] is outside of the container's cgroup, in ${cgroup}: no rule holds for it there`,
    );
  }

  /**
   * @param eventsLost those that never reached this process
   * @param more fields of the statistics that other features have
   */
  summary(usage: Usage, eventsLost: number, more: StatisticsFields = {}): void {
    this.flushHidden();
    if (eventsLost > 0) {
      this.line(
        { event: "lost", count: eventsLost },
        `${eventsLost} more not shown: they came faster than read`,
      );
    }
    const statistics = toStatisticsJson({ usage, more }, Date.now() / 1000);
    this.line({ event: "usage", container: this.container, ...statistics }, describeUsage(usage));
  }

  private flushHidden(): void {
    if (this.hidden === 0) return;
    this.line({ event: "not_shown", count: this.hidden }, `${this.hidden} more not shown`);
    this.hidden = 0;
  }

  private line(data: object, text: string): void {
    this.write(this.json ? `${JSON.stringify(data)}\n` : `bpf-isolator: ${this.container}: ${text}\n`);
  }
}

function describeCounts(counts: Record<Reason, bigint>): string {
  const parts = REASONS.filter((reason) => reason !== "source_port" && counts[reason] > 0n);
  return parts.length > 0 ? ` (${parts.map((reason) => `${reason} ${counts[reason]}`).join(", ")})` : "";
}

function describeUsage(usage: Usage): string {
  const direction = (verb: string, packets: bigint, bytes: bigint, dropped: bigint): string =>
    `${verb} ${packets} packets, ${bytes} bytes${dropped > 0n ? `, dropped ${dropped}` : ""}`;
  const audited = totalDenied(usage.audited);
  const reported = usage.denied.source_port + usage.audited.source_port;
  return [
    direction("received", usage.rxPackets, usage.rxBytes, usage.rxDropped),
    direction("sent", usage.txPackets, usage.txBytes, usage.txDropped),
    `denied ${totalDenied(usage.denied)}${describeCounts(usage.denied)}`,
    ...(audited > 0n ? [`would have denied ${audited}${describeCounts(usage.audited)}`] : []),
    ...(reported > 0n ? [`connects from another container's port ${reported}`] : []),
  ].join("; ");
}
