/**
 * The services of a daemon: those of its configuration, and those that tasks claim by labels as far as the configuration
 * lets them. What changes is in the kernel a turn of the event loop later.
 *
 * Tasks that may claim the same virtual address share it: each is a backend. A service of the configuration wins over
 * what labels claim for the same address. A backend that is a virtual address itself is left out, so there are no loops.
 */
import { setImmediate as breathe } from "node:timers/promises";
import { optionsOf, toService, type ServicesConfig, type VipClaimRule } from "../config/services.js";
import { holds, isAllocatedTo, isAnchored, matchesPath } from "../config/match.js";
import { messageOf } from "../errors.js";
import { formatAddress, parseAddress, parseCidr } from "../features/addresses.js";
import {
  backendProblem,
  formatEnd,
  formatPort,
  MAX_BACKENDS,
  placeOfEnd,
  type Backend,
  type BackendCounts,
  type Service,
} from "../features/services.js";
import { ServiceTable, type ServiceMaps } from "../kernel/service-table.js";
import { ServiceNames } from "./service-names.js";
import type { TaskVip, TaskVips } from "./vips.js";

/** Services of all labels together. */
const MAX_SERVICES = 16_384;
/** ms between two looks at what has become of backends. */
const LOOK = 1_000;
/** ms after which writing that failed is tried again. */
const RETRY = 1_000;

export const REFUSED_VIPS = {
  claim: "virtual addresses that the configuration lets their tasks not claim",
  many: "virtual addresses beyond the 16384 that are possible",
  backend: "backends that cannot be one: another family, a virtual address, or too many",
  name: "services with a name that get no address",
} as const;

export type BackendState = "active" | "avoided" | "draining";

export interface BackendView extends Backend {
  state: BackendState;
  counts: BackendCounts;
}

export interface ServiceView {
  service: Service;
  /** By which it resolves. */
  host?: string;
  backends: BackendView[];
  /** Times that it had none. */
  misses: bigint;
}

interface Built {
  service: Service;
  draining: Backend[];
}

type Log = (message: string, what: "service" | "warning") => void;

function inBlock(address: string, block: string): boolean {
  const bytes = parseAddress(address);
  const { address: base, mask } = parseCidr(block);
  return bytes?.every((byte, i) => (byte & (mask[i] ?? 0)) === base[i]) ?? false;
}

const NO_COUNTS: BackendCounts = { connects: 0n, refused: 0n, unanswered: 0n, live: 0, avoidedUntil: 0n };

export class ServiceDirectory {
  private readonly table: ServiceTable;
  private tasks = new Map<string, TaskVips>();
  private names: ServiceNames | undefined;
  private refused = new Map<string, number>();
  /** Whether all that claims have has been told once: until then what an earlier daemon has left stays. */
  private told = false;
  private dirty = false;
  private work: Promise<void> | undefined;
  private retry: NodeJS.Timeout | undefined;
  private readonly timer: NodeJS.Timeout;
  private readonly states = new Map<string, string>();
  private stopped = false;
  private error: string | undefined;

  /**
   * @param hostsFile where the configuration names none
   * @param isNear whether an address is one of this host's
   * @param onGone a backend is gone: sockets may still be connected to it
   */
  constructor(
    maps: ServiceMaps,
    set: bigint,
    private config: ServicesConfig,
    private trustedRoles: readonly string[],
    private readonly hostsFile: string,
    private readonly isNear: (address: string) => boolean,
    private readonly onGone: () => void,
    private readonly log: Log,
  ) {
    this.table = new ServiceTable(maps, set);
    this.open();
    this.timer = setInterval(() => {
      this.look();
    }, LOOK).unref();
    this.change();
  }

  private open(): void {
    const { range, domain, hostsFile } = this.config;
    this.names =
      range === undefined ? undefined : new ServiceNames(range, domain, hostsFile ?? this.hostsFile);
  }

  reconfigure(config: ServicesConfig, trustedRoles: readonly string[]): void {
    const same = JSON.stringify([config, trustedRoles]) === JSON.stringify([this.config, this.trustedRoles]);
    if (same) return;
    const names = ({ range, domain, hostsFile }: ServicesConfig): string =>
      JSON.stringify([range, domain, hostsFile]);
    const renamed = names(config) !== names(this.config);
    this.config = config;
    this.trustedRoles = trustedRoles;
    if (renamed) this.open();
    this.change();
  }

