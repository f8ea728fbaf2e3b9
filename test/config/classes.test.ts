/** Classes: who is in which, who only says so, and what is said of bad ones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { renderList, summaryToJson } from "../../isolator/cli/list.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import { factsOf, type ContainerFacts } from "../../isolator/config/facts.js";
import { matchesPath } from "../../isolator/config/match.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { Config } from "../../isolator/config/schema.js";
import { formatClasses } from "../../isolator/features/classes.js";
import { codecs, type bpf_isolator } from "../../isolator/mesos/messages.js";
import { problems, yaml } from "../support/config.js";

function container(values: Partial<ContainerFacts> = {}): ContainerFacts {
  const none = { ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0 };
  return { ...none, ...values };
}

/** As `list` shows them. */
function classes(config: Config, values: Partial<ContainerFacts>): string {
  return formatClasses(policyFor(config, container(values)).classes);
}

const CONFIG = yaml(`
trusted_roles: [ops]
classes:
  - { name: production, match: { role: prod, labels: { tier: production } } }
  - { name: shop, match: { framework_id: f, app_id: /shop/** } }
  - { name: batch, match: { labels: { tier: batch } } }
  - { name: cart, match: { app_id: /shop/cart } }
  - { name: prod, match: { role: prod } }
`);

describe("a container", () => {
  it("is in every class that it matches, in the order of the configuration", () => {
    const facts: Partial<ContainerFacts> = {
      roles: ["prod"],
      frameworkId: "f",
      appId: "/shop/cart",
      labels: [
        ["tier", "batch"],
        ["tier", "production"],
      ],
    };
    assert.equal(classes(CONFIG, facts), "production, shop, batch (claimed), cart (claimed), prod");
  });

  it("is in none where it matches none, and then its policy says nothing of classes", () => {
    assert.equal(classes(CONFIG, {}), "none");
    assert(!("classes" in policyFor(CONFIG, container({ roles: ["web"] }))));
  });

  it("is in a class by its labels alone only as one that claims it", () => {
    const labels: ContainerFacts["labels"] = [["tier", "batch"]];
    for (const roles of [[], ["web"], ["ops", "web"], ["ops/team"], ["OPS"]])
      assert.equal(classes(CONFIG, { roles, labels }), "batch (claimed)", roles.join());
    assert.equal(classes(CONFIG, { roles: ["ops"], labels }), "batch");
  });

  it("cannot talk itself into a class that demands a role or a framework", () => {
    const labels: ContainerFacts["labels"] = [
      ["tier", "production"],
      ["role", "prod"],
    ];
    const appId = "/shop/cart";
    for (const roles of [[], ["web"], ["prod", "web"], ["prod/x"], ["Prod"], ["ops"]])
      assert(!/production|shop|prod/.test(classes(CONFIG, { roles, labels, frameworkId: "g" })));
    assert.equal(classes(CONFIG, { appId, frameworkId: "F" }), "cart (claimed)");
  });

  it("is in no class by labels that only look like it, or that are hostile", () => {
    const hostile: ContainerFacts["labels"] = [
      ["tier", "Batch"],
      ["tier", "batch "],
      ["tier", "batch\u0000"],
      ["tier", "b\u0430tch"],
      ["Tier", "batch"],
      ["__proto__", "batch"],
      ["constructor", ""],
      ["tier", "\u001b[2J"],
    ];
    for (const label of hostile) assert.equal(classes(CONFIG, { labels: [label] }), "none");
    const proto = yaml('classes: [{ name: a, match: { labels: { "toString": "" } } }]');
    assert.equal(classes(proto, {}), "none");
  });

  it("has the app id of its DiscoveryInfo, bounded, and a nested one its parent's", () => {
    const facts = (name: string, parent?: ContainerFacts): ContainerFacts => {
      const discovery = name === "" ? {} : { discovery: { name, visibility: "FRAMEWORK" } };
      const ids = { executor_id: { value: "e" }, framework_id: { value: "f" } };
      const whole = { directory: "/", command_info: {}, executor_info: { ...ids, ...discovery } };
      return factsOf(codecs.ContainerConfig.parseJson(JSON.stringify(whole)), "c", parent);
    };
    assert.equal(facts("cart.shop").appId, "/shop/cart");
    assert.equal(facts("x".repeat(1025)).appId, undefined);
    assert.equal(facts("").appId, undefined);
    assert.equal(facts("", container({ appId: "/pod" })).appId, "/pod");
  });
});

