/**
 * Counting against the interface: a veth pair between this host and another whose segmentation is switched off in the
 * device, so that its counters are those of real packets, while the hooks still see GSO packets. Everything that
 * crosses belongs to the container.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, Host, sh } from "../support/network.js";
import { DIST, execute, inNode } from "../support/process.js";
import { until } from "../support/wait.js";

const TRAFFIC = join(DIST, "test/helpers/traffic");
const HERE = { 4: "10.99.0.1", 6: "fd99::1" } as const;
const THERE = { 4: "10.99.0.2", 6: "fd99::2" } as const;
const PORT = "31000";
/** The egress hook of 6.1 does not run for an IPv6 listener's SYN-ACK, that of 6.12 does. README.md says so. */
const [major = 0, minor = 0] = release().split(".").map(Number);
const seesSynAck6 = major > 6 || (major === 6 && minor >= 12);

enterOwnNetwork();
const { cell } = testInstance();
let peer: Host;
let box: Cell;
/** Bytes of link header that the device counts a packet: 14, or 0 on kernels whose veth counts without it. */
let linkHeader = 0;

interface Counts {
  rxPackets: number;
  rxBytes: number;
  txPackets: number;
  txBytes: number;
}

/** What crossed the interface, link headers taken off. */
/** Fields of /proc/net/dev after the device's name. */
const FIELDS = { rx_bytes: 1, rx_packets: 2, tx_bytes: 9, tx_packets: 10, tx_dropped: 12 } as const;

function readInterface(field: keyof typeof FIELDS): number {
  const lines = readFileSync("/proc/self/net/dev", "utf8").split("\n");
  const line = lines.find((text) => text.trim().startsWith("v0:"));
  return Number(line?.trim().split(/\s+/)[FIELDS[field]] ?? 0);
}

function interfaceCounts(): Counts {
  const read = readInterface;
  const [rxPackets, txPackets] = [read("rx_packets"), read("tx_packets")];
  return {
    rxPackets,
    rxBytes: read("rx_bytes") - linkHeader * rxPackets,
    txPackets,
    txBytes: read("tx_bytes") - linkHeader * txPackets,
  };
}

function containerCounts(): Counts {
  const { rxPackets, rxBytes, txPackets, txBytes } = box.container.counts.usage();
  return {
    rxPackets: Number(rxPackets),
    rxBytes: Number(rxBytes),
    txPackets: Number(txPackets),
    txBytes: Number(txBytes),
  };
}

function difference(after: Counts, before: Counts): Counts {
  return {
    rxPackets: after.rxPackets - before.rxPackets,
    rxBytes: after.rxBytes - before.rxBytes,
    txPackets: after.txPackets - before.txPackets,
    txBytes: after.txBytes - before.txBytes,
  };
}

/** Waits until nothing has crossed for half a second. */
async function quiet(): Promise<void> {
  let last = -1;
  let since = Date.now();
  await until(() => {
    const { rxPackets, txPackets } = interfaceCounts();
    if (rxPackets + txPackets !== last) since = Date.now();
    last = rxPackets + txPackets;
    return Date.now() - since > 500;
  }, "the interface is quiet");
}

/** Runs a sink and then a sender, one in the container and one on the peer. @returns bytes that the sink received */
async function transfer(sink: readonly string[], sender: readonly string[]): Promise<number> {
  const [file = "", ...args] = sink;
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  // "exit" may come before the last of the output.
  const closed = once(child, "close");
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  while (!output.includes("ready") && child.exitCode === null) await sleep(5);
  const sent = await execute(sender);
  assert.equal(sent.status, 0, sent.stderr);
  await closed;
  return Number(output.split("\n")[1]);
}

/** Both sides' counters of one transfer; what is under way is awaited. */
async function measure(
  run: () => Promise<number>,
): Promise<{ bytes: number; container: Counts; wire: Counts }> {
  const [wire, container, lost] = [interfaceCounts(), containerCounts(), dropped()];
  const bytes = await run();
  await sleep(100);
  // A busy machine's device drops what finds its queue full: sent by the container, and never on the wire.
  if (dropped() > lost) return measure(run);
  return {
    bytes,
    container: difference(containerCounts(), container),
    wire: difference(interfaceCounts(), wire),
  };
}

/** Packets that the device was given and did not send. */
function dropped(): number {
  return readInterface("tx_dropped");
}

const inside = (...words: string[]): string[] => inNode(box.container.node, [TRAFFIC, ...words]);
const outside = (...words: string[]): string[] => peer.command(TRAFFIC, ...words);

