/** Connections, counted and limited: real sockets, each way to end one, and every way round that was tried. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { ConnectionsPolicy } from "../../isolator/features/connections.js";
import { Connector, Listener, receiver } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { attempt } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { cell } = testInstance();
let count = 0;

async function limited(connections: ConnectionsPolicy, more = {}): Promise<Cell & { task: Connector }> {
  const box = await cell([`c${count++}`], policy("", { connections, ...more }));
  return Object.assign(box, { task: Connector.start(box.container.node) });
}

const live = (box: Cell): number => box.container.counts.connections()?.live ?? -1;
const held = (box: Cell): number => box.container.counts.connections()?.held ?? -1;
const refused = (box: Cell): number => Number(box.container.counts.usage().denied.connections);
/** More than tcp_fin_timeout, for which the kernel may hold what is closed on this end only. ms */
const PATIENCE = 90_000;
const becomes = (box: Cell, n: number): Promise<true> =>
  until(() => live(box) === n || undefined, `${n} live`, PATIENCE).then(() => true);

let server: Listener;
describe("connections", () => {
  before(async () => {
    server = await Listener.start("127.0.0.1", true);
  });
  after(() => server.close());

  /** Only time gives its place back, a quarter of a minute: the other tests are made meanwhile. */
  let unsent: Cell;
  it("are not made by an MPTCP socket whose connect() fails before its SYN", async () => {
    const box = await limited({ max: 1 });
    const { fd, result } = await box.task.connect(9, { kind: "mptcp", to: "192.0.2.1" });
    assert.equal(result, "ENETUNREACH");
    await box.task.try(`close ${fd}`);
    unsent = box;
  });

  describe("the limit for a destination", () => {
    for (const [kind, family, host, to] of [
      ["tcp", 4, "127.0.0.1", "127.0.0.1"],
      ["tcp", 6, "::1", "::1"],
      ["tcp", 6, "127.0.0.1", "::ffff:127.0.0.1"],
      ["mptcp", 4, "127.0.0.1", "127.0.0.1"],
    ] as const) {
      it(`gives EAGAIN beyond it, and the place of one that ends to the next: ${kind}, IPv${family} to ${to}`, async () => {
        const { port } = await Listener.start(host);
        const box = await limited({ max: 2 });
        const first = await box.task.connect(port, { kind, family, to });
        const second = await box.task.connect(port, { kind, family, to });
        const third = await box.task.connect(port, { kind, family, to });
        assert.deepEqual([first.result, second.result, third.result], ["ok", "ok", "EAGAIN"]);
        assert.equal(live(box), 2);
        assert.equal(refused(box), 1);
        assert.equal(await box.task.try(`connect ${third.fd} ${to} ${port}`), "EAGAIN");
        await box.task.try(`abort ${first.fd}`);
        await becomes(box, 1);
        assert.equal(await box.task.try(`connect ${third.fd} ${to} ${port}`), "ok");
        assert.equal(live(box), 2);
        assert.equal(refused(box), 1, "one socket, one destination: one refusal");
      });
    }

    it("is for UDP too: the peer of a connected socket, another one after connect() again", async () => {
      const [a, b] = [await receiver(), await receiver()];
      const box = await limited({ max: 1 });
      const udp = { kind: "udp" };
      const first = await box.task.connect(a, udp);
      assert.deepEqual([first.result, (await box.task.connect(a, udp)).result], ["ok", "EAGAIN"]);
      assert.equal(await box.task.try(`connect ${first.fd} 127.0.0.1 ${a}`), "ok", "the same peer again");
      assert.equal(await box.task.try(`connect ${first.fd} 127.0.0.1 ${b}`), "ok");
      assert.equal(live(box), 1);
      assert.equal((await box.task.connect(b, udp)).result, "EAGAIN");
      const third = await box.task.connect(a, udp);
      assert.equal(third.result, "ok");
      assert.equal(await box.task.try(`connect ${third.fd} 127.0.0.1 ${b}`), "EAGAIN");
      assert.equal((await box.task.connect(a, udp)).result, "EAGAIN", "it keeps the peer that it had");
      for (const { fd } of [first, third]) await box.task.try(`close ${fd}`);
      assert.equal(live(box), 0);
    });

    it("tells destinations apart by address, port and protocol, and takes v4-mapped for v4, 0.0.0.0 for loopback", async () => {
      const other = await Listener.start();
      const box = await limited({ max: 1 });
      const { port } = server;
      assert.equal((await box.task.connect(port)).result, "ok");
      assert.equal((await box.task.connect(other.port)).result, "ok");
      assert.equal((await box.task.connect(port, { kind: "udp" })).result, "ok");
      for (const [to, family] of [
        ["::ffff:127.0.0.1", 6],
        ["0.0.0.0", 4],
        ["::ffff:0.0.0.0", 6],
      ] as const) {
        assert.equal((await box.task.connect(port, { to, family })).result, "EAGAIN", to);
      }
      assert.deepEqual(
        box.container.counts.destinations().map(({ protocol, address, held: n }) => [protocol, address, n]),
        box.container.counts.destinations().map(({ protocol }) => [protocol, "127.0.0.1", 1]),
      );
      assert.equal(box.container.counts.destinations().length, 3);
    });

    it("is exact when 64 threads race for it", async () => {
      const box = await limited({ max: 100 });
      assert.deepEqual(await box.task.tell(`race 64 20 tcp 127.0.0.1 ${server.port}`), [100, 1180, 0]);
      assert.equal(live(box), 100);
      await box.task.try("closeall");
      await becomes(box, 0);
    });

    it("is exact at 1,000 of real connections", async () => {
      const box = await limited({ max: 1000 });
      assert.deepEqual(await box.task.tell(`hold 1010 tcp 127.0.0.1 ${server.port}`), [1000, 10, 0]);
      assert.equal(live(box), 1000);
      await box.task.kill();
      // Some stay in FIN-WAIT-2 for tcp_fin_timeout, as full sockets: those whose ACK met a socket that was being closed
      // (tcp_rcv_state_process). The kernel holds them, so they count, until the other end ends them.
      await server.drop("reset");
      await becomes(box, 0);
    });

    it("holds for a container that only audits: reported and done", async () => {
      const box = await limited({ max: 1 }, { enforce: "audit" });
      assert.equal((await box.task.connect(server.port)).result, "ok");
      assert.equal((await box.task.connect(server.port)).result, "ok");
      assert.equal(live(box), 2);
      assert.equal(Number(box.container.counts.usage().audited.connections), 1);
      assert.equal(refused(box), 0);
    });

    it("holds in a network of its own, where no port is judged", async () => {
      const box = await limited({ max: 1 }, { ownNetwork: true });
      assert.equal((await box.task.connect(server.port)).result, "ok");
      assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
      assert.equal((await attempt("bind port=8080", box.container.node)).status, 0);
    });

    it("gives another errno where that is asked for", async () => {
      const box = await limited({ max: 1, errno: "EADDRNOTAVAIL" });
      await box.task.connect(server.port);
      assert.equal((await box.task.connect(server.port)).result, "EADDRNOTAVAIL");
    });

    it("is that of the first rule that fits; what a rule does not count is under no limit in all", async () => {
      const free = await Listener.start();
      const box = await limited({
        max: 3,
        total: 3,
        rules: [
          { to: { ports: [{ begin: free.port, end: free.port }] }, limit: "none" },
          { to: { cidr: "127.0.0.0/8", protocol: "tcp" }, limit: 1 },
        ],
      });
      assert.deepEqual(await box.task.tell(`hold 5 tcp 127.0.0.1 ${free.port}`), [5, 0, 0]);
      assert.deepEqual(await box.task.tell(`hold 2 tcp 127.0.0.1 ${server.port}`), [1, 1, 0]);
      assert.deepEqual(await box.task.tell(`hold 4 udp 127.0.0.1 ${server.port}`), [2, 2, 0]);
      assert.equal(held(box), 3);
    });
  });

  describe("the limit in all", () => {
    it("is over all destinations, and exact when threads race", async () => {
      const other = await Listener.start();
      const box = await limited({ total: 50 });
      const answers = await box.task.tell(`race 16 2 tcp 127.0.0.1 ${server.port}`);
      assert.deepEqual(answers, [32, 0, 0]);
      assert.deepEqual(await box.task.tell(`race 64 1 tcp 127.0.0.1 ${other.port}`), [18, 46, 0]);
      assert.equal(live(box), 50);
      assert.equal(Number(box.container.counts.usage().denied.connections_total), 46);
      await box.task.try("closeall");
      await becomes(box, 0);
    });
  });

  describe("a place is given back", () => {
    it("by connect() that is refused, reset, or finds no route", async () => {
      const gone = await Listener.start();
      const { port } = gone;
      await gone.close();
      const box = await limited({ max: 1 });
      for (let i = 0; i < 5; i++) {
        const { fd, result } = await box.task.connect(port);
        assert.equal(result, "ECONNREFUSED");
        assert.equal(live(box), 0);
        await box.task.try(`close ${fd}`);
      }
      const { fd, result } = await box.task.connect(9, { to: "192.0.2.1" });
      assert.equal(result, "ENETUNREACH");
      assert.equal(await box.task.try(`connect ${fd} 127.0.0.1 ${server.port}`), "ok", "of the same socket");
      assert.equal(live(box), 1);
      const failed = await box.task.connect(9, { to: "192.0.2.1" });
      await box.task.try(`close ${failed.fd}`);
      assert.equal(live(box), 1);
    });

    it("by AF_UNSPEC, and taken again", async () => {
      const box = await limited({ max: 1 });
      const { fd } = await box.task.connect(server.port);
      assert.equal(await box.task.try(`unspec ${fd}`), "ok");
      assert.equal(live(box), 0);
      assert.equal(await box.task.try(`connect ${fd} 127.0.0.1 ${server.port}`), "ok");
      assert.equal(live(box), 1);
    });

    it("by the last of those who share it: fork", async () => {
      const box = await limited({ max: 1 });
      const { fd } = await box.task.connect(server.port);
      await box.task.try("fork");
      await box.task.try(`close ${fd}`);
      assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
      await box.task.try("reap");
      await becomes(box, 0);
    });

    it("when the other end resets or closes it, and this one after", async () => {
      const peer = await Listener.start();
      const box = await limited({ max: 3 });
      const { fd } = await box.task.connect(peer.port);
      await peer.accepted(1);
      await peer.drop("reset");
      await becomes(box, 0);
      assert.equal(held(box), 0);
      await box.task.try(`close ${fd}`);
      const second = await box.task.connect(peer.port);
      await peer.accepted(1);
      await peer.drop("end");
      assert.equal(await box.task.try(`read ${second.fd}`), "ok");
      await box.task.try(`close ${second.fd}`);
      await becomes(box, 0);
      assert.equal(held(box), 0, "the other end has the timewait");
    });

    it("by fast open, sent or left", async () => {
      // Without a cookie, so that connect() only chooses a port and the SYN waits for data.
      writeFileSync("/proc/sys/net/ipv4/tcp_fastopen", "5");
      const box = await limited({ max: 1 });
      const fd = await box.task.socket();
      assert.equal(await box.task.try(`defer ${fd}`), "ok");
      assert.equal(await box.task.try(`connect ${fd} 127.0.0.1 ${server.port}`), "ok");
      assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
      await box.task.try(`close ${fd}`);
      assert.equal(held(box), 0);
      const again = await box.task.socket();
      await box.task.try(`defer ${again}`);
      assert.equal(await box.task.try(`connect ${again} 127.0.0.1 ${server.port}`), "ok");
      assert.equal(await box.task.try(`write ${again}`), "ok");
      assert.equal(held(box), 1);
      await box.task.try(`abort ${again}`);
      assert.equal(held(box), 0);
      const fast = await box.task.socket();
      assert.equal(await box.task.try(`fast ${fast} 127.0.0.1 ${server.port}`), "ok");
      assert.equal(live(box), 1);
      const second = await box.task.socket();
      assert.equal(await box.task.try(`fast ${second} 127.0.0.1 ${server.port}`), "EAGAIN");
    });

    it("by all of a container that is killed, also in thousands of cycles by threads", async () => {
      const box = await limited({ max: 100_000 });
      await box.task.tell(`cycles 8 500 abort 127.0.0.1 ${server.port}`);
      await box.task.tell(`cycles 8 500 udp 127.0.0.1 ${server.port}`);
      await box.task.tell(`cycles 8 100 mptcp 127.0.0.1 ${server.port}`);
      await until(async () => {
        await server.drop("reset");
        return live(box) === 0;
      }, "all cycles have ended");
      await box.task.tell(`hold 100 tcp 127.0.0.1 ${server.port}`);
      await becomes(box, 100);
      await box.task.kill();
      await becomes(box, 0);
    });
  });

  describe("timewait", () => {
    it("holds its place while the kernel has it, and gives it back when a pass finds it gone", async () => {
      const peer = await Listener.start();
      const box = await limited({ max: 2 });
      const { fd } = await box.task.connect(peer.port);
      await peer.accepted(1);
      await box.task.try(`close ${fd}`);
      await peer.drop("end");
      await becomes(box, 0);
      assert.equal(held(box), 1);
      assert.equal((await box.task.connect(peer.port)).result, "ok");
      assert.equal((await box.task.connect(peer.port)).result, "EAGAIN");
      await box.container.releaseClosed();
      assert.equal(held(box), 2, "the pass meets it");
      assert.deepEqual(
        box.container.counts.destinations().map(({ held: n }) => n),
        [2],
      );
      // A way to end timewait at once: the kernel kills what it has too much of.
      sh("ss", "-K", "state", "time-wait");
      await box.container.releaseClosed();
      assert.equal(held(box), 1);
      assert.equal((await box.task.connect(peer.port)).result, "ok");
    });
  });

  describe("no way round", () => {
    it("by io_uring, whose refusals count once though it asks a hundred times", async () => {
      const box = await limited({ max: 1 });
      const first = await box.task.socket();
      assert.equal(await box.task.try(`ring ${first} 127.0.0.1 ${server.port}`), "ok");
      const second = await box.task.socket();
      assert.equal(await box.task.try(`ring ${second} 127.0.0.1 ${server.port}`), "EAGAIN");
      assert.deepEqual([live(box), refused(box)], [1, 1]);
      assert.equal(box.poll().length, 1);
    });

    it("by taking limits away and giving them again", async () => {
      const box = await limited({ max: 2 });
      await box.task.connect(server.port);
      await box.container.update(policy(""));
      await box.task.connect(server.port);
      assert.equal(live(box), 2, "counting goes on");
      await box.container.update(policy("", { connections: { max: 2 } }));
      assert.equal((await box.task.connect(server.port)).result, "EAGAIN");
      await box.task.try("closeall");
      await becomes(box, 0);
    });
  });

  describe("nested", () => {
    it("takes one hold a level, or none at any", async () => {
      const pod = await cell(["pod"], policy("", { connections: { max: 2 } }));
      const a = await cell(["pod", "a"], policy("", { connections: { max: 5 } }), pod);
      const b = await cell(["pod", "b"], policy("", { connections: { max: 1 } }), pod);
      const plain = await cell(["pod", "plain"], policy(""), pod);
      const [at, bt, pt] = [a, b, plain].map((box) => Connector.start(box.container.node));
      assert(at && bt && pt);
      const { port } = server;
      assert.equal((await bt.connect(port)).result, "ok");
      assert.equal((await bt.connect(port)).result, "EAGAIN");
      assert.deepEqual([live(pod), live(a), live(b)], [1, 0, 1]);
      assert.equal((await at.connect(port)).result, "ok");
      assert.equal((await at.connect(port)).result, "EAGAIN");
      assert.deepEqual([live(pod), live(a), live(b)], [2, 1, 1]);
      assert.deepEqual([refused(pod), refused(a), refused(b)], [1, 0, 1]);
      assert.equal((await pt.connect(port)).result, "EAGAIN");
      await bt.try("closeall");
      await until(() => live(pod) === 1, "given back at both levels");
      assert.equal(live(b), 0);
      const udp = await receiver();
      const socket = await at.connect(udp, { kind: "udp" });
      assert.equal(await at.try(`connect ${socket.fd} 127.0.0.1 ${udp + 1}`), "ok");
      assert.deepEqual([live(pod), live(a)], [2, 2]);
      await at.try("closeall");
      await until(() => live(pod) === 0 && live(a) === 0, "all given back");
    });
  });

  it("give back the place of an MPTCP socket whose connect() failed before its SYN, which nothing tells", async () => {
    await until(() => held(unsent) === 0, "it lapses", 30_000);
  });
});
