/**
 * Statistics of TCP against what the kernel itself says of the same sockets: ss, and /proc/net/snmp of a network
 * namespace in which every socket is the container's.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { establishedConnections, liveConnections } from "../../isolator/features/statistics.js";
import { Connector, Listener } from "../support/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, keepTimewait, kernelTimewait, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
keepTimewait();
const { cell, instance } = testInstance();
// Only when the test says so.
instance.sockets.keepStatistics(3_600_000);
let count = 0;

type Box = Cell & { task: Connector };
/** @param stays its task is the caller's to kill; else it is ended after the test */
async function box(parent?: Cell, stays = false): Promise<Box> {
  const id = `s${count++}`;
  const made = parent
    ? await cell([parent.container.name, id], policy(undefined), parent)
    : await cell([id], policy(""));
  return Object.assign(made, { task: Connector.start(made.container.node, stays) });
}

const live = ({ container }: Cell): number => liveConnections(container.counts.usage());
const timewait = ({ container }: Cell): number => container.counts.statistics().sockets?.timewait ?? -1;
const pass = ({ container }: Cell): Promise<unknown> => container.releaseClosed();

/** A listener in a container. @returns its port */
async function listen(task: Connector): Promise<number> {
  const answer = await task.tell("listen 127.0.0.1");
  assert(typeof answer !== "string");
  return answer[0] ?? 0;
}

async function hold(task: Connector, n: number, port: number): Promise<void> {
  assert.deepEqual(await task.tell(`hold ${n} tcp 127.0.0.1 ${port}`), [n, 0, 0]);
}

const becomes = (what: () => number, n: number): Promise<unknown> =>
  until(() => what() === n || undefined, `${what()} becomes ${n}`);

/** Sockets of ss, one text each. */
function ss(...filter: string[]): string[] {
  return sh("ss", "-tinOH", ...filter)
    .split("\n")
    .filter((line) => line !== "");
}

/** The kernel's own counts of this network namespace. */
function snmp(): Record<string, number> {
  const [names = "", values = ""] = readFileSync("/proc/self/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"));
  const numbers = values.split(" ");
  return Object.fromEntries(names.split(" ").map((name, i) => [name, Number(numbers[i])]));
}

describe("live connections", () => {
  it("are counted at both ends, and not UDP, listeners, what is refused, and what is gone", async () => {
    const [client, server] = [await box(), await box()];
    const port = await listen(server.task);
    assert.deepEqual([live(client), live(server)], [0, 0]);
    await hold(client.task, 20, port);
    assert.equal(live(client), 20);
    await becomes(() => live(server), 20);
    assert.equal(establishedConnections(client.container.counts.usage()), 20);
    const udp = await client.task.connect(port, { kind: "udp" });
    assert.equal(udp.result, "ok");
    const refused = await client.task.connect(9);
    assert.equal(refused.result, "ECONNREFUSED");
    assert.equal(live(client), 20);
    assert.equal(client.container.counts.usage().tcpAttemptFails, 1n);
    const { fd } = await client.task.connect(port);
    assert.equal(live(client), 21);
    await client.task.try(`abort ${fd}`);
    assert.equal(live(client), 20);
    assert.equal(client.container.counts.usage().tcpEstabResets, 1n);
    await becomes(() => live(server), 20);
    await client.task.kill();
    await server.task.kill();
    await becomes(() => live(client) + live(server), 0);
  });

  it("are 0 after thousands of cycles by threads", async () => {
    const client = await box();
    const listener = await Listener.start();
    for (const how of ["abort", "close", "mptcp", "refused"])
      await client.task.tell(`cycles 8 200 ${how} 127.0.0.1 ${listener.port}`);
    await until(async () => {
      await listener.drop("reset");
      return live(client) === 0 || undefined;
    }, "all have ended");
    const { tcpActiveOpens, tcpClosed } = client.container.counts.usage();
    assert.equal(tcpActiveOpens, tcpClosed);
    assert(tcpActiveOpens >= 6400n, `${tcpActiveOpens} were opened`);
  });
});

describe("timewait", () => {
  it("is exact at a pass, and never less than there is between two", async () => {
    const client = await box();
    const listener = await Listener.start();
    assert.equal(timewait(client), 0);
    await hold(client.task, 30, listener.port);
    await listener.accepted(30);
    await client.task.try("closeall");
    // The kernel's small FIN-WAIT-2 sockets: the other end is still open.
    await becomes(() => live(client), 0);
    assert.equal(kernelTimewait(listener.port), 30);
    assert.equal(timewait(client), 30);
    await pass(client);
    assert.equal(timewait(client), 30);
    await listener.drop("end");
    await hold(client.task, 5, listener.port);
    await listener.accepted(5);
    await client.task.try("closeall");
    await becomes(() => live(client), 0);
    await listener.drop("end");
    assert.equal(timewait(client), 35);
    await pass(client);
    assert.equal(timewait(client), 35);
    sh("ss", "-K", "state", "time-wait", `dport = :${listener.port}`);
    assert(timewait(client) >= kernelTimewait(listener.port));
    await pass(client);
    assert.equal(timewait(client), kernelTimewait(listener.port));
    assert.equal(timewait(client), 0);
  });

  it("of a server that closes first is the server's", async () => {
    const [client, server] = [await box(), await box()];
    const port = await listen(server.task);
    await hold(client.task, 3, port);
    // What is established may not be accepted yet, and only that is closed.
    await until(
      async () => ((await server.task.tell("accepted"))[0] === 3 ? true : undefined),
      "all are accepted",
    );
    assert.equal(live(server), 3);
    await server.task.tell("drop end");
    await client.task.kill();
    await becomes(() => live(server), 0);
    await pass(server);
    assert.deepEqual([timewait(client), timewait(server)], [0, 3]);
  });

  it("is a nested container's share, and in its parent's total", async () => {
    const pod = await box();
    const [a, b] = [await box(pod), await box(pod)];
    const listener = await Listener.start();
    for (const [which, n] of [
      [pod, 1],
      [a, 2],
      [b, 3],
    ] as const) {
      await hold(which.task, n, listener.port);
      await hold(which.task, n, listener.port);
    }
    assert.deepEqual([pod, a, b].map(live), [12, 4, 6]);
    await listener.accepted(12);
    await pass(pod);
    const numbers = [pod, a, b].map(({ container }) => container.counts.statistics().sockets);
    assert.equal(numbers[0]?.inSegs, 12n * 2n - 12n);
    assert.deepEqual(
      numbers.map((each) => each?.inSegs),
      [12n, 4n, 6n],
    );
    for (const which of [pod, a, b]) await which.task.try("closeall");
    await becomes(() => live(pod), 0);
    await listener.drop("end");
    await pass(pod);
    assert.deepEqual([pod, a, b].map(timewait), [12, 4, 6]);
  });
});

