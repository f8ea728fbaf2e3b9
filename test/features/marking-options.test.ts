/** Marking: what tasks are told of it, in nested containers and by updates too. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { REASONS } from "../../isolator/features/accounting.js";
import { toDenial } from "../../isolator/features/events.js";
import { THERE } from "../support/capture.js";
import { policy, type Cell } from "../support/instance.js";
import { MarkingLab, MARKS, EPERM, send, seen, TARGETS } from "../support/marking.js";

const lab = new MarkingLab();
let box: Cell;
let strict: Cell;

before(async () => {
  ({ box, strict } = await lab.boxes());
});

describe("setsockopt() where the policy refuses changes", () => {
  it("gives EPERM with an event, and goes through where it changes nothing", async () => {
    strict.poll().splice(0);
    const before = strict.container.counts.usage().denied.marking;
    const words = `proto=udp family=6 to=${THERE[6]} port=${lab.nextPort++}`;
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
    const audited = await lab.cell(
      ["audited"],
      policy("20700", { enforce: "audit", marking: { ...MARKS, change: "deny", wrongDscp: "drop" } }),
    );
    const port = lab.nextPort++;
    const words = `proto=udp family=4 to=${THERE[4]} port=${port} priority=5 cmsg-tos=0x28`;
    const told = await send(audited.container.node, words);
    assert.deepEqual([told?.["set-priority"], told?.["send-0"]], [0, 0]);
    const [packet] = await lab.far.wait(({ destination }) => destination === port);
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
        const held = await lab.exchange(
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
    const byte = await lab.exchange(box.container.node, `proto=udp ${where} byte=1 tos=0x2a`);
    assert.equal(byte?.told["asked-tos"], 0x4a);
    for (const packet of byte.packets) assert.equal(packet.dscp, 18);
    const round = await lab.exchange(
      box.container.node,
      `proto=udp connect=1 count=2 ${where} how=int80 late-tos=0x28`,
    );
    if (!round) test.skip("this kernel has no 32-bit calls");
    else assert.equal(round.told["sent-tos"], 0x28, "the packets have it, so it is the truth");
  });
});

describe("nested containers", () => {
  it("have their own marking where they have one, and their parent's where not", async () => {
    const parent = await lab.cell(["pod"], policy("20701-20709", { marking: MARKS }));
    const own = await lab.cell(
      ["pod", "own"],
      policy("20702", { marking: { ...MARKS, dscp: 8, mark: { value: 0x20, mask: 0xff }, priority: 1 } }),
      parent,
    );
    const plain = await lab.cell(["pod", "plain"], policy("20703"), parent);
    for (const [{ container }, expected] of [
      [parent, [18, 0x10, 3]],
      [own, [8, 0x20, 1]],
      [plain, [18, 0x10, 3]],
    ] as const) {
      const name = container.name;
      for (const words of ["tcp", "udp", "udp connect=1 count=2"]) {
        for (const { words: where } of TARGETS) {
          const options = "tos=0x28 tclass=0x28 mark=5 priority=5";
          const port = lab.nextPort;
          lab.nextPort = name === "pod" ? 20701 : name === "pod.own" ? 20702 : 20703;
          lab.far.packets.length = 0;
          const held = await lab.exchange(container.node, `proto=${words} ${where} ${options}`);
          lab.nextPort = port;
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
    const one = await lab.cell(["updated"], policy("20710"));
    const words = `proto=udp family=4 to=${THERE[4]}`;
    const mark = async (): Promise<[number, number, number] | undefined> => {
      const port = lab.nextPort++;
      const told = await send(one.container.node, `${words} port=${port}`);
      assert.equal(told?.["send-0"], 0);
      const [packet] = await lab.far.wait(({ destination }) => destination === port);
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
