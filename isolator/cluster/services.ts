/**
 * The services of a daemon: those of its configuration, and those that tasks claim by labels (service-claims.ts). What
 * changes is in the kernel a turn of the event loop later: of ten thousand services only those that it is about are
 * looked at.
 *
 * A service of the configuration wins over what labels claim for the same address. A backend that is a virtual address
 * itself is left out, so there are no loops.
 */
import { setImmediate as breathe } from "node:timers/promises";
import { optionsOf } from "../config/service-options.js";
import { toService, type ServicesConfig } from "../config/services.js";
import { messageOf } from "../errors.js";
import { parseAddress } from "../features/addresses.js";
import type { BackendCounts } from "../features/service-layout.js";
import {
  backendProblem,
  formatEnd,
  formatPort,
  MAX_BACKENDS,
  type Backend,
  type Service,
} from "../features/services.js";
import { ServiceTable, type ServiceMaps } from "../kernel/service-table.js";
import { REFUSED_CLAIMS, ServiceClaims, type ClaimedEnd } from "./service-claims.js";
import { ServiceNames } from "./service-names.js";
import { ServiceWatch } from "./service-watch.js";
import { Work } from "./turns.js";
import type { TaskVips } from "./vips.js";

/** ms after which writing that failed is tried again. */
const RETRY = 1_000;
/** Tasks that are read, and services that are written, before others have their turn. */
const AT_ONCE = 256;

/** What may fail besides services. */
const OTHERS = "others";
const HOSTS = "hosts";

const REFUSED_BACKENDS = "backends that cannot be one: another family, a virtual address, or too many";

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

const NO_COUNTS: BackendCounts = { connects: 0n, refused: 0n, unanswered: 0n, live: 0, avoidedUntil: 0n };

