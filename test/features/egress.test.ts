/** Egress: real sockets of real programs to hosts near and far, and random rules against what they mean. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { parseEgressOption } from "../../isolator/config/egress.js";
import { parseAddress, parseCidr } from "../../isolator/features/addresses.js";
import type { Membership } from "../../isolator/features/classes.js";
import { compileEgress } from "../../isolator/features/egress-tables.js";
import { decodeExplanation, encodeEgressQuestion } from "../../isolator/features/egress-query.js";
import {
  DEFAULT_RULE,
  egressSet,
  type EgressAction,
  type EgressDestination,
  type EgressPolicy,
  type EgressRule,
} from "../../isolator/features/egress.js";
import { keyOf, placeKey, type Place } from "../../isolator/features/endpoints.js";
import { ask } from "../../isolator/kernel/query.js";
import { Connector, Listener } from "../support/connections.js";
import { TestEndpoints } from "../support/endpoints.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork, makeWayOut, sh } from "../support/network.js";

enterOwnNetwork();
const { instance, cell } = testInstance();
let count = 0;

interface Box extends Cell {
  task: Connector;
}

const rule = (action: EgressAction, to: EgressDestination, name = "test"): EgressRule => ({
  name,
  to,
  action,
});

async function box(egress: EgressPolicy | undefined, ports = "", more = {}): Promise<Box> {
  const made = await cell([`e${count++}`], policy(ports, { ...(egress ? { egress } : {}), ...more }));
  return Object.assign(made, { task: Connector.start(made.container.node) });
}

/** What connect() gives, with no waiting for hosts that never answer. */
async function connect(task: Connector, to: string, port: number, kind = "tcp"): Promise<string> {
  const fd = await task.socket(kind, to.includes(":") ? 6 : 4);
  await task.try(`nonblock ${fd}`);
  const result = await task.try(`connect ${fd} ${to} ${port}`);
  await task.try(`close ${fd}`);
  return result === "EINPROGRESS" ? "ok" : result;
}

async function send(task: Connector, to: string, port: number, kind = "udp", from?: number): Promise<string> {
  const fd = await task.socket(kind, to.includes(":") ? 6 : 4);
  if (from !== undefined)
    assert.equal(await task.try(`bind ${fd} ${to.includes(":") ? "::" : "0.0.0.0"} ${from}`), "ok");
  const result = await task.try(`send ${fd} ${to} ${port}`);
  await task.try(`close ${fd}`);
  return result;
}

const denied = (made: Cell): number => Number(made.container.counts.usage().denied.egress);

let known: TestEndpoints;
before(async () => {
  makeWayOut();
  sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647");
  // The programs stay loaded for as long as there is a container.
  await cell(["keeper"], policy("31900"));
  known = new TestEndpoints(instance);
});
after(() => {
  known.stop();
});

