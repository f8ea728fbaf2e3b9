/** Configuration files, good and bad: what they mean, and what is said of each mistake and where. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError, MAX_CONFIG_SIZE, parseConfig } from "../../isolator/config/load.js";
import { ConfigSchema, type Config } from "../../isolator/config/schema.js";
import { checkInstanceName } from "../../isolator/containers/names.js";

const DEFAULTS: Config = {
  enforce: "on",
  ephemeral: "allow",
  allowProtocols: [],
  sockets: {},
  connectErrno: "EAGAIN",
  remap: "on",
  netRaw: "keep",
  cgroup: { mode: "auto", agentRoot: "mesos" },
  trustedRoles: [],
  exemptions: [],
  classes: [],
  marking: [],
  markingDevices: [],
  statistics: { interval: 10 },
  operator: { hosts: [] },
  files: [],
  endpoints: { static: [] },
  egress: { rules: [], byDefault: "allow", errno: "EPERM", exceptions: ["agent", "dns"], existing: "keep" },
  services: { static: [], claims: [], domain: "l4lb" },
};

function read(text: string | Buffer): Config {
  return parseConfig(Buffer.from(text), "f.yaml").config;
}

/** All that is wrong, without the file's name. */
function problems(text: string | Buffer): string[] {
  try {
    parseConfig(Buffer.from(text), "f.yaml");
  } catch (error) {
    assert(error instanceof ConfigError);
    assert.equal(error.code, "bad-config");
    return error.problems.map((line) => line.replace(/^f\.yaml:/, ""));
  }
  assert.fail(`accepted: ${text.toString()}`);
}

describe("a good file", () => {
  it("may set nothing at all", () => {
    for (const text of ["", "\n", "# nothing\n", "---\n", "---\n# nothing\n...\n", "{}", "\ufeff", "~\n"]) {
      assert.deepEqual(read(text), DEFAULTS, JSON.stringify(text));
    }
  });

  it("may set everything", () => {
    const text = `
instance: blue
enforce: audit
ephemeral: deny
allow_protocols: [sctp, dccp, sctp]
judge: agent_range
agent_ports: 31000-32000
sockets: {raw: deny, packet: allow, xdp: deny}
escape: allow
net_raw: take
cgroup: { mode: agent, agent_root: mesos/one }
remap: off
trusted_roles: [ops, "*"]
exemptions:
  - match: { role: storage, labels: { a: b, "c d": "" } }
    enforce: off
  - match: { framework_id: f, executor_id: e }
    enforce: audit
classes:
  - { name: shop, match: { app_id: /shop/** } }
  - { name: prod-1, match: { role: prod, framework_id: g, labels: { tier: production } } }
marking:
  - { class: prod-1, dscp: af21, mark: 0x10/0xff, priority: 3, change: deny, wrong_dscp: drop }
  - { class: shop, dscp: 46, mark: 0x1F }
  - { priority: 0 }
marking_devices: [eth0]
statistics: { interval: 2.5, rates: { window: 60, interval: 0.5 } }
operator: { address: "[::1]:5059", hosts: [node1.example], token_file: /etc/token }
files:
  - { class: shop, deny: [/etc/mesos/], readonly: [//etc], allow: [/etc/ssl], errno: EPERM }
`;
    const expected: Config = {
      instance: "blue",
      enforce: "audit",
      ephemeral: "deny",
      allowProtocols: ["sctp", "dccp"],
      sockets: { raw: "deny", packet: "allow", xdp: "deny" },
      escape: "allow",
      netRaw: "take",
      cgroup: { mode: "agent", agentRoot: "mesos/one" },
      remap: "off",
      judged: { begin: 31000, end: 32000 },
      connectErrno: "EAGAIN",
      trustedRoles: ["ops", "*"],
      markingDevices: ["eth0"],
      exemptions: [
        {
          role: "storage",
          labels: [
            ["a", "b"],
            ["c d", ""],
          ],
          enforce: "off",
        },
        { frameworkId: "f", executorId: "e", labels: [], enforce: "audit" },
      ],
      classes: [
        { name: "shop", match: { appId: "/shop/**", labels: [] } },
        { name: "prod-1", match: { role: "prod", frameworkId: "g", labels: [["tier", "production"]] } },
      ],
      marking: [
        {
          ...{ class: "prod-1", dscp: 18, mark: { value: 16, mask: 255 }, priority: 3 },
          ...{ change: "deny", wrongDscp: "drop" },
        },
        {
          ...{ class: "shop", dscp: 46, mark: { value: 31, mask: 0xffffffff } },
          ...{ change: "ignore", wrongDscp: "count" },
        },
        { priority: 0, change: "ignore", wrongDscp: "count" },
      ],
      statistics: { interval: 2.5, rates: { window: 60, interval: 0.5 } },
      operator: {
        address: { ip: "::1", port: 5059 },
        hosts: ["node1.example"],
        tokenFile: "/etc/token",
      },
      files: [
        {
          class: "shop",
          rules: [
            { path: "/etc", mode: "readonly" },
            { path: "/etc/mesos", mode: "deny" },
            { path: "/etc/ssl", mode: "allow" },
          ],
          errno: "EPERM",
        },
      ],
      endpoints: { static: [] },
      services: { static: [], claims: [], domain: "l4lb" },
      egress: {
        rules: [],
        byDefault: "allow",
        errno: "EPERM",
        exceptions: ["agent", "dns"],
        existing: "keep",
      },
    };
    assert.deepEqual(read(text), expected);
    assert.deepEqual(read(text.replaceAll("\n", "\r\n")), expected);
  });

  it("has words, not truth values, for on and off, whatever YAML it says to be", () => {
    const text = "enforce: on\nexemptions: [{ match: { role: yes }, enforce: off }]\n";
    for (const head of ["", "%YAML 1.2\n---\n", "%YAML 1.1\n---\n"]) {
      const { enforce, exemptions } = read(head + text);
      assert.deepEqual([enforce, exemptions[0]?.enforce, exemptions[0]?.role], ["on", "off", "yes"], head);
    }
  });

  it("judges one port, several ranges that are one, and all where it says all", () => {
    const judged = (ports: string): unknown => read(`judge: agent_range\nagent_ports: ${ports}\n`).judged;
    assert.deepEqual(judged('"31000"'), { begin: 31000, end: 31000 });
    assert.deepEqual(judged("31000-31500,31501-32000"), { begin: 31000, end: 32000 });
    assert.equal(read("judge: all\n").judged, undefined);
  });

  it("takes the instance names that an instance takes", () => {
    const names = [
      "a",
      "A-b_9",
      "x".repeat(64),
      "x".repeat(65),
      "",
      "-a",
      "_a",
      "a.b",
      "a/b",
      "..",
      "a b",
      "é",
      "a\n",
    ];
    for (const name of names) {
      let valid = true;
      try {
        checkInstanceName(name);
      } catch {
        valid = false;
      }
      assert.equal(ConfigSchema.safeParse({ instance: name }).success, valid, JSON.stringify(name));
    }
  });
});

