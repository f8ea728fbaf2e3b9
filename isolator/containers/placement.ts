/**
 * Where a container's cgroup v2 node is: one that this daemon makes, out of the way of Mesos's and systemd's trees; or, where
 * the agent itself uses cgroup v2 (Mesos 1.12 on a machine without cgroup v1), the agent's own. There nothing but programs is
 * added: the agent takes any directory below its root for a container, has put the process into the node's `leaf` before
 * isolate(), ends what runs in it, and removes it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { CgroupConfig } from "../config/cgroup.js";
import { IsolatorError } from "../errors.js";
import { escapeUntrusted } from "../features/events.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { cgroupPathOf } from "../kernel/processes.js";
import type { Programs } from "../kernel/programs.js";
import type { Container } from "./container.js";
import { formatId, type ContainerId } from "./names.js";

/** Between a container's directory and those of the containers nested in it (CGROUP_SEPARATOR of Mesos's containerizer). */
const SEPARATOR = "mesos";
/** Directory within a container's that its processes are in; it may belong to the task's user. */
const LEAF = "leaf";

/** Levels of directories from a container's node to that of one nested in it. */
export const AGENT_STEP = 2;

/** Path of the agent's node of a container (paths::cgroups2::container() of Mesos 1.12). @param id of Mesos: no '/' or '.' */
export function agentNode(cgroup2: string, agentRoot: string, id: readonly string[]): string {
  return join(cgroup2, agentRoot, id.join(`/${SEPARATOR}/`));
}

export type Placement =
  | { kind: "own" }
  /** An agent's that is there. */
  | { kind: "agent"; path: string }
  /** It has none: its processes are in that of the container which it is nested in. */
  | { kind: "shared"; container: Container };

/**
 * @param parent whose node the container is below
 * @throws cgroup-failed where it has to be the agent's, and there is none
 */
export function placementOf(
  { mode, agentRoot }: CgroupConfig,
  cgroup2: string,
  id: ContainerId,
  parent: Container | undefined,
): Placement {
  if (parent && !parent.isAgents) return { kind: "own" };
  const path = agentNode(cgroup2, agentRoot, id);
  // A parent's place decides: a reload of the configuration does not tear a pod apart.
  if (parent) return existsSync(path) ? { kind: "agent", path } : { kind: "shared", container: parent };
  if (mode !== "own" && existsSync(path)) return { kind: "agent", path };
  if (mode !== "agent") return { kind: "own" };
  throw new IsolatorError(
    "cgroup-failed",
    `container ${formatId(id)}: the agent has made no cgroup ${path} for it, and cgroup.mode of the configuration is agent. ` +
      "Give the agent's --cgroups_root as cgroup.agent_root, and cgroups/all or the like to its --isolation; or use auto",
  );
}

/**
 * That an agent's process is where its container's rules hold, since nobody moves it there.
 * @param container for the message
 * @throws no-process, cgroup-failed
 */
export function requireInside(node: CgroupNode, cgroup2: string, pid: number, container: string): void {
  const cgroup = cgroupPathOf(pid);
  if (cgroup === undefined) {
    throw new IsolatorError("no-process", `container ${container}: process ${pid} is gone`);
  }
  const path = join(cgroup2, cgroup);
  if (path === node.path || path.startsWith(`${node.path}/`)) return;
  throw new IsolatorError(
    "cgroup-failed",
    `container ${container}: the agent has put process ${pid} into cgroup ${escapeUntrusted(cgroup)}, and not below ` +
      `${node.path}, where the container's rules hold`,
  );
}

/**
 * That no process is taken out of a node of the agent's, which its limits hold for.
 * @throws conflict
 */
export function requireNotAgents(id: ContainerId, pid: number): void {
  const cgroup = cgroupPathOf(pid);
  const suffix = `/${id.join(`/${SEPARATOR}/`)}/${LEAF}`;
  if (!cgroup?.endsWith(suffix)) return;
  const root = escapeUntrusted(cgroup.slice(1, -suffix.length));
  throw new IsolatorError(
    "conflict",
    `container ${formatId(id)}: its agent uses cgroup v2 and keeps process ${pid} in ${escapeUntrusted(cgroup)}, with limits that ` +
      `would not hold elsewhere: set cgroup.mode to auto and cgroup.agent_root to ${root} in the configuration`,
  );
}

/**
 * Takes the programs off a node of the agent's.
 * @throws cgroup-failed while something runs in it, which would be under no rules then; attach-failed
 */
export function leaveNode(programs: Pick<Programs, "detach">, node: CgroupNode, container: string): void {
  if (!CgroupNode.open(node.path)) return;
  if (node.populated()) {
    throw new IsolatorError(
      "cgroup-failed",
      `container ${container}: processes still run in ${node.path}, which is the agent's to end: the rules stay on it`,
    );
  }
  try {
    node.withFd((fd) => {
      programs.detach(fd, container);
    });
  } catch (error) {
    // The agent may remove it at any time.
    if (CgroupNode.open(node.path)) throw error;
  }
}