  /** Whether claims are of use at all. */
  get takesClaims(): boolean {
    return this.config.claims.length > 0;
  }

  /** All tasks that claim something, in place of all that did. */
  replace(tasks: ReadonlyMap<string, TaskVips>): void {
    this.tasks = new Map(tasks);
    this.told = true;
    this.change();
  }

  /** What a task claims now; undefined: nothing, or it is gone. */
  set(task: string, vips: TaskVips | undefined): void {
    if (!vips && !this.tasks.has(task)) return;
    if (vips) this.tasks.set(task, vips);
    else this.tasks.delete(task);
    this.change();
  }

  /** There is nobody who tells of tasks: what labels claimed before is over. */
  noClaims(): void {
    this.replace(new Map());
  }

  /** What could not be used, by kind. */
  get ignored(): ReadonlyMap<string, number> {
    return this.refused;
  }

  get problem(): string | undefined {
    return this.error;
  }

  /** Resolves when the kernel has all that was known at the call, unless that fails. */
  async settled(): Promise<void> {
    while (this.work) await this.work;
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.table.stop();
  }

  /** Every service with what is known of its backends. */
  *list(): Generator<ServiceView> {
    for (const { service, draining } of this.table.list()) {
      const view = (backend: Backend, drains: boolean): BackendView => {
        const counts = this.table.counts(service, backend) ?? NO_COUNTS;
        return { ...backend, state: drains ? "draining" : stateOf(counts), counts };
      };
      yield {
        service,
        ...(service.name === undefined || !this.names ? {} : { host: this.names.hostOf(service.name) }),
        backends: [
          ...service.backends.map((backend) => view(backend, false)),
          ...draining.map((backend) => view(backend, true)),
        ],
        misses: this.table.misses(service),
      };
    }
  }

  private change(): void {
    this.dirty = true;
    if (this.work || this.stopped || this.retry) return;
    this.work = breathe().then(() => this.write());
    void this.work.finally(() => {
      this.work = undefined;
    });
  }

  private async write(): Promise<void> {
    while (this.dirty && !this.stopped) {
      this.dirty = false;
      try {
        this.writeAll(this.build());
        this.error = undefined;
      } catch (error) {
        this.fail(messageOf(error));
        return;
      }
      await breathe();
    }
  }

