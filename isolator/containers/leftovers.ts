/**
 * What there is of containers that no process holds any more: left behind by one that was killed, or an agent's that could
 * not be taken up. All of it is done under the instance's lock.
 */
import { CgroupNode, children } from "../kernel/cgroup.js";
import { detachAll } from "../kernel/attach.js";
import type { BpfMap } from "../kernel/maps.js";
import { buildId } from "../kernel/object.js";
import { openPinnedMap, otherBuilds, PinnedBuild } from "../kernel/pins.js";
import { forgetServices, SERVICE_MAPS } from "../kernel/service-table.js";
import { closeBandwidth } from "./bandwidth.js";
import { closeConnections } from "./connections.js";
import { forgetHits, forgetMarkingSet, writeTermination } from "./egress.js";
import type { Instance } from "./instance.js";
import { formatId, type ContainerId } from "./names.js";
import { forgetClasses } from "./owner-classes.js";
import { agentNode, leaveNode } from "./placement.js";
import { PortTable } from "./port-table.js";
import { deleteMappings } from "./remap.js";
import { nodeNames, type ContainerRecord } from "./record.js";
import { endFiles, forgetFilesOf } from "./unused-files.js";

/** For one container that was left behind. ms */
const SWEEP_TIMEOUT = 3000;

type PinnedMapName = Parameters<typeof openPinnedMap>[2];

/** The first time sweep(): what others leave later is looked for when it is in the way. */
export async function sweepOnce(instance: Instance): Promise<void> {
  if (!instance.swept) await sweep(instance);
}

/**
 * Ends what processes that were killed left behind: kills what runs in their nodes, removes the nodes, frees the
 * ports. Nodes of processes that live are not touched: those hold the lock of their record.
 * @returns names of the containers that were swept
 */
export async function sweep(instance: Instance): Promise<string[]> {
  instance.swept = true;
  // Children first: a parent gets the ports of its children back before it gives them up itself.
  const abandoned = instance.records.abandoned().reverse();
  const swept: string[] = [];
  for (const { held, record, unknown } of abandoned) {
    const { node } = findNode(instance, held.key) ?? {};
    // Half made, or an agent's whose record is damaged: that one is the daemon's to judge.
    if (unknown && (node?.populated() ?? false)) continue;
    try {
      await node?.remove(SWEEP_TIMEOUT);
    } catch {
      // A process of it does not die (in uninterruptible sleep): its record stays for a later sweep.
      held.lock?.release();
      continue;
    }
    if (record) release(instance, record);
    instance.records.remove(held);
    swept.push(record ? formatId(record.id) : held.key);
  }
  if (swept.length > 0) endFiles(instance);
  await removeEmptyStrays(instance);
  return swept;
}

/** Nodes without a record (somebody removed /run/bpf-isolator) in which nothing runs. */
async function removeEmptyStrays(instance: Instance): Promise<void> {
  const known = new Set([
    instance.guardNode(),
    ...instance.records.keys().map((key) => instance.nodeOf(key)),
  ]);
  for (const path of children(instance.root).filter((path) => !known.has(path))) {
    const node = CgroupNode.open(path);
    if (node && !node.populated()) await node.remove();
  }
}

/**
 * Ends what there is of an agent's container that nobody looks after: one that could not be taken up.
 * @param key of its record
 * @param timeout ms
 * @throws cgroup-failed, state-failed
 */
export async function removeAgents(instance: Instance, key: string, timeout: number): Promise<void> {
  if (!instance.records.isAgents(key)) return;
  await removeNode(instance, key, timeout);
  const record = instance.records.read(key);
  if (record) release(instance, record);
  instance.records.remove(instance.records.take(key));
  endFiles(instance);
}

