/** Port mappings of an agent's containers: what a task gets, and what becomes of them when daemons come and go. */
import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { mappingsText } from "../../isolator/cli/table.js";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import type { Task } from "../support/task.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);

const networks = (port_mappings: object[], name?: string): object => ({
  container_info: {
    type: "MESOS",
    network_infos: [{ ...(name === undefined ? {} : { name }), port_mappings }],
  },
});
const web = (host_port: number): object => ({ container_port: 80, host_port, protocol: "tcp" });

/** What a task is told that it has, having bound 80; "EPERM" where it may not. */
async function binds(task: Task, real: number): Promise<number | string | null> {
  const { ok, port, errno } = await task.attempt(`bind port=80 real-port=${real}`);
  return ok ? port : errno;
}
const listed = async (name: string): Promise<string> => mappingsText((await agent.find(name))?.port_mappings);

describe("a container with port mappings", () => {
  it("of NetworkInfo, DiscoveryInfo or a label binds its host port", async () => {
    const label = (value: string): object => ({ labels: { labels: [{ key: "bpf-isolator.remap", value }] } });
    const executor = (more: object): object => ({
      executor_info: { executor_id: { value: "e" }, framework_id: { value: "f" }, command: {}, ...more },
    });
    const cases: [name: string, port: number, values: object][] = [
      ["by-network", 31000, networks([web(31000)])],
      [
        "by-discovery",
        31010,
        executor({
          discovery: { visibility: "CLUSTER", ports: { ports: [{ number: 31010, ...label("80") }] } },
        }),
      ],
      ["by-label", 31020, executor(label("80:31020"))],
    ];
    const tasks: Task[] = [];
    for (const [name, port, values] of cases) {
      const task = await agent.launch(name, { resources: [ports(`${port}-${port + 9}`)], ...values });
      tasks.push(task);
      assert.equal(await binds(task, port), 80, name);
      assert.match(await listed(name), new RegExp(`^80:${port}(/tcp)?$`), name);
      assert.equal(await task.mayBind(port), true);
    }
    const { stdout } = await runIsolator(["list", "--instance", daemon.instance]);
    assert.match(stdout, /MAPPINGS/);
    assert.match(stdout, /80:31000\/tcp/);
    const usage = await runIsolator(["usage", "by-network", "--instance", daemon.instance]);
    assert.match(usage.stdout, /^ {2}mappings +80:31000\/tcp$/m);
  });

  it("to a port that is not its own is refused by name, unless nothing is refused", async () => {
    const values = { resources: [ports("31100")], ...networks([web(31101)]) };
    await assert.rejects(
      agent.prepare("outside", values),
      /container outside: .*host ports 31101 .*\(31100\)/,
    );
    assert.equal(await agent.find("outside"), undefined);
    await agent.prepare("outside", { ...values, ...networks([web(31100)]) });
    await agent.cleanup("outside");
    const twice = { resources: [ports("31100-31101")], ...networks([web(31100), web(31101)]) };
    await assert.rejects(agent.prepare("twice", twice), /container twice: .*80 is there twice for tcp/);
  });

  it("and a named network that the agent has not given it has them on the host's", async () => {
    const values = { resources: [ports("31200")], ...networks([web(31200)], "mesos-bridge") };
    const task = await agent.launch("bridge", values);
    assert.equal(await binds(task, 31200), 80);
    const bad = { resources: [ports("31201")], ...networks([web(31202)], "mesos-bridge") };
    await assert.rejects(agent.launch("bad-bridge", bad), /container bad-bridge: .*host ports 31202/);
    await agent.cleanup("bad-bridge");
  });

  it("gives its tasks those to their ports", async () => {
    await agent.prepare("pod", { resources: [ports("31300-31301")], ...networks([web(31300)]) });
    const first = await agent.launch("pod.first", { resources: [ports("31300")] });
    const second = await agent.launch("pod.second", { resources: [ports("31301")] });
    const side = await agent.launch("pod.side", { resources: [] });
    assert.deepEqual([await binds(first, 31300), await binds(second, 31300)], [80, "EPERM"]);
    assert.equal(await listed("pod.first"), "80:31300/tcp");
    await agent.cleanup("pod.first");
    assert.equal(await binds(side, 31300), 80);
  });

  it("keeps them through updates, a reload, and daemons that are killed", async () => {
    const task = await agent.launch("kept", { resources: [ports("31400")], ...networks([web(31400)]) });
    const isKept = async (): Promise<void> => {
      assert.equal(await binds(task, 31400), 80);
      assert.equal(await listed("kept"), "80:31400/tcp");
    };
    await isKept();
    await agent.update("kept", ports("31400-31401"));
    await isKept();
    await daemon.stop("SIGKILL");
    assert.equal(await binds(task, 31400), 80);
    await daemon.start();
    await isKept();
    await daemon.reload("remap: off\n");
    assert.equal(await binds(task, 31400), "EPERM");
    await daemon.reload("");
    await isKept();
    await daemon.stop("SIGKILL");
    // Its record is gone: what the kernel knows is taken up.
    const records = join(STATE_ROOT, daemon.instance, "containers");
    const key = readdirSync(records).find((name) => name === "kept");
    assert(key !== undefined);
    rmSync(join(records, key, "record.json"));
    await daemon.start();
    await isKept();
    await agent.update("kept");
    assert.equal(await binds(task, 31400), "EPERM");
  });
});
