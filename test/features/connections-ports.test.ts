/** Ports that the kernel chooses: every way for a socket to get one, and to give it back. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fairShares } from "../../isolator/containers/held.js";
import { encodeShares, type ConnectionsPolicy } from "../../isolator/features/connections.js";
import { u32Key } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { buildId } from "../../isolator/kernel/object.js";
import { openPinnedMap } from "../../isolator/kernel/pins.js";
import { Connector, Listener, receiver } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
const OWN_PORT = 31300;
let count = 0;

async function limited(
  connections: ConnectionsPolicy,
  more = {},
  ports = "",
): Promise<Cell & { task: Connector }> {
  const box = await cell([`p${count++}`], policy(ports, { connections, ...more }));
  return Object.assign(box, { task: Connector.start(box.container.node) });
}

const ports = (box: Cell): number => box.container.counts.connections()?.ports ?? -1;
const refused = (box: Cell): number => Number(box.container.counts.usage().denied.connections_ports);

let server: Listener;
before(async () => {
  server = await Listener.start("127.0.0.1", true);
});
after(() => server.close());

describe("the limit for ports that the kernel chooses", () => {
  it("is over all destinations, exact when threads race, and tells of what it refuses", async () => {
    const other = await Listener.start();
    const box = await limited({ ports: 30 });
    assert.deepEqual(await box.task.tell(`race 16 1 tcp 127.0.0.1 ${other.port}`), [16, 0, 0]);
    assert.deepEqual(await box.task.tell(`race 64 1 tcp 127.0.0.1 ${server.port}`), [14, 50, 0]);
    assert.deepEqual([ports(box), refused(box)], [30, 50]);
    const [event] = box.poll();
    assert.equal(event?.reason, layouts.enums.reason.REASON_CONNECTIONS_PORTS);
    assert.equal(event.port, server.port);
    await box.task.try("closeall");
    await other.drop("reset");
    await server.drop("reset");
    await until(() => ports(box) === 0, "all are given back", 90_000);
  });

  it("counts TCP from bind(0) or connect() to its last packet, and not a port asked for by number", async () => {
    const peer = await Listener.start();
    const box = await limited({ ports: 2 }, { ephemeral: "allow" }, `${OWN_PORT}`);
    const numbered = await box.task.socket();
    assert.equal(await box.task.try(`bind ${numbered} 127.0.0.1 ${OWN_PORT}`), "ok");
    assert.equal(await box.task.try(`connect ${numbered} 127.0.0.1 ${peer.port}`), "ok");
    assert.equal(ports(box), 0);
    const bound = await box.task.socket();
    assert.equal(await box.task.try(`bind ${bound} 127.0.0.1 0`), "ok");
    assert.equal(ports(box), 1, "from bind(0) on");
    assert.equal(await box.task.try(`connect ${bound} 127.0.0.1 ${peer.port}`), "ok");
    assert.equal(ports(box), 1, "once, not twice");
    const waiting = await box.task.socket();
    assert.equal(await box.task.try(`await ${waiting}`), "ok", "listen() gives it a port");
    assert.equal(ports(box), 2);
    const third = await box.task.socket();
    assert.equal(await box.task.try(`bind ${third} 127.0.0.1 0`), "EAGAIN");
    assert.equal(await box.task.try(`connect ${third} 127.0.0.1 ${peer.port}`), "EAGAIN");
    assert.equal(refused(box), 2);
    await box.task.try(`close ${waiting}`);
    assert.equal(ports(box), 1);
    await peer.accepted(2);
    await box.task.try(`close ${bound}`);
    await peer.drop("end");
    await until(() => box.container.counts.connections()?.live === 1, "it is closed, and the other is not");
    assert.equal(ports(box), 1, "timewait holds the port of bind(0) too");
    sh("ss", "-K", "state", "time-wait");
    await box.container.releaseClosed();
    assert.equal(ports(box), 0);
  });

  it("counts UDP and MPTCP from socket() on, whose port no hook can refuse, until bind() to a number", async () => {
    const port = await receiver();
    const box = await limited(
      { ports: 2, errno: "EADDRNOTAVAIL" },
      { ephemeral: "allow" },
      `${OWN_PORT + 1}`,
    );
    const first = await box.task.socket("udp");
    const second = await box.task.socket("udplite", 6);
    assert.equal(ports(box), 2);
    assert.equal(await box.task.tell("socket udp 4"), "EADDRNOTAVAIL");
    assert.equal(await box.task.tell("socket mptcp 4"), "EADDRNOTAVAIL");
    assert.equal(await box.task.try(`connect ${first} 127.0.0.1 ${port}`), "ok", "it has its port already");
    assert.equal(await box.task.try(`unspec ${first}`), "ok");
    assert.equal(ports(box), 2);
    await box.task.try(`close ${second}`);
    const numbered = await box.task.socket("udp");
    assert.equal(await box.task.try(`bind ${numbered} 127.0.0.1 ${OWN_PORT + 1}`), "ok");
    assert.equal(ports(box), 1);
    const inner = await box.task.socket("mptcp");
    assert.equal(ports(box), 2);
    await box.task.try(`close ${inner}`);
    await box.task.tell(`cycles 8 50 udp 127.0.0.1 ${port}`);
    await box.task.kill();
    await until(() => ports(box) === 0, "all are given back");
  });

  it("holds at each level, counts on when it is taken away, and only reports in audit", async () => {
    const pod = await limited({ ports: 1 });
    const child = await cell([`p${count - 1}`, "inner"], policy("", { connections: { ports: 5 } }), pod);
    const task = Connector.start(child.container.node);
    const { fd, result } = await task.connect(server.port);
    assert.equal(result, "ok");
    assert.equal((await task.connect(server.port)).result, "EAGAIN");
    assert.equal(await task.tell("socket udp 4"), "EAGAIN");
    assert.deepEqual([ports(pod), ports(child)], [1, 1], "a refusal at one level holds nothing at any");
    await pod.container.update(policy(""));
    const udp = await task.socket("udp");
    assert.deepEqual([ports(pod), ports(child)], [2, 2]);
    await task.try(`close ${udp}`);
    await task.try(`abort ${fd}`);
    assert.deepEqual([ports(pod), ports(child)], [0, 0]);
    const audited = await limited({ ports: 1 }, { enforce: "audit" });
    assert.deepEqual(await audited.task.tell(`hold 3 tcp 127.0.0.1 ${server.port}`), [3, 0, 0]);
    assert.deepEqual([ports(audited), refused(audited)], [3, 0]);
    assert.equal(Number(audited.container.counts.usage().audited.connections_ports), 2);
  });
});

describe("a fair share", () => {
  it("is half of the host's ports, or what is left of them for a destination", () => {
    const of = (port: number, held: number) => ({
      ...{ protocol: "tcp", address: "10.0.0.1", port, held, containers: 1, share: held / 100 },
    });
    const shares = fairShares([of(1, 60), of(2, 100), of(3, 50), of(4, 10)], 100);
    assert.deepEqual(shares.map(({ port, limit }) => [port, limit]), [[2, 1], [1, 40]]); // prettier-ignore
  });

  it("refuses a container more than it, to that destination, and leaves what it holds", async () => {
    const other = await Listener.start();
    const share = await limited({ fair: true, max: 50 });
    const plain = await limited({ max: 50 });
    assert.deepEqual(await share.task.tell(`hold 5 tcp 127.0.0.1 ${server.port}`), [5, 0, 0]);
    const write = (value: Uint8Array): void => {
      const map = openPinnedMap(instance.name, buildId(), "connect_shares");
      map?.update(u32Key(0), value);
      map?.close();
    };
    write(encodeShares(7, [{ protocol: "tcp", address: "127.0.0.1", port: server.port, limit: 4 }]));
    assert.equal((await share.task.connect(server.port)).result, "EAGAIN");
    assert.equal(share.container.counts.connections()?.held, 5);
    assert.deepEqual(await share.task.tell(`hold 9 tcp 127.0.0.1 ${other.port}`), [7, 2, 0]);
    assert.deepEqual(await plain.task.tell(`hold 9 tcp 127.0.0.1 ${server.port}`), [9, 0, 0]);
    write(encodeShares(0, []));
    assert.deepEqual(await share.task.tell(`hold 9 tcp 127.0.0.1 ${server.port}`), [9, 0, 0]);
  });
});
