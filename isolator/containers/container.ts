/** One container that there is, up to cleanup(). preparation.ts makes it. */
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { keepConnections } from "../features/connections.js";
import { egressSet } from "../features/egress.js";
import { hooksOf, type Policy } from "../features/policy.js";
import { subtractRanges, type PortRange } from "../features/ports.js";
import type { CgroupNode } from "../kernel/cgroup.js";
import type { EventRing } from "../kernel/events.js";
import type { ContainerState } from "./container-state.js";
import { Counts } from "./counts.js";
import { setsOf, type RuleSet } from "./egress.js";
import { Enforcement } from "./enforcement.js";
import { requireFiles } from "./files.js";
import type { GlassMode } from "./glass.js";
import type { ContainerId } from "./names.js";
import { leaveNode, requireInside, requireNotAgents } from "./placement.js";
import { reach } from "./points.js";
import { deleteMappings } from "./remap.js";
import { PortTable, type Chain } from "./port-table.js";
import type { ContainerRecord } from "./record.js";
import type { PassResult } from "./socket-passes.js";
import { endFiles } from "./unused-files.js";

/** Told of ports that were a dead container's. @param owner its cgroup id */
export type OnTakeOver = (ports: PortRange[], owner: bigint) => void;

export class Container {
  readonly counts: Counts;
  readonly enforcement: Enforcement;
  /** All of it is gone. */
  private removed = false;

  /**
   * @param parent the container that this one is nested in
   * @param ring of its own
   */
  constructor(
    private readonly state: ContainerState,
    private readonly parent: Container | undefined,
    private readonly ring: EventRing | undefined,
  ) {
    this.counts = new Counts(state);
    this.enforcement = new Enforcement(state, this.counts);
  }

  get id(): ContainerId {
    return this.state.record.id;
  }

  get name(): string {
    return this.state.name;
  }

  get node(): CgroupNode {
    return this.state.node;
  }

  get cgroupId(): bigint {
    return this.state.cgroupId;
  }

  /** cgroup ids from the root container down to this one. */
  get chain(): Chain {
    return this.state.chain;
  }

  get policy(): Policy {
    return this.state.policy;
  }

  /** As it is on disk. */
  get record(): Readonly<ContainerRecord> {
    return this.state.record;
  }

  /** What `break-glass` has switched off for it. */
  get glass(): GlassMode | undefined {
    return this.state.glass;
  }

  /** Whether its node is the agent's (placement.ts). */
  get isAgents(): boolean {
    return this.record.agentNode === true;
  }

  private get table(): PortTable {
    const { programs } = this.state;
    return new PortTable(programs.map("port_owners"), programs.map("port_bounds"));
  }

  /** Whether a port is its own, or of one that is nested in it. */
  owns(port: number): boolean {
    return this.table.ownerOf(port)[this.chain.length - 1] === this.cgroupId;
  }

  /**
   * Makes the policy's ports its own. Under the instance's lock.
   * @returns those that were a dead container's, by its cgroup id
   * @throws port-owned
   */
  claimPorts(): ReturnType<PortTable["claim"]> {
    return this.table.claim(this.policy.ports ?? [], this.chain, this.state.instance.liveName);
  }

  /** They are its parent's again, or nobody's. Under the instance's lock. */
  releasePorts(ports: readonly PortRange[] = this.policy.ports ?? []): void {
    this.table.release(ports, this.chain, this.parent?.policy.ports);
  }

  /**
   * Moves a process into the node, unless that is the agent's, who has done so: it and all that it makes from then on are
   * under the policy.
   * @param pid as this process sees it
   * @throws no-process when it is gone; cgroup-failed; conflict where the agent keeps it elsewhere
   */
  async isolate(pid: number): Promise<void> {
    if (!this.isAgents) requireNotAgents(this.id, pid);
    await this.join(pid, this.name);
    reach("isolate:moved");
    if (this.record.stage === "prepared") this.state.save({ stage: "isolated" });
    reach("isolate:done");
  }

  /**
   * Has a process that is not the container's first one in the node.
   * @param name of whose it is, for messages
   * @throws as isolate()
   */
  async join(pid: number, name: string): Promise<void> {
    if (this.isAgents) requireInside(this.node, this.state.instance.cgroup2, pid, name);
    else await moveInto(this.node, pid, name);
  }

  /**
   * Changes the policy: ports that are new are claimed, ports that are gone are free at once.
   * @returns ports that it had and has no longer
   * @throws port-owned, and then nothing has changed
   */
  update(next: Policy, onTakeOver?: OnTakeOver): Promise<PortRange[]> {
    const { instance, programs, cgroupId, chain } = this.state;
    return instance.locked(async () => {
      const before = this.policy;
      requireFiles(programs, next, `container ${this.name} stays under its old policy`);
      const policy = keepCounting(before, next);
      const wanted = policy.ports ?? [];
      const dropped = subtractRanges(before.ports ?? [], wanted);
      this.table.examine(wanted, chain, instance.liveName);
      this.state.save({ policy });
      reach("update:recorded");
      const takenOver = this.claimPorts();
      reach("update:claimed");
      this.releasePorts(dropped);
      reach("update:released");
      this.counts.policyChanged();
      const { glass } = this;
      this.enforcement.apply(glass);
      deleteMappings(programs.map("port_remaps"), cgroupId, before.remap, policy.remap);
      instance.sets.dropLater(goneSets(before, policy));
      if (policy.egress?.existing) instance.sockets.soon();
      if (before.egress && !sameRules(before, policy)) this.enforcement.forgetHits(before.egress);
      if ([...hooksOf(before)].join() !== [...hooksOf(policy)].join()) this.enforcement.ensureAttached(glass);
      if (policy.bandwidth && !before.bandwidth) instance.older.add(cgroupId, programs);
      if (before.files) endFiles(instance);
      for (const [owner, ports] of takenOver) onTakeOver?.(ports, owner);
      reach("update:done");
      return Promise.resolve(dropped);
    });
  }

