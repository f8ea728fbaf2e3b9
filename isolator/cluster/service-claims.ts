/**
 * What tasks claim by labels, as far as the configuration lets them, by virtual address: kept as tasks come and go, so
 * that a change costs what it touches, and not what there is.
 *
 * Tasks that may claim the same virtual address share it, whoever they are of: each is a backend.
 */
import type { ServicesConfig, VipClaimRule } from "../config/services.js";
import { holds, isAllocatedTo, isAnchored, matchesPath } from "../config/match.js";
import { formatAddress, parseAddress, parseCidr } from "../features/addresses.js";
import { formatEnd, formatPort, type Backend, type Service } from "../features/services.js";
import type { ServiceNames } from "./service-names.js";
import type { TaskVip, TaskVips } from "./vips.js";

/** Services of all labels together. */
const MAX_SERVICES = 16_384;

export const REFUSED_CLAIMS = {
  claim: "virtual addresses that the configuration lets their tasks not claim",
  many: `virtual addresses beyond the ${MAX_SERVICES} that are possible`,
  family: "backends of another family than their virtual address",
  name: "services with a name that get no address",
} as const;

type Refusal = keyof typeof REFUSED_CLAIMS;

/** A virtual address with who claims it. */
export interface ClaimedEnd extends Pick<Service, "name" | "address" | "port" | "protocol"> {
  /** By task. */
  tasks: Map<string, Claim>;
}

export interface Claim {
  /** Ports of the task's that it is for. */
  backends: Backend[];
  draining: boolean;
}

function isSame(a: Claim, b: Claim): boolean {
  return a.draining === b.draining && a.backends.map(formatPort).join() === b.backends.map(formatPort).join();
}

/** Of a task. */
interface Resolved {
  /** By the text of the virtual address. */
  ends: Map<string, Claim & Pick<ClaimedEnd, "name" | "address" | "port" | "protocol">>;
  refused: Refusal[];
  /** What it is refused may be had when another gives up its own. */
  waits: boolean;
}

function inBlock(address: string, block: string): boolean {
  const bytes = parseAddress(address);
  const { address: base, mask } = parseCidr(block);
  return bytes?.every((byte, i) => (byte & (mask[i] ?? 0)) === base[i]) ?? false;
}

export class ServiceClaims {
  private readonly tasks = new Map<string, TaskVips>();
  private readonly resolved = new Map<string, Resolved>();
  private readonly ends = new Map<string, ClaimedEnd>();
  private readonly refusals = new Map<Refusal, number>();
  private readonly waiting = new Set<string>();

  /** @param names undefined: services with a name have no addresses */
  constructor(
    private readonly config: ServicesConfig,
    private readonly trustedRoles: readonly string[],
    private readonly names: ServiceNames | undefined,
  ) {}

  /** The same tasks under another configuration. */
  moveTo(
    config: ServicesConfig,
    trustedRoles: readonly string[],
    names: ServiceNames | undefined,
  ): ServiceClaims {
    const moved = new ServiceClaims(config, trustedRoles, names);
    for (const [task, vips] of this.tasks) moved.set(task, vips);
    return moved;
  }

  /**
   * What a task claims now; undefined: nothing, or it is gone.
   * @returns texts of the virtual addresses that it is about
   */
  set(task: string, vips: TaskVips | undefined): Set<string> {
    const touched = new Set<string>();
    if (vips) this.tasks.set(task, vips);
    else this.tasks.delete(task);
    const fewer = this.apply(task, vips, touched);
    // What was left may be what others wait for.
    if (fewer) for (const other of [...this.waiting]) this.apply(other, this.tasks.get(other), touched);
    return touched;
  }

  has(task: string): boolean {
    return this.tasks.has(task);
  }

  /** Tasks that claim something. */
  ids(): Iterable<string> {
    return this.tasks.keys();
  }

  /** Texts of all virtual addresses that are claimed. */
  texts(): Iterable<string> {
    return this.ends.keys();
  }

  at(text: string): ClaimedEnd | undefined {
    return this.ends.get(text);
  }

