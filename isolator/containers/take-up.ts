/**
 * What a daemon finds when it starts: containers of an agent that an earlier daemon made, whole, half made, or half
 * removed. Half made ones are undone, whole ones are taken up with their policy and counts, and programs of another build
 * are replaced. One that is broken never keeps the others from being taken up.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../errors.js";
import { decodePolicy } from "../features/policy.js";
import { listPorts } from "../features/ports.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import { drainRing, type EventRing, type KernelEvent } from "../kernel/events.js";
import type { BpfMap } from "../kernel/maps.js";
import { buildId, layoutId } from "../kernel/object.js";
import { takeEndpoints } from "../kernel/endpoint-table.js";
import { openPinnedMap, otherBuilds, PinnedBuild, unpinBuild } from "../kernel/pins.js";
import type { Programs } from "../kernel/programs.js";
import type { Container } from "./container.js";
import { setsOf, sweepSets } from "./egress.js";
import type { EventLog } from "./event-log.js";
import { throughGlass } from "./glass.js";
import type { Instance } from "./instance.js";
import { findNode, removeNode, sweep } from "./leftovers.js";
import { formatId, type ContainerId } from "./names.js";
import { writePolicy } from "./kernel-policy.js";
import { writeClasses } from "./owner-classes.js";
import { reach } from "./points.js";
import { AGENT_STEP } from "./placement.js";
import { PortTable, type Chain } from "./port-table.js";
import { adoptContainer } from "./preparation.js";
import { readMappings, sweepMappings } from "./remap.js";
import { buildsOf, nodeNames, RECORD_VERSION, type ContainerRecord } from "./record.js";
import type { Records } from "./records.js";
import { daemonRingPin, openDaemonRing } from "./rings.js";
import { endFiles } from "./unused-files.js";
import { openForDaemon, upgrade } from "./upgrade.js";

export interface TakeUpOptions {
  /** Gets the events of all containers, those of the time without a daemon too. */
  onEvent: (event: KernelEvent) => void;
  /** Gets each container that is taken up, parents before children. */
  onContainer: (container: Container) => void;
}

interface Found {
  key: string;
  record: ContainerRecord;
}

/**
 * Takes up everything, under the instance's lock.
 * @returns the ring of all containers' events
 * @throws state-failed where a record is of a newer version; all that Programs.open() throws
 */
export async function takeUp(
  instance: Instance,
  log: EventLog,
  { onEvent, onContainer }: TakeUpOptions,
): Promise<EventRing> {
  return instance.locked(async () => {
    await sweep(instance);
    const entries = instance.records.entries();
    const all = entries.flatMap(([, record]) => record ?? []);
    const programs = openForDaemon(instance, all);
    instance.usePrograms(programs);
    reach("start:programs");
    const found = await findWhole(instance, entries, log);
    rebuildPorts(instance, programs, found, all);
    reach("start:ports");
    keepIdentities(instance, programs, found);
    // The ring first: a container's events go there from its first moment.
    const ring = openDaemonRing(instance, programs, onEvent);
    adoptAll(instance, programs, found, ring, log, onContainer);
    const everything = [...all, ...found.map(({ record }) => record)];
    const mappings = everything.map(
      ({ chain, policy }) => [BigInt(chain.at(-1) ?? 0), policy.remap ?? []] as const,
    );
    sweepMappings(programs.map("port_remaps"), new Map(mappings));
    sweepSets(programs, new Set(everything.flatMap(({ policy }) => setsOf(policy)).map(({ id }) => id)));
    // Now that nothing is written there any more, and all containers have their names.
    drainOldRings(instance, log, onEvent);
    removeOldBuilds(instance, log);
    endFiles(instance);
    reach("start:done");
    return ring;
  });
}

/**
 * Who is who, for programs of another layout that begin with empty maps: before the first container is under them, so that
 * none is judged by them without.
 */
function keepIdentities(instance: Instance, programs: Programs, found: readonly Found[]): void {
  otherBuilds(instance.name).some((build) => takeEndpoints(instance.name, build, programs));
  for (const { record } of found)
    writeClasses(programs, BigInt(record.chain.at(-1) ?? 0), record.policy.classes);
}