describe("egress by blocks of addresses", () => {
  it("refuses connect() and sends, TCP, UDP, MPTCP, UDP-Lite, IPv4, IPv6 and v4-mapped, and nothing else", async () => {
    const made = await box({
      rules: [
        rule("deny", { cidr: "10.0.0.0/8" }),
        rule("deny", { cidr: "fd00:1::/32", protocol: "tcp", ports: [{ begin: 80, end: 81 }] }),
      ],
      byDefault: "allow",
    });
    const { task } = made;
    for (const kind of ["tcp", "udp", "mptcp"]) {
      assert.equal(await connect(task, "10.1.2.3", 22, kind), "EPERM", kind);
      assert.equal(await connect(task, "::ffff:10.1.2.3", 22, kind), "EPERM", kind);
      assert.equal(await connect(task, "11.1.2.3", 22, kind), "ok", kind);
      assert.equal(await connect(task, "::ffff:11.1.2.3", 22, kind), "ok", kind);
    }
    assert.equal(await connect(task, "fd00:1::5", 80), "EPERM");
    assert.equal(await connect(task, "fd00:1::5", 82), "ok");
    assert.equal(await connect(task, "fd00:1::5", 80, "udp"), "ok");
    assert.equal(await send(task, "10.1.2.3", 53), "EPERM");
    assert.equal(await send(task, "::ffff:10.1.2.3", 53), "EPERM");
    assert.equal(await send(task, "10.1.2.3", 53, "udplite"), "EPERM");
    assert.equal(await send(task, "11.1.2.3", 53), "ok");
    // No hook sees the connect() of a UDP-Lite socket: its packets are looked at.
    for (const [to, result] of [
      ["10.1.2.3", "EPERM"],
      ["::ffff:10.1.2.3", "EPERM"],
      ["11.1.2.3", "ok"],
    ] as const) {
      const fd = await task.socket("udplite", to.includes(":") ? 6 : 4);
      assert.equal(await task.try(`connect ${fd} ${to} 22`), "ok");
      assert.equal(await task.try(`write ${fd}`), result, to);
    }
    const before = denied(made);
    for (const how of ["fast", "ring", "compat"]) {
      const fd = await task.socket();
      const result = await task.try(`${how} ${fd} 10.1.2.3 22`);
      // Not every kernel has io_uring and 32-bit calls.
      assert.ok(result === "EPERM" || (how !== "fast" && result === "ENOSYS"), `${how}: ${result}`);
    }
    assert.ok(denied(made) > before);
    const event = made.poll().at(-1);
    assert.deepEqual([event?.reason, event?.rule, event?.port, event?.audited], [17, 1, 22, 0]);
  });

  it("gives the errno that is asked for", async () => {
    for (const errno of ["ECONNREFUSED", "EHOSTUNREACH"] as const) {
      const { task } = await box({ rules: [], byDefault: "deny", errno });
      assert.equal(await connect(task, "10.1.2.3", 22), errno);
      assert.equal(await send(task, "10.1.2.3", 22), errno);
    }
  });

  it("goes by the first rule that fits: an allowed block in a denied one, and a denied one in that", async () => {
    const { task } = await box({
      rules: [
        rule("deny", { cidr: "10.1.2.0/24" }),
        rule("allow", { cidr: "10.1.0.0/16" }),
        rule("allow", { cidr: "10.0.0.0/8", ports: [{ begin: 443, end: 443 }], protocol: "tcp" }),
        rule("deny", { cidr: "10.0.0.0/8" }),
      ],
      byDefault: "allow",
    });
    for (const [to, port, kind, result] of [
      ["10.1.2.3", 443, "tcp", "EPERM"],
      ["10.1.3.3", 22, "tcp", "ok"],
      ["10.2.0.1", 443, "tcp", "ok"],
      ["10.2.0.1", 443, "udp", "EPERM"],
      ["10.2.0.1", 22, "tcp", "EPERM"],
      ["11.0.0.1", 22, "tcp", "ok"],
    ] as const)
      assert.equal(await connect(task, to, port, kind), result, `${kind} ${to}:${port}`);
  });

  it("lets raw and ping sockets send where the rules do, and counts and reports what is dropped", async () => {
    const made = await box({ rules: [rule("deny", { cidr: "10.0.0.0/8" })], byDefault: "allow" });
    for (const kind of ["ping", "raw"]) {
      const before = denied(made);
      assert.equal(await send(made.task, "11.1.2.3", 0, kind), "ok", kind);
      assert.equal(denied(made), before);
      assert.equal(await send(made.task, "10.1.2.3", 0, kind), "EPERM", kind);
      assert.equal(denied(made), before + 1, kind);
      assert.deepEqual([made.poll().at(-1)?.packet, made.poll().at(-1)?.pid], [1, 0]);
    }
  });

  it("reports what a rule says to report, and what an audited container would be refused, and lets it through", async () => {
    const audited = await box({ rules: [rule("audit", { cidr: "10.0.0.0/8" })], byDefault: "allow" });
    assert.equal(await connect(audited.task, "10.1.2.3", 22), "ok");
    assert.deepEqual(audited.container.counts.egressHits(), [{ rule: 1, denied: 0n, audited: 1n }]);
    assert.equal(audited.container.counts.usage().audited.egress, 1n);
    const soft = await box({ rules: [], byDefault: "deny" }, "", { enforce: "audit" });
    assert.equal(await connect(soft.task, "10.1.2.3", 22), "ok");
    assert.deepEqual(soft.container.counts.egressHits(), [{ rule: DEFAULT_RULE, denied: 0n, audited: 1n }]);
  });

  it("counts by rule", async () => {
    const made = await box({
      rules: [rule("deny", { cidr: "10.0.0.0/8" }), rule("deny", { cidr: "11.0.0.0/8" })],
      byDefault: "deny",
    });
    for (const to of ["10.0.0.1", "11.0.0.1", "11.0.0.1", "12.0.0.1"]) await connect(made.task, to, 1);
    assert.deepEqual(made.container.counts.egressHits(), [
      { rule: 1, denied: 1n, audited: 0n },
      { rule: 2, denied: 2n, audited: 0n },
      { rule: DEFAULT_RULE, denied: 1n, audited: 0n },
    ]);
  });
});

