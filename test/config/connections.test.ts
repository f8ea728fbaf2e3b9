/** `connections` of the configuration, and the labels by which a task asks for limits of its own. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { badLimits } from "../../isolator/config/connections.js";
import type { ContainerFacts } from "../../isolator/config/facts.js";
import { parseConfig } from "../../isolator/config/load.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { ConnectionsPolicy } from "../../isolator/features/connections.js";

const EACH = "bpf-isolator.connections";
const TOTAL = "bpf-isolator.connections_total";
const PORTS = "bpf-isolator.connections_ports";

function facts(labels: [string, string][], role = "web"): ContainerFacts {
  return { ownNetwork: false, nested: false, roles: [role], labels, labelsIgnored: 0, ports: [] };
}

function limits(text: string, given: ContainerFacts): ConnectionsPolicy | undefined {
  return policyFor(parseConfig(Buffer.from(text), "f.yaml").config, given).connections;
}

const FILE = `
trusted_roles: [ops]
connections:
  - { to: { cidr: 10.0.0.0/8, ports: "5432" }, limit: 50 }
  - { to: { protocol: udp }, limit: none }
connections_total: 1000
connections_errno: EADDRNOTAVAIL
`;
const POSTGRES = { to: { cidr: "10.0.0.0/8", ports: [{ begin: 5432, end: 5432 }] }, limit: 50 };
const UDP = { to: { protocol: "udp" }, limit: "none" };

describe("limits for connections", () => {
  it("are none, and nothing is counted, unless somebody asks", () => {
    assert.equal(limits("", facts([["other", "5"]])), undefined);
  });

  it("are the file's", () => {
    const expected = { total: 1000, errno: "EADDRNOTAVAIL", rules: [POSTGRES, UDP] };
    assert.deepEqual(limits(FILE, facts([])), expected);
  });

  it("are lowered by labels, and never raised", () => {
    const low = limits(FILE, facts([[EACH, "5"], [TOTAL, "60"]])); // prettier-ignore
    assert.deepEqual([low?.max, low?.total, low?.rules?.[0]?.limit], [5, 60, 5]);
    const high = limits(FILE, facts([[EACH, "500"], [TOTAL, "5000"]])); // prettier-ignore
    assert.deepEqual([high?.max, high?.total, high?.rules?.[0]?.limit], [500, 1000, 50]);
  });

  it("are of ports that the kernel chooses too, and shared out of the host's alone", () => {
    const text = "connections_ports: 100\nconnections_fair: on";
    assert.deepEqual(limits(text, facts([[PORTS, "500"]])), {
      ...{ ports: 100, fair: true, errno: "EAGAIN", rules: [] },
    });
    assert.equal(limits(text, facts([[PORTS, "5"]]))?.ports, 5);
    assert.equal(limits("", facts([[PORTS, "5"]]))?.ports, 5);
    assert.equal(limits(text, { ...facts([]), ownNetwork: true })?.fair, undefined);
  });

  it("name ports in one text or in a list", () => {
    const list = "connections: [{ to: { cidr: 10.0.0.0/8, ports: [5432, 8000-8010] }, limit: 50 }]";
    const ports = limits(list, facts([]))?.rules?.[0]?.to.ports;
    assert.deepEqual(ports, [{ begin: 5432, end: 5432 }, { begin: 8000, end: 8010 }]); // prettier-ignore
  });

  it("leave what is not counted as it is, labels or not", () => {
    for (const role of ["web", "ops"])
      assert.equal(limits(FILE, facts([[EACH, "5"]], role))?.rules?.[1]?.limit, "none");
  });

  it("are raised by labels of a trusted role", () => {
    const high = limits(FILE, facts([[EACH, "500"], [TOTAL, "5000"]], "ops")); // prettier-ignore
    assert.deepEqual([high?.max, high?.total, high?.rules?.[0]?.limit], [500, 5000, 500]);
  });

  it("are what a label asks for where the file has none", () => {
    assert.deepEqual(limits("connections_errno: EPERM", facts([[EACH, "7"]])), {
      errno: "EPERM",
      max: 7,
      rules: [],
    });
  });

  it("are the least of several labels; what is no number is passed over, and told", () => {
    const bad = ["0", "-1", "1.5", "1e3", "", " 5", "99999999999", "many"];
    const given = facts([...bad.map((value): [string, string] => [EACH, value]), [EACH, "9"], [EACH, "8"]]);
    assert.equal(limits("", given)?.max, 8);
    assert.equal(badLimits(given).length, bad.length);
    assert.equal(limits("", facts([[TOTAL, "none"]])), undefined);
    assert.deepEqual(badLimits(facts([[EACH, "9"]])), []);
  });

  it("keep the agent's own address out, in front of all", () => {
    const config = parseConfig(Buffer.from(""), "f.yaml").config;
    const policy = policyFor(config, facts([[EACH, "1"]]), { ip: "10.0.0.9", port: 5051 });
    assert.deepEqual(policy.connections?.rules?.[0], {
      to: { cidr: "10.0.0.9", ports: [{ begin: 5051, end: 5051 }] },
      limit: "none",
    });
  });
});
