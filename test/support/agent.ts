/** An agent's calls about its containers, as tests make them. */
import type { ContainerId } from "../../isolator/containers/names.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { codecs, fromContainerId, type bpf_isolator, type mesos } from "../../isolator/mesos/messages.js";
import { nameOf } from "../../isolator/cli/table.js";
import { Type, type Encoding, type TestDaemon, type Watch } from "./daemon.js";
import { Task } from "./task.js";

/** "root.child" of no dotted names. */
export function idOf(name: string): ContainerId {
  const [root = "", ...nested] = name.split(".");
  return [root, ...nested];
}

/** A `ports` resource: "31000-31005,31010". */
export function ports(text: string, more: object = {}): object {
  const range = text.split(",").map((part) => {
    const [begin = "", end = begin] = part.split("-");
    return { begin: Number(begin), end: Number(end) };
  });
  return { name: "ports", type: "RANGES", ranges: { range }, ...more };
}

export const CPUS = { name: "cpus", type: "SCALAR", scalar: { value: 1 } };

export function resources(...list: object[]): mesos.Resource[] {
  return list.map((resource) => codecs.Resource.parseJson(JSON.stringify(resource)));
}

/** A ContainerConfig as it would come over the wire. */
export function config(values: object): mesos.slave.ContainerConfig {
  const whole = { directory: "/sandbox", command_info: {}, ...values };
  return codecs.ContainerConfig.parseJson(JSON.stringify(whole));
}

/** The calls of an agent. Names are "root.child". */
export class Agent {
  constructor(
    readonly daemon: TestDaemon,
    readonly encoding: Encoding = "protobuf",
  ) {}

  async prepare(name: string, values: object | mesos.slave.ContainerConfig): Promise<void> {
    const container_config = "command_info" in values ? values : config(values);
    await this.daemon.call(
      { type: Type.PREPARE, prepare: { container_id: fromContainerId(idOf(name)), container_config } },
      this.encoding,
    );
  }

  async isolate(name: string, pid: number): Promise<void> {
    const container_id = fromContainerId(idOf(name));
    await this.daemon.call({ type: Type.ISOLATE, isolate: { container_id, pid } }, this.encoding);
  }

  /** prepare(), and isolate() of a new process. */
  async launch(name: string, values: object): Promise<Task> {
    await this.prepare(name, values);
    const task = await Task.start();
    await this.isolate(name, task.pid);
    return task;
  }

  watch(name: string): Promise<Watch> {
    const container_id = fromContainerId(idOf(name));
    return this.daemon.stream({ type: Type.WATCH, watch: { container_id } }, this.encoding);
  }

  async update(name: string, ...list: object[]): Promise<void> {
    const update = { container_id: fromContainerId(idOf(name)), resource_requests: resources(...list) };
    await this.daemon.call({ type: Type.UPDATE, update }, this.encoding);
  }

  async usage(name: string): Promise<mesos.ResourceStatistics> {
    const container_id = fromContainerId(idOf(name));
    const { usage } = await this.daemon.call({ type: Type.USAGE, usage: { container_id } }, this.encoding);
    return usage?.statistics ?? { timestamp: 0 };
  }

  async status(name: string): Promise<mesos.ContainerStatus> {
    const container_id = fromContainerId(idOf(name));
    const { status } = await this.daemon.call({ type: Type.STATUS, status: { container_id } }, this.encoding);
    return status?.status ?? {};
  }

  async cleanup(name: string): Promise<void> {
    const container_id = fromContainerId(idOf(name));
    await this.daemon.call({ type: Type.CLEANUP, cleanup: { container_id } }, this.encoding);
  }

  /** @param states names of the containers that the agent knows again, with a process id where it matters */
  async recover(
    states: readonly (string | { name: string; pid?: number })[],
    orphans: readonly string[] = [],
  ): Promise<void> {
    const recover = {
      states: states.map((state) => {
        const { name, pid = 1 } = typeof state === "string" ? { name: state } : state;
        return { container_id: fromContainerId(idOf(name)), pid: BigInt(pid), directory: "/sandbox" };
      }),
      orphans: orphans.map((name) => fromContainerId(idOf(name))),
    };
    await this.daemon.call({ type: Type.RECOVER, recover }, this.encoding);
  }

  async list(): Promise<readonly bpf_isolator.ContainerSummary[]> {
    const { list } = await this.daemon.call({ type: Type.LIST }, this.encoding);
    return list?.containers ?? [];
  }

  async find(name: string): Promise<bpf_isolator.ContainerSummary | undefined> {
    return (await this.list()).find(({ container_id }) => nameOf(container_id) === name);
  }

  async node(name: string): Promise<CgroupNode> {
    const node = CgroupNode.open((await this.find(name))?.cgroup ?? "/nowhere");
    if (!node) throw new Error(`no node of container ${name}`);
    return node;
  }

  async facts(): Promise<bpf_isolator.DaemonStatus> {
    const { get_status } = await this.daemon.call({ type: Type.GET_STATUS }, this.encoding);
    return get_status?.status ?? {};
  }
}