/** What is said of one mistake. */
const MISTAKES: [text: string, said: string][] = [
  [
    "ephemerl: deny\n",
    `1:1: ephemerl: unknown key (did you mean ephemeral?); allowed here: ${Object.keys(ConfigSchema.shape).join(", ")}`,
  ],
  ["sockets: {raw: no}\n", '1:16: sockets.raw: "no" is not allowed: give allow or deny'],
  ["enforce: onn\n", '1:10: enforce: "onn" is not allowed: give on or audit (did you mean on?)'],
  ["ephemeral: none\n", '1:12: ephemeral: "none" is not allowed: give allow, clients or deny'],
  ["ephemeral: false\n", "1:12: ephemeral: is a boolean, false: give allow, clients or deny"],
  ["enforce:\n", "1:1: enforce: is empty: give on or audit, or leave the key out"],
  ["allow_protocols: sctp\n", "1:18: allow_protocols: is text: give a list, as in [a, b]"],
  ["allow_protocols: [sctp, tcp]\n", '1:25: allow_protocols[1]: "tcp" is not allowed: give sctp or dccp'],
  [
    "instance: a/b\n",
    "1:11: instance: is not a name of an instance: give 1 to 64 letters, digits, '_' and '-', beginning with a letter or digit",
  ],
  ["instance: 7\n", '1:11: instance: is a number, 7: give text, with quotes: "7"'],
  [
    "judge: agent_range\n",
    "1:8: judge: agent_range needs agent_ports: give the agent's ports, as in agent_ports: 31000-32000",
  ],
  [
    "agent_ports: 31000-32000\n",
    "1:14: agent_ports: has no effect unless judge is agent_range: give judge: agent_range, or leave agent_ports out",
  ],
  [
    "judge: agent_range\nagent_ports: 31000-32000,33000\n",
    "2:14: agent_ports: has several ranges: give one, as in 31000-32000",
  ],
  [
    "judge: agent_range\nagent_ports: 0-70000\n",
    '2:14: agent_ports: bad ports "0-70000": 0 is not between 1 and 65535. Give ports and ranges, as in 31000-31005,31010',
  ],
  ["trusted_roles: ['']\n", "1:17: trusted_roles[0]: is empty: give a name"],
  [
    "exemptions:\n  - match: {}\n    enforce: off\n",
    "2:12: exemptions[0].match: is empty, which would match every container: give role, framework_id, executor_id or labels",
  ],
  [
    "exemptions:\n  - match:\n      Framework-ID: x\n      role: a\n    enforce: off\n",
    "3:7: exemptions[0].match.Framework-ID: unknown key (did you mean framework_id?); allowed here: role, framework_id, executor_id, labels",
  ],
  ["exemptions:\n  - match: { role: a }\n", "2:5: exemptions[0].enforce: is missing: give off or audit"],
  [
    "exemptions:\n  - match: { role: a }\n    enforce: on\n",
    '3:14: exemptions[0].enforce: "on" is not allowed: give off or audit',
  ],
  [
    "exemptions: [{ match: { role: a, labels: { v: 1 } }, enforce: off }]\n",
    '1:47: exemptions[0].match.labels.v: is a number, 1: give text, with quotes: "1"',
  ],
  [
    'exemptions: [{ match: { role: a, labels: { "a b": [] } }, enforce: off }]\n',
    '1:51: exemptions[0].match.labels["a b"]: is a list: give text',
  ],
  [
    "exemptions: [{ match: { role: a, labels: {} }, enforce: off }]\n",
    "1:42: exemptions[0].match.labels: is empty: give at least one label",
  ],
  ["- a\n", "1:1: the file is a list: give a map of keys"],
  ["text\n", "1:1: the file is text: give a map of keys"],
  ["enforce: on\nenforce: audit\n", '2:1: "enforce" is given a second time (first in line 1): give it once'],
  [
    "exemptions:\n  - match: { role: a, role: b }\n    enforce: off\n",
    '2:23: "role" is given a second time (first in line 2): give it once',
  ],
  ["exemptions:\n\t- a\n", "2:1: tabs are not allowed as indentation: use spaces"],
  ["a: &a [x]\nb: *a\n", "2:4: aliases (*name) are not read: write the value itself"],
  ["? [a]\n: 1\n", "1:3: a key must be plain text"],
  ["__proto__: {}\n", "1:1: this key is not allowed"],
  ["instance: !x y\n", "1:11: Unresolved tag: !x"],
  ["enforce: on\n---\nenforce: on\n", "2:1: a second document begins here: give one"],
  ["enforce: 'on\n", "2:1: Missing closing 'quote"],
];