export class ServiceDirectory {
  private readonly table: ServiceTable;
  private readonly watch: ServiceWatch;
  private claims: ServiceClaims;
  private names: ServiceNames | undefined;
  /** Of the configuration, by the text of the virtual address. */
  private fixed = new Map<string, Service>();
  /** What tasks claim that was not looked at yet. */
  private readonly news = new Map<string, TaskVips | undefined>();
  /** Virtual addresses, by their texts, that the kernel may have something else for. */
  private readonly dirty = new Set<string>();
  /** Backends that were left out of a service, by the text of its virtual address. */
  private readonly refused = new Map<string, number>();
  /** Texts of backends that were left out since they are virtual addresses. */
  private readonly loops = new Set<string>();
  private nameless = 0;
  /** Why what could not be written could not. */
  private readonly failed = new Map<string, string>();
  /** Whether all that claims has been told once: until then what an earlier daemon has left stays. */
  private told = false;
  private cleaned = false;
  private readonly work = new Work(() => this.write());
  private retry: NodeJS.Timeout | undefined;
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
    this.names = this.openNames();
    this.claims = new ServiceClaims(config, trustedRoles, this.names);
    this.watch = new ServiceWatch(this.table, log);
    this.begin();
  }

  private openNames(): ServiceNames | undefined {
    const { range, domain, hostsFile } = this.config;
    return range === undefined ? undefined : new ServiceNames(range, domain, hostsFile ?? this.hostsFile);
  }

  /** Everything by the configuration as it is now. */
  private begin(): void {
    this.fixed = new Map();
    this.nameless = 0;
    for (const entry of this.config.static) {
      const address = entry.vip.address ?? this.claims.addressOf(entry.vip.name);
      if (address === undefined) {
        this.nameless++;
        continue;
      }
      const service = toService(entry, address, this.config);
      this.fixed.set(formatEnd(service), service);
    }
    this.touchAll();
  }

  private touchAll(): void {
    for (const { service } of this.table.list()) this.dirty.add(formatEnd(service));
    for (const text of this.fixed.keys()) this.dirty.add(text);
    for (const text of this.claims.texts()) this.dirty.add(text);
    this.change();
  }

  reconfigure(config: ServicesConfig, trustedRoles: readonly string[]): void {
    const same = JSON.stringify([config, trustedRoles]) === JSON.stringify([this.config, this.trustedRoles]);
    if (same) return;
    const names = ({ range, domain, hostsFile }: ServicesConfig): string =>
      JSON.stringify([range, domain, hostsFile]);
    const renamed = names(config) !== names(this.config);
    this.config = config;
    this.trustedRoles = trustedRoles;
    if (renamed) this.names = this.openNames();
    this.claims = this.claims.moveTo(config, trustedRoles, this.names);
    this.begin();
  }

  /** Whether claims are of use at all. */
  get takesClaims(): boolean {
    return this.config.claims.length > 0;
  }

  /** All tasks that claim something, in place of all that did. */
  replace(tasks: ReadonlyMap<string, TaskVips>): void {
    this.told = true;
    this.news.clear();
    for (const task of this.claims.ids()) if (!tasks.has(task)) this.news.set(task, undefined);
    for (const [task, vips] of tasks) this.news.set(task, vips);
    this.change();
  }

  /** What a task claims now; undefined: nothing, or it is gone. */
  set(task: string, vips: TaskVips | undefined): void {
    if (!vips && !this.news.has(task) && !this.claims.has(task)) return;
    this.news.set(task, vips);
    this.change();
  }

  /** There is nobody who tells of tasks: what labels claimed before is over. */
  noClaims(): void {
    this.replace(new Map());
  }

  /** What could not be used, by kind. */
  get ignored(): ReadonlyMap<string, number> {
    const all = new Map(this.claims.refused());
    const add = (kind: string, count: number): void => {
      if (count > 0) all.set(kind, (all.get(kind) ?? 0) + count);
    };
    add(REFUSED_CLAIMS.name, this.nameless);
    add(
      REFUSED_BACKENDS,
      [...this.refused.values()].reduce((sum, count) => sum + count, 0),
    );
    return all;
  }

  get problem(): string | undefined {
    return this.error;
  }

  /** Resolves when the kernel has all that was known at the call, unless that fails. */
  async settled(): Promise<void> {
    await this.work.settled();
  }

  stop(): void {
    this.stopped = true;
    this.watch.stop();
    clearTimeout(this.retry);
    this.table.stop();
  }

  /** Every service with what is known of its backends. */
  *list(): Generator<ServiceView> {
    for (const { service, draining, counts, misses } of this.table.views()) {
      const active = service.backends.length;
      yield {
        service,
        ...(service.name === undefined || !this.names ? {} : { host: this.names.hostOf(service.name) }),
        backends: [...service.backends, ...draining].map((backend, i) => {
          const own = counts[i] ?? NO_COUNTS;
          return { ...backend, state: i < active ? stateOf(own) : "draining", counts: own };
        }),
        misses,
      };
    }
  }

  private change(): void {
    if (!this.stopped) this.work.begin();
  }

  private async write(): Promise<void> {
    while ((this.news.size > 0 || this.dirty.size > 0 || this.isToClean) && !this.stopped) {
      this.readSome();
      this.writeSome();
      await breathe();
    }
  }

  /** What is left of an earlier daemon goes when all that there is to be is known and written. */
  private get isToClean(): boolean {
    return !this.cleaned && (this.told || !this.takesClaims) && !this.failed.has(OTHERS);
  }

  private readSome(): void {
    let read = 0;
    for (const [task, vips] of this.news) {
      this.news.delete(task);
      for (const text of this.claims.set(task, vips)) this.dirty.add(text);
      if (++read >= AT_ONCE) break;
    }
  }

  private writeSome(): void {
    const gone: boolean[] = [];
    for (const text of this.dirty) {
      gone.push(this.attempt(text, () => this.writeOne(text)));
      this.dirty.delete(text);
      if (gone.length >= AT_ONCE) break;
    }
    if (this.news.size === 0 && this.dirty.size === 0 && this.isToClean) {
      gone.push(this.attempt(OTHERS, () => this.table.forgetOthers()));
      this.cleaned = !this.failed.has(OTHERS);
    }
    this.attempt(HOSTS, () => {
      this.names?.write();
      return false;
    });
    this.tellFailure();
    if (gone.includes(true)) this.onGone();
  }

  private attempt(what: string, work: () => boolean): boolean {
    try {
      const result = work();
      this.failed.delete(what);
      return result;
    } catch (error) {
      this.failed.set(what, messageOf(error));
      return false;
    }
  }

  /** What failed is tried again a while later; what else there is to do does not wait for it. */
  private tellFailure(): void {
    const [message] = this.failed.values();
    if (message !== undefined && this.error !== message)
      this.log(`the kernel does not have all services: ${message}`, "warning");
    this.error = message;
    if (message === undefined) return;
    this.retry ??= setTimeout(() => {
      this.retry = undefined;
      for (const what of this.failed.keys()) if (what !== OTHERS && what !== HOSTS) this.dirty.add(what);
      this.failed.clear();
      this.change();
    }, RETRY).unref();
  }

  /** @returns whether a backend is gone */
  private writeOne(text: string): boolean {
    const known = this.table.at(text) !== undefined;
    const wanted = this.wantedAt(text);
    if (known !== (wanted !== undefined) && (known ? this.loops.has(text) : this.table.hasBackend(text)))
      this.touchAll();
    this.refused.delete(text);
    if (!wanted) {
      const before = this.table.at(text);
      this.loops.delete(text);
      return before ? this.table.remove(before.service) : false;
    }
    this.leaveOut(text, wanted);
    return this.table.put(wanted.service, wanted.draining, this.isNear);
  }

  /** What there is to be at a virtual address. */
  private wantedAt(text: string): Built | undefined {
    const fixed = this.fixed.get(text);
    const claimed = this.claims.at(text);
    if (fixed) return { service: fixed, draining: [] };
    return claimed && this.toBuilt(claimed);
  }

  private toBuilt({ tasks, ...end }: ClaimedEnd): Built {
    const active = new Map<string, Backend>();
    const draining = new Map<string, Backend>();
    for (const claim of tasks.values())
      for (const backend of claim.backends)
        (claim.draining ? draining : active).set(formatPort(backend), backend);
    // Of a task that is killed and one that took its place at the same port, the one that lives holds.
    for (const place of active.keys()) draining.delete(place);
    const service = { ...end, backends: [...active.values()], ...optionsOf(this.config) };
    return { service, draining: [...draining.values()] };
  }

  /** Takes out of a service what cannot be a backend. */
  private leaveOut(text: string, built: Built): void {
    const { address, protocol, backends } = built.service;
    const vip = parseAddress(address) ?? new Uint8Array(16);
    const isVip = { has: (place: string) => this.isVip(`${protocol} ${place}`) };
    const good = backends.filter((backend) => backendProblem(backend, vip, isVip) === undefined);
    for (const backend of backends) {
      const end = formatEnd({ ...backend, protocol });
      if (this.isVip(end)) this.loops.add(end);
    }
    built.service = { ...built.service, backends: good.slice(0, MAX_BACKENDS) };
    built.draining = built.draining.slice(0, MAX_BACKENDS);
    const left = backends.length - built.service.backends.length;
    if (left > 0) this.refused.set(text, left);
  }

  private isVip(text: string): boolean {
    return this.fixed.has(text) || this.claims.at(text) !== undefined;
  }
}

/** One whose time is over is avoided until a connection to it has succeeded. */
function stateOf({ avoidedUntil }: BackendCounts): BackendState {
  return avoidedUntil > 0n ? "avoided" : "active";
}
