/** Connections as the operator of a daemon sees them: in lists and status, limited by labels, near the host's end. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { describe, it } from "node:test";
import { renderList } from "../../isolator/cli/list.js";
import { renderStatus } from "../../isolator/cli/status.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import { u32Key } from "../../isolator/kernel/codec.js";
import { buildId } from "../../isolator/kernel/object.js";
import { openPinnedMap } from "../../isolator/kernel/pins.js";
import { Agent, CPUS } from "../support/agent.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
/** Ports that the kernel has to choose from. */
const RANGE = 100;
writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", `40000 ${40000 + RANGE - 1}`);
const CONFIG = "trusted_roles: [ops]\nconnections_total: 95";
const daemon = await TestDaemon.start({ config: CONFIG });
const agent = new Agent(daemon);

/** What a container may have of a destination that has no share of its own, as the programs know it. */
function shares(): number {
  const map = openPinnedMap(daemon.instance, buildId(), "connect_shares");
  const value = map?.lookup(u32Key(0));
  map?.close();
  return value?.[0] ?? 0;
}

async function connector(
  name: string,
  labels: Record<string, string> = {},
  role = "web",
): Promise<Connector> {
  const allocation_info = { role };
  await agent.prepare(name, {
    resources: [{ ...CPUS, allocation_info }],
    executor_info: {
      ...{ executor_id: { value: "e" }, framework_id: { value: "f" }, command: {} },
      labels: { labels: Object.entries(labels).map(([key, value]) => ({ key, value })) },
    },
  });
  return Connector.start(await agent.node(name));
}

