/** One container, from prepare() to cleanup(). */
import { IsolatorError, type ErrorCode } from "../errors.js";
import { sumCounters, type Usage } from "../features/accounting.js";
import { encodePolicy, gapsOf, lsmHooksOf, mustWatch, NO_RING, type Policy } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import type { EventRing, KernelEvent } from "../kernel/events.js";
import { buildId } from "../kernel/object.js";
import type { Programs } from "../kernel/programs.js";
import { EscapeWatch } from "./escaped.js";
import type { Instance } from "./instance.js";
import { checkContainerId, formatId, type ContainerId } from "./names.js";
import { LEVELS, PortTable, type Chain } from "./port-table.js";
import type { HeldRecord } from "./records.js";
import { openRing } from "./rings.js";

export interface ContainerOptions {
  id: ContainerId;
  policy: Policy;
  /** The container that this one is nested in. */
  parent?: Container;
  /** Called for each event, by a ring of the container's own. */
  onEvent?: (event: KernelEvent) => void;
  /** A ring that the container's events go to instead; it stays its maker's. */
  ring?: EventRing;
}

const IN_THE_WAY: readonly ErrorCode[] = [
  "name-taken",
  "port-owned",
  "cgroup-failed",
  "other-build",
  "map-full",
];

/** Each is told whether all before it went well. */
type Undo = ((clean: boolean) => void | Promise<void>)[];

/**
 * Takes back what was done, last first. What cannot be taken back keeps its record, unlocked, so that the next sweep
 * does it; the error that led here is the one to tell.
 */
async function unwind(undo: Undo): Promise<void> {
  let clean = true;
  for (const step of undo.reverse()) {
    try {
      await step(clean);
    } catch {
      clean = false;
    }
  }
}

export class Container {
  private final: Usage | undefined;

  private constructor(
    private readonly instance: Instance,
    private readonly programs: Programs,
    private readonly held: HeldRecord,
    readonly node: CgroupNode,
    readonly policy: Policy,
    /** cgroup ids from the root container down to this one. */
    readonly chain: Chain,
    private readonly parent: Container | undefined,
    private readonly ownRing: EventRing | undefined,
  ) {}

  get name(): string {
    return formatId(this.held.id);
  }

  get id(): ContainerId {
    return this.held.id;
  }

  private get cgroupId(): bigint {
    return this.chain.at(-1) ?? 0n;
  }

  /**
   * Makes the node, attaches the programs, writes the policy and claims the ports: all of it or nothing.
   * A process in the node is under the policy from its first instruction there.
   * @throws IsolatorError of any kind; nothing is left behind
   */
  static prepare(instance: Instance, options: ContainerOptions): Promise<Container> {
    checkContainerId(options.id);
    if (options.id.length > LEVELS) {
      throw new IsolatorError(
        "bad-argument",
        `container ${formatId(options.id)} is nested ${options.id.length} deep; at most ${LEVELS} levels are supported`,
      );
    }
    return instance.locked(async () => {
      await instance.sweepOnce();
      try {
        return await Container.attempt(instance, options);
      } catch (error) {
        // In the way may be what a process that was killed since then has left.
        const inTheWay = error instanceof IsolatorError && IN_THE_WAY.includes(error.code);
        if (!inTheWay || (await instance.sweep()).length === 0) throw error;
        return await Container.attempt(instance, options);
      }
    });
  }

  private static async attempt(instance: Instance, options: ContainerOptions): Promise<Container> {
    const undo: Undo = [
      () => {
        instance.removeIfUnused();
      },
    ];
    try {
      return Container.build(instance, options, undo);
    } catch (error) {
      await unwind(undo);
      throw error;
    }
  }

  private static build(
    instance: Instance,
    { id, policy, parent, onEvent, ring }: ContainerOptions,
    undo: Undo,
  ): Container {
    const held = instance.records.reserve(id);
    undo.push((clean) => {
      if (clean) instance.records.remove(held);
      else held.lock.release();
    });
    const programs = instance.acquirePrograms();
    undo.push(() => {
      instance.releasePrograms();
    });
    const node = CgroupNode.create(instance.nodePath(id));
    undo.push(() => node.remove());
    const chain: Chain = [...(parent?.chain ?? []), node.id];
    instance.records.write(held, {
      version: 1,
      id,
      cgroup: node.path,
      chain: chain.map(String),
      policy,
      build: buildId(),
      pid: process.pid,
      started: Math.floor(Date.now() / 1000),
    });
    const ownRing = onEvent && openRing(instance, programs, onEvent);
    undo.push(() => ownRing?.close());
    const slot = (ring ?? ownRing)?.slot ?? NO_RING;
    const name = formatId(id);
    node.withFd((fd) => {
      programs.attach(fd, name, lsmHooksOf(policy));
    });
    programs.map("policies").update(u64Key(node.id), encodePolicy(policy, node.id, chain.length - 1, slot));
    const table = new PortTable(programs.map("port_owners"));
    const ports = policy.ports ?? [];
    undo.push(() => {
      table.release(ports, chain, parent?.policy.ports);
    });
    table.claim(ports, chain, (cgroupId) => instance.nameOf(cgroupId));
    return new Container(instance, programs, held, node, policy, chain, parent, ownRing);
  }

  /** What the policy asks by name to be refused and this kernel cannot refuse, in words. */
  gaps(): string[] {
    return gapsOf(this.policy, (hook) => this.programs.has(hook));
  }

  /** What finds processes that left the node, where the policy denies it and this kernel cannot refuse it. */
  escapeWatch(): EscapeWatch | undefined {
    const watch = mustWatch(this.policy, (hook) => this.programs.has(hook));
    return watch ? new EscapeWatch(this.node, this.instance.cgroup2) : undefined;
  }

  /** Delivers the events that are waiting now. */
  pollEvents(): void {
    this.ownRing?.poll();
  }

  /** Counts so far; after cleanup() the last ones. */
  usage(): Usage {
    return this.final ?? sumCounters(this.programs.map("counters").lookupPerCpu(u64Key(this.cgroupId)) ?? []);
  }

  /** Kills what still runs in the node and waits until it is gone. @throws cgroup-failed */
  async killAll(): Promise<void> {
    if (this.node.populated()) this.node.kill();
    await this.node.emptied();
  }

  /**
   * Kills what still runs in the node, takes the last counts, frees the ports and removes the node. Safe to repeat.
   * @throws IsolatorError when the node cannot be removed; the next run of the instance sweeps it then
   */
  async cleanup(): Promise<void> {
    if (this.final) return;
    // Waited for before the lock is taken: a process that does not go is nobody else's trouble.
    await this.killAll();
    await this.instance.locked(async () => {
      const final = this.usage();
      new PortTable(this.programs.map("port_owners")).release(
        this.policy.ports ?? [],
        this.chain,
        this.parent?.policy.ports,
      );
      await this.node.remove();
      this.final = final;
      this.ownRing?.close();
      this.instance.releasePrograms();
      this.instance.records.remove(this.held);
      this.instance.removeIfUnused();
    });
  }
}
