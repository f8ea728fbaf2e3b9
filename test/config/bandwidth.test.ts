/** The configuration's bandwidth: what a container gets, how values are written, and what is said of bad ones. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { renderList } from "../../isolator/cli/list.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import { factsOf, type ContainerFacts } from "../../isolator/config/facts.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { Config } from "../../isolator/config/schema.js";
import { IsolatorError } from "../../isolator/errors.js";
import {
  formatBandwidth,
  parseBurst,
  parseRate,
  bandwidthStatistics,
} from "../../isolator/features/bandwidth.js";
import { bpf_isolator, mesos } from "../../isolator/mesos/messages.js";
import { runIsolator } from "../support/process.js";
import { problems, yaml } from "../support/config.js";

/** The limits of a container in words. */
function limits(config: Config, values: Partial<ContainerFacts> = {}): string {
  const none = { ports: [], ownNetwork: false, nested: false, roles: [], labels: [], labelsIgnored: 0 };
  return formatBandwidth(policyFor(config, { ...none, ...values }).bandwidth);
}

const CLASSES = `
classes:
  - { name: production, match: { role: prod } }
  - { name: batch, match: { labels: { tier: batch } } }
`;

describe("a container's limits", () => {
  const config = yaml(`${CLASSES}
trusted_roles: [ops]
bandwidth:
  default: { egress: 100Mbit, ingress: 1Gbit }
  classes:
    - { class: production, egress: 2Gbit }
    - { class: batch, egress: 50Mbit }
`);
  const batch: ContainerFacts["labels"] = [["tier", "batch"]];
  const asks = { rateLabels: { egress: parseRate("10Mbit") } };
  const wants = { rateLabels: { egress: parseRate("5Gbit") } };

  it("are none where the configuration has no word of it", () => {
    assert.equal(limits(yaml(""), { networkBandwidth: 10, ...asks }), "none");
  });
  it("are the resource's, else the class's, else the default's", () => {
    assert.equal(limits(config), "egress 100Mbit, ingress 1Gbit");
    assert.equal(limits(config, { roles: ["prod"] }), "egress 2Gbit, ingress 1Gbit");
    assert.equal(limits(config, { roles: ["prod"], networkBandwidth: 300 }), "egress 300Mbit, ingress 1Gbit");
  });
  it("are less by a label or a claimed class, and more only in a trusted role", () => {
    assert.equal(limits(config, asks), "egress 10Mbit, ingress 1Gbit");
    assert.equal(limits(config, wants), "egress 100Mbit, ingress 1Gbit");
    assert.equal(limits(config, { labels: batch }), "egress 50Mbit, ingress 1Gbit");
    assert.equal(limits(config, { ...wants, roles: ["ops"] }), "egress 5Gbit, ingress 1Gbit");
    const more = yaml(
      `${CLASSES}bandwidth: { default: { egress: 1Mbit }, classes: [{ class: batch, egress: 1Gbit }] }`,
    );
    assert.equal(limits(more, { labels: batch }), "egress 1Mbit");
  });
  it("go by the CPUs, between a minimum and a maximum", () => {
    const cpus = yaml(
      "bandwidth: { per_cpu: { egress: 100Mbit, minimum: 50Mbit, maximum: 1Gbit }, default: { egress: 7Mbit } }",
    );
    assert.equal(limits(cpus), "egress 7Mbit");
    assert.equal(limits(cpus, { cpus: 0.5 }), "egress 50Mbit");
    assert.equal(limits(cpus, { cpus: 3.9 }), "egress 300Mbit");
    assert.equal(limits(cpus, { cpus: 64 }), "egress 1Gbit");
  });
  it("take the resource in the unit and for the directions that the operator says", () => {
    const unit = yaml("bandwidth: { resource_unit: 1MB/s, resource_for: both }");
    assert.equal(limits(unit, { networkBandwidth: 2.5 }), "egress 20Mbit, ingress 20Mbit");
    for (const [unit, networkBandwidth] of [
      ["1bit", 20_000_000],
      ["1kbit", 20_000],
    ] as const)
      assert.equal(
        limits(yaml(`bandwidth: { resource_unit: ${unit} }`), { networkBandwidth }),
        "egress 20Mbit",
      );
    // Below the least that carries a connection it is that.
    assert.equal(limits(yaml("bandwidth: { resource_unit: 1bit }"), { networkBandwidth: 1 }), "egress 8kbit");
    assert.match(
      problems("bandwidth:\n  resource_unit: 0kbit"),
      /^2:.*bandwidth\.resource_unit: bad rate "0kbit": a unit is/,
    );
  });
  it("come with a weight where the host has a budget; nested containers have their parent's", () => {
    const host = yaml(`${CLASSES}
bandwidth: { default: { egress: 1Gbit }, host: { egress: 10Gbit }, classes: [{ class: production, weight: 10 }] }`);
    assert.equal(limits(host), "egress 1Gbit, weight 1");
    assert.equal(limits(host, { roles: ["prod"] }), "egress 1Gbit, weight 10");
    assert.equal(limits(host, { nested: true }), "none");
    assert.equal(limits(host, { nested: true, networkBandwidth: 5 }), "egress 5Mbit");
  });
});

