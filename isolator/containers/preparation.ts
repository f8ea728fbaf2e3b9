/** How a process gets a container to hold: made, all of it or nothing, or taken up from a daemon before. */
import { IsolatorError, type ErrorCode } from "../errors.js";
import { NO_RING, type Policy } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import type { EventRing, KernelEvent } from "../kernel/events.js";
import { buildId, layoutId } from "../kernel/object.js";
import { ContainerState } from "./container-state.js";
import { Container, type OnTakeOver } from "./container.js";
import { requireFiles } from "./files.js";
import type { Instance } from "./instance.js";
import { sweep, sweepOnce } from "./leftovers.js";
import { checkContainerName, formatId, type ContainerId } from "./names.js";
import { leaveNode } from "./placement.js";
import { reach } from "./points.js";
import { LEVELS, type Chain } from "./port-table.js";
import { RECORD_VERSION, type ContainerRecord, type Source } from "./record.js";
import { openRing } from "./rings.js";
import { endFiles } from "./unused-files.js";

export interface ContainerOptions {
  id: ContainerId;
  policy: Policy;
  /** The container that this one is nested in. */
  parent?: Container;
  /** Whose it is; "run" if not given. */
  source?: Source;
  /** Bytes of an agent's ContainerConfig, to be kept with the record. */
  config?: Uint8Array;
  /** Path of a node of the agent's that is used; without, one is made. */
  agentNode?: string;
  /** It is launched without CAP_NET_RAW. */
  withoutNetRaw?: boolean;
  /** Called for each event, by a ring of the container's own. */
  onEvent?: (event: KernelEvent) => void;
  /** A ring that the container's events go to instead; it stays its maker's. */
  ring?: EventRing;
  onTakeOver?: OnTakeOver;
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
 * Makes the node, attaches the programs, writes the policy and claims the ports: all of it or nothing.
 * A process in the node is under the policy from its first instruction there.
 * @throws IsolatorError of any kind; nothing is left behind
 */
export function prepareContainer(instance: Instance, options: ContainerOptions): Promise<Container> {
  if (options.source !== "agent") for (const name of options.id) checkContainerName(name);
  if (options.id.length > LEVELS) {
    throw new IsolatorError(
      "bad-argument",
      `container ${formatId(options.id)} is nested ${options.id.length} deep; at most ${LEVELS} levels are supported`,
    );
  }
  return instance.locked(async () => {
    await sweepOnce(instance);
    try {
      return await attempt(instance, options);
    } catch (error) {
      // In the way may be what a process that was killed since then has left.
      const inTheWay = error instanceof IsolatorError && IN_THE_WAY.includes(error.code);
      if (!inTheWay || (await sweep(instance)).length === 0) throw error;
      return await attempt(instance, options);
    }
  });
}

async function attempt(instance: Instance, options: ContainerOptions): Promise<Container> {
  const undo: Undo = [
    () => {
      instance.removeIfUnused();
    },
  ];
  try {
    return build(instance, options, undo);
  } catch (error) {
    await unwind(undo);
    throw error;
  }
}

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

function build(
  instance: Instance,
  { id, policy, parent, source = "run", config, ...more }: ContainerOptions,
  undo: Undo,
): Container {
  const { agentNode, withoutNetRaw = false, onEvent, ring, onTakeOver } = more;
  const held = instance.records.reserve(id, source);
  undo.push((clean) => {
    if (clean) instance.records.remove(held);
    else held.lock?.release();
  });
  instance.unwrittenGlass.forget(held.key);
  reach("prepare:reserved");
  const programs = instance.acquirePrograms();
  undo.push(() => {
    instance.releasePrograms();
  });
  reach("prepare:programs");
  requireFiles(programs, policy, `container ${formatId(id)} is not started`);
  const node = agentNode === undefined ? CgroupNode.create(instance.nodePath(id)) : openAgents(agentNode);
  undo.push(async () => {
    if (agentNode === undefined) await node.remove();
    else leaveNode(programs, node, formatId(id));
  });
  reach("prepare:node");
  const chain: Chain = [...(parent?.chain ?? []), node.id];
  const record: ContainerRecord = {
    version: RECORD_VERSION,
    ...{ id, source, stage: "preparing", policy },
    cgroup: node.path,
    ...(agentNode === undefined ? {} : { agentNode: true }),
    ...(withoutNetRaw ? { withoutNetRaw } : {}),
    chain: chain.map(String),
    ...{ build: buildId(), layout: layoutId() },
    pid: process.pid,
    started: Math.floor(Date.now() / 1000),
  };
  if (config) instance.records.writeConfig(held, id, config);
  instance.records.write(held, record);
  reach("prepare:recorded");
  const ownRing = onEvent && openRing(instance, programs, onEvent);
  undo.push(() => ownRing?.close());
  const slot = (ring ?? ownRing)?.slot ?? NO_RING;
  const state = new ContainerState(instance, programs, held, node, record, slot);
  const container = new Container(state, parent, ownRing);
  const { glass } = state;
  container.enforcement.attach(glass);
  reach("prepare:attached");
  undo.push(() => {
    endFiles(instance, held.key);
  });
  undo.push(() => container.enforcement.withdraw());
  container.enforcement.apply(glass);
  instance.sockets.begin(container.cgroupId);
  reach("prepare:policy");
  undo.push(() => {
    container.releasePorts();
  });
  const takenOver = container.claimPorts();
  reach("prepare:claimed");
  // The lock of a `run` says all there is to say of its stage.
  if (source === "agent") state.save({ stage: "prepared" });
  for (const [owner, ports] of takenOver) onTakeOver?.(ports, owner);
  reach("prepare:done");
  return container;
}

/** @throws cgroup-failed */
function openAgents(path: string): CgroupNode {
  const node = CgroupNode.open(path);
  if (node) return node;
  throw new IsolatorError("cgroup-failed", `the cgroup ${path}, which the agent had made, is gone`);
}

/**
 * Takes up a container that a daemon before this one has made; its programs are of this build (upgrade.ts). Under the
 * instance's lock.
 * @param key of its record
 * @param ring that its events go to from now on
 * @returns undefined where its node is gone
 */
export function adoptContainer(
  instance: Instance,
  key: string,
  record: ContainerRecord,
  parent: Container | undefined,
  ring: EventRing,
): Container | undefined {
  const node = CgroupNode.open(record.cgroup);
  if (!node || node.id.toString() !== record.chain.at(-1)) return undefined;
  const held = instance.records.take(key);
  const programs = instance.acquirePrograms();
  const state = new ContainerState(instance, programs, held, node, record, ring.slot);
  const container = new Container(state, parent, undefined);
  const { glass } = state;
  container.enforcement.ensureAttached(glass);
  container.enforcement.apply(glass);
  return container;
}