describe("connections in a daemon", () => {
  it("are told by list, usage and status: what is held, where most go, which share of the host's ports", async () => {
    const [server, other] = [await Listener.start(), await Listener.start()];
    const task = await connector("seen");
    assert.deepEqual(await task.tell(`hold 20 tcp 127.0.0.1 ${server.port}`), [20, 0, 0]);
    assert.deepEqual(await task.tell(`hold 5 tcp 127.0.0.1 ${other.port}`), [5, 0, 0]);
    const found = await agent.find("seen");
    assert(found);
    const { held, live, shared, limit_total, top } = found.connections ?? {};
    assert.deepEqual([held, live, shared, limit_total], [25, 25, 0, 95]);
    assert.deepEqual(
      top?.map(({ protocol, address, port, held: count }) => [protocol, address, port, count]),
      [
        ["tcp", "127.0.0.1", server.port, 20],
        ["tcp", "127.0.0.1", other.port, 5],
      ],
    );
    assert.match(renderList([found]), /CONNECTIONS[^\n]*\n[^\n]* 25/);
    assert.match(renderUsage(found), /connections +25 held; at most 95 in all\n/);
    assert.match(renderUsage(found), new RegExp(`most go to +20 to tcp 127.0.0.1:${server.port}\n`));
    const facts = await agent.facts();
    const most = facts.destinations?.[0];
    assert.deepEqual([most?.port, most?.held, most?.containers, most?.share], [server.port, 20, 1, 0.2]);
    assert.match(
      renderStatus(facts, 0),
      /20 to tcp 127.0.0.1:\d+, of 1 container, 20.0 % of the host's ports\n/,
    );
    const { status, stdout } = await runIsolator(["usage", "seen", "--instance", daemon.instance, "--json"]);
    assert.equal(status, 0);
    assert.equal((JSON.parse(stdout) as { connections: { held: number } }).connections.held, 25);
    await task.kill();
    await agent.cleanup("seen");
    await server.close();
  });

  it("are limited by a label, which raises a limit for a trusted role only", async () => {
    const server = await Listener.start();
    const low = await connector("low", { "bpf-isolator.connections": "2" });
    assert.deepEqual(await low.tell(`hold 3 tcp 127.0.0.1 ${server.port}`), [2, 1, 0]);
    const high = await connector("high", { "bpf-isolator.connections_total": "97" });
    assert.equal((await agent.find("high"))?.connections?.limit_total, 95);
    const trusted = await connector("trusted", { "bpf-isolator.connections_total": "97" }, "ops");
    assert.equal((await agent.find("trusted"))?.connections?.limit_total, 97);
    await connector("wrong", { "bpf-isolator.connections": "many" });
    const { msg } = await daemon.event("warning", "wrong");
    assert.match(msg, /bpf-isolator.connections is none: give a number/);
    await Promise.all([low, high, trusted].map((task) => task.kill()));
    await Promise.all(["low", "high", "trusted", "wrong"].map((name) => agent.cleanup(name)));
  });

  it("are limited by the ports that the kernel chooses, by a label too, and shared out where that is on", async () => {
    const server = await Listener.start();
    const low = await connector("few", { "bpf-isolator.connections_ports": "3" });
    assert.deepEqual(await low.tell(`hold 5 tcp 127.0.0.1 ${server.port}`), [3, 2, 0]);
    const few = await agent.find("few");
    assert.deepEqual([few?.connections?.ports, few?.connections?.limit_ports], [3, 3]);
    assert(few);
    assert.match(renderUsage(few), /3 ports that the kernel chose; at most 3 of these\n/);
    await daemon.reload(`${CONFIG}\nconnections_fair: on`);
    await until(async () => (await agent.find("few"))?.connections?.share === RANGE / 2, "its share");
    const [a, b] = [await connector("a"), await connector("b")];
    // Within a second of the first container that shares, the table is there; then nobody gets more than half.
    await until(() => shares() === RANGE / 2, "the table of shares", 10_000);
    assert.deepEqual(await a.tell(`hold 60 tcp 127.0.0.1 ${server.port}`), [50, 10, 0]);
    // 47 are left; whoever comes gets no more than that, and less the next time.
    await until(async () => (await b.tell(`hold 1 tcp 127.0.0.1 ${server.port}`))[0] === 1, "one of b's");
    const holds: number[] = [];
    await until(
      async () => {
        const [connected] = (await b.tell(`hold 1 tcp 127.0.0.1 ${server.port}`)) as number[];
        holds.push(connected ?? 0);
        return connected === 0;
      },
      "b has its share",
      30_000,
    );
    const share = holds.reduce((sum, one) => sum + one, 1);
    assert(share > 20 && share < 48, `b has ${share}`);
    assert.deepEqual(
      await a.tell(`hold 1 tcp 127.0.0.1 ${server.port}`),
      [0, 1, 0],
      "a keeps its 50, and gets no more",
    );
    assert.equal((await agent.find("a"))?.connections?.held, 50);
    await daemon.reload(CONFIG);
    await Promise.all([low, a, b].map((task) => task.kill()));
    await Promise.all(["few", "a", "b"].map((name) => agent.cleanup(name)));
    await server.close();
    // Ports are few here: the next server may get the same one.
    sh("ss", "-K", "state", "connected", "dport", "=", `:${server.port}`);
  });

  it("of all containers to one destination are told at 80 % of the host's ports, once", async () => {
    const server = await Listener.start();
    const [a, b] = [await connector("a"), await connector("b")];
    assert.deepEqual(await a.tell(`hold 45 tcp 127.0.0.1 ${server.port}`), [45, 0, 0]);
    assert.deepEqual(await b.tell(`hold 40 tcp 127.0.0.1 ${server.port}`), [40, 0, 0]);
    const near = () => daemon.events("warning").filter(({ msg }) => msg.includes(`:${server.port}: `));
    await until(() => near().length > 0, "the warning", 30_000);
    assert.match(
      near()[0]?.msg ?? "",
      new RegExp(
        `2 containers hold 85 connections to tcp 127.0.0.1:${server.port}: 85 % of the host's ephemeral ports`,
      ),
    );
    // The kernel's own answer when none is left: what the warning is about, and to somebody in no container.
    const outside = Connector.start();
    const [connected = 0, , failed = 0] = (await outside.tell(
      `hold 30 tcp 127.0.0.1 ${server.port}`,
    )) as number[];
    assert(connected <= 15 && failed >= 15, `${connected} connected, ${failed} failed`);
    assert.equal(near().length, 1);
    await Promise.all([a.kill(), b.kill(), outside.kill()]);
  });
});