before(async () => {
  peer = await Host.create();
  sh("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", `${peer.pid}`);
  const ends = [
    {
      run: (...words: string[]) => sh(words[0] ?? "", ...words.slice(1)),
      device: "v0",
      own: HERE,
      other: THERE,
    },
    { run: (...words: string[]) => peer.run(...words), device: "v1", own: THERE, other: HERE },
  ];
  // Fixed neighbours and no router or multicast chatter: nothing but the transfers crosses.
  for (const { run, device } of ends) {
    run("ip", "link", "set", device, "address", device === "v0" ? "02:00:00:00:00:01" : "02:00:00:00:00:02");
    for (const setting of [
      "accept_ra=0",
      "autoconf=0",
      "router_solicitations=0",
      "accept_dad=0",
      "addr_gen_mode=1",
    ]) {
      run("sysctl", "-qw", `net.ipv6.conf.${device}.${setting}`);
    }
    run("sysctl", "-qw", `net.ipv6.conf.${device}.mldv2_unsolicited_report_interval=10`);
    run("ethtool", "-K", device, "tso", "off", "tx-udp-segmentation", "off", "gro", "on");
  }
  for (const { run, device, own, other } of ends) {
    run("ip", "address", "add", `${own[4]}/24`, "dev", device);
    run("ip", "-6", "address", "add", `${own[6]}/64`, "dev", device, "nodad");
    run("ip", "link", "set", device, "up");
    const mac = device === "v0" ? "02:00:00:00:00:02" : "02:00:00:00:00:01";
    run("ip", "neigh", "replace", other[4], "lladdr", mac, "dev", device, "nud", "permanent");
    run("ip", "neigh", "replace", other[6], "lladdr", mac, "dev", device, "nud", "permanent");
  }
  box = await cell(["box"], policy(PORT));
  await quiet();
  const [size, ip, udp] = [100, 20, 8];
  const before = interfaceCounts();
  await execute([TRAFFIC, "udp-send", THERE[4], "9", `${size}`, "1"]);
  const { txBytes, txPackets } = difference(interfaceCounts(), before);
  assert.equal(txPackets, 1);
  linkHeader = txBytes - size - ip - udp;
  assert([0, 14].includes(linkHeader), `${linkHeader} bytes of link header`);
  await quiet();
});

after(() => {
  peer.close();
});

for (const family of [4, 6] as const) {
  describe(`IPv${family}`, () => {
    it("counts what TCP sends as on the wire, though it leaves the hook in GSO packets", async () => {
      const { bytes, container, wire } = await measure(() =>
        transfer(
          outside("tcp-sink", THERE[family], PORT),
          inside("tcp-send", THERE[family], PORT, "20000000"),
        ),
      );
      assert.equal(bytes, 20_000_000);
      assert(wire.txPackets > 20_000_000 / 1500, "the device must have sent real packets");
      assert.deepEqual(container, wire);
    });

    it("counts what TCP receives", async () => {
      const { bytes, container, wire } = await measure(() =>
        transfer(inside("tcp-sink", HERE[family], PORT), outside("tcp-send", HERE[family], PORT, "20000000")),
      );
      assert.equal(bytes, 20_000_000);
      assert(wire.rxPackets > 20_000_000 / 1500);
      if (family === 6 && !seesSynAck6) {
        wire.txPackets -= 1;
        wire.txBytes -= 80;
      }
      assert.deepEqual(container, wire);
    });

    for (const size of [64, 1400, 1473, 2953, 5000, 60000]) {
      it(`counts datagrams of ${size} bytes, as fragments where they are over the MTU`, async () => {
        const sent = await measure(() =>
          transfer(
            outside("udp-sink", THERE[family], PORT, "50"),
            inside("udp-send", THERE[family], PORT, `${size}`, "50"),
          ),
        );
        assert.equal(sent.bytes, 50 * size);
        assert.deepEqual(sent.container, sent.wire);
        const received = await measure(() =>
          transfer(
            inside("udp-sink", HERE[family], PORT, "50"),
            outside("udp-send", HERE[family], PORT, `${size}`, "50"),
          ),
        );
        assert.equal(received.bytes, 50 * size);
        assert.deepEqual(received.container, received.wire);
      });
    }

    it("counts UDP segments (UDP_SEGMENT) one by one", async () => {
      const { container, wire } = await measure(() =>
        transfer(
          outside("udp-sink", THERE[family], PORT, "500"),
          inside("udp-send", THERE[family], PORT, "5000", "50", "500"),
        ),
      );
      assert.equal(wire.txPackets, 500);
      assert.deepEqual(container, wire);
    });

    it("counts merged datagrams (UDP_GRO) one by one", async () => {
      const { container, wire } = await measure(() =>
        transfer(
          inside("udp-sink", HERE[family], PORT, "500", "gro"),
          outside("udp-send", HERE[family], PORT, "5000", "50", "500"),
        ),
      );
      assert.equal(wire.rxPackets, 500);
      assert.deepEqual(container, wire);
    });

    it("knows a path MTU that is smaller than the device's", async () => {
      const route = family === 4 ? ["ip", "route"] : ["ip", "-6", "route"];
      sh(route[0] ?? "", ...route.slice(1), "replace", THERE[family], "dev", "v0", "mtu", "1300");
      const { container, wire } = await measure(() =>
        transfer(
          outside("udp-sink", THERE[family], PORT, "50"),
          inside("udp-send", THERE[family], PORT, "4000", "50"),
        ),
      );
      sh(route[0] ?? "", ...route.slice(1), "del", THERE[family], "dev", "v0");
      assert.equal(wire.txPackets, 50 * Math.ceil(4008 / (family === 4 ? 1280 : 1248)));
      assert.deepEqual(container, wire);
    });
  });
}
