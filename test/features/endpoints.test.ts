/** Endpoints in the kernel: what programs find for a destination, while sets change under them. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { EndpointDirectory } from "../../isolator/cluster/directory.js";
import { HostAddresses } from "../../isolator/cluster/host-addresses.js";
import { ClaimMap, type SourceSink } from "../../isolator/cluster/source.js";
import { writeClasses } from "../../isolator/containers/owner-classes.js";
import { PortTable } from "../../isolator/containers/port-table.js";
import { parseAddress } from "../../isolator/features/addresses.js";
import { classId, formatClasses } from "../../isolator/features/classes.js";
import {
  decodeFound,
  encodeQuestion,
  keyOf,
  placeOf,
  type FoundEndpoint,
  type Place,
} from "../../isolator/features/endpoints.js";
import { EndpointTable, shareEndpoints } from "../../isolator/kernel/endpoint-table.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { ask } from "../../isolator/kernel/query.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();

const NAMES = ["web", "db", "batch", "dns", "corp"];
const TCP = 6;
const UDP = 17;
const programs = Programs.trial();
const warnings: string[] = [];
const table = new EndpointTable(programs);
const directory = new EndpointDirectory(table, (message) => warnings.push(message));
const [config, file, master] = ["static", "file", "master"].map((name, i) => directory.sink(name, i)) as [
  SourceSink,
  SourceSink,
  SourceSink,
];
after(() => {
  directory.stop();
  programs.close();
});

const shell = (line: string): string => sh("/bin/sh", "-ec", line);

function find(address: string, port: number, protocol = TCP): FoundEndpoint {
  const bytes = parseAddress(address);
  assert.ok(bytes, address);
  return decodeFound(ask(programs.query("endpoint_query"), encodeQuestion(bytes, port, protocol)), NAMES);
}

const classesAt = (address: string, port: number, protocol = TCP): string =>
  formatClasses(find(address, port, protocol).classes);

function claims(entries: readonly (Place & { class: string })[]): ClaimMap {
  const map = new ClaimMap();
  for (const entry of entries) map.add(keyOf(entry), { classes: [{ name: entry.class }], task: "" });
  return map;
}

async function say(sink: SourceSink, entries: readonly (Place & { class: string })[]): Promise<void> {
  sink.replace(claims(entries));
  await directory.settled();
}

describe("endpoints", () => {
  it("are found by protocol, address and port, IPv4 and IPv6, and by nothing else", async () => {
    await say(config, [
      { address: "10.1.2.3", port: 80, protocol: "tcp", class: "web" },
      { address: "10.1.2.3", port: 53, protocol: "udp", class: "dns" },
      { address: "10.1.2.3", port: 9000, class: "batch" },
      { address: "fd00::1", port: 80, protocol: "tcp", class: "db" },
    ]);
    assert.equal(classesAt("10.1.2.3", 80), "web");
    assert.equal(classesAt("::ffff:10.1.2.3", 80), "web");
    assert.equal(classesAt("10.1.2.3", 80, UDP), "none");
    assert.equal(classesAt("10.1.2.3", 53), "none");
    assert.equal(classesAt("10.1.2.3", 53, UDP), "dns");
    for (const protocol of [TCP, UDP]) assert.equal(classesAt("10.1.2.3", 9000, protocol), "batch");
    assert.equal(classesAt("10.1.2.4", 80), "none");
    assert.equal(classesAt("10.1.2.3", 81), "none");
    assert.equal(classesAt("fd00::1", 80), "db");
    assert.equal(classesAt("fd00::2", 80), "none");
    assert.equal(find("10.1.2.3", 80).origin, "an endpoint");
    assert.equal(find("10.1.2.3", 80).local, false);
  });

  it("may be whole addresses and blocks: what says more of a destination wins", async () => {
    await say(config, [
      { address: "10.0.0.0/8", class: "corp" },
      { address: "10.1.0.0/16", class: "batch" },
      { address: "10.1.2.3", class: "db" },
      { address: "10.1.2.3", port: 80, class: "web" },
      { address: "fd00::/8", class: "corp" },
    ]);
    assert.equal(classesAt("10.1.2.3", 80), "web");
    assert.equal(classesAt("10.1.2.3", 81), "db");
    assert.equal(classesAt("10.1.2.4", 80), "batch");
    assert.equal(classesAt("10.2.0.1", 80), "corp");
    assert.equal(classesAt("11.0.0.1", 80), "none");
    assert.equal(classesAt("fd12::1", 1), "corp");
    assert.equal(find("10.1.2.3", 81).origin, "a whole address");
    assert.equal(find("10.1.2.4", 80).origin, "a block of addresses");
  });

  it("of several sources are what the first says; of one, what the newest task says, till it is gone", async () => {
    const place = { address: "10.9.9.9", port: 80 };
    const key = keyOf(place);
    await say(config, []);
    await say(file, [{ ...place, class: "db" }]);
    await say(master, [{ ...place, class: "web" }]);
    assert.equal(classesAt("10.9.9.9", 80), "db");
    await say(file, []);
    assert.equal(classesAt("10.9.9.9", 80), "web");
    await say(config, [{ ...place, class: "batch" }]);
    assert.equal(classesAt("10.9.9.9", 80), "batch");
    await say(config, []);
    master.add(key, { classes: [{ name: "dns" }], task: "f/second" });
    await directory.settled();
    assert.equal(classesAt("10.9.9.9", 80), "dns");
    assert.deepEqual(directory.counts("master"), { endpoints: 1, duplicates: 1 });
    master.remove(key, "f/second");
    await directory.settled();
    assert.equal(classesAt("10.9.9.9", 80), "web");
    master.remove(key, "f/unknown");
    master.remove(key, "");
    await directory.settled();
    assert.equal(classesAt("10.9.9.9", 80), "none");
  });

  it("keep what is only claimed apart, and the first four classes", async () => {
    const [key, other] = [keyOf({ address: "10.4.4.4", port: 1 }), keyOf({ address: "10.4.4.4", port: 2 })];
    file.add(key, { classes: [{ name: "web", claimed: true }, { name: "db" }], task: "" });
    file.add(other, { classes: NAMES.map((name) => ({ name })), task: "" });
    await directory.settled();
    assert.equal(classesAt("10.4.4.4", 1), "web (claimed), db");
    assert.equal(classesAt("10.4.4.4", 2), "web, db, batch, dns");
    assert.match(
      warnings.splice(0).join(),
      /^an endpoint: it is in 5 classes, .* first 4 of them: not corp$/,
    );
    assert.equal(new Set(NAMES.map(classId)).size, NAMES.length);
  });

  it("of this host are the owner's of the port, by whatever local address; else what the cluster says of the host", async () => {
    shell(
      "ip link add bridge0 type bridge && ip addr add 172.30.0.1/24 dev bridge0 && ip link set bridge0 up",
    );
    shell(
      "ip addr add 192.0.2.7/32 dev lo && ip -6 addr add fd77::7/128 dev lo && ip route add local 198.51.100.0/24 dev lo",
    );
    const addresses = new HostAddresses(programs.map("host_addresses"));
    after(() => {
      addresses.stop();
    });
    const [owner, classless] = [77n, 88n];
    new PortTable(programs.map("port_owners")).claim(
      [{ begin: 31000, end: 31000 }],
      [owner],
      () => undefined,
    );
    new PortTable(programs.map("port_owners")).claim(
      [{ begin: 31001, end: 31001 }],
      [classless],
      () => undefined,
    );
    writeClasses(programs, owner, [{ name: "web" }]);
    await say(file, [
      { address: "192.0.2.7", port: 31001, class: "batch" },
      { address: "192.0.2.7", port: 31002, class: "dns" },
      { address: "127.0.0.1", port: 8125, protocol: "udp", class: "corp" },
      { address: "10.1.1.1", port: 31000, class: "db" },
    ]);
    table.setHost(parseAddress("192.0.2.7"));
    const local = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "192.0.2.7", "fd77::7"];
    for (const address of [...local, "172.30.0.1", "198.51.100.200", "::ffff:127.0.0.1"]) {
      const found = find(address, 31000);
      assert.deepEqual(
        [address, formatClasses(found.classes), found.local, found.owner],
        [address, "web", true, owner],
      );
      // Its owner is in no class as far as this host knows: the master sees labels of a pod's tasks.
      assert.equal(classesAt(address, 31001), "batch", address);
      assert.equal(find(address, 31001).owner, classless);
      assert.equal(classesAt(address, 31002), "dns", address);
    }
    assert.equal(classesAt("127.0.0.1", 8125, UDP), "corp");
    assert.equal(classesAt("10.1.1.1", 31000), "db", "another host's port of the same number");
    assert.equal(find("172.30.0.2", 31000).local, false);
    shell("ip addr del 192.0.2.7/32 dev lo && ip addr add 192.0.2.8/32 dev lo");
    await until(() => find("192.0.2.8", 31000).local, "a new address is local");
    assert.equal(find("192.0.2.7", 31000).local, false);
    writeClasses(programs, owner, []);
    table.setHost(undefined);
    assert.equal(classesAt("127.0.0.1", 31000), "none");
  });

  it("change as whole sets: programs see one or the other and never less, with single changes among them", async () => {
    const places = Array.from({ length: 3000 }, (_, i) => ({
      address: `10.20.${i >> 8}.${i & 255}`,
      port: 80,
    }));
    const all = (name: string): ClaimMap => claims(places.map((place) => ({ ...place, class: name })));
    await say(config, []);
    await say(file, []);
    await say(
      master,
      places.map((place) => ({ ...place, class: "web" })),
    );
    const seen = new Set<string>();
    let looks = 0;
    let churn = "";
    let swaps = 0;
    for (const name of ["db", "web", "db", "web"]) {
      master.replace(all(name));
      const state = { settled: false };
      void directory.settled().then(() => (state.settled = true));
      // The first and the last of a set are of the same set.
      while (!state.settled) {
        const [first, last] = [classesAt("10.20.0.0", 80), classesAt("10.20.11.183", 80)];
        seen.add(first);
        if (first !== last)
          assert.equal(classesAt("10.20.0.0", 80), last, "a set was used before it was whole");
        looks++;
        churn = keyOf({ address: "10.21.0.1", port: 1 + (looks % 1000) });
        master.add(churn, { classes: [{ name: "batch" }], task: "" });
        await new Promise(setImmediate);
      }
      swaps++;
      assert.equal(classesAt("10.20.0.0", 80), name);
      await directory.settled();
      assert.equal(
        classesAt("10.21.0.1", placeOf(churn).port ?? 0),
        "batch",
        "what changed meanwhile is in it",
      );
    }
    assert.deepEqual([...seen].sort(), ["db", "web"], `${looks} looks at ${swaps} sets`);
  });

  it("grow beyond the room that a set was made with, 10,000 changes at a time", async () => {
    await say(master, []);
    for (let i = 0; i < 10_000; i++)
      master.add(keyOf({ address: `10.30.${i >> 8}.${i & 255}`, port: 443 }), {
        classes: [{ name: "web" }],
        task: "",
      });
    await directory.settled();
    assert.equal(classesAt("10.30.0.0", 443), "web");
    assert.equal(classesAt("10.30.39.15", 443), "web");
    for (let i = 0; i < 10_000; i++)
      master.remove(keyOf({ address: `10.30.${i >> 8}.${i & 255}`, port: 443 }), "");
    await directory.settled();
    assert.equal(classesAt("10.30.0.0", 443), "none");
    assert.equal(classesAt("10.30.39.15", 443), "none");
    assert.equal(directory.problem, undefined);
    assert.deepEqual(warnings, []);
  });

  it("stay while no process looks after them, and are what the next one begins with", async () => {
    await say(config, []);
    await say(master, [
      { address: "10.40.0.1", port: 80, class: "web" },
      { address: "10.40.0.0/16", class: "corp" },
    ]);
    const next = new EndpointDirectory(new EndpointTable(programs), (message) => warnings.push(message));
    const [first, second] = [next.sink("static", 0), next.sink("master", 1)];
    next.keepLeft(NAMES);
    first.replace(claims([{ address: "10.40.0.9", port: 80, class: "db" }]));
    await next.settled();
    assert.equal(classesAt("10.40.0.1", 80), "web", "the master has not said anything yet");
    assert.equal(classesAt("10.40.0.2", 80), "corp");
    assert.equal(classesAt("10.40.0.9", 80), "db");
    second.replace(claims([{ address: "10.40.0.2", port: 80, class: "batch" }]));
    await next.settled();
    assert.equal(classesAt("10.40.0.1", 80), "none");
    assert.equal(classesAt("10.40.0.2", 80), "batch");
    // Programs of another layout begin with the same sets, and classes of nobody's are not made up.
    const others = Programs.trial();
    try {
      shareEndpoints(programs, others);
      const bytes = parseAddress("10.40.0.2");
      assert.ok(bytes);
      const answer = ask(others.query("endpoint_query"), encodeQuestion(bytes, 80, TCP));
      assert.equal(formatClasses(decodeFound(answer, NAMES).classes), "batch");
    } finally {
      others.close();
    }
    const last = new EndpointDirectory(new EndpointTable(programs), (message) => warnings.push(message));
    last.keepLeft(NAMES);
    await last.settled();
    assert.equal(classesAt("10.40.0.2", 80), "none", "no source is configured any more");
    for (const each of [next, last]) each.stop();
    assert.deepEqual(warnings, []);
  });

  it("are keys that can be read back", () => {
    for (const place of [
      { address: "10.1.2.3", port: 80, protocol: "tcp" },
      { address: "fd00::1", port: 65535, protocol: "udp" },
      { address: "10.1.2.3", port: 1 },
      { address: "fd00::1" },
      { address: "10.0.0.0/8" },
      { address: "fd00::/8" },
      { address: "0.0.0.0/0" },
    ] as const)
      assert.deepEqual(placeOf(keyOf(place)), place);
  });
});