describe("egress and a container's own", () => {
  it("never keeps it from its own ports, by any local address, nor its UDP servers from answering", async () => {
    const made = await box({ rules: [], byDefault: "deny" }, "31500-31501");
    const { task } = made;
    for (const to of ["127.0.0.1", "::1", "192.0.2.1", "0.0.0.0"]) {
      assert.equal(await connect(task, to, 31500, "udp"), "ok", to);
      assert.equal(await connect(task, to, 31900, "udp"), "EPERM", to);
    }
    assert.equal(await connect(task, "10.1.2.3", 31500), "EPERM", "another host's port of the same number");
    const client = createSocket("udp4").bind(0, "127.0.0.1");
    await once(client, "listening");
    after(() => client.close());
    const { port } = client.address();
    const answer = once(client, "message");
    assert.equal(await send(task, "127.0.0.1", port, "udp", 31501), "ok");
    await answer;
    assert.equal(await send(task, "127.0.0.1", port), "EPERM");
  });

  it("leaves connections that exist, whatever the rules become", async () => {
    const server = await Listener.start();
    const made = await box(undefined);
    const { fd, result } = await made.task.connect(server.port);
    assert.equal(result, "ok");
    await made.container.update({ ...made.container.policy, egress: { rules: [], byDefault: "deny" } });
    assert.equal((await made.task.connect(server.port)).result, "EPERM");
    assert.equal(await made.task.try(`write ${fd}`), "ok");
    await made.container.update(policy(""));
    assert.equal((await made.task.connect(server.port)).result, "ok");
    assert.equal(await made.task.try(`write ${fd}`), "ok");
  });

  it("holds for children too, whose own rules hold as well", async () => {
    const parent = await cell(
      [`e${count++}`],
      policy("", { egress: { rules: [rule("deny", { cidr: "10.0.0.0/8" })], byDefault: "allow" } }),
    );
    const child = await cell(
      [...parent.container.id, "c"],
      policy(undefined, {
        egress: { rules: [rule("deny", { cidr: "11.0.0.0/8" })], byDefault: "allow" },
        connections: { total: 1 },
      }),
      parent,
    );
    const task = Connector.start(child.container.node);
    assert.equal(await connect(task, "10.0.0.1", 1), "EPERM");
    assert.equal(await connect(task, "11.0.0.1", 1), "EPERM");
    assert.equal(await connect(task, "12.0.0.1", 1), "ok");
    assert.deepEqual([denied(parent), denied(child)], [1, 1], "each counts its own");
    for (const kind of ["tcp", "udp"]) {
      const fd = await task.socket(kind);
      assert.equal(await task.try(`connect ${fd} 10.0.0.1 1`), "EPERM", kind);
      const held = child.container.counts.connections();
      assert.equal(held?.held, 0, `${kind}: what the parent refuses is not held by the child`);
    }
  });
});