/** The agent's containers that are whole; what is half made is undone. */
async function findWhole(
  instance: Instance,
  entries: ReturnType<Records["entries"]>,
  log: EventLog,
): Promise<Found[]> {
  const found: Found[] = [];
  const undo: string[] = [];
  for (const [key, known] of entries) {
    // A damaged one of a `run` that lives is left to that; the dead ones are swept.
    if (instance.records.isRuns(key, known)) continue;
    const record = known ?? rebuildRecord(instance, key, log);
    if (record && record.stage !== "preparing") found.push({ key, record });
    // What runs was whole once, whatever has become of its record.
    else if (record || !isPopulated(instance, key)) undo.push(key);
  }
  for (const key of undo.reverse()) {
    const name = formatId(nodeNames(key) as [string, ...string[]]);
    try {
      await removeNode(instance, key);
      instance.records.remove(instance.records.take(key));
      log.add("undone", name, "a daemon was ended while it prepared this container: undone");
    } catch (error) {
      log.add("warning", name, `what a daemon left half made cannot be undone yet: ${messageOf(error)}`);
    }
  }
  return found;
}

function isPopulated(instance: Instance, key: string): boolean {
  return findNode(instance, key)?.node.populated() ?? false;
}

/**
 * A record that is damaged or gone, from what the kernel knows of a node in which something runs. Ports are those that the
 * table has for it.
 */
function rebuildRecord(instance: Instance, key: string, log: EventLog): ContainerRecord | undefined {
  const names = nodeNames(key) as [string, ...string[]];
  const { node, isAgents = false } = findNode(instance, key) ?? {};
  if (!node?.populated()) return undefined;
  const known = [buildId(), ...otherBuilds(instance.name)].flatMap((build) => {
    const value = lookUp(instance, build, "policies", (map) => map.lookup(u64Key(node.id)));
    const ports = lookUp(instance, build, "port_owners", (map) => new PortTable(map).ownedBy(node.id));
    const remap = lookUp(instance, build, "port_remaps", (map) => readMappings(map, node.id)) ?? [];
    return value && ports ? { build, value, ports, remap } : [];
  })[0];
  if (!known) {
    const why =
      "its record is damaged, and no policy of it can be read from the kernel: it stays as it is until it is cleaned up";
    log.add("warning", formatId(names), why);
    return undefined;
  }
  const { build, value, ports, remap } = known;
  const { inheritsPorts, ...decoded } = decodePolicy(value);
  const policy = remap.length > 0 ? { ...decoded, remap } : decoded;
  log.add("warning", formatId(names), "its record is damaged: taken up from what the kernel knows of it");
  const record: ContainerRecord = {
    version: RECORD_VERSION,
    ...{ id: names, source: "agent", stage: "isolated" },
    cgroup: node.path,
    ...(isAgents ? { agentNode: true } : {}),
    chain: chainOf(node.path, names.length, isAgents ? AGENT_STEP : 1),
    policy: inheritsPorts ? policy : { ...policy, ports },
    ...{ build, layout: build === buildId() ? layoutId() : "unknown" },
    pid: process.pid,
    started: Math.floor(Date.now() / 1000),
  };
  instance.records.write(instance.records.take(key), record);
  return record;
}

/** What a map says that is pinned for a build with this build's layout of it. */
function lookUp<T>(
  instance: Instance,
  build: string,
  name: "policies" | "port_owners" | "port_remaps",
  use: (map: BpfMap) => T,
): T | undefined {
  const map = openPinnedMap(instance.name, build, name);
  try {
    return map && use(map);
  } finally {
    map?.close();
  }
}

/** cgroup ids from the root container's node down to this one. @param step directories from one to the next */
function chainOf(path: string, levels: number, step: number): string[] {
  const paths = [path];
  while (paths.length < levels) paths.unshift(join(paths[0] ?? path, ...Array<string>(step).fill("..")));
  return paths.map((each) => statSync(each, { bigint: true }).ino.toString());
}

function isAlive({ stage, cgroup }: ContainerRecord): boolean {
  return stage === "prepared" || (CgroupNode.open(cgroup)?.populated() ?? false);
}

/**
 * Whether a container has a port that an older one has too. One that is nested in the other has it, also where both are of
 * one second; of others the one that lives, which has taken it over.
 */
