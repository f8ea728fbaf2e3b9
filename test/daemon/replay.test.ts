/**
 * The calls of a real agent, each recorded whole, against a daemon, in both encodings, with a real process for each
 * isolate(). After every call: what the containers' processes may bind, and what list, usage and status say.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nameOf } from "../../isolator/cli/table.js";
import { formatPorts, listPorts, mergeRanges, type PortRange } from "../../isolator/features/ports.js";
import { bpf_isolator, codecs } from "../../isolator/mesos/messages.js";
import { Agent, idOf } from "../support/agent.js";
import { AgentTree } from "../support/agent-tree.js";
import { TestDaemon, Type, type Call, type Encoding, type Watch } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";
import { bytesOf, readTrace, traceNames, type Recorded, type RecordedCall } from "../support/traces.js";

enterOwnNetwork();
const tree = new AgentTree();
const daemon = await TestDaemon.start({ config: `cgroup: { agent_root: ${tree.root} }\n` });

const { State } = bpf_isolator.ContainerSummary;
/** A port that no trace has. */
const STRANGE = 8080;

/** What a container ought to be, by the recorded JSON alone. */
interface Expected {
  name: string;
  /** "parent": none of its own. "debug": no container at all for the daemon. */
  ports: PortRange[] | "parent" | "debug";
  state: bpf_isolator.ContainerSummary.State;
  task?: Task;
  watch?: Watch;
}

function portsIn(list: readonly object[]): PortRange[] {
  const entries = list as { name: string; ranges?: { range: { begin: string; end: string }[] } }[];
  return mergeRanges(
    entries
      .filter(({ name }) => name === "ports")
      .flatMap(({ ranges }) => ranges?.range ?? [])
      .map(({ begin, end }) => ({ begin: Number(begin), end: Number(end) })),
  );
}

const parentName = (name: string): string => name.slice(0, name.lastIndexOf("."));

/** Replays calls and keeps what ought to be true. */
class Replay {
  readonly containers = new Map<string, Expected>();
  /** Every port that any container had. */
  private readonly seen = new Set<number>([STRANGE]);

  /** @param nodes whether the agent has cgroup v2 nodes of its own, as Mesos 1.12 where there is no cgroup v1 */
  constructor(
    private readonly agent: Agent,
    private readonly nodes = false,
  ) {}

  /** The call as the agent would make it now, with the process that stands for the recorded one. */
  private async message({ method, ...recorded }: RecordedCall): Promise<Call | undefined> {
    const decode = <T extends object>(codec: { decode: (bytes: Uint8Array) => T }, message?: Recorded) =>
      message && codec.decode(bytesOf(message));
    const container_id = decode(codecs.ContainerID, recorded.container_id_pb);
    const each = { container_id };
    switch (method) {
      case "prepare": {
        if (this.nodes) tree.make(recorded.container_id ?? "");
        const container_config = decode(codecs.ContainerConfig, recorded.container_config);
        return { type: Type.PREPARE, prepare: { ...each, container_config } };
      }
      case "isolate": {
        const task = await Task.start();
        this.expected(recorded.container_id).task = task;
        if (this.nodes) tree.put(recorded.container_id ?? "", task.pid);
        return { type: Type.ISOLATE, isolate: { ...each, pid: task.pid } };
      }
      case "update": {
        const resource_requests = recorded.resource_requests?.map((item) =>
          codecs.Resource.decode(bytesOf(item)),
        );
        return { type: Type.UPDATE, update: { ...each, resource_requests } };
      }
      case "usage":
        return { type: Type.USAGE, usage: each };
      case "status":
        return { type: Type.STATUS, status: each };
      case "cleanup":
        if (this.nodes) await tree.destroy(recorded.container_id ?? "");
        return { type: Type.CLEANUP, cleanup: each };
      case "recover": {
        const states = recorded.states?.map((item) => codecs.ContainerState.decode(bytesOf(item))) ?? [];
        return {
          type: Type.RECOVER,
          recover: {
            states: states.map((state) => {
              const pid = this.expected(nameOf(state.container_id)).task?.pid ?? 0;
              return { ...state, pid: BigInt(pid) };
            }),
            orphans: recorded.orphans?.map((item) => codecs.ContainerID.decode(bytesOf(item))) ?? [],
          },
        };
      }
      default:
        // Of the module, not of the daemon.
        return undefined;
    }
  }

