/** What operators are told of containers, each by its name. */
import { badLimits } from "../../config/connections.js";
import { badPaths } from "../../config/files.js";
import { badMarks } from "../../config/marking.js";
import { tooManyClasses } from "../../features/classes.js";
import { ruleName } from "../../features/egress.js";
import { toDenial } from "../../features/events.js";
import { formatPorts, type PortRange } from "../../features/ports.js";
import type { KernelEvent } from "../../kernel/events.js";
import type { EndedSocket } from "../../kernel/terminate.js";
import type { Container } from "../container.js";
import { describeEnded } from "../ended.js";
import { findListeners } from "../listeners.js";
import type { Entry } from "../registry.js";
import type { Parts } from "./parts.js";

function groupBy<T, K>(all: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one]);
  return groups;
}

export class Notices {
  constructor(private readonly parts: Pick<Parts, "instance" | "registry" | "log">) {}

  /** Name of a container by its cgroup id, whoever made it. */
  nameOf(cgroupId: bigint): string | undefined {
    return this.parts.registry.withCgroup(cgroupId)?.name ?? this.parts.instance.nameOf(cgroupId);
  }

  /** The same, for as long as it may use its ports. */
  liveName(cgroupId: bigint): string | undefined {
    const entry = this.parts.registry.withCgroup(cgroupId);
    if (!entry) return this.parts.instance.nameOf(cgroupId);
    return entry.container?.alive() ? entry.name : undefined;
  }

  /** The kernel has refused something, or would have. @returns name of the container */
  denied(event: KernelEvent): string {
    const container = this.nameOf(event.cgroup_id) ?? `with cgroup id ${event.cgroup_id}`;
    this.parts.log.denial(container, () =>
      toDenial(
        event,
        (cgroupId) => this.nameOf(cgroupId),
        (cgroupId, rule) => this.ruleOf(cgroupId, rule),
      ),
    );
    return container;
  }

  private ruleOf(cgroupId: bigint, rule: number): string | undefined {
    const policy = this.parts.registry.withCgroup(cgroupId)?.container?.policy;
    return policy?.egress && ruleName(policy.egress, rule);
  }

  /** Connections that rules had come to deny were ended. */
  ended(sockets: readonly EndedSocket[]): void {
    for (const [cgroupId, own] of groupBy(sockets, ({ cgroup_id }) => cgroup_id))
      this.parts.log.add("ended", this.nameOf(cgroupId) ?? "", describeEnded(own));
  }

  /** A container has ports that were a dead one's. @param owner cgroup id of that one */
  tookOver(name: string, ports: readonly PortRange[], owner: bigint): void {
    const dead = this.nameOf(owner);
    const whose =
      dead === undefined ? "a container that is gone" : `container ${dead}, in which nothing runs any more`;
    const what = `ports ${formatPorts(ports)} are its own now: they were those of ${whose}`;
    this.parts.log.add("taken_over", name, what);
  }

  /** Listeners of a container on ports that it has no longer: they stay. */
  keptListeners(container: Container, dropped: readonly PortRange[]): void {
    if (dropped.length === 0 || !container.node.populated()) return;
    // After the answer: it reads /proc of each process, and the agent waits for nothing of it.
    setImmediate(() => {
      for (const { protocol, port, pid, process } of findListeners(container.node, dropped)) {
        const what = `${protocol} port ${port}, which it has no longer, is still listened on by ${process}[${pid}]`;
        this.parts.log.add("listener_kept", container.name, what);
      }
    });
  }

  /** What a container asks for in vain. */
  shortcomings({ name, container, facts }: Entry, trustedRoles: readonly string[]): void {
    const warn = (what: string): void => {
      this.parts.log.add("warning", name, what);
    };
    const gaps = container?.enforcement.gaps() ?? [];
    if (gaps.length > 0) warn(`this kernel cannot refuse: ${gaps.join("; ")}`);
    for (const what of facts ? badLimits(facts) : []) warn(`no limit for connections: ${what}`);
    for (const what of facts ? badPaths(facts) : []) warn(`no rule for files: ${what}`);
    const marking = container?.policy.marking;
    for (const what of facts ? badMarks(facts, trustedRoles, marking) : []) warn(`no marking: ${what}`);
    const unknown = tooManyClasses(container?.policy.classes);
    if (unknown !== undefined) warn(unknown);
  }
}