/** The node that there is of a record's container, also where the record is damaged. */
export function findNode(
  instance: Instance,
  key: string,
): { node: CgroupNode; isAgents: boolean } | undefined {
  const { cgroup2, agentRoot } = instance;
  const record = instance.records.read(key);
  const own = CgroupNode.open(record?.cgroup ?? instance.nodeOf(key));
  if (own || record || agentRoot === undefined) {
    return own && { node: own, isAgents: record?.agentNode === true };
  }
  // An agent's ids are short and plain, so that the key has them whole.
  const agents = CgroupNode.open(agentNode(cgroup2, agentRoot, nodeNames(key)));
  return agents && { node: agents, isAgents: true };
}

/**
 * Ends what there is of a record's node.
 * @param timeout ms
 * @throws cgroup-failed, attach-failed
 */
export async function removeNode(instance: Instance, key: string, timeout?: number): Promise<void> {
  const found = findNode(instance, key);
  if (!found?.isAgents) {
    await found?.node.remove(timeout);
    return;
  }
  leaveNode(instance.loaded, found.node, key);
  // Of a version before this one, which ended while it prepared the container.
  for (const build of otherBuilds(instance.name)) {
    const pinned = PinnedBuild.open(instance.name, build);
    const detach = (fd: number, name: string): void => {
      detachAll(pinned.programs, fd, name);
    };
    leaveNode({ detach }, found.node, key);
    pinned.close();
  }
}

/** Takes away what the kernel's maps have of a container whose node is gone. */
function release(instance: Instance, record: ContainerRecord): void {
  releasePorts(instance, record);
  // Another build's maps go with its pins.
  if (record.build !== buildId()) return;
  endRules(instance.name, record);
  endMappings(instance.name, record);
  endServices(instance.name, record);
  forgetFilesOf(instance.name, record);
}

function idOf({ chain }: ContainerRecord): bigint {
  return BigInt(chain.at(-1) ?? 0);
}

/** @param use is given them while they are open; not called where one is not pinned */
function withMaps(
  instance: string,
  build: string,
  names: readonly PinnedMapName[],
  use: (maps: { map: (name: string) => BpfMap }) => void,
): void {
  const open = new Map<string, BpfMap>();
  try {
    for (const name of names) {
      const map = openPinnedMap(instance, build, name);
      if (!map) return;
      open.set(name, map);
    }
    use({
      map: (name) => {
        const map = open.get(name);
        if (!map) throw new Error(`no map ${name}`);
        return map;
      },
    });
  } finally {
    for (const map of open.values()) map.close();
  }
}

function releasePorts({ name, records }: Instance, { id, build, policy, chain }: ContainerRecord): void {
  withMaps(name, build, ["port_owners"], ({ map }) => {
    const parentId = formatId(id.slice(0, -1) as unknown as ContainerId);
    const parent = records.list().find((record) => formatId(record.id) === parentId);
    new PortTable(map("port_owners")).release(policy.ports ?? [], chain.map(BigInt), parent?.policy.ports);
  });
}

const RULE_MAPS = [
  "connect_totals",
  "connect_rules",
  "bandwidth_rules",
  "bandwidths",
  "owner_classes",
  "egress_hits",
  "terminations",
  "marking_sets",
] as const;

function endRules(instance: string, record: ContainerRecord): void {
  const { policy, chain } = record;
  const cgroupId = idOf(record);
  withMaps(instance, record.build, RULE_MAPS, (maps) => {
    closeConnections(maps, cgroupId);
    closeBandwidth(maps, cgroupId);
    forgetClasses(maps, cgroupId);
    if (policy.egress) forgetHits(maps, cgroupId, policy.egress);
    if (policy.egress) writeTermination(maps, undefined, chain.map(BigInt));
    if (policy.marking?.destinations) forgetMarkingSet(maps, cgroupId);
  });
}

function endMappings(instance: string, record: ContainerRecord): void {
  const { remap } = record.policy;
  if (!remap) return;
  withMaps(instance, record.build, ["port_remaps"], ({ map }) => {
    deleteMappings(map("port_remaps"), idOf(record), remap);
  });
}

function endServices(instance: string, record: ContainerRecord): void {
  if (!record.policy.services?.own) return;
  withMaps(instance, record.build, SERVICE_MAPS, (maps) => {
    forgetServices(maps, idOf(record));
  });
}