  private fail(message: string): void {
    if (this.error !== message) this.log(`the kernel does not have all services: ${message}`, "warning");
    this.error = message;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      this.change();
    }, RETRY).unref();
  }

  private writeAll(wanted: ReadonlyMap<string, Built>): void {
    let gone = false;
    for (const { service, draining } of wanted.values())
      gone = this.table.put(service, draining, this.isNear) || gone;
    if (this.told || !this.takesClaims) {
      for (const { service } of this.table.list())
        if (!wanted.has(formatEnd(service))) gone = this.table.remove(service) || gone;
      gone = this.table.forgetOthers() || gone;
    }
    this.names?.write();
    if (gone) this.onGone();
  }

  private count(kind: string): void {
    this.refused.set(kind, (this.refused.get(kind) ?? 0) + 1);
  }

  /** What there is to be, by the texts of the virtual addresses. */
  private build(): Map<string, Built> {
    this.refused = new Map();
    const inUse = this.namesInUse();
    const built = new Map<string, Built>();
    for (const entry of this.config.static) {
      const address = entry.vip.address ?? this.addressOf(entry.vip.name, inUse);
      if (address === undefined) continue;
      const service = toService(entry, address, this.config);
      built.set(formatEnd(service), { service, draining: [] });
    }
    const claimed = new Map<string, Built>();
    for (const task of this.tasks.values())
      for (const vip of task.vips) this.claim(task, vip, { built, claimed, inUse });
    for (const [text, service] of claimed) built.set(text, service);
    this.withoutLoops(built);
    return built;
  }

  private claim(
    task: TaskVips,
    { vip, protocol, port }: TaskVip,
    to: { built: Map<string, Built>; claimed: Map<string, Built>; inUse: ReadonlySet<string> },
  ): void {
    const rules = this.config.claims.filter((rule) => this.isFor(rule, task));
    const allowed = rules.some(({ names, addresses }) =>
      vip.name === undefined
        ? addresses.some((block) => inBlock(vip.address ?? "", block))
        : names.some((pattern) => matchesPath(pattern, vip.name ?? "")),
    );
    if (!allowed) {
      this.count(REFUSED_VIPS.claim);
      return;
    }
    const address = vip.address ?? this.addressOf(vip.name, to.inUse);
    if (address === undefined) return;
    const end = { address, port: vip.port, protocol };
    const text = formatEnd(end);
    if (to.built.has(text)) return;
    let service = to.claimed.get(text);
    if (!service) {
      if (to.claimed.size + to.built.size >= MAX_SERVICES) {
        this.count(REFUSED_VIPS.many);
        return;
      }
      const name = vip.name === undefined ? {} : { name: vip.name };
      service = { service: { ...name, ...end, backends: [], ...optionsOf(this.config) }, draining: [] };
      to.claimed.set(text, service);
    }
    const list = task.draining ? service.draining : service.service.backends;
    const own = task.addresses.map((bytes) => ({ address: formatAddress(bytes), port }));
    const backend = own.find((candidate) => candidate.address.includes(":") === address.includes(":"));
    if (!backend || list.length >= MAX_BACKENDS) this.count(REFUSED_VIPS.backend);
    else if (!list.some((known) => formatPort(known) === formatPort(backend))) list.push(backend);
  }

  private isFor({ match }: VipClaimRule, { facts }: TaskVips): boolean {
    return (isAnchored(match) || isAllocatedTo(facts, this.trustedRoles)) && holds(match, facts);
  }

  private withoutLoops(built: ReadonlyMap<string, Built>): void {
    const vips = new Map<string, Set<string>>();
    for (const { service } of built.values()) {
      const known = vips.get(service.protocol) ?? new Set();
      vips.set(service.protocol, known.add(placeOfEnd(service)));
    }
    for (const each of built.values()) {
      const { address, protocol, backends } = each.service;
      const vip = parseAddress(address) ?? new Uint8Array(16);
      const good = backends.filter(
        (backend) => !backendProblem(backend, vip, vips.get(protocol) ?? new Set()),
      );
      for (let i = good.length; i < backends.length; i++) this.count(REFUSED_VIPS.backend);
      // Of a task that is killed and one that took its place at the same port, the one that lives holds.
      each.draining = each.draining.filter((old) => !good.some((one) => formatPort(one) === formatPort(old)));
      each.service = { ...each.service, backends: good };
    }
  }

  private namesInUse(): Set<string> {
    const all = [
      ...this.config.static.map(({ vip }) => vip.name),
      ...[...this.tasks.values()].flatMap(({ vips }) => vips.map(({ vip }) => vip.name)),
    ];
    return new Set(all.flatMap((name) => (name === undefined || !this.names ? [] : this.names.hostOf(name))));
  }

  private addressOf(name: string | undefined, inUse: ReadonlySet<string>): string | undefined {
    try {
      if (name !== undefined && this.names) return this.names.addressOf(name, inUse);
    } catch {
      // Counted: another range is needed.
    }
    this.count(REFUSED_VIPS.name);
    return undefined;
  }

  /** Tells what has become of backends since the last look. */
  private look(): void {
    const seen = new Set<string>();
    try {
      for (const { service, backends } of this.list()) {
        const name = service.name ?? formatEnd(service);
        const active = backends.filter(({ state }) => state !== "draining");
        const states = [
          [`service ${name}`, active.length === 0 ? "has no backend: it refuses connections" : ""],
          ...backends.map((backend) => [
            `backend ${formatPort(backend)} of service ${name}`,
            textOf(backend),
          ]),
        ] as const;
        for (const [what = "", state = ""] of states) {
          seen.add(what);
          const before = this.states.get(what) ?? "";
          if (before === state) continue;
          this.states.set(what, state);
          this.log(`${what} ${state === "" ? "is well again" : state}`, "service");
        }
      }
    } catch (error) {
      this.log(`services cannot be looked at: ${messageOf(error)}`, "warning");
      return;
    }
    for (const what of this.states.keys()) if (!seen.has(what)) this.states.delete(what);
  }
}

/** One whose time is over is avoided until a connection to it has succeeded. */
function stateOf({ avoidedUntil }: BackendCounts): BackendState {
  return avoidedUntil > 0n ? "avoided" : "active";
}

function textOf({ state, counts: { refused, unanswered } }: BackendView): string {
  if (state === "draining") return "drains: it gets no new connections";
  if (state === "active") return "";
  return `is avoided: it has refused or not answered (${refused} and ${unanswered} times so far)`;
}