  expected(name = ""): Expected {
    const expected = this.containers.get(name);
    assert(expected, `${name} is not prepared`);
    return expected;
  }

  async step(recorded: RecordedCall): Promise<void> {
    const { method, container_id: name = "", seq } = recorded;
    const where = `call ${seq} ${method} ${name}`;
    if (method === "watch") {
      const watch = await this.agent.watch(name);
      const expected = this.containers.get(name);
      if (expected) expected.watch = watch;
      return;
    }
    const call = await this.message(recorded);
    if (!call) return;
    const answer = await daemon.call(call, this.agent.encoding);
    assert.equal(answer.type, call.type as number, where);
    if (method === "status") {
      const known = this.containers.has(name) && this.containers.get(name)?.ports !== "debug";
      assert.equal(nameOf(answer.status?.status?.container_id), known ? name : "", where);
      assert.equal(answer.status?.status?.network_infos, undefined, where);
      return;
    }
    if (method === "usage") {
      assert(answer.usage?.statistics?.net_rx_packets !== undefined, where);
      return;
    }
    await this.note(recorded);
    await this.check(where);
  }

  /** What the call ought to have changed. */
  private async note({ method, container_id: name = "", ...recorded }: RecordedCall): Promise<void> {
    if (method === "prepare") {
      const { resources = [], container_class } = recorded.container_config?.json as {
        resources?: object[];
        container_class?: string;
      };
      const nested = name.includes(".");
      const own = nested && resources.length === 0 ? "parent" : portsIn(resources);
      const ports = container_class === "DEBUG" ? "debug" : own;
      this.containers.set(name, { name, ports, state: State.PREPARED });
    } else if (method === "isolate") {
      this.expected(name).state = State.ISOLATED;
    } else if (method === "update") {
      const expected = this.expected(name);
      expected.ports = portsIn((recorded.resource_requests ?? []).map(({ json }) => json));
      if (expected.state === State.RECOVERED) expected.state = State.ISOLATED;
    } else if (method === "cleanup") {
      await this.noteEnd(name);
    }
    for (const { ports } of this.containers.values()) {
      if (typeof ports !== "string") for (const port of listPorts(ports)) this.seen.add(port);
    }
  }

  private async noteEnd(name: string): Promise<void> {
    const expected = this.containers.get(name);
    this.containers.delete(name);
    if (expected?.watch) await until(() => !expected.watch?.isOpen(), `the watch of ${name} ends`);
    assert.deepEqual(expected?.watch?.records ?? [], [], "no limitation is raised");
    // What a check leaves running is in its parent's node, and the agent's to end.
    if (expected?.ports === "debug") await expected.task?.end();
    await until(() => expected?.task?.ended ?? true, `the process of ${name} is gone`);
  }

  /** The ports that a container may bind. */
  private allowed(name: string): number[] {
    const { ports } = this.expected(name);
    return typeof ports === "string" ? this.allowed(parentName(name)) : listPorts(ports);
  }

  /** Name of the container whose node a container's processes are in. */
  private home(name: string): string {
    return this.expected(name).ports === "debug" ? this.home(parentName(name)) : name;
  }

  /** Everything that can be seen of the containers. */
  async check(where: string): Promise<void> {
    const list = await this.agent.list();
    const summary = (name: string) => list.find(({ container_id }) => nameOf(container_id) === name);
    const real = [...this.containers.values()].filter(({ ports }) => ports !== "debug");
    assert.deepEqual(
      list.map(({ container_id }) => nameOf(container_id)),
      real.map(({ name }) => name).sort(),
      where,
    );
    for (const { name, ports, state } of real) {
      const shown = summary(name);
      assert.equal(shown?.state, state, `${where}: state of ${name}`);
      assert.equal(shown.inherits_ports ?? false, ports === "parent", `${where}: ${name}`);
      const ranges = (shown.ports ?? []).map(({ begin, end }) => ({
        begin: Number(begin),
        end: Number(end),
      }));
      assert.equal(formatPorts(ranges), formatPorts(ports === "parent" ? [] : (ports as PortRange[])), where);
    }
    for (const { name, task, watch } of this.containers.values()) {
      assert.equal(watch?.isOpen() ?? true, true, `${where}: watch of ${name}`);
      if (task) {
        const home = this.nodes ? `${tree.path(name)}/leaf` : summary(this.home(name))?.cgroup;
        assert.equal(task.cgroup, home, `${where}: ${name}`);
        if (this.nodes) assert.equal(summary(this.home(name))?.cgroup, tree.path(this.home(name)), where);
        await this.checkPorts(name, task, where);
      }
    }
  }