describe("egress by classes", () => {
  const toWeb: EgressPolicy = { rules: [rule("deny", { class: "web" })], byDefault: "allow" };

  it("goes by the cluster's endpoints, and for local ports by their owner's class", async () => {
    await known.replace([
      { address: "10.3.0.1", port: 80, classes: [{ name: "web" }] },
      { address: "10.3.0.2", port: 80, classes: [{ name: "db" }, { name: "web" }] },
      { address: "10.3.0.3", classes: [{ name: "db" }] },
    ]);
    const { task } = await box(toWeb);
    const server = await cell([`e${count++}`], policy("31600", { classes: [{ name: "web" }] }));
    assert.equal(await connect(task, "10.3.0.1", 80), "EPERM");
    assert.equal(await connect(task, "10.3.0.2", 80), "EPERM");
    assert.equal(await connect(task, "10.3.0.1", 81), "ok");
    assert.equal(await connect(task, "10.3.0.3", 80), "ok");
    for (const to of ["127.0.0.1", "::1", "192.0.2.1", "fd99::1", "0.0.0.0"])
      assert.equal(await connect(task, to, 31600, "udp"), "EPERM", to);
    assert.equal(await connect(task, "127.0.0.1", 31900, "udp"), "ok");
    await server.container.update({ ...server.container.policy, classes: [{ name: "db" }] });
    assert.equal(await connect(task, "127.0.0.1", 31600, "udp"), "ok", "its class has changed");
  });

  it("takes nothing from what only claims a class that an allow rule names, and refuses what claims a denied one", async () => {
    await known.replace([
      { address: "10.4.0.1", port: 80, classes: [{ name: "web", claimed: true }] },
      { address: "10.4.0.2", port: 80, classes: [{ name: "web" }] },
    ]);
    const strict = await box({ rules: [rule("allow", { class: "web" })], byDefault: "deny" });
    assert.equal(await connect(strict.task, "10.4.0.1", 80), "EPERM");
    assert.equal(await connect(strict.task, "10.4.0.2", 80), "ok");
    const loose = await box(toWeb);
    assert.equal(await connect(loose.task, "10.4.0.1", 80), "EPERM");
  });

  it("never gives a wrong verdict, nor hurts a connection, while endpoints churn and rules are swapped", async (t) => {
    const fixed = { address: "10.5.0.1", port: 80, classes: [{ name: "web" }] };
    await known.replace([fixed]);
    const server = await Listener.start();
    const made = await box(toWeb);
    const held = await made.task.connect(server.port);
    assert.equal(held.result, "ok");
    const state = { running: true, changes: 0, swaps: 0 };
    const begun = performance.now();
    const churn = (async () => {
      for (let i = 0; state.running; i++) {
        for (let j = 0; j < 1000; j++) {
          const place = { address: `10.6.${i & 255}.${j >> 2}`, port: 80 + (j & 3) };
          known.cluster.add(keyOf(place), { classes: [{ name: "db" }], task: "" });
        }
        await known.directory.settled();
        state.changes += 1000;
        if (i % 8 === 7) await known.replace([fixed]);
        if (i % 4 !== 3) continue;
        const other = rule("deny", { cidr: `10.7.${i & 255}.0/24` });
        const egress: EgressPolicy = { rules: [...toWeb.rules, other], byDefault: "allow" };
        await made.container.update({ ...made.container.policy, egress });
        state.swaps++;
      }
      return performance.now() - begun;
    })();
    for (let i = 0; i < 30 || state.changes < 10_000; i++) {
      assert.equal(await connect(made.task, "10.5.0.1", 80, "udp"), "EPERM");
      assert.equal(await connect(made.task, "10.5.0.1", 81, "udp"), "ok");
      assert.equal(await made.task.try(`write ${held.fd}`), "ok");
    }
    state.running = false;
    const ms = await churn;
    t.diagnostic(`${Math.round((1000 * state.changes) / ms)} changes/s, ${state.swaps} swaps of rules`);
  });
});

/** What rules mean, with no table: the first that fits. */
function meaning(
  egress: EgressPolicy,
  to: Required<Pick<Place, "address" | "port">> & { protocol: "tcp" | "udp" },
  classes: readonly Membership[],
): number {
  const address = parseAddress(to.address) ?? new Uint8Array(16);
  const fits = ({ to: wanted, action }: EgressRule): boolean => {
    if (wanted.protocol !== undefined && wanted.protocol !== to.protocol) return false;
    if (wanted.ports && !wanted.ports.some(({ begin, end }) => to.port >= begin && to.port <= end))
      return false;
    if (wanted.cidr !== undefined) {
      const { address: block, mask } = parseCidr(wanted.cidr);
      if (!address.every((byte, i) => (byte & (mask[i] ?? 0)) === block[i])) return false;
    }
    return (
      wanted.class === undefined ||
      classes.some(({ name, claimed }) => name === wanted.class && (!claimed || action !== "allow"))
    );
  };
  const first = egress.rules.findIndex(fits);
  return first < 0 ? DEFAULT_RULE : first + 1;
}

