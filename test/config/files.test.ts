/** The configuration's rules for files: which are for whom, how paths are written, and what is said of bad ones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { badPaths } from "../../isolator/config/files.js";
import type { ContainerFacts } from "../../isolator/config/facts.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { Config } from "../../isolator/config/schema.js";
import { MAX_FILE_RULES, parseFilePath } from "../../isolator/features/files.js";
import { runIsolator } from "../support/process.js";
import { problems, yaml } from "../support/config.js";

function facts(values: Partial<ContainerFacts>): ContainerFacts {
  return { ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0, ...values };
}

/** The rules of a container: "deny /a, readonly /b (EACCES)". */
function rules(config: Config, values: Partial<ContainerFacts>): string {
  const { files } = policyFor(config, facts(values));
  return files
    ? `${files.rules.map(({ path, mode }) => `${mode} ${path}`).join(", ")} (${files.errno})`
    : "none";
}

const CLASSES = `
classes:
  - { name: production, match: { role: prod } }
  - { name: batch, match: { labels: { tier: batch } } }
  - { name: lax, match: { labels: { tier: lax } } }
`;
const tier = (value: string): ContainerFacts["labels"] => [["tier", value]];

describe("a container's rules for files", () => {
  const config = yaml(`${CLASSES}
trusted_roles: [ops]
files:
  - { class: production, readonly: [/usr], errno: EPERM }
  - { class: batch, deny: [/srv, /etc/keys], readonly: [/etc/mesos], allow: [/etc] }
  - { class: lax, readonly: [/etc/mesos/x], allow: [/etc/mesos] }
  - { deny: [/etc/mesos], readonly: [/etc], allow: [/etc/ssl/certs] }
`);

  it("are those of the first entry that is for it", () => {
    assert.equal(rules(config, { roles: ["prod"] }), "readonly /usr (EPERM)");
    assert.equal(rules(config, {}), "readonly /etc, deny /etc/mesos, allow /etc/ssl/certs (EACCES)");
    assert.equal(
      rules(config, { roles: ["ops"], labels: tier("batch") }),
      "allow /etc, deny /etc/keys, readonly /etc/mesos, deny /srv (EACCES)",
    );
    assert.equal(rules(yaml(CLASSES), { roles: ["prod"] }), "none");
  });

  it("become stricter by a class that it only claims, and never laxer", () => {
    assert.equal(
      rules(config, { roles: ["prod"], labels: tier("batch") }),
      "deny /etc/keys, readonly /etc/mesos, deny /srv, readonly /usr (EPERM)",
    );
    assert.equal(
      rules(config, { labels: tier("batch") }),
      "readonly /etc, deny /etc/keys, deny /etc/mesos, allow /etc/ssl/certs, deny /srv (EACCES)",
    );
    assert.equal(rules(config, { labels: tier("lax") }), rules(config, {}));
  });

  it("become stricter by its labels, and never laxer; bad ones are told", () => {
    const labels: ContainerFacts["labels"] = [
      ["bpf-isolator.deny_path", "/usr/share//keys"],
      ["bpf-isolator.deny_path", "etc"],
      ["bpf-isolator.readonly_path", "/etc/mesos"],
      ["bpf-isolator.readonly_path", "/home"],
      ["bpf-isolator.allow_path", "/etc/mesos"],
    ];
    assert.equal(
      rules(config, { labels }),
      "readonly /etc, deny /etc/mesos, allow /etc/ssl/certs, readonly /home, deny /usr/share/keys (EACCES)",
    );
    assert.equal(rules(yaml(CLASSES), { labels: labels.slice(0, 2) }), "deny /usr/share/keys (EACCES)");
    assert.deepEqual(badPaths(facts({ labels })), [
      'its label bpf-isolator.deny_path is none: bad path "etc": it is relative: give the whole path, beginning with /',
    ]);
  });

  it("are the same policy however they are written", () => {
    const [a, b] = ["files: [{deny: [/b/, //a//c]}]", "files: [{deny: [/a/c, /b, /b]}]"].map((text) =>
      rules(yaml(text), {}),
    );
    assert.equal(a, "deny /a/c, deny /b (EACCES)");
    assert.equal(a, b);
  });
});

describe("a bad rule for files", () => {
  const long = "x".repeat(255);
  for (const [text, expected] of [
    [
      "files: [{deny: [etc]}]",
      '1:17: files[0].deny[0]: bad path "etc": it is relative: give the whole path, beginning with /',
    ],
    ["files: [{deny: ['']}]", '1:17: files[0].deny[0]: bad path "": it is empty'],
    [
      "files: [{deny: [/etc/**]}]",
      '1:17: files[0].deny[0]: bad path "/etc/**": there are no patterns: a directory stands for all that is below it, so give that',
    ],
    [
      "files: [{deny: [/etc/../srv]}]",
      '1:17: files[0].deny[0]: bad path "/etc/../srv": it has ".." in it: give the path without',
    ],
    ['files: [{deny: ["/a\\0b"]}]', '1:17: files[0].deny[0]: bad path "/a\\u0000b": it has a NUL in it'],
    [
      `files: [{deny: [/${long}x]}]`,
      /1:17: files\[0\]\.deny\[0\]: bad path .*: a name in it has more than 255 bytes/,
    ],
    [
      `files: [{deny: [${`/${long}`.repeat(16)}]}]`,
      /1:17: files\[0\]\.deny\[0\]: bad path .*: it has more than 4095 bytes/,
    ],
    [
      "files: [{deny: [/a], readonly: [/a/]}]",
      '1:9: files[0]: bad path "/a": it is in deny and in readonly: give it once',
    ],
    ["files: [{allow: [/a]}]", "1:9: files[0]: refuses nothing: give deny or readonly"],
    [
      "files: [{class: none, deny: [/a]}]",
      '1:17: files[0].class: there is no class "none" in classes, which has none',
    ],
    [
      "files: [{deny: [/a], errno: ENOENT}]",
      '1:29: files[0].errno: "ENOENT" is not allowed: give EACCES or EPERM',
    ],
    ["files: [{deny: [7]}]", /1:17: files\[0\]\.deny\[0\]: /],
  ] as const) {
    it(`is told by its place: ${text.slice(0, 60)}`, () => {
      if (typeof expected === "string") assert.equal(problems(text), expected);
      else assert.match(problems(text), expected);
    });
  }

  it("is one with too many paths", () => {
    const most = Array.from({ length: MAX_FILE_RULES }, (_, i) => `/a/${i}`);
    assert.equal(yaml(`files: [{deny: [${most.join(", ")}]}]`).files[0]?.rules.length, MAX_FILE_RULES);
    assert.match(
      problems(`files: [{deny: [${most.join(", ")}], readonly: [/b]}]`),
      /there are 4097 paths .*: at most 4096/,
    );
  });

  it("is one on the command line too", async () => {
    for (const [args, expected] of [
      [["--deny-path", "etc"], /bad path "etc": it is relative/],
      [["--deny-path", "/a", "--readonly-path", "/a"], /it is in deny and in readonly/],
      [["--allow-path", "/a"], /--allow-path and --path-errno are of use with other rules only/],
    ] as const) {
      const { status, stderr } = await runIsolator(["run", ...args, "--", "true"]);
      assert.equal(status, 125);
      assert.match(stderr, expected);
    }
  });

  it("is none where it has the longest names and paths that there are", () => {
    assert.equal(parseFilePath(`/${long}`).length, 256);
    const path = `${`/${long}`.repeat(15)}/${"y".repeat(254)}`;
    assert.equal(Buffer.byteLength(path), 4095);
    assert.equal(parseFilePath(path), path);
  });
});
