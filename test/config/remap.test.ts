/** Port mappings as Mesos's messages say them, and what of them is a container's. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { factsOf, type ContainerFacts } from "../../isolator/config/facts.js";
import { parseConfig } from "../../isolator/config/load.js";
import { policyFor } from "../../isolator/config/policy.js";
import { formatMappings } from "../../isolator/features/remap.js";
import { config, ports } from "../support/agent.js";

const LABEL = "bpf-isolator.remap";
const PORTS = { resources: [ports("31000-31009")] };

interface Port {
  number: number;
  protocol?: string;
  container?: string;
}

const labels = (value: string): object => ({ labels: [{ key: LABEL, value }] });
const mapping = (container_port: number, host_port: number, protocol?: string): object => ({
  ...{ container_port, host_port },
  ...(protocol === undefined ? {} : { protocol }),
});
/** As Marathon sends them for a bridge network, or a framework for none. */
const networks = (port_mappings: object[], name?: string): object => ({
  container_info: {
    type: "MESOS",
    network_infos: [{ ...(name === undefined ? {} : { name }), port_mappings }],
  },
});
const discovery = (...list: Port[]): object => ({
  visibility: "CLUSTER",
  ports: {
    ports: list.map(({ number, protocol, container }) => ({
      number,
      ...(protocol === undefined ? {} : { protocol }),
      ...(container === undefined ? {} : { labels: labels(container) }),
    })),
  },
});
const executor = (values: object): object => ({
  executor_info: { executor_id: { value: "e" }, framework_id: { value: "f" }, command: {}, ...values },
});
/** A command task's are in both. */
const command = (values: object): object => ({
  ...executor(values),
  task_info: { name: "t", task_id: { value: "t" }, slave_id: { value: "a" }, resources: [], ...values },
});

function facts(values: object, parent?: ContainerFacts | true): ContainerFacts {
  return factsOf(config({ ...PORTS, ...values }), "c", parent);
}
const said = (values: object, parent?: ContainerFacts | true): string =>
  formatMappings(facts(values, parent).remap);

describe("port mappings", () => {
  const cases: [what: string, values: object, said: string][] = [
    ["nothing", {}, "none"],
    [
      "NetworkInfo",
      networks([mapping(80, 31000, "tcp"), mapping(53, 31001, "UDP")]),
      "80:31000/tcp,53:31001/udp",
    ],
    ["NetworkInfo without a protocol", networks([mapping(80, 31000)]), "80:31000"],
    ["NetworkInfo with both", networks([mapping(80, 31000, "udp,tcp")]), "80:31000"],
    ["NetworkInfo with the same port", networks([mapping(31000, 31000, "tcp")]), "none"],
    [
      "DiscoveryInfo of a command task",
      command({
        discovery: discovery(
          { number: 31002, protocol: "tcp", container: "80" },
          { number: 31003, container: " 443" },
        ),
      }),
      "80:31002/tcp,443:31003",
    ],
    [
      "DiscoveryInfo of an executor",
      executor({ discovery: discovery({ number: 31002, container: "80" }) }),
      "80:31002",
    ],
    ["DiscoveryInfo without labels", executor({ discovery: discovery({ number: 31002 }) }), "none"],
    [
      "a label of a command task",
      command({ labels: labels("80:31000,53:31001/udp") }),
      "80:31000,53:31001/udp",
    ],
    ["a label of an executor", executor({ labels: labels("80:31000") }), "80:31000"],
    [
      "all three, alike in part",
      {
        ...networks([mapping(80, 31000)]),
        ...executor({
          discovery: discovery({ number: 31001, container: "81" }),
          labels: labels("80:31000,82:31002"),
        }),
      },
      "80:31000,81:31001,82:31002",
    ],
  ];
  for (const [what, values, expected] of cases) {
    it(`of ${what}: ${expected}`, () => {
      assert.equal(said(values), expected);
    });
  }

  const bad: [what: string, values: object, why: RegExp][] = [
    [
      "a protocol with no ports of its own",
      networks([mapping(80, 31000, "sctp")]),
      /container c: .*protocol "sctp"/,
    ],
    ["port 0", networks([mapping(0, 31000)]), /container port 0 is not between/],
    ["a host port 0", networks([mapping(80, 0)]), /host port 0 is not between/],
    ["a number that is none", networks([mapping(80, 4294967295)]), /host port 4294967295 is not between/],
    [
      "a container port twice",
      networks([mapping(80, 31000), mapping(80, 31001)]),
      /80 is there twice for tcp/,
    ],
    [
      "the same mapping twice in one list",
      networks([mapping(80, 31000), mapping(80, 31000)]),
      /80 is there twice for tcp/,
    ],
    [
      "two sources that differ",
      { ...networks([mapping(80, 31000)]), ...executor({ labels: labels("80:31001") }) },
      /twice/,
    ],
    ["a label that is none", executor({ labels: labels("eighty") }), /"eighty" is no mapping/],
    [
      "a label of a port",
      executor({ discovery: discovery({ number: 31000, container: "web" }) }),
      /container port NaN/,
    ],
    [
      "1,025",
      networks(Array.from({ length: 1025 }, (_, i) => mapping(i + 1, 31000 + i))),
      /1025, more than 1024/,
    ],
  ];
  for (const [what, values, why] of bad) {
    it(`are refused: ${what}`, () => {
      assert.throws(() => facts(values), { code: "bad-argument", message: why });
    });
  }

  it("of a pod are those of its tasks to whose ports they go", () => {
    const pod = facts(networks([mapping(80, 31000), mapping(81, 31001), mapping(82, 31002, "udp")]));
    // Its executor_info is a copy of the root's, whose labels are not its own.
    const copy = executor({ labels: labels("99:31001") });
    assert.equal(said({ resources: [ports("31001-31002")], ...copy }, pod), "81:31001,82:31002/udp");
    assert.equal(said({ resources: [ports("31005")], ...copy }, pod), "none");
    assert.equal(said({ resources: [ports("31005")], ...networks([mapping(80, 31005)]) }, pod), "80:31005");
    const more = { resources: [ports("31001,31005")], ...networks([mapping(80, 31005)]) };
    assert.equal(said(more, pod), "80:31005,81:31001");
    // Two that contradict: its own.
    const other = { resources: [ports("31000,31001")], ...networks([mapping(80, 31001)]) };
    assert.equal(said(other, pod), "80:31001");
    // With its parent's ports it is under its parent's mappings, in the parent's program.
    assert.equal(said({ resources: [], ...copy }, pod), "none");
    assert.equal(said({ resources: [ports("31001")], ...copy }, true), "none");
  });
});

describe("the policy", () => {
  const yaml = (text: string) => parseConfig(Buffer.from(text), "f.yaml").config;

  it("has them on the host's network, and only where the configuration has them on", () => {
    const own = facts(networks([mapping(80, 31000)]));
    assert.equal(formatMappings(policyFor(yaml(""), own).remap), "80:31000");
    assert.equal(policyFor(yaml("remap: off"), own).remap, undefined);
    const bridge = facts(networks([mapping(80, 31000)], "mesos-bridge"));
    assert.equal(policyFor(yaml(""), bridge).remap, undefined);
    // The agent gave it none.
    assert.equal(formatMappings(policyFor(yaml(""), { ...bridge, ownNetwork: false }).remap), "80:31000");
  });
});
