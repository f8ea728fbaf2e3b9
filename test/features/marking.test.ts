/**
 * Marking: what packets of a container have at the far end of a veth, whatever the task does to change it. Each row sends
 * with no policy first, where the task's own wish must show, so that it could fail.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { release } from "node:os";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { toDenial } from "../../isolator/features/events.js";
import { REASONS } from "../../isolator/features/accounting.js";
import type { MarkingPolicy } from "../../isolator/features/marking.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { MarkingDevices } from "../../isolator/containers/marking-devices.js";
import { Capture, HERE, MARKING, THERE, type Packet } from "../support/capture.js";
import { TestEndpoints } from "../support/endpoints.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { execute, inNode } from "../support/process.js";

const [major = 0, minor = 0] = release().split(".").map(Number);
const isAtLeast = (wantedMajor: number, wantedMinor: number): boolean =>
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
/** The kernel has the traffic class of a datagram from its socket before the hook of sendmsg() runs. */
const marksLate = { 4: isAtLeast(6, 15), 6: isAtLeast(6, 11) };

const SERVER = 32000;
const MARKS: MarkingPolicy = {
  ...{ dscp: 18, mark: { value: 0x10, mask: 0xff }, priority: 3 },
  ...{ change: "ignore", wrongDscp: "count" },
};
const TCP = 6;
const UDP = 17;
const FIN = 1;
const SYN = 2;
const EPERM = 1;

enterOwnNetwork();
sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 65535");
const { instance, cell } = testInstance();
let far: Capture;
let box: Cell;
/** Refuses and drops instead. */
let strict: Cell;
/** Below net.ipv4.ip_local_port_range: what the kernel chooses is none of these. */
let nextPort = 20000;

before(async () => {
  far = await Capture.create(SERVER);
  // Where no cell is, ports are free.
  box = await cell(["box"], policy("20000-20499", { marking: MARKS }));
  strict = await cell(
    ["strict"],
    policy("20500-20699", { marking: { ...MARKS, change: "deny", wrongDscp: "drop" } }),
  );
});
after(() => {
  far.close();
});

/** What the task did and was told: numbers by name. */
type Told = Partial<Record<string, number>>;

