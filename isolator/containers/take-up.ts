/**
 * What a daemon finds when it starts: containers of an agent that an earlier daemon made, whole, half made, or half
 * removed. Half made ones are undone, whole ones are taken up with their policy and counts, and programs of another build
 * are replaced. One that is broken never keeps the others from being taken up.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../errors.js";
import { decodePolicy, encodePolicy } from "../features/policy.js";
import { listPorts } from "../features/ports.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import type { EventRing, KernelEvent } from "../kernel/events.js";
import { buildId, layoutId } from "../kernel/object.js";
import { openPinnedMap, otherBuilds, unpinBuild } from "../kernel/pins.js";
import type { Programs } from "../kernel/programs.js";
import { Container } from "./container.js";
import type { EventLog } from "./event-log.js";
import { throughGlass } from "./glass.js";
import type { Instance } from "./instance.js";
import { formatId, type ContainerId } from "./names.js";
import { openConnections } from "./connections.js";
import { reach } from "./points.js";
import { PortTable, type Chain } from "./port-table.js";
import { nodeNames, RECORD_VERSION, type ContainerRecord } from "./records.js";
import { openDaemonRing } from "./rings.js";
import { openForDaemon, upgrade } from "./upgrade.js";

export interface TakenUp {
  /** Parents before children. */
  containers: { container: Container; config: Uint8Array | undefined }[];
  programs: Programs;
  ring: EventRing;
}

interface Found {
  key: string;
  record: ContainerRecord;
}

/**
 * Takes up everything, under the instance's lock.
 * @param onEvent gets the events of all containers, those of the time without a daemon too
 * @throws state-failed where a record is of a newer version; all that Programs.open() throws
 */
export async function takeUp(
  instance: Instance,
  log: EventLog,
  onEvent: (event: KernelEvent) => void,
): Promise<TakenUp> {
  return instance.locked(async () => {
    await instance.sweep();
    const all = instance.records.list();
    const programs = openForDaemon(instance, all);
    instance.usePrograms(programs);
    reach("start:programs");
    const found = await findWhole(instance, log);
    rebuildPorts(instance, programs, found, all);
    reach("start:ports");
    // The ring first: a container's events go there from its first moment.
    const ring = openDaemonRing(instance, programs, onEvent);
    const containers = adoptAll(instance, programs, found, ring, log);
    removeOldBuilds(instance, log);
    reach("start:done");
    return { containers, programs, ring };
  });
}

/** The agent's containers that are whole; what is half made is undone. */
async function findWhole(instance: Instance, log: EventLog): Promise<Found[]> {
  const found: Found[] = [];
  const undo: string[] = [];
  for (const key of instance.records.keys()) {
    const record = instance.records.read(key) ?? rebuildRecord(instance, key, log);
    if (record?.source === "run") continue;
    if (record && record.stage !== "preparing") found.push({ key, record });
    else undo.push(key);
  }
  for (const key of undo.reverse()) {
    const name = formatId(nodeNames(key) as [string, ...string[]]);
    try {
      await CgroupNode.open(instance.nodeOf(key))?.remove();
      instance.records.remove(instance.records.take(key));
      log.add("undone", name, "a daemon was ended while it prepared this container: undone");
    } catch (error) {
      log.add("warning", name, `what a daemon left half made cannot be undone yet: ${messageOf(error)}`);
    }
  }
  return found;
}

/**
 * A record that is damaged or gone, from what the kernel knows of a node in which something runs. Ports are those that the
 * table has for it.
 */
function rebuildRecord(instance: Instance, key: string, log: EventLog): ContainerRecord | undefined {
  const names = nodeNames(key) as [string, ...string[]];
  const node = CgroupNode.open(instance.nodeOf(key));
  if (!node?.populated()) return undefined;
  const build = [buildId(), ...otherBuilds(instance.name)].find((candidate) => {
    const map = openPinnedMap(instance.name, candidate, "policies");
    const there = map?.lookup(u64Key(node.id)) !== undefined;
    map?.close();
    return there;
  });
  // Another build's layouts are not known here; its container is as good as without a policy of its own.
  const own = build === buildId();
  const policies = own ? openPinnedMap(instance.name, buildId(), "policies") : undefined;
  const owners = own ? openPinnedMap(instance.name, buildId(), "port_owners") : undefined;
  const value = policies?.lookup(u64Key(node.id));
  if (!value || !owners) {
    log.add("warning", formatId(names), "its record is damaged, and the kernel has no policy of it either");
    return undefined;
  }
  const { inheritsPorts, ...policy } = decodePolicy(value);
  const ports = new PortTable(owners).ownedBy(node.id);
  policies?.close();
  owners.close();
  log.add("warning", formatId(names), "its record is damaged: taken up from what the kernel knows of it");
  const record: ContainerRecord = {
    version: RECORD_VERSION,
    ...{ id: names, source: "agent", stage: "isolated" },
    cgroup: node.path,
    chain: chainOf(node.path, names.length),
    policy: inheritsPorts ? policy : { ...policy, ports },
    ...{ build: buildId(), layout: layoutId() },
    pid: process.pid,
    started: Math.floor(Date.now() / 1000),
  };
  instance.records.write(instance.records.take(key), record);
  return record;
}

