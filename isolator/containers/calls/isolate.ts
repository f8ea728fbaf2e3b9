/** mesos::slave::Isolator::isolate(). */
import { readlinkSync } from "node:fs";
import { IsolatorError } from "../../errors.js";
import type { Container } from "../container.js";
import { formatId, type ContainerId } from "../names.js";
import type { Entry } from "../registry.js";
import type { Parts } from "./parts.js";
import { requireMappings } from "./prepare.js";

/**
 * One that was never prepared and is nested is a DEBUG one: it joins its parent.
 * @throws no-process, no-container, cgroup-failed, conflict, bad-argument
 */
export async function isolate(parts: Parts, id: ContainerId, pid: number): Promise<void> {
  const name = formatId(id);
  if (pid <= 1 || pid === process.pid)
    throw new IsolatorError("bad-argument", `container ${name}: process ${pid} is none of a container`);
  const entry = parts.registry.named(name);
  if (!entry) {
    await joinAncestor(parts, id, pid);
    return;
  }
  if (entry.cleaning) {
    throw new IsolatorError(
      "conflict",
      `container ${name} is on its way out: process ${pid} is not put into it`,
    );
  }
  if (entry.shares) {
    await entry.shares.join(pid, name);
    parts.rounds.joined(entry.shares.name, pid);
  }
  if (!entry.container) return;
  // First: where the host's rules cannot be applied, the process is not to run without them.
  await checkNetwork(parts, entry, entry.container, pid);
  await entry.container.isolate(pid);
  parts.rounds.joined(name, pid);
}

/** @throws no-container, no-process, cgroup-failed */
async function joinAncestor({ registry, rounds }: Parts, id: ContainerId, pid: number): Promise<void> {
  const name = formatId(id);
  const ancestor = registry.nearestAbove(id);
  if (!ancestor) {
    throw new IsolatorError(
      "no-container",
      `container ${name} was never prepared here, or is cleaned up: process ${pid} is not put under a policy`,
    );
  }
  await (ancestor.container ?? ancestor.shares)?.join(pid, name);
  rounds.joined(ancestor.name, pid);
}

function networkOf(pid: number | "self"): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/**
 * Whoever names a network is believed only when the process really is in another one than this daemon: names come from
 * users, and an own network means no rules for the host's ports.
 * @throws port-owned, bad-argument
 */
async function checkNetwork(
  { judgement, log }: Parts,
  entry: Entry,
  container: Container,
  pid: number,
): Promise<void> {
  const { facts, name } = entry;
  if (!facts?.ownNetwork) return;
  const network = networkOf(pid);
  if (network === undefined || network !== networkOf("self")) return;
  const judged = { ...facts, ownNetwork: false };
  const policy = judgement.policyOf(judged);
  requireMappings(policy, name);
  await judgement.apply(container, policy);
  entry.facts = judged;
  const what = "it asks for a network by name and runs in the host's: its ports are judged as the host's";
  log.add("warning", name, what);
}