describe("what an agent says", () => {
  const scalar = (name: string, value: number): mesos.Resource => ({
    name,
    type: mesos.Value.Type.SCALAR,
    scalar: { value },
  });
  const facts = (resources: mesos.Resource[], labels: mesos.Label[] = []): ContainerFacts =>
    factsOf(
      {
        resources,
        directory: "/",
        command_info: {},
        task_info: {
          name: "t",
          task_id: { value: "t" },
          slave_id: { value: "a" },
          resources: [],
          labels: { labels },
        },
      },
      "c",
    );
  const refused = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      assert(error instanceof IsolatorError && error.code === "bad-argument");
      return error.message;
    }
    assert.fail("accepted");
  };

  it("is read, several reservations added up", () => {
    const { networkBandwidth, cpus } = facts([
      scalar("network_bandwidth", 10),
      scalar("network_bandwidth", 5),
      scalar("cpus", 2),
    ]);
    assert.deepEqual([networkBandwidth, cpus], [15, 2]);
    assert.deepEqual(facts([], [{ key: "network_egress_rate", value: "10Mbit" }]).rateLabels, {
      egress: 1_250_000,
    });
  });
  it("is refused where it is no bandwidth", () => {
    for (const value of [0, -1, NaN, Infinity, 2 ** 63])
      assert.match(
        refused(() => facts([scalar("network_bandwidth", value)])),
        /network_bandwidth: give it more than 0/,
      );
    assert.match(
      refused(() => facts([], [{ key: "network_ingress_rate", value: "fast" }])),
      /label network_ingress_rate: bad rate/,
    );
  });
});

describe("rates and bursts", () => {
  it("are read in bits and bytes", () => {
    assert.deepEqual(
      ["100Mbit", "12.5MB/s", "1Gbit/s", "800kbit", "10Gbit"].map(parseRate),
      [12_500_000, 12_500_000, 125_000_000, 100_000, 1_250_000_000],
    );
    assert.deepEqual(["1500", "64KiB", "1MB"].map(parseBurst), [1500, 65536, 1_000_000]);
  });
  const bad = (parse: (text: string) => number, text: string): string => {
    try {
      parse(text);
    } catch (error) {
      assert(error instanceof IsolatorError);
      return error.message;
    }
    assert.fail(`accepted: ${text}`);
  };
  for (const [text, why] of [
    ["0Mbit", "give at least 8kbit"],
    ["-1Mbit", "give a number and a unit"],
    ["100", "give a number and a unit"],
    ["100Mbyte", "there is no unit Mbyte"],
    ["100Mbps", "Mbps means bits to some and bytes to others"],
    ["9223372036854775808Gbit", "give at most 1000Gbit"],
    ["1e9Mbit", "give a number and a unit"],
    ["", "give a number and a unit"],
  ] as const)
    it(`${JSON.stringify(text)} is refused`, () => {
      assert.match(bad(parseRate, text), new RegExp(why));
    });
  it("a burst below a packet is refused", () => {
    assert.match(bad(parseBurst, "1000"), /below a packet/);
    assert.match(bad(parseBurst, "0"), /below a packet/);
    assert.match(bad(parseBurst, "5GB"), /give a number of bytes/);
  });
  it("are refused by their place in the file", () => {
    assert.match(
      problems("bandwidth:\n  default: { egress: 0Mbit }"),
      /^2:.*bandwidth\.default\.egress: bad rate "0Mbit"/,
    );
    assert.match(problems("bandwidth: { default: { egress: 100 } }"), /bandwidth\.default\.egress: is/);
    assert.match(
      problems("bandwidth: { default: { egress_burst: 64KiB } }"),
      /egress_burst: has no effect without egress/,
    );
    assert.match(
      problems("bandwidth: { classes: [{ class: gold, egress: 1Mbit }] }"),
      /there is no class "gold"/,
    );
    assert.match(
      problems("bandwidth:\n  per_cpu:\n    { egress: 1Mbit, minimum: 2Gbit, maximum: 1Gbit }"),
      /^3:.*bandwidth\.per_cpu\.minimum: 2Gbit is above maximum, which is 1Gbit/,
    );
    assert.match(problems("bandwidth: { host: { egres: 1Gbit } }"), /did you mean egress/);
  });
  it("are refused on the command line, with what they lack", async () => {
    for (const [args, why] of [
      [["--egress-rate", "0Mbit"], /give at least 8kbit/],
      [["--egress-burst", "64KiB"], /--egress-burst has no effect without a limit/],
      [["--on-full", "eperm"], /--on-full has no effect/],
    ] as const) {
      const { status, stderr } = await runIsolator(["run", ...args, "--", "true"]);
      assert.equal(status, 125);
      assert.match(stderr, why);
    }
  });
});

describe("what is told of it", () => {
  const container: bpf_isolator.ContainerSummary = {
    container_id: { value: "web" },
    bandwidth: {
      egress: { rate: 12_500_000n, measured: 12_000_000n, throttled_ms: 1500n, dropped: 3n, marked: 0n },
      ingress: {},
      weight: 2,
    },
  };
  it("shows in list and usage", () => {
    assert.match(
      renderList([container]),
      /BANDWIDTH[^]*egress 96Mbit of 100Mbit \(throttled 1\.5 s, dropped 3\), weight 2/,
    );
    assert.match(renderUsage(container), /egress +limit 100Mbit, now 96Mbit, throttled 1\.5 s, dropped 3/);
  });
  it("shows as Mesos's traffic control statistics", () => {
    const use = {
      rate: 12_500_000,
      measured: 5,
      throttled: 1,
      packets: 2n,
      bytes: 3n,
      droppedPackets: 4n,
      droppedBytes: 5n,
      marked: 1n,
      unarmed: 0n,
    };
    assert.deepEqual(
      bandwidthStatistics({ egress: { rate: 12_500_000 } }, { egress: use, ingress: { ...use, rate: 0 } }),
      {
        net_tx_rate_limit: 12_500_000n,
        net_traffic_control_statistics: [
          { id: "bw_limit", bytes: 3n, packets: 2n, drops: 4n, overlimits: 5n, ratebps: 5n },
        ],
      },
    );
  });
});
