/** Kinds of sockets that a policy denies: each is made with the policy off and on, and in audit mode. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { totalDenied, REASONS, type Reason } from "../../isolator/features/accounting.js";
import { toDenial } from "../../isolator/features/events.js";
import { SOCKET_KINDS, type SocketKind, type SocketsPolicy } from "../../isolator/features/sockets.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { skipWithout, withoutLsm } from "../support/lsm.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { testAttempts } from "../support/attempts.js";
import { attemptEntering, type Outcome } from "../support/process.js";

enterOwnNetwork();
sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 0");
const { cell } = testInstance();
const attempt = testAttempts();

const ALL_DENIED: SocketsPolicy = Object.fromEntries(SOCKET_KINDS.map((kind) => [kind, "deny"]));

const RAW = "raw-icmp raw-icmp6 raw-udp raw-tcp raw-sctp raw-dccp raw-raw raw-253".split(" ");
const HOWS = ["thread", "io-uring", "userns"];

/** By the kind that stops them. */
const MADE: Record<Exclude<SocketKind, "received">, string[]> = {
  raw: [
    ...RAW.map((create) => `socket create=${create}`),
    ...["raw-udp", "raw-raw"].map((create) => `socket create=${create} family=6`),
    ...HOWS.map((how) => `socket create=raw-icmp how=${how}`),
  ],
  packet: [
    ...["packet", "packet-dgram", "inet-packet"].map((create) => `socket create=${create}`),
    ...HOWS.map((how) => `socket create=packet how=${how}`),
  ],
  vsock: ["socket create=vsock", "socket create=vsock-seq", "socket create=vsock how=io-uring"],
  xdp: ["socket create=xdp", "socket create=xdp how=io-uring"],
};

const RECEIVED = [
  ...["tcp", "udp", "mptcp", "raw-icmp", "packet", "vsock", "xdp"].map(
    (create) => `received create=${create}`,
  ),
  ...["tcp", "packet"].flatMap((create) =>
    ["io-uring", "pidfd"].map((how) => `received create=${create} how=${how}`),
  ),
];

const PERMITTED = "tcp udp mptcp udplite icmp icmp6 unix unix-raw netlink".split(" ");

const cells = new Map<"denied" | "audited", Cell>();

function cellOf(name: "denied" | "audited"): Cell {
  const found = cells.get(name);
  assert(found);
  return found;
}

before(async () => {
  cells.set("denied", await cell(["denied"], policy("31000", { sockets: ALL_DENIED })));
  cells.set("audited", await cell(["audited"], policy("31100", { sockets: ALL_DENIED, enforce: "audit" })));
});

/** Makes an attempt in all three ways: off gets through, on is stopped and told once, audit gets through and is told once. */
async function proves(
  make: (policed?: Cell) => Promise<Outcome>,
  reason: Reason,
  stop: { step: string; errno: string },
): Promise<string | undefined> {
  const off = await make();
  if (off.status === 77) return `this kernel cannot do it: ${off.errno ?? off.detail}`;
  assert.equal(off.status, 0, `without a policy it must get through: ${JSON.stringify(off)}`);
  const counts = (name: "denied" | "audited"): bigint[] => {
    const usage = cellOf(name).container.counts.usage();
    return [usage[name][reason], totalDenied(usage[name])];
  };
  for (const name of ["denied", "audited"] as const) {
    const [before = 0n, all = 0n] = counts(name);
    cellOf(name).poll().splice(0);
    const on = await make(cellOf(name));
    if (name === "audited") assert.equal(on.status, 0, JSON.stringify(on));
    else assert.deepEqual([on.status, on.step, on.errno], [1, stop.step, stop.errno], JSON.stringify(on));
    assert.deepEqual(counts(name), [before + 1n, all + 1n], `${name}: counted once`);
    const events = cellOf(name).poll();
    assert.deepEqual(
      events.map((event) => [REASONS[event.reason], event.audited]),
      [[reason, name === "audited" ? 1 : 0]],
    );
  }
  return undefined;
}

