/**
 * The cgroup v2 tree of an agent that uses cgroup v2 (Mesos 1.12): real directories where that agent makes them, which it puts
 * processes into and removes. Removed after the tests of the file.
 */
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { after } from "node:test";
import { agentNode } from "../../isolator/containers/placement.js";
import { CgroupNode, children } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { idOf } from "./agent.js";

let count = 0;

export class AgentTree {
  /** As --cgroups_root has it. */
  readonly root = `mesos-t${process.pid}-${count++}`;

  constructor() {
    after(() => this.node()?.remove());
  }

  private node(): CgroupNode | undefined {
    return CgroupNode.open(join(requireCgroup2(), this.root));
  }

  /** Path of a container's node. */
  path(name: string): string {
    return agentNode(requireCgroup2(), this.root, idOf(name));
  }

  /** As cgroups2's prepare() does. */
  make(name: string): void {
    mkdirSync(join(this.path(name), "leaf"), { recursive: true });
  }

  /** As the launcher does before isolate(). */
  put(name: string, pid: number): void {
    CgroupNode.open(join(this.path(name), "leaf"))?.add(pid);
  }

  /** As the launcher does before cleanup(). Missing is fine. */
  async destroy(name: string): Promise<void> {
    await CgroupNode.open(this.path(name))?.remove();
  }

  /** Names of the directories in a container's node. */
  directories(name: string): string[] {
    return children(this.path(name))
      .map((path) => basename(path))
      .sort();
  }
}
