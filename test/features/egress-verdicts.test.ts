/** What programs remember of verdicts on egress: that they do, and that no change of what a verdict depends on is missed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { EgressAction, EgressDestination, EgressPolicy } from "../../isolator/features/egress.js";
import { keyOf } from "../../isolator/features/endpoints.js";
import { parsePorts } from "../../isolator/features/ports.js";
import { u32Key } from "../../isolator/kernel/codec.js";
import { EPOCH_MAPS } from "../../isolator/kernel/epoch.js";
import { openPinnedMap } from "../../isolator/kernel/pins.js";
import { buildId } from "../../isolator/kernel/object.js";
import { Connector, Listener } from "../support/connections.js";
import { TestEndpoints } from "../support/endpoints.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
let count = 0;

function rules(byDefault: "allow" | "deny", ...list: [EgressAction, EgressDestination][]): EgressPolicy {
  return { rules: list.map(([action, to], i) => ({ name: `rule ${i}`, to, action })), byDefault };
}

/** Of a container with rules: one UDP socket that sends wherever it is told, on one CPU. */
interface Sender extends Cell {
  task: Connector;
  fd: number;
}

async function sender(egress: EgressPolicy, more = {}, ports = ""): Promise<Sender> {
  const made = await cell([`v${count++}`], policy(ports, { egress, ...more }));
  const task = Connector.start(made.container.node);
  assert.equal(await task.try("pin"), "ok");
  return Object.assign(made, { task, fd: await task.socket("udp", 6) });
}

async function send({ task, fd }: Sender, to: string, port: number): Promise<string> {
  const result = await task.try(`send ${fd} ${to.includes(":") ? to : `::ffff:${to}`} ${port}`);
  // Nobody listens there, or no route leads there, which is known after the program has let it through.
  return result === "EINVAL" || result === "ECONNREFUSED" ? "ok" : result;
}

/** Sends until it would be remembered, and once more. */
async function sends(from: Sender, to: string, port: number, wanted: string, why: string): Promise<void> {
  for (let i = 0; i < 3; i++) assert.equal(await send(from, to, port), wanted, `${why}, send ${i + 1}`);
}

let known: TestEndpoints;
before(async () => {
  sh("/bin/sh", "-ec", "ip addr add 192.0.2.1/32 dev lo && ip route add blackhole default");
  await cell(["keeper"], policy("31900"));
  known = new TestEndpoints(instance);
});
after(() => {
  known.stop();
});

const WEB = [{ name: "web" }];

async function told(change: () => void): Promise<void> {
  change();
  await known.directory.settled();
}

const replace = (...places: { address: string; port?: number }[]): Promise<void> =>
  known.replace(places.map((place) => ({ ...place, classes: WEB })));