/** cgroup ids from the root container's node down to this one. */
function chainOf(path: string, levels: number): string[] {
  const paths = [path];
  while (paths.length < levels) paths.unshift(dirname(paths[0] ?? path));
  return paths.map((each) => statSync(each, { bigint: true }).ino.toString());
}

/** Makes the table of ports what the records say: an update or a cleanup may have been interrupted. */
function rebuildPorts(
  instance: Instance,
  programs: Programs,
  found: readonly Found[],
  all: readonly ContainerRecord[],
): void {
  const isAlive = ({ stage, cgroup }: ContainerRecord): boolean =>
    stage === "prepared" || (CgroupNode.open(cgroup)?.populated() ?? false);
  const runs = all.filter(({ source }) => source === "run");
  // Where two have a port, the one that lives has taken it over from the other, or is nested in it.
  const inOrder = [...runs, ...found.map(({ record }) => record)]
    .map((record) => ({ record, alive: isAlive(record) }))
    .sort((a, b) => Number(a.alive) - Number(b.alive) || a.record.started - b.record.started);
  const desired = new Map<number, Chain>();
  for (const { record } of inOrder) {
    const chain = record.chain.map(BigInt);
    for (const port of listPorts(record.policy.ports ?? [])) {
      const owner = desired.get(port) ?? [];
      // Of one second, a parent may come after its child.
      if (owner.length > chain.length && chain.every((id, i) => id === owner[i])) continue;
      desired.set(port, chain);
    }
  }
  const foreign = new Set(runs.map(({ chain }) => chain.at(-1)));
  new PortTable(programs.map("port_owners")).rebuild(desired, (id) => foreign.has(id.toString()));
}

function adoptAll(
  instance: Instance,
  programs: Programs,
  found: readonly Found[],
  ring: EventRing,
  log: EventLog,
): TakenUp["containers"] {
  const adopted = new Map<string, Container>();
  const containers: TakenUp["containers"] = [];
  // Keys sort parents before children.
  for (const { key, record } of found) {
    const name = formatId(record.id);
    const parent = adopted.get(formatId(record.id.slice(0, -1) as unknown as ContainerId));
    try {
      const current = upgrade(instance, programs, key, record, () => {
        const id = BigInt(record.chain.at(-1) ?? 0);
        const policy = throughGlass(record.policy, instance.glassOf(key));
        openConnections(programs, id, policy.connections);
        const value = encodePolicy(policy, id, record.chain.length - 1, ring.slot);
        programs.map("policies").update(u64Key(id), value);
      });
      const container = Container.adopt(instance, key, current, parent, ring);
      reach("start:adopted");
      if (!container) {
        instance.records.remove(instance.records.take(key));
        log.add("removed", name, "its node is gone: somebody removed it, so the container is no more");
        continue;
      }
      if (current !== record)
        log.add("upgraded", name, `its programs are those of this version now (${buildId()})`);
      adopted.set(name, container);
      containers.push({ container, config: instance.records.readConfig(key) });
    } catch (error) {
      log.add("warning", name, `it cannot be taken up, and stays as it is: ${messageOf(error)}`);
    }
  }
  return containers;
}

/** Removes pins of other builds that nobody uses any more. */
function removeOldBuilds(instance: Instance, log: EventLog): void {
  const used = new Map(instance.records.list().map(({ build, id }) => [build, formatId(id)]));
  for (const build of otherBuilds(instance.name)) {
    const user = used.get(build);
    if (user === undefined) unpinBuild(instance.name, build);
    else log.add("warning", user, `it runs under programs of another version (${build}) until it ends`);
  }
}