describe("a bad file", () => {
  for (const [text, said] of MISTAKES) {
    it(`is told by its place: ${JSON.stringify(text)}`, () => {
      assert.deepEqual(problems(text), [said]);
    });
  }

  it("has all its mistakes told, in their order", () => {
    const text =
      "exemptions:\n  - match: { labels: { a: b } }\n    enforce: of\njudg: all\nephemeral: [1]\nenforce: 1\n";
    assert.deepEqual(
      problems(text).map((line) => /^\d+:\d+: [^:]*/.exec(line)?.[0]),
      [
        "2:12: exemptions[0].match",
        "3:14: exemptions[0].enforce",
        "4:1: judg",
        "5:12: ephemeral",
        "6:10: enforce",
      ],
    );
  });

  it("is named in the error, which is one of the program's own", () => {
    assert.throws(() => parseConfig(Buffer.from("x: 1"), "/etc/f.yaml"), {
      code: "bad-config",
      message: /^the configuration cannot be used:\n\/etc\/f\.yaml:1:1: x: unknown key; allowed here: /,
    });
  });

  it("has no more mistakes told than a person reads", () => {
    const lines = problems(Array.from({ length: 5000 }, (_, i) => `k${i}: 1\n`).join(""));
    assert.equal(lines.length, 51);
    assert.equal(lines.at(-1), " and 4950 more");
  });

  it("is not UTF-8", () => {
    assert.deepEqual(problems(Buffer.from("enforce: on\n# caf\xe9\n", "latin1")), [
      "2:6: it is not UTF-8 text: save it as UTF-8",
    ]);
    assert.deepEqual(problems(Buffer.from("\ufeffenforce: on\n", "utf16le")), [
      "1:1: it is not UTF-8 text: save it as UTF-8",
    ]);
  });

  it("is deeper than the parser's stack", () => {
    for (const unit of ["[", "- ", "{a: ", "? ", "- [", "a: {b: "]) {
      const text = unit.repeat(MAX_CONFIG_SIZE / unit.length);
      assert.match(problems(text).join("\n"), /^1:\d+: nested more than 32 levels deep$/, unit);
    }
  });

  it("would grow by its aliases", () => {
    const lines = ["a0: &a0 [x, x]"];
    for (let i = 1; i < 30; i++) lines.push(`a${i}: &a${i} [*a${i - 1}, *a${i - 1}]`);
    assert.match(problems(lines.join("\n"))[0] ?? "", /aliases/);
    assert.match(problems("a: &a [*a]\n")[0] ?? "", /aliases/);
    assert.match(problems("a: *none\n")[0] ?? "", /aliases/);
    assert.match(problems("<<: { enforce: audit }\n")[0] ?? "", /unknown key/);
  });

  it("lets an exemption by labels or executor id alone stand only beside trusted roles", () => {
    const entry = (match: string): string => `exemptions: [{ match: ${match}, enforce: off }]\n`;
    const alone = ["{ labels: { a: b } }", "{ executor_id: e }", "{ executor_id: e, labels: { a: b } }"];
    for (const match of alone) {
      assert.match(
        problems(entry(match))[0] ?? "",
        /^1:23: exemptions\[0\]\.match: labels and executor_id are/,
      );
      assert.equal(problems(`trusted_roles: []\n${entry(match)}`).length, 1);
      assert.equal(read(`trusted_roles: [ops]\n${entry(match)}`).exemptions.length, 1);
      assert.equal(read(entry(match.replace("{", "{ role: r,"))).exemptions.length, 1);
      assert.equal(read(entry(match.replace("{", "{ framework_id: f,"))).exemptions.length, 1);
    }
  });
});
