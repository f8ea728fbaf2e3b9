/** The configuration's marking: which rule is for whom, how values are written, and what is said of bad ones. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { renderList, summaryToJson } from "../../isolator/cli/list.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import type { ContainerFacts } from "../../isolator/config/facts.js";
import { badMarks } from "../../isolator/config/marking.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { Config } from "../../isolator/config/schema.js";
import {
  formatMarking,
  parseDscp,
  parseMark,
  parsePriority,
  type MarkingPolicy,
} from "../../isolator/features/marking.js";
import { decodePolicy, encodePolicy } from "../../isolator/features/policy.js";
import type { bpf_isolator } from "../../isolator/mesos/messages.js";
import { policy } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { problems, yaml } from "../support/config.js";

/** The marking of a container in words. */
function marking(config: Config, values: Partial<ContainerFacts>): string {
  const none = { ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0 };
  return formatMarking(policyFor(config, { ...none, ...values }).marking);
}

const CLASSES = `
classes:
  - { name: production, match: { role: prod } }
  - { name: gold, match: { labels: { tier: gold } } }
  - { name: batch, match: { labels: { tier: batch } } }
`;

describe("a container's marking", () => {
  const config = yaml(`${CLASSES}
trusted_roles: [ops]
marking:
  - { class: batch, dscp: CS1 }
  - { class: gold, dscp: EF, mark: 0x20/0xf0 }
  - { class: production, dscp: AF21, mark: 0x10/0xff, priority: 3 }
`);
  const tier = (value: string): ContainerFacts["labels"] => [["tier", value]];

  it("is that of the first rule for a class that it is in", () => {
    assert.equal(marking(config, { roles: ["prod"] }), "DSCP AF21, mark 0x10/0xff, priority 3");
    assert.equal(marking(config, { roles: ["web"] }), "none");
    assert.equal(marking(config, { roles: ["ops"], labels: tier("gold") }), "DSCP EF, mark 0x20/0xf0");
  });

  it("is not to be had by a label, but for one that lowers", () => {
    assert.equal(marking(config, { roles: ["web"], labels: tier("gold") }), "none");
    assert.equal(marking(config, { roles: ["web"], labels: tier("batch") }), "DSCP CS1");
    assert.match(marking(config, { roles: ["prod"], labels: tier("gold") }), /AF21/);
    assert.equal(marking(config, { roles: ["prod"], labels: tier("batch") }), "DSCP CS1");
    for (const values of [
      "dscp: CS1, priority: 7",
      "dscp: CS1, mark: 1",
      "dscp: 0",
      "priority: 0",
      "dscp: 2",
    ]) {
      const other = yaml(`${CLASSES}\nmarking: [{ class: batch, ${values} }]`);
      assert.equal(marking(other, { labels: tier("batch") }), "none", values);
    }
  });

  it("is what labels ask for in trusted roles, and else only if that lowers, over that of its class", () => {
    const labels: ContainerFacts["labels"] = [
      ["bpf-isolator.dscp", "ef"],
      ["bpf-isolator.dscp", "1"],
      ["bpf-isolator.mark", "0x1/0xf"],
      ["bpf-isolator.priority", "7"],
    ];
    assert.equal(marking(config, { roles: ["ops"], labels }), "DSCP EF, mark 0x1/0xf, priority 7");
    assert.equal(
      marking(config, { roles: ["ops"], labels: [...tier("gold"), ...labels.slice(3)] }),
      "DSCP EF, mark 0x20/0xf0, priority 7",
    );
    assert.equal(marking(config, { roles: ["web"], labels }), "none");
    assert.match(marking(config, { roles: ["prod"], labels }), /^DSCP AF21, mark 0x10\/0xff, priority 3$/);
    const lower: ContainerFacts["labels"] = [["bpf-isolator.dscp", "LE"], ...labels.slice(2)];
    assert.equal(marking(config, { roles: ["web"], labels: lower }), "DSCP LE");
    assert.equal(marking(config, { roles: ["prod"], labels: lower }), "DSCP LE, mark 0x10/0xff, priority 3");
    assert.equal(marking(config, { nested: true, labels: lower }), "none", "its parent's is");
    assert.equal(marking(config, { nested: true, roles: ["ops"], labels: lower.slice(0, 1) }), "DSCP LE");
  });

  it("tells of labels that come to nothing", () => {
    const bad = (values: Partial<ContainerFacts>): string[] => {
      const none = { ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0 };
      return badMarks({ ...none, ...values }, ["ops"], undefined);
    };
    const wrong: ContainerFacts["labels"] = [
      ["bpf-isolator.dscp", "64"],
      ["bpf-isolator.mark", "0x100/0xff"],
      ["bpf-isolator.priority", "-1"],
    ];
    assert.deepEqual(bad({ roles: ["ops"], labels: wrong }), [
      'its label bpf-isolator.dscp is none: bad DSCP "64": give 0 to 63, or a name as CS1, AF21 or EF',
      'its label bpf-isolator.mark is none: bad mark "0x100/0xff": its value has bits that are not in its mask',
      'its label bpf-isolator.priority is none: bad priority "-1": give 0 to 2147483647',
    ]);
    const much: ContainerFacts["labels"] = [
      ["bpf-isolator.dscp", "EF"],
      ["bpf-isolator.mark", "1"],
    ];
    assert.deepEqual(bad({ roles: ["ops"], labels: much }), []);
    assert.deepEqual(bad({ roles: ["web"], labels: much }), [
      "its label bpf-isolator.dscp counts in trusted_roles only, but for CS1 and LE",
      "its label bpf-isolator.mark counts in trusted_roles only",
    ]);
    assert.match(bad({ nested: true, labels: [["bpf-isolator.dscp", "CS1"]] }).join(), /has its parent's/);
  });

  it("is that of a rule without a class where no other is before it", () => {
    const all = yaml(`${CLASSES}\nmarking: [{ class: production, dscp: 1 }, { dscp: 0 }]`);
    assert.equal(marking(all, {}), "DSCP DF");
    assert.equal(marking(all, { roles: ["prod"] }), "DSCP LE");
  });
});

describe("a marking by destination", () => {
  const config = yaml(`${CLASSES}
marking:
  - { class: production, to: batch, dscp: CS1 }
  - { class: production, dscp: AF21, mark: 0x10/0xff, change: deny }
  - { class: production, to: { cidr: 10.0.0.0/8, ports: "9000-9001,22", protocol: tcp }, mark: 0x20/0xf0, wrong_dscp: rewrite, dscp: EF }
  - { class: gold, to: gold, priority: 6 }
  - { to: { cidr: "fd00::1" }, priority: 1 }
`);
  const markingIn = (values: Partial<ContainerFacts>): MarkingPolicy | undefined =>
    policyFor(config, {
      ...{ ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0 },
      ...values,
    }).marking;
  const everybodys = { to: { cidr: "fd00::1" }, priority: 1 };

  it("is that of all rules for the container, in their order, beside the one for all destinations", () => {
    assert.deepEqual(markingIn({ roles: ["prod"] }), {
      ...{ dscp: 18, mark: { value: 16, mask: 255 }, change: "deny", wrongDscp: "rewrite" },
      destinations: [
        { to: { class: "batch" }, dscp: 8 },
        {
          to: {
            cidr: "10.0.0.0/8",
            ports: [
              { begin: 22, end: 22 },
              { begin: 9000, end: 9001 },
            ],
            protocol: "tcp",
          },
          ...{ dscp: 46, mark: { value: 32, mask: 240 } },
        },
        everybodys,
      ],
    });
    // A claimed class raises nothing.
    const plain = { destinations: [everybodys], change: "ignore", wrongDscp: "count" };
    assert.deepEqual(markingIn({ roles: ["web"], labels: [["tier", "gold"]] }), plain);
  });

  it("is told by its place where it is wrong", () => {
    const text = `${CLASSES}marking:
  - { to: silver, dscp: 1 }
  - { to: { class: lead, ports: "80" }, dscp: 1 }
  - { to: { class: gold, cidr: 10.0.0.0/8 }, dscp: 1 }
  - { to: { cidr: 10.0.0.0/33 }, dscp: 1 }
  - { to: { cidr: 10.0.0.1, ports: "99999" }, dscp: 1 }
  - { to: gold }
marking_devices: [eth0, a/b]
`;
    const said = problems(text);
    for (const [line, what] of [
      [7, /marking\[0\]\.to: there is no class "silver" in classes/],
      [8, /marking\[1\]\.to\.class: there is no class "lead"/],
      [9, /marking\[2\]\.to: has both a class and a block/],
      [10, /marking\[3\]\.to.*10\.0\.0\.0\/33/],
      [11, /marking\[4\]\.to.*99999/],
      [12, /marking\[5\]: sets nothing/],
      [13, /marking_devices\[1\]: is no name of a network device/],
    ] as const) {
      const found = said.split("\n").filter((problem) => problem.startsWith(`${line}:`));
      assert.equal(found.length, 1, said);
      assert.match(found[0] ?? "", what);
    }
  });
});

describe("values", () => {
  it("are read in all their forms", () => {
    assert.deepEqual(["CS1", "af21", "EF", "0", "63"].map(parseDscp), [8, 18, 46, 0, 63]);
    assert.deepEqual(parseMark("4242"), { value: 4242, mask: 0xffffffff });
    assert.deepEqual(parseMark("0xFFFFFFFF/0xffffffff"), { value: 0xffffffff, mask: 0xffffffff });
    assert.deepEqual(parseMark("0x10/0xff"), { value: 16, mask: 255 });
    assert.deepEqual(parseMark("0/1"), { value: 0, mask: 1 });
    assert.equal(parsePriority("2147483647"), 0x7fffffff);
  });

  it("are refused where they mean nothing", () => {
    for (const text of ["64", "-1", "CS8", "", "1.5", "0x10", "EF ", "AF21\u0000", "x".repeat(10000)])
      assert.throws(() => parseDscp(text), { code: "bad-argument" }, text);
    for (const text of ["", "-1", "4294967296", "0x100000000", "1/0", "0x100/0xff", "1/2/3", "1/", "/1", "a"])
      assert.throws(() => parseMark(text), { code: "bad-argument" }, text);
    for (const text of ["", "-1", "2147483648", "a", "1/1"])
      assert.throws(() => parsePriority(text), { code: "bad-argument" }, text);
  });

  it("come out of the kernel's policy as they went in", () => {
    const some: MarkingPolicy[] = [
      { dscp: 0, change: "ignore", wrongDscp: "drop" },
      { mark: { value: 0, mask: 0xffffffff }, change: "deny", wrongDscp: "count" },
      { priority: 0x7fffffff, change: "ignore", wrongDscp: "count" },
      {
        dscp: 63,
        mark: { value: 0x80000000, mask: 0x80000000 },
        priority: 1,
        change: "deny",
        wrongDscp: "drop",
      },
    ];
    for (const marking of some)
      assert.deepEqual(decodePolicy(encodePolicy(policy("", { marking }), 1n, 0, 0)).marking, marking);
    assert.equal(decodePolicy(encodePolicy(policy(""), 1n, 0, 0)).marking, undefined);
  });

  it("are told by their place where they are wrong", () => {
    const text = `${CLASSES}marking:
  - { class: produktion, dscp: 64 }
  - { class: batch }
  - { mark: 0x100/0xff, priority: -1, wrong_dscp: drop }
  - { dscp: [1], change: no }
`;
    assert.equal(
      problems(text),
      [
        '7:14: marking[0].class: there is no class "produktion" in classes: those are production, gold, batch',
        '7:32: marking[0].dscp: bad DSCP "64": give 0 to 63, or a name as CS1, AF21 or EF',
        "8:5: marking[1]: sets nothing: give dscp, mark or priority",
        '9:13: marking[2].mark: bad mark "0x100/0xff": its value has bits that are not in its mask',
        "9:35: marking[2].priority: is below 0: give 0 to 2147483647",
        "9:51: marking[2].wrong_dscp: has no effect without dscp",
        "10:13: marking[3].dscp: is neither a number nor text",
        '10:26: marking[3].change: "no" is not allowed: give ignore or deny',
      ].join("\n"),
    );
    assert.match(
      problems("marking: [{ class: a, dscp: 1 }]"),
      /there is no class "a" in classes, which has none/,
    );
  });
});

describe("what is shown", () => {
  it("is the marking where there is one, as text and as JSON", () => {
    const summary: bpf_isolator.ContainerSummary = {
      container_id: { value: "c" },
      marking: { dscp: 18, mark: 16, mark_mask: 255, priority: 3 },
    };
    assert.match(renderList([summary]), /MARKING\n.* DSCP AF21, mark 0x10\/0xff, priority 3\n/s);
    assert.match(renderUsage(summary), /marking +DSCP AF21, mark 0x10\/0xff, priority 3\n/);
    assert.deepEqual((summaryToJson(summary) as { marking: unknown }).marking, summary.marking);
    assert(!renderList([{ container_id: { value: "c" } }]).includes("MARKING"));
    const whole: bpf_isolator.ContainerSummary = {
      ...summary,
      marking: {
        ...{ ...summary.marking, change: "deny", wrong_dscp: "drop" },
        destinations: [{ to: "class gold", marking: { dscp: 46 } }],
      },
    };
    const text =
      /DSCP AF21, mark 0x10\/0xff, priority 3; to class gold: DSCP EF; changes refused; wrong DSCP dropped\n/;
    assert.match(renderList([whole]), text);
    assert.match(renderUsage(whole), text);
  });
});

describe("run", () => {
  let directory = "";
  let file = "";
  before(() => {
    enterOwnNetwork();
    directory = mkdtempSync(join(tmpdir(), "isolator-marking-"));
    file = join(directory, "isolator.yaml");
    writeFileSync(file, `${CLASSES}\nmarking: [{ class: gold, dscp: EF, priority: 5 }]\n`);
  });
  after(() => {
    rmSync(directory, { recursive: true });
  });

  /** What a task's new UDP socket is told. */
  async function told(...options: string[]): Promise<string> {
    const script =
      "import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); " +
      "print(u.getsockopt(s.SOL_IP, s.IP_TOS) >> 2, u.getsockopt(s.SOL_SOCKET, 36), u.getsockopt(s.SOL_SOCKET, 12))";
    const instance = `m${process.pid}`;
    const { status, stdout, stderr } = await runIsolator([
      ...["run", "--instance", instance, ...options, "--", "python3", "-c", script],
    ]);
    assert.equal(status, 0, stderr);
    return stdout.trim();
  }

  it("takes the marking from its options, from a class, and from both", async () => {
    assert.equal(await told("--dscp", "26", "--mark", "4242", "--priority", "3"), "26 4242 3");
    assert.equal(await told("--class", "gold", "--config", file), "46 0 5");
    assert.equal(await told("--class", "gold", "--config", file, "--priority", "2"), "46 0 2");
    assert.equal(await told("--class", "batch", "--config", file), "0 0 0");
  });

  it("refuses what makes no sense, before anything runs", async () => {
    const cases: [options: string[], said: RegExp][] = [
      [["--dscp", "64"], /bad DSCP "64"/],
      [["--mark", "1/0"], /mask has no bits/],
      [["--priority", "x"], /bad priority/],
      [["--wrong-dscp", "drop"], /give --dscp, --mark or --priority too/],
      [["--mark", "1", "--wrong-dscp", "drop"], /--wrong-dscp has no effect without a DSCP/],
      [["--class", "silver", "--config", file], /has no class "silver": there is production, gold, batch/],
      [["--class", "gold", "--config", join(directory, "none.yaml")], /there is no such file/],
      [["--config", file], /--config is of use with --class only/],
    ];
    for (const [options, said] of cases) {
      const { status, stderr } = await runIsolator(["run", ...options, "--", "echo", "ran"]);
      assert.equal(status, 125, options.join(" "));
      assert.match(stderr, said);
    }
  });
});