  /** Delivers the events that are waiting now. */
  pollEvents(): void {
    this.ring?.poll();
  }

  /** Finds out which of its connections are closed for good (socket-passes.ts). @throws map-failed */
  releaseClosed(): Promise<PassResult | undefined> {
    return this.state.instance.sockets.run(this.state.programs);
  }

  /** Whether a process is in it or may still come: one that waits for its process is not dead. */
  alive(): boolean {
    const { stage } = this.record;
    return stage === "prepared" || stage === "preparing" || this.node.populated();
  }

  /**
   * Kills what still runs in the node, unless that is the agent's to do, and waits until it is gone.
   * @param timeout ms
   * @throws cgroup-failed
   */
  async killAll(timeout?: number): Promise<void> {
    if (!this.node.populated()) return;
    if (!this.isAgents) this.node.kill();
    await this.node.emptied(timeout);
  }

  /**
   * Kills what still runs in the node, takes the last counts, frees the ports and removes the node; an agent's stays. Safe
   * to repeat.
   * @param timeout ms to wait for its processes to be gone
   * @throws IsolatorError when the node cannot be removed; the next run of the instance sweeps it then
   */
  async cleanup(timeout?: number): Promise<void> {
    if (this.removed) return;
    const { instance, held } = this.state;
    this.saveCleaning();
    reach("cleanup:recorded");
    // Waited for before the lock is taken: a process that does not go is nobody else's trouble.
    if (!this.counts.closed) await this.killAll(timeout);
    reach("cleanup:killed");
    await instance.locked(async () => {
      if (this.removed) return;
      this.releasePorts();
      reach("cleanup:released");
      await this.leave(timeout);
      reach("cleanup:node");
      await this.enforcement.withdraw();
      // Its last events are told by its name, which goes with the record.
      while (this.ring?.poll() === false);
      instance.records.remove(held);
      if (this.policy.files) endFiles(instance);
      this.removed = true;
      this.ring?.close();
      instance.releasePrograms();
      instance.removeIfUnused();
      reach("cleanup:done");
    });
  }

  /** Notes why the agent is to end it. @throws state-failed */
  limit(why: string): void {
    this.state.save({ limited: why });
  }

  /** Ends the node, or where it is the agent's, its programs. */
  private async leave(timeout: number | undefined): Promise<void> {
    // Before it: the kernel's counts go with the node.
    this.counts.close();
    try {
      if (this.isAgents) leaveNode(this.state.programs, this.node, this.name);
      else await this.node.remove(timeout);
    } catch (error) {
      this.counts.reopen();
      throw error;
    }
  }

  /** So that a daemon that comes after this one goes on with it. It goes without where there is no room for that. */
  private saveCleaning(): void {
    if (this.record.source !== "agent" || this.record.stage === "cleaning") return;
    try {
      this.state.save({ stage: "cleaning" });
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
    }
  }
}

/**
 * What sockets hold already is given back where it was counted, and what they are paced to is taken back, also when
 * nothing is limited any more.
 */
function keepCounting(before: Policy, next: Policy): Policy {
  const connections = keepConnections(before.connections, next.connections);
  return {
    ...next,
    ...(connections ? { connections } : {}),
    ...(!next.bandwidth && before.bandwidth ? { bandwidth: {} } : {}),
  };
}

function sameRules({ egress: a }: Policy, { egress: b }: Policy): boolean {
  return a !== undefined && b !== undefined && egressSet(a) === egressSet(b);
}

/** Sets of rules that a container had and has no longer. */
function goneSets(before: Policy, now: Policy): RuleSet[] {
  const kept = new Set(setsOf(now).map(({ id }) => id));
  return setsOf(before).filter(({ id }) => !kept.has(id));
}

/**
 * Moves a process into a node.
 * @param container for the message
 * @throws no-process, cgroup-failed
 */
async function moveInto(node: CgroupNode, pid: number, container: string): Promise<void> {
  try {
    await node.move(pid);
  } catch (error) {
    if (systemCode(error) === "ESRCH") {
      throw new IsolatorError(
        "no-process",
        `container ${container}: process ${pid} is gone, so it cannot be put under the policy`,
        error,
      );
    }
    throw new IsolatorError(
      "cgroup-failed",
      `container ${container}: process ${pid} cannot be moved into ${node.path}: ${messageOf(error)}`,
      error,
    );
  }
}