  /** How many claims could not be used, by kind. */
  *refused(): Generator<[kind: string, count: number]> {
    for (const [kind, count] of this.refusals) if (count > 0) yield [REFUSED_CLAIMS[kind], count];
  }

  /** @returns whether there are fewer virtual addresses */
  private apply(task: string, vips: TaskVips | undefined, touched: Set<string>): boolean {
    const before = this.resolved.get(task);
    this.count(before?.refused, -1);
    const now: Resolved = { ends: new Map(), refused: [], waits: false };
    for (const vip of vips?.vips ?? []) if (vips) this.resolve(vips, vip, now);
    this.count(now.refused, 1);
    if (vips) this.resolved.set(task, now);
    else this.resolved.delete(task);
    if (now.waits) this.waiting.add(task);
    else this.waiting.delete(task);
    let fewer = false;
    for (const text of before?.ends.keys() ?? []) {
      if (now.ends.has(text)) continue;
      touched.add(text);
      const end = this.ends.get(text);
      end?.tasks.delete(task);
      if (end?.tasks.size !== 0) continue;
      this.ends.delete(text);
      fewer = true;
    }
    for (const [text, { backends, draining, ...place }] of now.ends) {
      const end = this.ends.get(text) ?? { ...place, tasks: new Map<string, Claim>() };
      const known = end.tasks.get(task);
      const claim = { backends, draining };
      this.ends.set(text, end);
      if (known && isSame(known, claim)) continue;
      end.tasks.set(task, claim);
      touched.add(text);
    }
    return fewer;
  }

  private count(kinds: readonly Refusal[] | undefined, by: number): void {
    for (const kind of kinds ?? []) this.refusals.set(kind, (this.refusals.get(kind) ?? 0) + by);
  }

  private resolve(task: TaskVips, { vip, protocol, port }: TaskVip, into: Resolved): void {
    const rules = this.config.claims.filter((rule) => this.isFor(rule, task));
    const allowed = rules.some(({ names, addresses }) =>
      vip.name === undefined
        ? addresses.some((block) => inBlock(vip.address ?? "", block))
        : names.some((pattern) => matchesPath(pattern, vip.name ?? "")),
    );
    if (!allowed) {
      into.refused.push("claim");
      return;
    }
    const address = vip.address ?? this.addressOf(vip.name);
    if (address === undefined) {
      into.refused.push("name");
      into.waits = true;
      return;
    }
    const end = { address, port: vip.port, protocol };
    const text = formatEnd(end);
    if (!this.ends.has(text) && this.ends.size + into.ends.size >= MAX_SERVICES) {
      into.refused.push("many");
      into.waits = true;
      return;
    }
    const own = task.addresses.map((bytes) => ({ address: formatAddress(bytes), port }));
    const backend = own.find((candidate) => candidate.address.includes(":") === address.includes(":"));
    const known = into.ends.get(text);
    if (!backend) into.refused.push("family");
    else if (known) known.backends.push(backend);
    else {
      const name = vip.name === undefined ? {} : { name: vip.name };
      into.ends.set(text, { ...name, ...end, backends: [backend], draining: task.draining });
    }
  }

  private isFor({ match }: VipClaimRule, { facts }: TaskVips): boolean {
    return (isAnchored(match) || isAllocatedTo(facts, this.trustedRoles)) && holds(match, facts);
  }

  /** The address of a name; undefined: it gets none. */
  addressOf(name: string | undefined): string | undefined {
    try {
      if (name !== undefined && this.names) return this.names.addressOf(name, () => this.namesInUse());
    } catch {
      // Counted: another range is needed.
    }
    return undefined;
  }

  private namesInUse(): Set<string> {
    const names = [
      ...this.config.static.map(({ vip }) => vip.name),
      ...[...this.tasks.values()].flatMap(({ vips }) => vips.map(({ vip }) => vip.name)),
    ];
    return new Set(
      names.flatMap((name) => (name === undefined || !this.names ? [] : this.names.hostOf(name))),
    );
  }
}
