/** What is said of rules for egress before they are used: those that can never hold, and names that there are not. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { egressProblems } from "../../isolator/config/egress.js";
import { uselessRules, type RuleFrom } from "../../isolator/config/egress-order.js";
import { parseAddress, parseCidr } from "../../isolator/features/addresses.js";
import type { Membership } from "../../isolator/features/classes.js";
import type { EgressAction } from "../../isolator/features/egress.js";

let seed = Number(process.env["SEED"] ?? Date.now() % 1e9);
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;

const BLOCKS = Array.from({ length: 5 }, (_, i) => i).flatMap((i) =>
  Array.from({ length: 2 ** i }, (_, j) => `10.0.0.${j * 2 ** (4 - i)}/${28 + i}`),
);
const CLASSES: Membership[][] = [
  [],
  ...["a", "b"].flatMap((name) => [[{ name }], [{ name, claimed: true } as const]]),
];
const ADDRESSES = [...Array.from({ length: 16 }, (_, i) => `10.0.0.${i}`), "10.1.0.0", "fd00::1"].map(
  (text) => parseAddress(text) ?? new Uint8Array(16),
);
const PLACES = [
  ...[0, 1, 2, 3, 4].flatMap((port) => (["tcp", "udp"] as const).map((protocol) => ({ port, protocol }))),
  { port: undefined, protocol: undefined },
];

function randomRule(name: number): RuleFrom {
  const begin = 1 + random(3);
  const to = pick([0, 0, 1, 2, 2, 2]);
  return {
    name: String(name),
    from: pick(["*", "*", "a", "b"]),
    action: pick<EgressAction>(["allow", "deny", "audit"]),
    to: {
      ...(to === 0
        ? {}
        : to === 1
          ? { class: pick(["a", "b"]) }
          : { cidr: pick([...BLOCKS, "::/1", "8000::/1"]) }),
      ...(random(3) === 0
        ? {
            ports: [
              { begin, end: begin + random(3) },
              { begin: 4, end: 65535 },
            ],
          }
        : {}),
      ...(random(4) === 0 ? { protocol: pick(["tcp", "udp"] as const) } : {}),
    },
  };
}

/** Rules that hold for something, by looking at all that there is. */
function useful(rules: readonly RuleFrom[]): Set<number> {
  const found = new Set<number>();
  const isOf = (classes: readonly Membership[], name: string, action: EgressAction): boolean =>
    classes.some((each) => each.name === name && (!each.claimed || action !== "allow"));
  for (const container of CLASSES) {
    const own = rules.flatMap((rule, i) =>
      rule.from === "*" || isOf(container, rule.from, rule.action) ? { rule, i } : [],
    );
    for (const address of ADDRESSES) {
      const at = own.filter(({ rule }) => {
        if (rule.to.cidr === undefined) return true;
        const { address: block, mask } = parseCidr(rule.to.cidr);
        return address.every((byte, n) => (byte & (mask[n] ?? 0)) === block[n]);
      });
      for (const { port, protocol } of PLACES) {
        const there = at.filter(
          ({ rule: { to } }) =>
            (to.protocol === undefined || to.protocol === protocol) &&
            (to.ports?.some(({ begin, end }) => port !== undefined && port >= begin && port <= end) ?? true),
        );
        for (const classes of CLASSES) {
          const first = there.find(
            ({ rule }) => rule.to.class === undefined || isOf(classes, rule.to.class, rule.action),
          );
          if (first) found.add(first.i);
        }
      }
    }
  }
  return found;
}

describe("rules that can never hold", () => {
  it("are those that hold for nothing, of random rules", () => {
    const began = seed;
    let useless = 0;
    for (let round = 0; round < 400; round++) {
      const rules = Array.from({ length: 2 + random(9) }, (_, i) => randomRule(i));
      const holds = useful(rules);
      const found = uselessRules(rules).map(({ rule }) => rule);
      const wanted = rules.flatMap((_, i) => (holds.has(i) ? [] : [i]));
      useless += wanted.length;
      assert.deepEqual(found, wanted, `seed ${began}, round ${round}: ${JSON.stringify(rules)}`);
    }
    assert.ok(useless > 50, `${useless} in all`);
  });

  it("are told with those before them, among as many rules as there may be, or are in others' classes", () => {
    const rules = Array.from({ length: 4076 }, (_, i) => ({
      from: "*",
      to: { cidr: `10.${i >> 8}.${i & 255}.0/24` },
      action: "deny",
    }));
    const problems = (...more: object[]): [unknown, string][] =>
      egressProblems([...rules, ...more], [{ name: "web", match: { role: "web" } }]).map(
        ({ path, message }) => [path[1], message.replace(/ Put it.*/, "")],
      );
    assert.deepEqual(problems(), []);
    assert.deepEqual(
      problems({ from: "web", to: { cidr: "10.15.200.0/25", ports: "80" }, action: "allow" }),
      [[4076, "can never hold: egress[4040] fits all that it fits."]],
    );
    assert.deepEqual(problems({ from: "*", to: { cidr: "10.0.0.0/22", protocol: "tcp" }, action: "deny" }), [
      [4076, "can never hold: egress[0], egress[1], egress[2], egress[3] together fit all that it fits."],
    ]);
    assert.deepEqual(problems({ from: "*", to: { cidr: "10.0.0.0/8" }, action: "deny" }), []);
    // What only claims to be of the class is granted nothing, and comes to the second.
    const grant = { from: "web", to: "*", action: "allow" };
    assert.deepEqual(problems(grant, { ...grant, action: "deny" }), []);
    assert.deepEqual(problems(grant, grant), [[4077, "can never hold: egress[4076] fits all that it fits."]]);
  });
});