  /** That a process may bind its first and last port, and no other. */
  private async checkPorts(name: string, task: Task, where: string): Promise<void> {
    const allowed = this.allowed(name);
    const ends = new Set([allowed[0], allowed.at(-1)].filter((port) => port !== undefined));
    for (const port of ends) assert.equal(await task.mayBind(port), true, `${where}: ${name} binds ${port}`);
    const refused = [...this.seen].filter((port) => !allowed.includes(port));
    // Some of them each time, all of them in the course of a trace.
    const some = refused.filter((port, i) => port === STRANGE || i % 3 === where.length % 3);
    for (const port of some) assert.equal(await task.mayBind(port), false, `${where}: ${name} binds ${port}`);
  }

  /** Only what this test's attempts did: each container has been counted, and every refusal is known. */
  async checkCounts(): Promise<void> {
    for (const summary of await this.agent.list()) {
      const name = nameOf(summary.container_id);
      const { task, ports } = this.expected(name);
      if (!task) continue;
      // What a container without ports of its own may not do, its parent refuses and counts.
      const denied = summary.denied?.some((count) => count.name === "bind" && (count.count ?? 0n) > 0n);
      assert.equal(denied ?? false, ports !== "parent", name);
      const usage = await this.agent.usage(name);
      assert((usage.net_rx_packets ?? 0n) > 0n && (usage.net_tx_bytes ?? 0n) > 0n, name);
    }
  }

  /** The end that a recording does not show, and that of one that went wrong. */
  async finish(): Promise<void> {
    for (const name of [...this.containers.keys()].reverse()) {
      if (this.nodes) await tree.destroy(name);
      await this.agent.cleanup(name);
      await this.noteEnd(name);
    }
    assert.deepEqual(await this.agent.list(), []);
  }
}

describe("recorded calls of an agent with cgroup v2 nodes of its own", () => {
  for (const name of ["command-task", "pod", "health-check-command-pod"]) {
    it(`of ${name} do the same there`, async (t) => {
      const replay = new Replay(new Agent(daemon), true);
      t.after(() => replay.finish());
      for (const call of readTrace(name)) await replay.step(call);
    });
  }
});

for (const encoding of ["protobuf", "json"] as const satisfies readonly Encoding[]) {
  describe(`recorded calls in ${encoding}`, () => {
    const agent = new Agent(daemon, encoding);

    for (const name of traceNames().filter((name) => !name.startsWith("recovery"))) {
      it(`of ${name} do what the agent means by them`, async (t) => {
        const replay = new Replay(agent);
        t.after(() => replay.finish());
        const calls = readTrace(name);
        for (const [i, call] of calls.entries()) {
          await replay.step(call);
          // Before the first container goes.
          if (calls[i + 1]?.method === "cleanup") await replay.checkCounts();
        }
      });
    }

    it("of an agent's death and recovery, and the daemon is killed in between", async (t) => {
      const replay = new Replay(agent);
      t.after(() => replay.finish());
      for (const call of readTrace("recovery-before")) await replay.step(call);
      await replay.checkCounts();
      const names = [...replay.containers.keys()];
      assert(names.length >= 5 && names.some((name) => idOf(name).length === 2));
      const usages = new Map(
        await Promise.all(names.map(async (name) => [name, await agent.usage(name)] as const)),
      );
      await daemon.stop("SIGKILL");
      for (const { task } of replay.containers.values()) {
        assert.equal(await task?.mayBind(STRANGE), false, "no daemon, and still enforced");
      }
      await daemon.start();
      for (const expected of replay.containers.values()) {
        expected.state = State.RECOVERED;
        delete expected.watch;
      }
      await replay.check("after the daemon's start");
      for (const [name, before] of usages) {
        const after = await agent.usage(name);
        assert((after.net_rx_packets ?? 0n) > (before.net_rx_packets ?? 0n), `${name} goes on counting`);
      }
      for (const call of readTrace("recovery-after")) await replay.step(call);
      assert.deepEqual([...replay.containers.keys()], []);
    });
  });
}
