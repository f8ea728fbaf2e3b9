/**
 * Marking: what packets of a container have at the far end of a veth, whatever the task does to change it. Each row sends
 * with no policy first, where the task's own wish must show, so that it could fail.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { before, describe, it } from "node:test";
import { toDenial } from "../../isolator/features/events.js";
import { HERE, MARKING, THERE, type Packet } from "../support/capture.js";
import type { Cell } from "../support/instance.js";
import {
  MarkingLab,
  marksLate,
  TCP,
  UDP,
  FIN,
  SYN,
  EPERM,
  send,
  seen,
  TARGETS,
  PROTOCOLS,
  type Told,
} from "../support/marking.js";
import { sh } from "../support/network.js";
import { execute, inNode } from "../support/process.js";

const lab = new MarkingLab();
let box: Cell;
let strict: Cell;

before(async () => {
  ({ box, strict } = await lab.boxes());
});

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
          const free = await lab.exchange(undefined, whole);
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
          const held = await lab.exchange(box.container.node, whole);
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
      const port = lab.nextPort++;
      const [file = "", ...args] = inNode(box.container.node, [
        ...[MARKING, "send", "proto=tcp", "listen=1", `family=${family}`, `bind=${port}`],
        ...["late-tos=0x28", "late-tclass=0x28", "late-mark=5", "late-priority=5"],
      ]);
      const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
      const lines = createInterface({ input: child.stdout });
      await once(lines, "line");
      const closed = once(child, "close");
      const client = lab.far.host.command(MARKING, "send", "proto=tcp", `family=${to === HERE[6] ? 6 : 4}`);
      const { status, stderr } = await execute([...client, `to=${to}`, `port=${port}`]);
      assert.equal(status, 0, stderr);
      await closed;
      const isOurs = ({ source, protocol }: Packet): boolean => source === port && protocol === TCP;
      await lab.far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
      const packets = lab.far.packets.filter(isOurs);
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
    const held = await lab.exchange(box.container.node, `${where} mark=5 priority=7 tos=0x28`);
    assert(held);
    for (const packet of held.packets) assert.deepEqual(seen(packet), [18, 0x10, 3]);
    // The kernel's own answer to a mark; a priority is not set, so that no right is asked for.
    assert.deepEqual([held.told["set-mark"], held.told["set-priority"], held.told["set-tos"]], [EPERM, 0, 0]);
  });

  it("with the ECN bits of the task (QUIC) and of the kernel (TCP)", async () => {
    for (const words of ["tos=0x2a", "cmsg-tos=0x4a", "tos=0x01 connect=1"]) {
      const held = await lab.exchange(box.container.node, `proto=udp family=4 to=${THERE[4]} ${words}`);
      assert(held);
      for (const { ecn } of held.packets) assert.equal(ecn, words.includes("0x01") ? 1 : 2, words);
    }
    for (const words of ["tclass=0x2a", "cmsg-tclass=0x4a", "tclass=0x02 connect=1"]) {
      const held = await lab.exchange(box.container.node, `proto=udp family=6 to=${THERE[6]} ${words}`);
      assert(held);
      for (const { ecn } of held.packets) assert.equal(ecn, 2, words);
    }
    sh("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
    lab.far.host.run("sysctl", "-qw", "net.ipv4.tcp_ecn=1");
    for (const where of [`family=4 to=${THERE[4]}`, `family=6 to=${THERE[6]}`]) {
      const held = await lab.exchange(box.container.node, `proto=tcp ${where}`);
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
      const held = await lab.exchange(box.container.node, words);
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
      lab.far.packets.length = 0;
      const told = await send(box.container.node, `proto=${proto} ${words} cmsg-mark=5`);
      if (!told) continue;
      tried++;
      // Echo requests, not neighbour discovery.
      const isOurs = (packet: Packet): boolean =>
        packet.protocol === protocol && (protocol === 253 || packet.type === 8 || packet.type === 128);
      const [packet] = await lab.far.wait(isOurs);
      assert.deepEqual([packet?.mark, packet?.priority], [0x10, 3], `${proto} ${words}`);
    }
    if (tried === 0) test.skip("no such sockets");
  });

  it("is dropped by its DSCP where the policy says so, with an event", async () => {
    strict.poll().splice(0);
    const before = strict.container.counts.usage();
    const port = lab.nextPort++;
    const words = `proto=udp family=4 to=${THERE[4]} port=${port} cmsg-tos=0x28`;
    const told = await send(strict.container.node, words);
    assert.equal(told?.["send-0"], EPERM);
    const fine = await send(strict.container.node, `proto=udp family=4 to=${THERE[4]} port=${port}`);
    assert.equal(fine?.["send-0"], 0);
    const packets = await lab.far.wait(
      ({ destination, protocol }) => destination === port && protocol === UDP,
    );
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
        const port = lab.nextPort++;
        const before = container.counts.usage();
        const plain = `proto=udp ${words} port=${port} plain=1`;
        const told = await send(container.node, `${plain} count=2`);
        assert.deepEqual([told?.["send-0"], told?.["send-1"]], [0, 0], container.name);
        const packets = await lab.far.wait(({ destination }) => destination === port, 2);
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
