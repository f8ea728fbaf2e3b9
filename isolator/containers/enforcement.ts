/** What the kernel enforces of one container: its programs, its policy, and what that needs in the features' maps. */
import type { EgressPolicy } from "../features/egress.js";
import { gapsOf, hooksOf, mustWatch, type Policy } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import type { ServiceTable } from "../kernel/service-table.js";
import { endingWay } from "../kernel/terminate.js";
import { closeBandwidth } from "./bandwidth.js";
import { closeConnections } from "./connections.js";
import type { ContainerState } from "./container-state.js";
import type { Counts } from "./counts.js";
import { forgetHits, forgetMarkingSet, setsOf, writeTermination, type RuleSet } from "./egress.js";
import { EscapeWatch } from "./escaped.js";
import { throughGlass, type GlassMode } from "./glass.js";
import { policyFaults, writePolicy, type PolicyTarget } from "./kernel-policy.js";
import { forgetClasses, writeClasses } from "./owner-classes.js";
import { deleteMappings } from "./remap.js";
import { writeServices } from "./services.js";

export class Enforcement {
  /** Its own services. */
  private services: ServiceTable | undefined;
  /** What the programs were told of ending connections; at first, what a daemon before this one may have told them. */
  private ends = true;
  private withdrawn = false;

  constructor(
    private readonly state: ContainerState,
    private readonly counts: Counts,
  ) {}

  /** Puts the programs on a node that has none of them. @throws attach-failed */
  attach(glass: GlassMode | undefined): void {
    const { node, programs, name, policy } = this.state;
    if (glass === "detach") return;
    node.withFd((fd) => {
      programs.attach(fd, name, hooksOf(policy));
    });
  }

  /** Puts those on the node that are not on it: another policy may have a use for other hooks. @throws attach-failed */
  ensureAttached(glass: GlassMode | undefined): void {
    const { node, programs, name, policy } = this.state;
    if (glass === "detach") return;
    node.withFd((fd) => {
      programs.ensureAttached(fd, name, hooksOf(policy));
    });
  }

  /** Writes the policy to the kernel, less what `break-glass` has switched off. @throws map-full, map-failed, attach-failed */
  apply(glass: GlassMode | undefined): void {
    const { instance, programs, cgroupId, policy } = this.state;
    if (glass === "detach") return;
    writeClasses(programs, cgroupId, policy.classes);
    this.services = writeServices(programs, cgroupId, policy.services, this.services);
    this.watchSockets();
    writePolicy(instance, programs, throughGlass(policy, glass), this.target);
  }

  private get target(): PolicyTarget {
    const { cgroupId, chain, ringSlot } = this.state;
    return { cgroupId, level: chain.length - 1, ring: ringSlot };
  }

  private watchSockets(): void {
    const { instance, programs, cgroupId, chain, policy } = this.state;
    const { connections, egress } = policy;
    const container = {
      programs,
      parent: chain.at(-2) ?? 0n,
      counts: () => this.counts.ofSockets(),
      hasClosed: () => {
        const held = this.counts.connections();
        return held !== undefined && held.held !== held.live;
      },
      ends: () => this.writeTermination(),
      ownNetwork: policy.ownNetwork ?? false,
    };
    instance.sockets.add(cgroupId, container, Boolean(connections ?? egress?.existing));
  }

  /** @returns whether its rules end connections that exist, as things are now */
  private writeTermination(): boolean {
    const { policy, glass, programs, chain } = this.state;
    const { egress, enforce } = policy;
    const ends = egress !== undefined && enforce === "on" && glass === undefined;
    // Asked of every container at every pass.
    if (!ends && !this.ends) return false;
    return (this.ends = writeTermination(programs, ends ? egress : undefined, chain));
  }

  /** Numbers of rules are others' from now on. */
  forgetHits(rules: EgressPolicy): void {
    forgetHits(this.state.programs, this.state.cgroupId, rules);
  }

  /**
   * What is not as it should be in the kernel, in words; nothing while `break-glass --detach` holds.
   * @throws where the node is gone
   */
  faults(glass: GlassMode | undefined): string[] {
    const { record, node, instance, programs, policy } = this.state;
    if (glass === "detach" || this.withdrawn) return [];
    // An agent removes its node before it says so by cleanup().
    if (record.agentNode && !CgroupNode.open(node.path)) return [];
    const missing = node.withFd((fd) => programs.missing(fd, hooksOf(policy)));
    return [
      ...(missing.length > 0 ? [`its programs on ${missing.join(", ")} were gone`] : []),
      ...policyFaults(instance, programs, throughGlass(policy, glass), this.target),
    ];
  }

  /**
   * Puts right what faults() finds.
   * @returns what it was
   * @throws attach-failed, map-failed, busy
   */
  repair(): Promise<string[]> {
    // Under the lock: an operator's break-glass may be under way.
    return this.state.instance.locked(() => {
      const { glass } = this.state;
      const faults = this.faults(glass);
      if (faults.length > 0) {
        this.ensureAttached(glass);
        this.apply(glass);
      }
      return Promise.resolve(faults);
    }, true);
  }

  /** What the policy asks by name to be refused and this kernel cannot refuse, in words. */
  gaps(): string[] {
    const { record, programs } = this.state;
    const { sockets, egress } = record.policy;
    const policy: Policy =
      record.withoutNetRaw && sockets
        ? { ...record.policy, sockets: { ...sockets, raw: "allow", packet: "allow" } }
        : record.policy;
    return [
      ...gapsOf(policy, (hook) => programs.has(hook)),
      ...(egress?.existing && endingWay() === undefined
        ? ["connections that exist when rules come to deny them"]
        : []),
    ];
  }

  /** Paths of its rules for files that are not there yet. */
  missingPaths(): string[] {
    return this.state.instance.files.missing(this.state.policy.files);
  }

  /** What finds processes that left the node, where the policy denies it and this kernel cannot refuse it. */
  escapeWatch(): EscapeWatch | undefined {
    const { policy, programs, node, instance } = this.state;
    const watch = mustWatch(policy, (hook) => programs.has(hook));
    return watch ? new EscapeWatch(node, instance.cgroup2) : undefined;
  }

  /** Takes away what apply() made in maps, once nothing runs in the node. Under the instance's lock. @throws map-failed */
  async withdraw(): Promise<void> {
    const { instance, programs, cgroupId, chain, policy } = this.state;
    await instance.sockets.delete(cgroupId);
    closeConnections(programs, cgroupId);
    await instance.older.delete(cgroupId);
    closeBandwidth(programs, cgroupId);
    deleteMappings(programs.map("port_remaps"), cgroupId, policy.remap);
    if (policy.files) instance.files.close(programs, cgroupId);
    forgetClasses(programs, cgroupId);
    if (policy.egress) {
      forgetHits(programs, cgroupId, policy.egress);
      writeTermination(programs, undefined, chain);
    }
    if (policy.marking?.destinations) forgetMarkingSet(programs, cgroupId);
    this.dropSets(setsOf(policy));
    this.services?.clear();
    this.withdrawn = true;
  }

  /** Its rules are not wanted for it any more. */
  private dropSets(sets: readonly RuleSet[]): void {
    const { record, instance, programs, held } = this.state;
    if (record.source === "agent") instance.sets.dropLater(sets);
    else instance.sets.drop(programs, held.key, sets);
  }
}