/** @returns undefined where this kernel has no such socket, or no 32-bit calls */
async function send(node: CgroupNode | undefined, words: string): Promise<Told | undefined> {
  const command = [MARKING, "send", ...words.split(" ")];
  const { status, stdout, stderr } = await execute(node ? inNode(node, command) : command);
  if (status === 77) return undefined;
  assert.equal(status, 0, `${words}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as Told;
}

function seen({ dscp, mark, priority }: Packet): [dscp: number, mark: number, priority: number] {
  return [dscp, mark, priority];
}

/** A connection or datagrams from a port of its own. @returns all packets of it, the last of them included */
async function exchange(
  node: CgroupNode | undefined,
  words: string,
): Promise<{ packets: Packet[]; told: Told } | undefined> {
  const port = nextPort++;
  const stream = /proto=(tcp|mptcp)/.test(words);
  const told = await send(node, `${words} bind=${port} port=${SERVER}`);
  if (!told) return undefined;
  const isOurs = ({ source, protocol }: Packet): boolean => source === port && (protocol === TCP) === stream;
  const sent = Number(/count=(\d+)/.exec(words)?.[1] ?? 1);
  if (stream) await far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
  return { packets: await far.wait(isOurs, stream ? 3 : sent), told };
}

const MAPPED = `::ffff:${THERE[4]}`;
const TARGETS = [
  { name: "IPv4", words: `family=4 to=${THERE[4]}`, mapped: false },
  { name: "IPv6", words: `family=6 to=${THERE[6]}`, mapped: false },
  { name: "IPv4 over an IPv6 socket", words: `family=6 to=${MAPPED}`, mapped: true },
];
const PROTOCOLS = [
  { name: "TCP", words: "proto=tcp" },
  { name: "MPTCP", words: "proto=mptcp" },
  { name: "UDP, connected,", words: "proto=udp connect=1 count=2" },
  { name: "UDP, not connected,", words: "proto=udp count=2" },
  { name: "UDP-Lite", words: "proto=udplite count=2" },
];
/** What a task may do, and what of it shows where nobody holds it: the rest is 0. */
const WISHES = [
  { name: "nothing", words: "", wish: {} },
  {
    name: "setsockopt()",
    words: "tos=0x28 tclass=0x28 mark=0x105 priority=5",
    wish: { dscp: 10, mark: 0x105 },
  },
  {
    name: "setsockopt() in the middle",
    words: "late-tos=0x28 late-tclass=0x28 late-mark=0x105 late-priority=5",
    wish: {},
  },
];

describe("every packet has the marking", () => {
  for (const { name: protocol, words: kind } of PROTOCOLS) {
    for (const { name: target, words: where } of TARGETS) {
      for (const { name, words, wish } of WISHES) {
        it(`of ${protocol} over ${target}, where the task does ${name}`, async (test) => {
          const whole = `${kind} ${where} ${words}`.trim();
          const free = await exchange(undefined, whole);
          if (!free) {
            test.skip("this kernel has no such socket");
            return;
          }
          const first = free.packets[0];
          // MPTCP has no IPV6_TCLASS.
          const wished = protocol === "MPTCP" && first?.version === 6 ? { ...wish, dscp: 0 } : wish;
          assert.deepEqual(
            [first?.dscp, first?.mark],
            [wished.dscp ?? 0, wished.mark ?? 0],
            "with no policy",
          );
          const held = await exchange(box.container.node, whole);
          assert(held);
          // Bits outside of the mask are the task's.
          const own = (mark: number): number => (words === "" ? mark : mark & ~0x100);
          for (const packet of held.packets) {
            const [dscp, mark, priority] = seen(packet);
            assert.deepEqual(
              [dscp, own(mark), priority],
              [18, 0x10, 3],
              `${JSON.stringify(packet)} of ${held.packets.length}`,
            );
          }
          // As far as the task can tell, it has its way: the same errors as without a policy, if any.
          const results = (told: Told): Told =>
            Object.fromEntries(Object.entries(told).filter(([key]) => key.startsWith("set-")));
          assert.deepEqual(results(held.told), results(free.told));
        });
      }
    }
  }

  for (const { name: target, to, family } of [
    { name: "IPv4", to: HERE[4], family: 4 },
    { name: "IPv6", to: HERE[6], family: 6 },
    { name: "IPv4 on an IPv6 listener", to: HERE[4], family: 6 },
  ]) {
    it(`of an accepted connection over ${target}, its SYN-ACK included`, async () => {
      const port = nextPort++;
      const [file = "", ...args] = inNode(box.container.node, [
        ...[MARKING, "send", "proto=tcp", "listen=1", `family=${family}`, `bind=${port}`],
        ...["late-tos=0x28", "late-tclass=0x28", "late-mark=5", "late-priority=5"],
      ]);
      const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
      const lines = createInterface({ input: child.stdout });
      await once(lines, "line");
      const closed = once(child, "close");
      const client = far.host.command(MARKING, "send", "proto=tcp", `family=${to === HERE[6] ? 6 : 4}`);
      const { status, stderr } = await execute([...client, `to=${to}`, `port=${port}`]);
      assert.equal(status, 0, stderr);
      await closed;
      const isOurs = ({ source, protocol }: Packet): boolean => source === port && protocol === TCP;
      await far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
      const packets = far.packets.filter(isOurs);
      assert(
        packets.some(({ flags }) => flags & SYN),
        "the SYN-ACK",
      );
      for (const packet of packets) {
        assert.deepEqual(seen(packet), [18, 0x10, 3]);
      }
    });
  }

  it("for a task without any rights, also where it asks for more than it may", async () => {
    const where = `proto=udp family=4 to=${THERE[4]} uid=65534`;
    const held = await exchange(box.container.node, `${where} mark=5 priority=7 tos=0x28`);
    assert(held);
    for (const packet of held.packets) assert.deepEqual(seen(packet), [18, 0x10, 3]);
    // The kernel's own answer to a mark; a priority is not set, so that no right is asked for.
    assert.deepEqual([held.told["set-mark"], held.told["set-priority"], held.told["set-tos"]], [EPERM, 0, 0]);
  });

  it("with the ECN bits of the task (QUIC) and of the kernel (TCP)", async () => {
    for (const words of ["tos=0x2a", "cmsg-tos=0x4a", "tos=0x01 connect=1"]) {
      const held = await exchange(box.container.node, `proto=udp family=4 to=${THERE[4]} ${words}`);
      assert(held);
      for (const { ecn } of held.packets) assert.equal(ecn, words.includes("0x01") ? 1 : 2, words);
    }
    for (const words of ["tclass=0x2a", "cmsg-tclass=0x4a", "tclass=0x02 connect=1"]) {
      const held = await exchange(box.container.node, `proto=udp family=6 to=${THERE[6]} ${words}`);
      assert(held);
      for (const { ecn } of held.packets) assert.equal(ecn, 2, words);
    }
    sh("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
    far.host.run("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
    for (const where of [`family=4 to=${THERE[4]}`, `family=6 to=${THERE[6]}`]) {
      const held = await exchange(box.container.node, `proto=tcp ${where}`);
      assert(
        held?.packets.some(({ ecn, dscp }) => ecn === 2 && dscp === 18),
        where,
      );
    }
    sh("sysctl", "-qw", "net.ipv4.tcp_ecn=2");
  });
});

describe("what gets round setsockopt's hook", () => {
  const counts = (): bigint => box.container.counts.usage().audited.marking;

  for (const { name, words } of [
    {
      name: "a 32-bit call",
      words: `proto=udp connect=1 count=2 family=4 to=${THERE[4]} how=int80 late-tos=0x28 late-mark=5 late-priority=5`,
    },
    { name: "a control message", words: `proto=udp family=4 to=${THERE[4]} cmsg-tos=0x28 cmsg-mark=5` },
    {
      name: "a control message, IPv6",
      words: `proto=udp family=6 to=${THERE[6]} cmsg-tclass=0x28 cmsg-mark=5`,
    },
  ]) {
    it(`is corrected, but for the DSCP, which is counted: ${name}`, async (test) => {
      const before = counts();
      const held = await exchange(box.container.node, words);
      if (!held) {
        test.skip("this kernel has no 32-bit calls");
        return;
      }
      const wrong = held.packets.filter(({ dscp }) => dscp === 10);
      assert.equal(wrong.length, 1);
      for (const { mark, priority } of held.packets) assert.deepEqual([mark, priority], [0x10, 3]);
      assert.equal(counts() - before, 1n);
    });
  }

  it("is corrected on raw and ping sockets", async (test) => {
    let tried = 0;
    for (const [proto, protocol, words] of [
      ["raw", 1, `family=4 to=${THERE[4]}`],
      ["raw", 58, `family=6 to=${THERE[6]}`],
      ["ping", 1, `family=4 to=${THERE[4]}`],
      ["ping", 58, `family=6 to=${THERE[6]}`],
      ["raw", 253, `family=4 to=${THERE[4]} header=0x28`],
    ] as const) {
      far.packets.length = 0;
      const told = await send(box.container.node, `proto=${proto} ${words} cmsg-mark=5`);
      if (!told) continue;
      tried++;
      // Echo requests, not neighbour discovery.
      const isOurs = (packet: Packet): boolean =>
        packet.protocol === protocol && (protocol === 253 || packet.type === 8 || packet.type === 128);
      const [packet] = await far.wait(isOurs);
      assert.deepEqual([packet?.mark, packet?.priority], [0x10, 3], `${proto} ${words}`);
    }
    if (tried === 0) test.skip("no such sockets");
  });

  it("is dropped by its DSCP where the policy says so, with an event", async () => {
    strict.poll().splice(0);
    const before = strict.container.counts.usage();
    const port = nextPort++;
    const words = `proto=udp family=4 to=${THERE[4]} port=${port} cmsg-tos=0x28`;
    const told = await send(strict.container.node, words);
    assert.equal(told?.["send-0"], EPERM);
    const fine = await send(strict.container.node, `proto=udp family=4 to=${THERE[4]} port=${port}`);
    assert.equal(fine?.["send-0"], 0);
    const packets = await far.wait(({ destination, protocol }) => destination === port && protocol === UDP);
    assert.deepEqual(packets.map(seen), [[18, 0x10, 3]]);
    const after = strict.container.counts.usage();
    assert.deepEqual(
      [after.denied.marking - before.denied.marking, after.txDropped - before.txDropped],
      [1n, 1n],
    );
    assert.equal(after.txPackets - before.txPackets, 1n);
    const [event, ...others] = strict.poll();
    assert(event);
    assert.deepEqual(others, []);
    const denial = toDenial(event, () => "strict");
    assert.deepEqual(
      [denial.reason, denial.dscp, denial.option, denial.protocol, denial.pid],
      ["marking", 10, undefined, "udp", 0],
    );
  });
});

describe("the first datagram of a socket that was never bound, connected or set", () => {
  for (const { name, words, mapped } of TARGETS) {
    it(`has the DSCP on older kernels, and is counted on newer ones, and never dropped: ${name}`, async () => {
      const late = marksLate[words.startsWith("family=6") && !mapped ? 6 : 4];
      const expected = late ? [0, 18] : [18, 18];
      for (const { container } of [box, strict]) {
        const port = nextPort++;
        const before = container.counts.usage();
        const plain = `proto=udp ${words} port=${port} plain=1`;
        const told = await send(container.node, `${plain} count=2`);
        assert.deepEqual([told?.["send-0"], told?.["send-1"]], [0, 0], container.name);
        const packets = await far.wait(({ destination }) => destination === port, 2);
        assert.deepEqual(
          packets.map(({ dscp }) => dscp),
          expected,
        );
        const after = container.counts.usage();
        assert.deepEqual(
          [after.audited.marking - before.audited.marking, after.denied.marking - before.denied.marking],
          [BigInt(expected.filter((dscp) => dscp === 0).length), 0n],
        );
      }
    });
  }
});

describe("setsockopt() where the policy refuses changes", () => {
  it("gives EPERM with an event, and goes through where it changes nothing", async () => {
    strict.poll().splice(0);
    const before = strict.container.counts.usage().denied.marking;
    const words = `proto=udp family=6 to=${THERE[6]} port=${nextPort++}`;
    const told = await send(strict.container.node, `${words} tos=0x28 tclass=0x28 mark=5 priority=5`);
    for (const name of ["tos", "tclass", "mark", "priority"])
      assert.equal(told?.[`set-${name}`], EPERM, name);
    assert.equal(strict.container.counts.usage().denied.marking - before, 4n);
    const denials = strict.poll().map((event) => toDenial(event, () => "strict"));
    assert.deepEqual(
      denials.map(({ option, process }) => [option, process]),
      ["IP_TOS", "IPV6_TCLASS", "SO_MARK", "SO_PRIORITY"].map((option) => [option, "marking"]),
    );
    // ECN bits, and bits outside of the mask.
    const same = await send(strict.container.node, `${words} tos=0x4a tclass=0x49 mark=0x110 priority=3`);
    for (const name of ["tos", "tclass", "mark", "priority"]) assert.equal(same?.[`set-${name}`], 0, name);
    assert.equal(strict.container.counts.usage().denied.marking - before, 4n);
  });

  it("is told and done in audit mode", async () => {
    const audited = await cell(
      ["audited"],
      policy("20700", { enforce: "audit", marking: { ...MARKS, change: "deny", wrongDscp: "drop" } }),
    );
    const port = nextPort++;
    const words = `proto=udp family=4 to=${THERE[4]} port=${port} priority=5 cmsg-tos=0x28`;
    const told = await send(audited.container.node, words);
    assert.deepEqual([told?.["set-priority"], told?.["send-0"]], [0, 0]);
    const [packet] = await far.wait(({ destination }) => destination === port);
    assert.deepEqual(packet && seen(packet), [10, 0x10, 3]);
    const { denied, audited: counted } = audited.container.counts.usage();
    assert.deepEqual([denied.marking, counted.marking], [0n, 2n]);
    const reasons = audited.poll().map(({ reason, audited: only }) => [REASONS[reason], only]);
    assert.deepEqual(reasons, [
      ["marking", 1],
      ["marking", 1],
    ]);
  });
});

describe("getsockopt()", () => {
  it("tells what packets have, from the beginning", async () => {
    for (const { words } of TARGETS) {
      for (const proto of ["udp", "udp connect=1", "tcp"]) {
        const held = await exchange(
          box.container.node,
          `proto=${proto} ${words} tos=0x2a tclass=0x28 priority=5`,
        );
        assert(held);
        const sixth = words.includes("family=6");
        for (const when of ["made", "asked", "sent"]) {
          const tos: number = held.told[`${when}-tos`] ?? 0;
          assert.equal(tos >> 2, 18, `${when} ${proto} ${words}`);
          assert.equal(held.told[`${when}-mark`], 0x10);
          assert.equal(held.told[`${when}-priority`], 3);
          if (sixth) assert.equal((held.told[`${when}-tclass`] ?? 0) >> 2, 18);
        }
      }
    }
  });

  it("tells of one byte, and of what got round it", async (test) => {
    const where = `family=4 to=${THERE[4]}`;
    const byte = await exchange(box.container.node, `proto=udp ${where} byte=1 tos=0x2a`);
    assert.equal(byte?.told["asked-tos"], 0x4a);
    for (const packet of byte.packets) assert.equal(packet.dscp, 18);
    const round = await exchange(
      box.container.node,
      `proto=udp connect=1 count=2 ${where} how=int80 late-tos=0x28`,
    );
    if (!round) test.skip("this kernel has no 32-bit calls");
    else assert.equal(round.told["sent-tos"], 0x28, "the packets have it, so it is the truth");
  });
});

/** Of the far host too: in class gold by the cluster's endpoints. */
const GOLD = { 4: "10.98.0.3", 6: "fd98::3" } as const;
const GOLD_TARGETS = [
  { name: "IPv4", words: `family=4 to=${GOLD[4]}` },
  { name: "IPv6", words: `family=6 to=${GOLD[6]}` },
  { name: "IPv4 over an IPv6 socket", words: `family=6 to=::ffff:${GOLD[4]}` },
];

describe("a marking by destination", () => {
  let known: TestEndpoints;
  let to: Cell;

  before(async () => {
    far.host.run("ip", "address", "add", `${GOLD[4]}/24`, "dev", "v1");
    far.host.run("ip", "-6", "address", "add", `${GOLD[6]}/64`, "dev", "v1", "nodad");
    known = new TestEndpoints(instance);
    await known.replace(
      Object.values(GOLD).map((address) => ({ address, port: SERVER, classes: [{ name: "gold" }] })),
    );
    to = await cell(
      ["to"],
      policy("20750-20899", {
        marking: {
          ...MARKS,
          destinations: [
            { to: { class: "gold" }, dscp: 46, mark: { value: 0x20, mask: 0xff }, priority: 5 },
            { to: { cidr: `${THERE[4]}/32`, protocol: "udp" }, dscp: 8 },
          ],
        },
      }),
    );
  });
  after(() => {
    known.stop();
  });

  /** @returns all packets, and the last of them */
  async function all(words: string, node = to.container.node): Promise<Packet[] | undefined> {
    const port = nextPort;
    nextPort = Math.max(20750, savedPort);
    const held = await exchange(node, words);
    savedPort = nextPort;
    nextPort = port;
    return held?.packets;
  }
  let savedPort = 20750;

  for (const { name: protocol, words: kind } of PROTOCOLS) {
    it(`is on each packet of ${protocol} to a class, whatever the task does, and on no other`, async (test) => {
      let tried = 0;
      for (const [i, { name, words }] of GOLD_TARGETS.entries()) {
        const wishes = "late-tos=0x28 late-tclass=0x28 late-mark=5 late-priority=2";
        const packets = await all(`${kind} ${words} ${wishes}`);
        if (!packets) continue;
        tried++;
        // The class of a datagram's destination is not known before its hook runs.
        const late =
          ["UDP, not connected,", "UDP-Lite"].includes(protocol) && marksLate[words.includes("fd98") ? 6 : 4];
        for (const [n, packet] of packets.entries())
          assert.deepEqual(seen(packet), [late && n === 0 ? 18 : 46, 0x20, 5], `${name}, packet ${n}`);
        const other = await all(`${kind} ${TARGETS[i]?.words ?? ""}`);
        // By a block, for UDP over IPv4; UDP-Lite is judged with it.
        const lower = protocol.startsWith("UDP") && !words.includes("fd98");
        const dscp =
          lower && !(protocol === "UDP, not connected," && marksLate[4]) ? 8 : lower ? undefined : 18;
        for (const packet of other ?? []) {
          if (dscp !== undefined && protocol !== "UDP-Lite") assert.equal(packet.dscp, dscp, name);
          assert.deepEqual([packet.mark, packet.priority], [0x10, 3], name);
        }
      }
      if (tried === 0) test.skip("this kernel has no such socket");
    });
  }

  it("is each packet's own where one socket sends here and there in turn, within a tick of the clock", async () => {
    const script = `
      const [type, ...to] = JSON.parse(process.argv[1]);
      const socket = require("dgram").createSocket(type);
      const send = (port, address) =>
        new Promise((done, failed) => {
          socket.send("x".repeat(32), port, address, (error) => (error ? failed(error) : done()));
        });
      (async () => {
        await new Promise((done) => socket.bind(20890, done));
        for (let i = 0; i < 8; i++) for (const [port, address] of to) await send(port, address);
        socket.close();
      })();`;
    for (const version of [4, 6] as const) {
      far.packets.length = 0;
      const targets = [
        [SERVER, GOLD[version]],
        [SERVER + 1, GOLD[version]],
        [SERVER, THERE[version]],
      ];
      const argument = JSON.stringify([`udp${version}`, ...targets]);
      const argv = [process.execPath, "-e", script, argument];
      const { status, stderr } = await execute(inNode(to.container.node, argv));
      assert.equal(status, 0, stderr);
      const isOurs = ({ protocol, destination }: Packet): boolean =>
        protocol === UDP && [SERVER, SERVER + 1].includes(destination);
      const marks = (await far.wait(isOurs, 24)).map(
        ({ destination, mark, priority }) => `${destination - SERVER} ${mark} ${priority}`,
      );
      const expected = ["0 16 3", "0 32 5", "1 16 3"].flatMap((each) => Array<string>(8).fill(each));
      assert.deepEqual(marks.sort(), expected, `IPv${version}`);
    }
  });

  it("is on what a server answers to it, and on raw and ping sockets' packets", async () => {
    const raw = await cell(
      ["raw"],
      policy("20900-20909", {
        marking: {
          ...{ change: "ignore", wrongDscp: "count" },
          destinations: [{ to: { cidr: "10.98.0.2" }, dscp: 46, mark: { value: 7, mask: 15 }, priority: 5 }],
        },
      }),
    );
    const [file = "", ...args] = inNode(raw.container.node, [
      ...[MARKING, "send", "proto=tcp", "listen=1", "family=4", "bind=20900"],
    ]);
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(createInterface({ input: child.stdout }), "line");
    const closed = once(child, "close");
    const client = far.host.command(MARKING, "send", "proto=tcp", "family=4", `to=${HERE[4]}`, "port=20900");
    assert.equal((await execute(client)).status, 0);
    await closed;
    const isOurs = ({ source, protocol }: Packet): boolean => source === 20900 && protocol === TCP;
    await far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
    for (const packet of far.packets.filter(isOurs))
      assert.deepEqual(seen(packet), packet.flags & SYN ? [0, 0, 0] : [46, 7, 5]);
    for (const [proto, where, expected] of [
      ["raw", THERE[4], [7, 5]],
      ["ping", THERE[4], [7, 5]],
      ["raw", GOLD[4], [0, 0]],
    ] as const) {
      far.packets.length = 0;
      if (!(await send(raw.container.node, `proto=${proto} family=4 to=${where}`))) continue;
      const [packet] = await far.wait(({ protocol, type }) => protocol === 1 && type === 8);
      assert.deepEqual([packet?.mark, packet?.priority], expected, `${proto} ${where}`);
    }
  });
});

describe("a wrong DSCP where the device has the program", () => {
  it("is put right, with its ECN and its checksum, and counted", async () => {
    const rewritten = await cell(
      ["rewrites"],
      policy("20910-20999", { marking: { ...MARKS, wrongDscp: "rewrite" } }),
    );
    const problems: string[] = [];
    const devices = new MarkingDevices(
      instance,
      () => instance.loaded.device("marking_rewrite"),
      (message) => problems.push(message),
    );
    devices.use(["v0", "nothere"]);
    const errors = (): string =>
      /^Ip: \d.*$/m.exec(far.host.run("cat", "/proc/net/snmp"))?.[0]?.split(" ")[4] ?? "";
    const before = { errors: errors(), count: rewritten.container.counts.usage().audited.marking };
    const udp = `proto=udp family=4 to=${THERE[4]}`;
    const udp6 = `proto=udp family=6 to=${THERE[6]}`;
    let wrong = 0;
    for (const [words, ecn] of [
      [`${udp} cmsg-tos=0x2a`, 2],
      [`${udp6} cmsg-tclass=0x29`, 1],
      [`${udp} plain=1`, 0],
      [`${udp6} plain=1`, 0],
      // To a server: where nobody takes the first, the second gives ECONNREFUSED.
      [`${udp} connect=1 count=2 bind=20911 how=int80 late-tos=0x28`, 0],
      [`proto=udp family=6 to=${MAPPED} cmsg-tos=0x28`, 0],
    ] as const) {
      const connected = words.includes("connect=1");
      const port = connected ? SERVER : nextPort++;
      const told = await send(rewritten.container.node, `${words} port=${port}`);
      if (!told) continue;
      const packets = await far.wait(
        ({ source, destination }) => destination === port && (!connected || source === 20911),
        connected ? 2 : 1,
      );
      for (const packet of packets)
        assert.deepEqual([...seen(packet), packet.ecn], [18, 0x10, 3, ecn], words);
      if (!words.includes("plain")) wrong++;
    }
    far.packets.length = 0;
    if (await send(rewritten.container.node, `proto=raw family=4 to=${THERE[4]} header=0x28`)) {
      const [packet] = await far.wait(({ protocol }) => protocol === 253);
      assert.deepEqual(packet && seen(packet), [18, 0x10, 3]);
    }
    assert.equal(errors(), before.errors, "checksums of headers");
    const counted = rewritten.container.counts.usage();
    assert(counted.audited.marking - before.count >= BigInt(wrong));
    assert.equal(counted.denied.marking, 0n);
    // Others' packets are as they are.
    const port = nextPort++;
    await send(undefined, `${udp} cmsg-tos=0x28 port=${port}`);
    const [others] = await far.wait(({ destination }) => destination === port);
    assert.deepEqual([others?.dscp, others?.mark], [10, 0]);
    assert.match(problems.join(), /^marking_devices names nothere, and there is no such network device/);
    assert.match(sh("tc", "filter", "show", "dev", "v0", "egress"), /marking_rewrite/);
    devices.use([]);
    assert.doesNotMatch(sh("tc", "filter", "show", "dev", "v0", "egress"), /marking_rewrite/);
    devices.stop();
  });
});

describe("nested containers", () => {
  it("have their own marking where they have one, and their parent's where not", async () => {
    const parent = await cell(["pod"], policy("20701-20709", { marking: MARKS }));
    const own = await cell(
      ["pod", "own"],
      policy("20702", { marking: { ...MARKS, dscp: 8, mark: { value: 0x20, mask: 0xff }, priority: 1 } }),
      parent,
    );
    const plain = await cell(["pod", "plain"], policy("20703"), parent);
    for (const [{ container }, expected] of [
      [parent, [18, 0x10, 3]],
      [own, [8, 0x20, 1]],
      [plain, [18, 0x10, 3]],
    ] as const) {
      const name = container.name;
      for (const words of ["tcp", "udp", "udp connect=1 count=2"]) {
        for (const { words: where } of TARGETS) {
          const options = "tos=0x28 tclass=0x28 mark=5 priority=5";
          const port = nextPort;
          nextPort = name === "pod" ? 20701 : name === "pod.own" ? 20702 : 20703;
          far.packets.length = 0;
          const held = await exchange(container.node, `proto=${words} ${where} ${options}`);
          nextPort = port;
          assert(held);
          for (const packet of held.packets) assert.deepEqual(seen(packet), expected, `${name} ${words}`);
          assert.equal(held.told["sent-mark"], expected[1]);
        }
      }
      assert.equal(container.counts.usage().audited.marking, 0n, name);
    }
  });
});

describe("an update", () => {
  it("changes the marking of sockets that are there, as far as packets go, and takes it away", async () => {
    const one = await cell(["updated"], policy("20710"));
    const words = `proto=udp family=4 to=${THERE[4]}`;
    const mark = async (): Promise<[number, number, number] | undefined> => {
      const port = nextPort++;
      const told = await send(one.container.node, `${words} port=${port}`);
      assert.equal(told?.["send-0"], 0);
      const [packet] = await far.wait(({ destination }) => destination === port);
      return packet && seen(packet);
    };
    assert.deepEqual(await mark(), [0, 0, 0]);
    await one.container.update(policy("20710", { marking: MARKS }));
    assert.deepEqual(await mark(), [18, 0x10, 3]);
    await one.container.update(policy("20710", { marking: { ...MARKS, dscp: 46 } }));
    assert.deepEqual(await mark(), [46, 0x10, 3]);
    await one.container.update(policy("20710"));
    assert.deepEqual(await mark(), [0, 0, 0]);
  });
});
