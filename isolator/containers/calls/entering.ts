/** How containers come to be known: made by prepare(), taken up from a daemon before this one, or told of by recover(). */
import { formatPorts } from "../../features/ports.js";
import type { Container } from "../container.js";
import { formatId, type ContainerId } from "../names.js";
import type { Entry } from "../registry.js";
import type { Parts } from "./parts.js";
import { TakenUp } from "./taken-up.js";

type Prepared = Pick<Entry, "config" | "bytes">;

/** One that has a policy, or is on its way out. */
export function enter(parts: Parts, entry: Entry): void {
  parts.registry.add(entry);
  parts.notices.shortcomings(entry, parts.judgement.config.trustedRoles);
  parts.rounds.add(entry);
}

/** One that is under no policy. */
export function enterUnmanaged(parts: Parts, id: ContainerId, why: string, more: Prepared = {}): void {
  const name = formatId(id);
  parts.registry.add({ ...more, id, name, container: undefined, recovered: true, cleaning: false });
  parts.log.add("unmanaged", name, why);
}

/** One that is nested in a container whose node its processes share. */
export function enterShared(parts: Parts, id: ContainerId, more: Prepared = {}): void {
  const name = formatId(id);
  const above = parts.registry.nearestAbove(id);
  const shares = above?.container ?? above?.shares;
  if (!shares) return;
  const states = { container: undefined, recovered: false, cleaning: false };
  parts.registry.add({ ...more, ...states, id, name, shares });
  const ports = shares.policy.ports ?? [];
  parts.log.add(
    "shares_node",
    name,
    `the agent has made no cgroup for it, and it runs in that of ${shares.name}: it may do what that one may, with ` +
      `the ports of the whole pod${ports.length > 0 ? ` (${formatPorts(ports)})` : ""}`,
  );
}

/** One of an earlier daemon. What it asks for in vain is told when that is read (Judgement.judgeAll()). */
export function enterTakenUp(parts: Parts, container: Container): void {
  const entry = new TakenUp(parts, container);
  parts.registry.add(entry);
  parts.rounds.add(entry);
}