function takesFrom(
  chain: Chain,
  record: ContainerRecord,
  older: { record: ContainerRecord; chain: Chain },
): boolean {
  const isInside = (inner: Chain, outer: Chain): boolean => outer.every((id, i) => id === inner[i]);
  if (isInside(older.chain, chain)) return false;
  return isInside(chain, older.chain) || isAlive(record) || !isAlive(older.record);
}

/** Makes the table of ports what the records say: an update or a cleanup may have been interrupted. */
function rebuildPorts(
  instance: Instance,
  programs: Programs,
  found: readonly Found[],
  all: readonly ContainerRecord[],
): void {
  const runs = all.filter(({ source }) => source === "run");
  // One whose node is gone has no ports; it is only its record that is still to be removed.
  const there = found.map(({ record }) => record).filter(({ cgroup }) => CgroupNode.open(cgroup));
  const owners = new Map<number, { record: ContainerRecord; chain: Chain }>();
  for (const record of [...runs, ...there].sort((a, b) => a.started - b.started)) {
    const chain = record.chain.map(BigInt);
    for (const port of listPorts(record.policy.ports ?? [])) {
      const other = owners.get(port);
      if (!other || takesFrom(chain, record, other)) owners.set(port, { record, chain });
    }
  }
  const desired = new Map([...owners].map(([port, { chain }]) => [port, chain] as const));
  const foreign = new Set(runs.map(({ chain }) => chain.at(-1)));
  new PortTable(programs.map("port_owners"), programs.map("port_bounds")).rebuild(desired, (id) =>
    foreign.has(id.toString()),
  );
}

function adoptAll(
  instance: Instance,
  programs: Programs,
  found: readonly Found[],
  ring: EventRing,
  log: EventLog,
  onContainer: TakeUpOptions["onContainer"],
): void {
  const adopted = new Map<string, Container>();
  // Keys sort parents before children.
  for (const { key, record } of found) {
    const name = formatId(record.id);
    const parent = adopted.get(formatId(record.id.slice(0, -1) as unknown as ContainerId));
    try {
      const current = upgrade(instance, programs, key, record, () => {
        const id = BigInt(record.chain.at(-1) ?? 0);
        const policy = throughGlass(record.policy, instance.glassOf(key));
        const level = record.chain.length - 1;
        writePolicy(instance, programs, policy, { cgroupId: id, level, ring: ring.slot });
      });
      const container = adoptContainer(instance, key, current, parent, ring);
      reach("start:adopted");
      if (!container) {
        instance.records.remove(instance.records.take(key));
        log.add("removed", name, "its node is gone: somebody removed it, so the container is no more");
        continue;
      }
      if (current !== record)
        log.add("upgraded", name, `its programs are those of this version now (${buildId()})`);
      // A kernel before 6.12 has them paced only as long as somebody looks.
      if (record.policy.bandwidth) instance.older.add(BigInt(record.chain.at(-1) ?? 0), programs);
      adopted.set(name, container);
      onContainer(container);
    } catch (error) {
      log.add("warning", name, `it cannot be taken up, and stays as it is: ${messageOf(error)}`);
    }
  }
}

/** Events that other builds' programs have left for a daemon of theirs. */
function drainOldRings(instance: Instance, log: EventLog, onEvent: (event: KernelEvent) => void): void {
  for (const build of otherBuilds(instance.name)) {
    const pin = daemonRingPin(instance.name, build);
    if (!existsSync(pin)) continue;
    try {
      const pinned = PinnedBuild.open(instance.name, build);
      pinned.close();
      drainRing(pin, pinned.eventLayout, onEvent);
    } catch (error) {
      log.add("warning", "", `events of programs of version ${build} cannot be read: ${messageOf(error)}`);
    }
  }
}

/** Removes pins of other builds that nobody uses any more. */
function removeOldBuilds(instance: Instance, log: EventLog): void {
  const others = otherBuilds(instance.name);
  if (others.length === 0) return;
  const used = new Map(
    instance.records
      .list()
      .flatMap((record) => buildsOf(record).map((build) => [build, formatId(record.id)] as const)),
  );
  for (const build of others) {
    const user = used.get(build);
    if (user === undefined) unpinBuild(instance.name, build);
    else log.add("warning", user, `it runs under programs of another version (${build}) until it ends`);
  }
}