describe("a path", () => {
  it("matches by segments", () => {
    const cases: [pattern: string, path: string, matches: boolean][] = [
      ["/shop/cart", "/shop/cart", true],
      ["/shop/cart", "/shop/cart/db", false],
      ["/shop/cart", "/shop", false],
      ["/shop/*", "/shop/cart", true],
      ["/shop/*", "/shop/cart/db", false],
      ["/shop/*", "/shop/", false],
      ["/*/db", "/shop/db", true],
      ["/shop/**", "/shop/cart", true],
      ["/shop/**", "/shop/cart/db", true],
      ["/shop/**", "/shop", false],
      ["/shop/**", "/shopping/cart", false],
      ["/shop/**", "/Shop/cart", false],
      ["/**", "/anything", true],
      ["/a/*/c/**", "/a/b/c/d/e", true],
      ["/a/*/c/**", "/a/b/x/d", false],
    ];
    for (const [pattern, path, matches] of cases)
      assert.equal(matchesPath(pattern, path), matches, `${pattern} ${path}`);
  });
});

describe("a bad class", () => {
  it("is told by its place", () => {
    const text = `classes:
  - { name: "a b", match: { role: x } }
  - { name: a, match: {} }
  - { name: a, match: { executor_id: e } }
  - { name: a, match: { app_id: shop } }
  - { name: b, match: { app_id: /a/**/b } }
  - { match: { app_id: "" } }
`;
    assert.equal(
      problems(text),
      [
        "2:13: classes[0].name: is not a name of a class: give 1 to 64 letters, digits, '_' and '-', beginning with a letter or digit",
        "3:23: classes[1].match: is empty, which would match every container: give role, framework_id, principal, labels or app_id",
        "4:13: classes[2].name: is the name of classes[1] already: give each class one of its own",
        "4:25: classes[2].match.executor_id: unknown key; allowed here: role, framework_id, labels, principal, app_id",
        "5:13: classes[3].name: is the name of classes[1] already: give each class one of its own",
        "5:33: classes[3].match.app_id: is not a path: give one as in /shop/cart, /shop/*/db or /shop/**, where * is one segment and ** at the end all that is below",
        "6:33: classes[4].match.app_id: is not a path: give one as in /shop/cart, /shop/*/db or /shop/**, where * is one segment and ** at the end all that is below",
        "7:5: classes[5].name: is missing: give text",
        "7:24: classes[5].match.app_id: is empty: give a path, as in /shop/**",
      ].join("\n"),
    );
  });

  it("is one of too many", () => {
    const many = Array.from({ length: 1001 }, (_, i) => `  - { name: c${i}, match: { role: r } }`);
    assert.match(problems(`classes:\n${many.join("\n")}\n`), /classes: has too many classes/);
  });
});

describe("what is shown", () => {
  const summary: bpf_isolator.ContainerSummary = {
    container_id: { value: "c" },
    classes: [{ name: "production" }, { name: "b\u001b[2J", claimed: true }],
  };

  it("are classes where there are any, as text and as JSON", () => {
    assert.match(renderList([summary]), /AUDITED {2}CLASSES\n.* production, b\\x1b\[2J \(claimed\)\n/s);
    assert(!renderList([{ container_id: { value: "c" } }]).includes("CLASSES"));
    assert.match(renderUsage(summary), /classes +production, b\\x1b\[2J \(claimed\)\n/);
    assert(!renderUsage({ container_id: { value: "c" } }).includes("classes"));
    assert.deepEqual((summaryToJson(summary) as { classes: unknown }).classes, [
      { name: "production" },
      { name: "b\u001b[2J", claimed: true },
    ]);
  });
});