describe("a socket of a kind that is denied", () => {
  for (const [kind, attempts] of Object.entries(MADE)) {
    for (const words of attempts) {
      it(`stops ${words}`, async (test) => {
        if (kind !== "raw" && skipWithout(test, "socket_create")) return;
        const skip = await proves((policed) => attempt(words, policed?.container.node), "socket", {
          step: "socket",
          errno: "EPERM",
        });
        if (skip !== undefined) test.skip(skip);
      });
    }
  }

  for (const create of PERMITTED) {
    it(`permits ${create}`, async (test) => {
      const made = await attempt(`socket create=${create}`, cellOf("denied").container.node);
      if (made.status === 77) test.skip(`this kernel cannot do it: ${made.errno ?? made.detail}`);
      else assert.equal(made.status, 0, JSON.stringify(made));
    });
  }

  it("is stopped alone: other kinds are not", async (test) => {
    if (skipWithout(test, "socket_create")) return;
    const some = await cell(["some"], policy("31001", { sockets: { packet: "deny", vsock: "allow" } }));
    const made = async (create: string): Promise<number> =>
      (await attempt(`socket create=${create}`, some.container.node)).status;
    assert.deepEqual(
      [await made("packet"), await made("xdp"), await made("vsock"), await made("raw-icmp")],
      [1, 0, 0, 0],
    );
  });

  it("is told in words", async (test) => {
    const { node } = cellOf("denied").container;
    cellOf("denied").poll().splice(0);
    await attempt("socket create=raw-icmp6", node);
    const [raw] = cellOf("denied").poll().splice(0);
    assert(raw);
    const denial = toDenial(raw, () => "box");
    assert.deepEqual(
      [denial.reason, denial.family, denial.protocol, denial.port],
      ["socket", "ipv6", "icmpv6", undefined],
    );
    if (skipWithout(test, "socket_create")) return;
    await attempt("socket create=xdp", node);
    const [xdp] = cellOf("denied").poll();
    assert(xdp);
    const { family, protocol, port } = toDenial(xdp, () => "box");
    assert.deepEqual([family, protocol, port], ["xdp", undefined, undefined]);
  });

  it("is counted by the child that denies it, and not by its parent too", async () => {
    const parent = await cell(["parent"], policy("31002-31003", { sockets: ALL_DENIED }));
    const child = await cell(["parent", "child"], policy("31003", { sockets: ALL_DENIED }), parent);
    const count = ({ container }: Cell): bigint => container.counts.usage().denied.socket;
    assert.equal((await attempt("socket create=raw-icmp", child.container.node)).status, 1);
    assert.deepEqual([count(child), count(parent)], [1n, 0n]);
    if (withoutLsm("socket_create") !== false) return;
    assert.equal((await attempt("socket create=packet", child.container.node)).status, 1);
    assert.deepEqual([count(child), count(parent)], [2n, 0n]);
  });

  it("is denied by the parent where the child allows it", async (test) => {
    const parent = await cell(["strict"], policy("31004-31005", { sockets: ALL_DENIED }));
    const child = await cell(["strict", "lax"], policy("31005"), parent);
    assert.equal((await attempt("socket create=raw-icmp", child.container.node)).status, 1);
    if (skipWithout(test, "socket_create")) return;
    assert.equal((await attempt("socket create=packet", child.container.node)).status, 1);
    assert.equal((await attempt("received create=tcp", child.container.node)).status, 0, "made inside");
  });
});

describe("a socket from outside of the container", { skip: withoutLsm("file_receive") }, () => {
  const enter = (words: string) => (policed?: Cell) =>
    policed ? attemptEntering(words, policed.container.node) : attempt(words);

  for (const words of RECEIVED) {
    it(`stops ${words}`, async (test) => {
      // By SCM_RIGHTS the message arrives, cut: the attempt calls that EACCES.
      const stop = words.includes("pidfd")
        ? { step: "receive", errno: "EPERM" }
        : { step: "pass", errno: "EACCES" };
      const skip = await proves(enter(words), "received", stop);
      if (skip !== undefined) test.skip(skip);
    });
  }

  for (const create of ["unix", "netlink"]) {
    for (const how of ["scm", "pidfd"]) {
      it(`permits ${create} by ${how}`, async () => {
        const came = await enter(`received create=${create} how=${how}`)(cellOf("denied"));
        assert.equal(came.status, 0, JSON.stringify(came));
      });
    }
  }

  it("permits what was made inside, also in a cgroup below", async () => {
    for (const how of ["scm", "pidfd"]) {
      const came = await attempt(`received create=tcp how=${how}`, cellOf("denied").container.node);
      assert.equal(came.status, 0, JSON.stringify(came));
    }
    const child = await cell(["denied", "child"], policy(undefined), cellOf("denied"));
    const { container } = cellOf("denied");
    const words = `passed-fd port=31000 maker-cgroup=${child.container.node.path}`;
    const came = await attempt(words, container.node);
    assert.equal(came.status, 0, JSON.stringify(came));
  });
});