describe("verdicts that are remembered", () => {
  const toWeb = rules("allow", ["deny", { class: "web" }]);

  it("end with a change of the rules, of endpoints, blocks, owners, their classes, and the host's addresses", async () => {
    await replace();
    const from = await sender(toWeb);
    const web = { classes: WEB, task: "" };
    await sends(from, "10.1.0.1", 80, "ok", "nobody's");
    await told(() => {
      known.cluster.add(keyOf({ address: "10.1.0.1", port: 80 }), web);
    });
    await sends(from, "10.1.0.1", 80, "EPERM", "an endpoint");
    await told(() => {
      known.cluster.remove(keyOf({ address: "10.1.0.1", port: 80 }), "");
    });
    await sends(from, "10.1.0.1", 80, "ok", "an endpoint less");
    await told(() => {
      known.cluster.add(keyOf({ address: "10.1.0.0/24" }), web);
    });
    await sends(from, "10.1.0.1", 80, "EPERM", "a block of endpoints");
    await replace();
    await sends(from, "10.1.0.1", 80, "ok", "other endpoints");
    await replace({ address: "10.1.0.1" });
    await sends(from, "10.1.0.1", 80, "EPERM", "and others");

    const server = await cell([`v${count++}`], policy("31600", {}));
    const update = (more: object): Promise<unknown> =>
      server.container.update({ ...server.container.policy, ...more });
    for (const to of ["127.0.0.1", "::1", "192.0.2.1"]) {
      await update({ classes: [], ports: parsePorts("31600") });
      await sends(from, to, 31600, "ok", `${to}: of a container in no class`);
      await update({ classes: WEB });
      await sends(from, to, 31600, "EPERM", `${to}: its class`);
      await update({ ports: [] });
      await sends(from, to, 31600, "ok", `${to}: nobody's port`);
      await update({ ports: parsePorts("31600") });
      await sends(from, to, 31600, "EPERM", `${to}: its port`);
    }
    await sends(from, "198.51.100.7", 31600, "ok", "another host");
    sh("ip", "addr", "add", "198.51.100.7/32", "dev", "lo");
    await until(
      async () => (await send(from, "198.51.100.7", 31600)) === "EPERM" || undefined,
      "an address of this host",
    );
    sh("ip", "addr", "del", "198.51.100.7/32", "dev", "lo");
    await until(
      async () => (await send(from, "198.51.100.7", 31600)) === "ok" || undefined,
      "an address less",
    );

    for (const [egress, wanted] of [
      [rules("deny"), "EPERM"],
      [rules("deny", ["allow", { cidr: "10.2.0.0/16" }]), "ok"],
      [rules("allow", ["deny", { cidr: "10.2.0.0/16", protocol: "udp" }]), "EPERM"],
      [rules("allow", ["audit", { cidr: "10.2.0.0/16" }]), "ok"],
      [toWeb, "ok"],
    ] as const) {
      await from.container.update({ ...from.container.policy, egress });
      await sends(from, "10.2.0.1", 80, wanted, JSON.stringify(egress));
    }
  });

  it("are each container's: one that owns the port reaches it, and another with the same rules does not", async () => {
    const strict = rules("deny");
    const own = await sender(strict, {}, "31700");
    const other = await sender(strict);
    for (let i = 0; i < 2; i++) {
      await sends(own, "127.0.0.1", 31700, "ok", "its own port");
      await sends(other, "127.0.0.1", 31700, "EPERM", "somebody else's");
    }
    await own.container.update({ ...own.container.policy, ports: [] });
    await sends(own, "127.0.0.1", 31700, "EPERM", "its own no more");
  });

  it("count and report what is denied or reported each time, and not what is allowed", async () => {
    const from = await sender(
      rules("allow", ["audit", { cidr: "10.3.0.0/16" }], ["deny", { cidr: "10.4.0.0/16" }]),
    );
    for (const [to, wanted] of [
      ["10.3.0.1", "ok"],
      ["10.4.0.1", "EPERM"],
      ["10.5.0.1", "ok"],
    ] as const)
      await sends(from, to, 80, wanted, to);
    assert.deepEqual(from.container.counts.egressHits(), [
      { rule: 1, denied: 0n, audited: 3n },
      { rule: 2, denied: 3n, audited: 0n },
    ]);
    assert.equal(from.poll().length, 6);
  });

  it("are told apart by level: a parent's rules hold for a child that is allowed and remembers it", async () => {
    const parent = await cell(
      [`v${count++}`],
      policy("", { egress: rules("allow", ["deny", { cidr: "10.6.0.0/16" }]) }),
    );
    const child = await cell(
      [...parent.container.id, "c"],
      policy(undefined, { egress: rules("allow", ["deny", { cidr: "10.7.0.0/16" }]) }),
      parent,
    );
    const task = Connector.start(child.container.node);
    await task.try("pin");
    const from = Object.assign(child, { task, fd: await task.socket("udp", 6) });
    await sends(from, "10.6.0.1", 80, "EPERM", "the parent's rule");
    await sends(from, "10.7.0.1", 80, "EPERM", "its own rule");
    await sends(from, "10.8.0.1", 80, "ok", "neither's");
    await parent.container.update({ ...parent.container.policy, egress: rules("deny") });
    await sends(from, "10.8.0.1", 80, "EPERM", "the parent's new rules");
    const counts = [parent, child].map((each) => Number(each.container.counts.usage().denied.egress));
    assert.deepEqual(counts, [6, 3], "each counts its own, and the parent not what the child has refused");
  });

  it("are all that is looked at: what changes without an end of the epoch is not seen, and is after it", async () => {
    await replace();
    const from = await sender(toWeb);
    const server = await cell([`v${count++}`], policy("31710", { classes: WEB }));
    const classes = instance.loaded.map("owner_classes");
    const { epoch } = classes;
    assert.ok(epoch);
    for (const name of EPOCH_MAPS) assert.equal(instance.loaded.map(name).epoch, epoch, name);
    const key = new Uint8Array(new BigUint64Array([server.container.cgroupId]).buffer);
    const web = classes.lookup(key);
    assert.ok(web);
    const secretly = (change: () => void): void => {
      classes.epoch = undefined;
      change();
      classes.epoch = epoch;
    };
    secretly(() => classes.delete(key));
    await sends(from, "127.0.0.1", 31710, "ok", "in no class");
    secretly(() => {
      classes.update(key, web);
    });
    await sends(from, "127.0.0.1", 31710, "ok", "it is remembered");
    assert.equal(await send(from, "127.0.0.1", 31900), "ok", "another port");
    epoch.change(() => undefined);
    await sends(from, "127.0.0.1", 31710, "EPERM", "another epoch");

    // As a process leaves it that is killed in a change: nothing is remembered until somebody has made another.
    const value = instance.loaded.map("egress_epoch");
    const isNone = (): boolean => value.lookup(u32Key(0))?.every((byte) => byte === 0) ?? false;
    const threeSends = async (): Promise<string[]> => {
      const results = [];
      for (let i = 0; i < 3; i++) results.push(await send(from, "127.0.0.1", 31710));
      return results;
    };
    const made = await until(async () => {
      value.update(u32Key(0), new Uint8Array(8));
      secretly(() => classes.delete(key));
      const inNone = await threeSends();
      secretly(() => {
        classes.update(key, web);
      });
      const inWeb = await threeSends();
      // Rules that nobody uses any more are removed after a while, which is a change too.
      return isNone() && [inNone, inWeb];
    }, "no other change comes between");
    assert.deepEqual(made, [Array(3).fill("ok"), Array(3).fill("EPERM")], "nothing was remembered");
    assert.throws(
      () =>
        epoch.change(() => {
          throw new Error("in a change");
        }),
      /in a change/,
    );
    assert(!isNone(), "a change that fails is one");

    // Other processes open a map by its pin.
    const before = value.lookup(u32Key(0));
    const pinned = openPinnedMap(instance.name, buildId(), "owner_classes");
    assert.ok(pinned);
    pinned.delete(new Uint8Array(8));
    pinned.close();
    assert.notDeepEqual(value.lookup(u32Key(0)), before);
  });

  it("are never another's, while many threads send on one CPU, connect, and endpoints and rules change", async (t) => {
    const odd = Array.from({ length: 256 }, (_, i) => [i >> 4, i & 15] as const)
      .filter(([high, low]) => (high + low) % 2 === 1)
      .map(([high, low]) => ({ address: `10.9.${high}.${low}` }));
    await replace(...odd);
    const held = await Listener.start();
    const from = await sender(toWeb);
    const kept = await from.task.connect(held.port);
    assert.equal(kept.result, "ok");
    const state = { running: true, changes: 0, swaps: 0 };
    const begun = performance.now();
    const churn = (async () => {
      for (let i = 0; state.running; i++) {
        await told(() => {
          for (let j = 0; j < 4000; j++)
            known.cluster.add(keyOf({ address: `10.10.${i & 3}.${j & 255}`, port: 80 + (j >> 8) }), {
              classes: [{ name: "db" }],
              task: "",
            });
        });
        state.changes += 4000;
        if (i % 32 === 9) await replace(...odd);
        if (i % 8 !== 1) continue;
        const egress = rules(
          "allow",
          ["deny", { class: "web" }],
          ["deny", { cidr: `10.11.${i & 255}.0/24` }],
        );
        await from.container.update({ ...from.container.policy, egress });
        state.swaps++;
      }
      return performance.now() - begun;
    })();
    // An emulated machine would take a minute for as many.
    const wanted = process.env["BPF_ISOLATOR_VM"] === undefined ? 40_000 : 4000;
    for (let i = 0; i < 3 || state.changes < wanted || state.swaps === 0; i++) {
      const threads = [1, 8, 16][i % 3] ?? 1;
      assert.deepEqual(await from.task.tell(`spray ${threads} ${24_000 / threads} 10.9.0.0 80`), [0]);
    }
    state.running = false;
    const ms = await churn;
    assert.deepEqual(await from.task.tell("spray 8 10000 10.9.0.0 80"), [0], "with nothing that changes");
    assert.equal(await from.task.try(`write ${kept.fd}`), "ok");
    t.diagnostic(`${Math.round((1000 * state.changes) / ms)} changes/s, ${state.swaps} swaps of rules`);
  });
});