describe("random rules", () => {
  // A generator of its own, so that a failure can be looked at again.
  let seed = Number(process.env["SEED"] ?? Date.now() % 1e9);
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const NAMES = ["web", "db", "batch"];
  const OCTETS = [0, 1, 2, 127, 128, 255];
  const address = (): string =>
    random(4) === 0
      ? `fd00::${random(3)}:${random(4)}`
      : `10.${pick(OCTETS)}.${pick(OCTETS)}.${pick(OCTETS)}`;

  function block(): string {
    if (random(4) === 0) return pick(["fd00::/8", "fd00::1:0/112", "fd00::1:2", "::/0", "fd00::2:0/111"]);
    const bits = 8 + random(25);
    const bytes = [10, pick(OCTETS), pick(OCTETS), pick(OCTETS)].map(
      (byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff,
    );
    return `${bytes.join(".")}/${bits}`;
  }

  function randomRule(): EgressRule {
    const begin = 1 + random(6);
    return rule(pick(["allow", "deny", "audit"]), {
      ...(random(3) === 0 ? { class: pick(NAMES) } : random(6) === 0 ? {} : { cidr: block() }),
      ...(random(2) === 0
        ? { ports: [{ begin, end: begin + random(3) }, ...(random(2) === 0 ? [{ begin: 9, end: 9 }] : [])] }
        : {}),
      ...(random(3) === 0 ? { protocol: pick(["tcp", "udp"] as const) } : {}),
    });
  }

  it("mean in the kernel what they mean here", async () => {
    const began = seed;
    // One container, so that each round's rules and endpoints follow others that programs remember verdicts of.
    const made = await box({ rules: [], byDefault: "allow" });
    await made.task.try("pin");
    for (let round = 0; round < 15; round++) {
      const egress: EgressPolicy = {
        rules: Array.from({ length: 1 + random(round < 8 ? 6 : 40) }, randomRule),
        byDefault: pick(["allow", "deny"] as const),
      };
      const places = new Map<string, Membership[]>();
      for (let i = 0; i < 30; i++)
        places.set(
          JSON.stringify([address(), 1 + random(9)]),
          NAMES.filter(() => random(2) === 0).map((name) =>
            random(3) === 0 ? { name, claimed: true } : { name },
          ),
        );
      await known.replace(
        [...places].map(([text, classes]) => {
          const [to, port] = JSON.parse(text) as [string, number];
          return { address: to, port, classes };
        }),
      );
      await made.container.update({ ...made.container.policy, egress });
      for (let i = 0; i < 150; i++) {
        const known = random(2) === 0 ? pick([...places.keys()]) : undefined;
        const [to, port] =
          known === undefined ? [address(), 1 + random(12)] : (JSON.parse(known) as [string, number]);
        const protocol = pick(["tcp", "udp"] as const);
        const classes = places.get(JSON.stringify([to, port])) ?? [];
        const wanted = meaning(egress, { address: to, port, protocol }, classes);
        const key = placeKey(parseAddress(to) ?? new Uint8Array(), port, protocol === "tcp" ? 6 : 17);
        const answer = decodeExplanation(
          ask(instance.loaded.query("egress_query"), encodeEgressQuestion(key, egress)),
          NAMES,
        );
        const about = `seed ${began}, round ${round}: ${protocol} ${to}:${port} of ${JSON.stringify(classes)} by ${JSON.stringify(egress)}`;
        assert.equal(answer.rule, wanted, about);
        if (i % 10 !== 0) continue;
        const action = egress.rules[wanted - 1]?.action ?? egress.byDefault;
        const result = action === "deny" ? "EPERM" : "ok";
        assert.equal(await connect(made.task, to, port, protocol), result, about);
        if (protocol === "tcp") continue;
        for (let sends = 0; sends < 2; sends++) assert.equal(await send(made.task, to, port), result, about);
      }
    }
  });
});

describe("rules for egress", () => {
  it("are read from the command line", () => {
    const read = (text: string): EgressDestination => parseEgressOption(text, "deny", "--deny-egress").to;
    assert.deepEqual(read("10.0.0.0/8:22"), { cidr: "10.0.0.0/8", ports: [{ begin: 22, end: 22 }] });
    assert.deepEqual(read("[::1]:33200"), { cidr: "::1", ports: [{ begin: 33200, end: 33200 }] });
    assert.deepEqual(read("[fd00::/8]:80-90"), { cidr: "fd00::/8", ports: [{ begin: 80, end: 90 }] });
    assert.deepEqual(read("10.1.2.3"), { cidr: "10.1.2.3" });
    assert.deepEqual(read("fd00::/8"), { cidr: "fd00::/8" });
    assert.deepEqual(read("class:web:80"), { class: "web", ports: [{ begin: 80, end: 80 }] });
    assert.deepEqual(read("*:25"), { ports: [{ begin: 25, end: 25 }] });
    assert.deepEqual(read("*"), {});
    for (const text of ["", "nonsense", "10.0.0.0/8:x", "10.0.0.1/8", "[::1]:0"])
      assert.throws(() => read(text), { code: "bad-argument" }, text);
  });

  it("that are the same are one set; too many ranges of ports for one block are told", () => {
    const one: EgressPolicy = { rules: [rule("deny", { cidr: "10.0.0.0/8" }, "a")], byDefault: "allow" };
    assert.equal(egressSet(one), egressSet({ ...one, rules: [rule("deny", { cidr: "10.0.0.0/8" }, "b")] }));
    assert.notEqual(egressSet(one), egressSet({ ...one, byDefault: "deny" }));
    const ports = Array.from({ length: 40 }, (_, i) => ({ begin: 2 * i + 1, end: 2 * i + 1 }));
    assert.throws(() => compileEgress({ rules: [rule("deny", { ports })], byDefault: "allow" }), {
      code: "bad-argument",
      message: /ranges of ports .* at most 32/,
    });
  });
});
