/** Marking by destination, and a wrong DSCP that is put right on the device. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { MarkingDevices } from "../../isolator/containers/marking-devices.js";
import { HERE, MARKING, THERE, type Packet } from "../support/capture.js";
import { TestEndpoints } from "../support/endpoints.js";
import { policy, type Cell } from "../support/instance.js";
import {
  MarkingLab,
  marksLate,
  SERVER,
  TCP,
  UDP,
  FIN,
  SYN,
  send,
  seen,
  MAPPED,
  TARGETS,
  PROTOCOLS,
  MARKS,
} from "../support/marking.js";
import { sh } from "../support/network.js";
import { execute, inNode } from "../support/process.js";

const lab = new MarkingLab();
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
    lab.far.host.run("ip", "address", "add", `${GOLD[4]}/24`, "dev", "v1");
    lab.far.host.run("ip", "-6", "address", "add", `${GOLD[6]}/64`, "dev", "v1", "nodad");
    to = await lab.cell(
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
    known = new TestEndpoints(lab.instance);
    await known.replace(
      Object.values(GOLD).map((address) => ({ address, port: SERVER, classes: [{ name: "gold" }] })),
    );
  });
  after(() => {
    known.stop();
  });

  /** @returns all packets, and the last of them */
  async function all(words: string, node = to.container.node): Promise<Packet[] | undefined> {
    const port = lab.nextPort;
    lab.nextPort = Math.max(20750, savedPort);
    const held = await lab.exchange(node, words);
    savedPort = lab.nextPort;
    lab.nextPort = port;
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
      lab.far.packets.length = 0;
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
      const marks = (await lab.far.wait(isOurs, 24)).map(
        ({ destination, mark, priority }) => `${destination - SERVER} ${mark} ${priority}`,
      );
      const expected = ["0 16 3", "0 32 5", "1 16 3"].flatMap((each) => Array<string>(8).fill(each));
      assert.deepEqual(marks.sort(), expected, `IPv${version}`);
    }
  });

  it("is on what a server answers to it, and on raw and ping sockets' packets", async () => {
    const raw = await lab.cell(
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
    const client = lab.far.host.command(
      MARKING,
      "send",
      "proto=tcp",
      "family=4",
      `to=${HERE[4]}`,
      "port=20900",
    );
    assert.equal((await execute(client)).status, 0);
    await closed;
    const isOurs = ({ source, protocol }: Packet): boolean => source === 20900 && protocol === TCP;
    await lab.far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
    for (const packet of lab.far.packets.filter(isOurs))
      assert.deepEqual(seen(packet), packet.flags & SYN ? [0, 0, 0] : [46, 7, 5]);
    for (const [proto, where, expected] of [
      ["raw", THERE[4], [7, 5]],
      ["ping", THERE[4], [7, 5]],
      ["raw", GOLD[4], [0, 0]],
    ] as const) {
      lab.far.packets.length = 0;
      if (!(await send(raw.container.node, `proto=${proto} family=4 to=${where}`))) continue;
      const [packet] = await lab.far.wait(({ protocol, type }) => protocol === 1 && type === 8);
      assert.deepEqual([packet?.mark, packet?.priority], expected, `${proto} ${where}`);
    }
  });
});

describe("a wrong DSCP where the device has the program", () => {
  it("is put right, with its ECN and its checksum, and counted", async () => {
    const rewritten = await lab.cell(
      ["rewrites"],
      policy("20910-20999", { marking: { ...MARKS, wrongDscp: "rewrite" } }),
    );
    const problems: string[] = [];
    const devices = new MarkingDevices(
      lab.instance,
      () => lab.instance.loaded.device("marking_rewrite"),
      (message) => problems.push(message),
    );
    devices.use(["v0", "nothere"]);
    const errors = (): string =>
      /^Ip: \d.*$/m.exec(lab.far.host.run("cat", "/proc/net/snmp"))?.[0]?.split(" ")[4] ?? "";
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
      const port = connected ? SERVER : lab.nextPort++;
      const told = await send(rewritten.container.node, `${words} port=${port}`);
      if (!told) continue;
      const packets = await lab.far.wait(
        ({ source, destination }) => destination === port && (!connected || source === 20911),
        connected ? 2 : 1,
      );
      for (const packet of packets)
        assert.deepEqual([...seen(packet), packet.ecn], [18, 0x10, 3, ecn], words);
      if (!words.includes("plain")) wrong++;
    }
    lab.far.packets.length = 0;
    if (await send(rewritten.container.node, `proto=raw family=4 to=${THERE[4]} header=0x28`)) {
      const [packet] = await lab.far.wait(({ protocol }) => protocol === 253);
      assert.deepEqual(packet && seen(packet), [18, 0x10, 3]);
    }
    assert.equal(errors(), before.errors, "checksums of headers");
    const counted = rewritten.container.counts.usage();
    assert(counted.audited.marking - before.count >= BigInt(wrong));
    assert.equal(counted.denied.marking, 0n);
    // Others' packets are as they are.
    const port = lab.nextPort++;
    await send(undefined, `${udp} cmsg-tos=0x28 port=${port}`);
    const [others] = await lab.far.wait(({ destination }) => destination === port);
    assert.deepEqual([others?.dscp, others?.mark], [10, 0]);
    assert.match(problems.join(), /^marking_devices names nothere, and there is no such network device/);
    assert.match(sh("tc", "filter", "show", "dev", "v0", "egress"), /marking_rewrite/);
    devices.use([]);
    assert.doesNotMatch(sh("tc", "filter", "show", "dev", "v0", "egress"), /marking_rewrite/);
    devices.stop();
  });
});
