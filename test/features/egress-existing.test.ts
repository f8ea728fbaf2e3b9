/** Egress and what exists already: connections that rules have come to deny are ended where that is asked for, and no others. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { EgressPolicy } from "../../isolator/features/egress.js";
import { parseVipOptions } from "../../isolator/features/vip-option.js";
import { endingWay, type EndedSocket } from "../../isolator/kernel/terminate.js";
import { Connector, Listener, receiver } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
const ended: EndedSocket[] = [];
instance.sockets.onEnded = (sockets) => ended.push(...sockets);
after(() => {
  instance.sockets.stop();
});

const OPEN: EgressPolicy = { rules: [], byDefault: "allow", existing: "terminate" };
const SHUT: EgressPolicy = { ...OPEN, byDefault: "deny" };

async function connected(task: Connector, port: number, kind = "tcp", to = "127.0.0.1"): Promise<number> {
  const { fd, result } = await task.connect(port, { kind, to, family: to.includes(":") ? 6 : 4 });
  assert.equal(result, "ok", `${kind} ${to}`);
  assert.equal(await task.try(`write ${fd}`), "ok");
  return fd;
}

async function set(made: Cell, egress: EgressPolicy | undefined): Promise<void> {
  const next = { ...made.container.policy };
  delete next.egress;
  await made.container.update({ ...next, ...(egress ? { egress } : {}) });
}

describe("connections that rules come to deny", () => {
  it("are ended, TCP and connected UDP, IPv4, IPv6 and v4-mapped, and nothing else is", async (t) => {
    const way = endingWay();
    t.diagnostic(`by ${way ?? "nothing"}`);
    assert.ok(way, "every kernel that is tested can");
    const [v4, v6] = [await Listener.start(), await Listener.start("::1")];
    const udp = await receiver();
    const made = await cell(["ends"], policy("31300", { egress: OPEN }));
    const other = await cell(["keeps"], policy("", { egress: { rules: [], byDefault: "allow" } }));
    const inner = await cell(["ends", "c"], policy(undefined), made);
    const [task, stranger, child] = [made, other, inner].map(({ container }) =>
      Connector.start(container.node),
    );
    assert.ok(task && stranger && child);
    const cut = [
      await connected(task, v4.port),
      await connected(task, v6.port, "tcp", "::1"),
      await connected(task, v4.port, "tcp", "::ffff:127.0.0.1"),
      await connected(task, udp, "udp"),
      await connected(task, udp, "udp", "::ffff:127.0.0.1"),
    ];
    const childs = await connected(child, v4.port);
    const kept = await connected(stranger, v4.port);
    // Its own servers, on a port of its own and on one that the kernel chose, and its own port.
    const clients = Connector.start();
    const served: number[] = [];
    for (const [address, port] of [
      ["127.0.0.1", 31300],
      ["0.0.0.0", 0],
    ] as const) {
      const server = Connector.start(made.container.node);
      const answer = await server.tell(`listen ${address} ${port} keep`);
      assert.ok(typeof answer !== "string", `listen ${port}: ${answer.toString()}`);
      served.push(await connected(clients, answer[0] ?? 0));
    }
    const own = await connected(task, 31300);
    await set(made, SHUT);
    await until(() => ended.length >= cut.length + 1, "the pass has ended them");
    for (const fd of cut) assert.notEqual(await task.try(`write ${fd}`), "ok", `descriptor ${fd}`);
    assert.notEqual(await child.try(`write ${childs}`), "ok", "a child's, by its parent's rules");
    for (const fd of served) assert.equal(await clients.try(`write ${fd}`), "ok", "to its servers");
    assert.equal(await task.try(`write ${own}`), "ok", "to its own port");
    assert.equal(await stranger.try(`write ${kept}`), "ok", "another container's");
    assert.deepEqual(
      [...new Set(ended.map(({ cgroup_id }) => cgroup_id))],
      [made.container.cgroupId],
      "by whose rules",
    );
    assert.equal(ended.length, cut.length + 1);
    await set(other, { ...SHUT, rules: [{ name: "x", to: { cidr: "127.0.0.1" }, action: "audit" }] });
    await instance.sockets.run(instance.loaded);
    assert.equal(await stranger.try(`write ${kept}`), "ok", "what is only reported lives on");
    assert.equal(ended.length, cut.length + 1, "and nothing is ended twice");
  });

  it("are judged with the service that led there, TCP and UDP, as they were at connect()", async () => {
    const server = await Listener.start();
    const udp = await receiver();
    const own = parseVipOptions([
      `10.77.0.1:80=127.0.0.1:${server.port}`,
      `10.77.0.2:80=127.0.0.1:${server.port}`,
      `10.77.0.1:53/udp=127.0.0.1:${udp}`,
      `10.77.0.2:53/udp=127.0.0.1:${udp}`,
    ]).map((service, i) => ({ ...service, name: i % 2 ? "/other" : "/web" }));
    const made = await cell(["led"], policy("", { egress: OPEN, services: { own } }));
    const task = Connector.start(made.container.node);
    const web = [
      await connected(task, 80, "tcp", "10.77.0.1"),
      await connected(task, 53, "udp", "10.77.0.1"),
    ];
    const others = [
      await connected(task, 80, "tcp", "10.77.0.2"),
      await connected(task, 53, "udp", "10.77.0.2"),
      await connected(task, server.port),
      await connected(task, udp, "udp"),
    ];
    const before = ended.length;
    await set(made, { ...SHUT, rules: [{ name: "web", to: { service: "/web" }, action: "allow" }] });
    await until(() => ended.length >= before + others.length, "the pass has ended them");
    for (const fd of others) assert.notEqual(await task.try(`write ${fd}`), "ok");
    for (const fd of web) assert.equal(await task.try(`write ${fd}`), "ok");
    // The backend, by a rule for its address.
    const backend = { cidr: "127.0.0.1", ports: [{ begin: server.port, end: server.port }] };
    await set(made, { ...OPEN, rules: [{ name: "backend", to: backend, action: "deny" }] });
    await until(() => ended.length > before + others.length, "the pass has ended the one to the backend");
    assert.notEqual(await task.try(`write ${web[0] ?? 0}`), "ok");
    assert.equal(await task.try(`write ${web[1] ?? 0}`), "ok");
    assert.equal(ended.length, before + others.length + 1);
  });

  it("are ended by the hundred in one pass", async () => {
    const server = await Listener.start();
    const made = await cell(["many"], policy("", { egress: OPEN }));
    const task = Connector.start(made.container.node);
    assert.deepEqual(await task.tell(`hold 700 tcp 127.0.0.1 ${server.port}`), [700, 0, 0]);
    const before = ended.length;
    await set(made, SHUT);
    await until(() => ended.length === before + 700, "all are ended, and told once each");
  });
});