describe("what sockets know", () => {
  let client: Box;
  let listener: Listener;
  const numbers = () => {
    const found = client.container.counts.statistics().sockets;
    assert(found);
    return found;
  };
  const own = (): string[] => ss(`dport = :${listener.port}`);
  const sumOf = (field: string): bigint =>
    own().reduce((sum, line) => sum + BigInt(new RegExp(` ${field}:(\\d+)`).exec(line)?.[1] ?? 0), 0n);

  before(async () => {
    client = await box(undefined, true);
    listener = await Listener.start("127.0.0.1", true);
  });
  after(async () => {
    await client.task.kill();
    await listener.close();
  });

  it("is as ss has it: percentiles of round trips within 5 %, segments exactly", async () => {
    await hold(client.task, 60, listener.port);
    await listener.accepted(60);
    await pass(client);
    const sorted = own()
      .map((line) => 1000 * Number(/ rtt:([\d.]+)\//.exec(line)?.[1]))
      .sort((x, y) => x - y);
    assert.equal(sorted.length, 60);
    const { rtt, inSegs, outSegs } = numbers();
    assert(rtt);
    for (const [name, percent] of [
      ["p50", 50],
      ["p90", 90],
      ["p95", 95],
      ["p99", 99],
    ] as const) {
      const expected = Math.floor(sorted[Math.floor((60 * percent) / 100)] ?? 0);
      const off = Math.abs(rtt[name] - expected) / expected;
      assert(off <= 0.05, `${name} is ${rtt[name]}, ss says ${expected}`);
    }
    assert.deepEqual([inSegs, outSegs], [sumOf("segs_in"), sumOf("segs_out")]);
  });

  it("stays counted when they are closed, and never goes back", async () => {
    const before = numbers();
    await client.task.try("closeall");
    await listener.drop("end");
    await becomes(() => live(client), 0);
    const closed = numbers();
    assert(closed.inSegs >= before.inSegs && closed.outSegs >= before.outSegs);
    await pass(client);
    const last = numbers();
    // Each has sent a FIN and got an ACK, or the other's FIN, with it.
    assert(last.inSegs >= before.inSegs + 60n && last.outSegs >= before.outSegs + 60n);
    assert.equal(last.rtt, undefined);
    assert.deepEqual([last.inSegs, last.outSegs], [closed.inSegs, closed.outSegs]);
  });
});

describe("the kernel's own counts of a network in which all is the container's", () => {
  it("equal its statistics, retransmissions too", async () => {
    const pod = await box();
    const [client, server] = [await box(pod), await box(pod)];
    // Nobody answers there.
    sh("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1");
    sh("ip", "link", "set", "d1", "up");
    sh("ip", "address", "add", "10.98.0.1/24", "dev", "d0");
    sh("ip", "link", "set", "d0", "up");
    sh("ip", "neigh", "replace", "10.98.0.2", "lladdr", "02:00:00:00:00:09", "dev", "d0", "nud", "permanent");
    const [kernel, usage] = [snmp(), pod.container.counts.usage()];
    const port = await listen(server.task);
    await hold(client.task, 40, port);
    const lost = await client.task.socket();
    await client.task.try(`nonblock ${lost}`);
    assert.equal(await client.task.try(`connect ${lost} 10.98.0.2 80`), "EINPROGRESS");
    await until(() => (snmp()["RetransSegs"] ?? 0) > (kernel["RetransSegs"] ?? 0), "the SYN is sent again");
    await client.task.connect(9);
    for (let i = 0; i < 5; i++) {
      const { fd } = await client.task.connect(port);
      await client.task.try(`abort ${fd}`);
    }
    await until(() => {
      const [now, counted] = [snmp(), pod.container.counts.usage()];
      const told = (name: keyof typeof counted) => Number(counted[name]) - Number(usage[name]);
      const established = establishedConnections(counted) - establishedConnections(usage);
      const own = {
        ActiveOpens: told("tcpActiveOpens"),
        PassiveOpens: told("tcpPassiveOpens"),
        AttemptFails: told("tcpAttemptFails"),
        EstabResets: told("tcpEstabResets"),
        RetransSegs: told("tcpRetransSegs"),
        CurrEstab: established,
      };
      const kernels = Object.fromEntries(
        Object.keys(own).map((name) => [name, (now[name] ?? 0) - (kernel[name] ?? 0)]),
      );
      assert.equal(own.ActiveOpens, 47);
      assert.deepEqual(own, kernels);
      return true;
    }, "both say the same");
  });
});
