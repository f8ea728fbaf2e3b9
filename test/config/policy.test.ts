/** Policies from what agents say: the recorded calls of a real one, and what is put together to loosen its own policy. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { factsOf, type ContainerFacts } from "../../isolator/config/facts.js";
import { parseConfig } from "../../isolator/config/load.js";
import { policyFor } from "../../isolator/config/policy.js";
import type { Config } from "../../isolator/config/schema.js";
import { formatPorts } from "../../isolator/features/ports.js";
import { codecs, mesos } from "../../isolator/mesos/messages.js";
import { bytesOf, readTrace, traceNames } from "../support/traces.js";

type ContainerConfig = mesos.slave.ContainerConfig;

/** A ContainerConfig as it would come over the wire. */
function config(values: object): ContainerConfig {
  const whole = { directory: "/sandbox", command_info: {}, ...values };
  return codecs.ContainerConfig.decode(
    codecs.ContainerConfig.encode(codecs.ContainerConfig.parseJson(JSON.stringify(whole))),
  );
}

function ports(ranges: [number, number][], more: object = {}): object {
  return {
    name: "ports",
    type: "RANGES",
    ranges: { range: ranges.map(([begin, end]) => ({ begin, end })) },
    ...more,
  };
}

const CPUS = { name: "cpus", type: "SCALAR", scalar: { value: 1 } };

function executor(values: object = {}): object {
  return { executor_id: { value: "e" }, framework_id: { value: "f" }, ...values };
}

function labels(...pairs: [string, string?][]): object {
  return {
    labels: { labels: pairs.map(([key, value]) => ({ key, ...(value === undefined ? {} : { value }) })) },
  };
}

const yaml = (text: string): Config => parseConfig(Buffer.from(text), "f.yaml").config;
const DEFAULTS = yaml("");

/** The container configs of a trace, by container. */
function prepared(name: string): { id: string; config: ContainerConfig }[] {
  return readTrace(name).flatMap(({ container_id = "", container_config }) =>
    container_config
      ? [{ id: container_id, config: codecs.ContainerConfig.decode(bytesOf(container_config)) }]
      : [],
  );
}

describe("factsOf()", () => {
  it("reads what a real agent sends", () => {
    let seen = 0;
    for (const trace of traceNames()) {
      const roots = new Map<string, ContainerFacts>();
      for (const { id, config } of prepared(trace)) {
        const parent = roots.get(id.split(".")[0] ?? "");
        const facts = factsOf(config, id, parent);
        if (!parent) roots.set(id, facts);
        seen++;
        const debug = config.container_class === mesos.slave.ContainerClass.DEBUG;
        // Checks and sessions have no resources; this one child was launched without any.
        const none = debug || id === "standalone-1.child-1";
        assert.equal(facts.ports === undefined, none, `${trace} ${id}`);
        assert.equal(facts.roles.length, trace === "standalone" ? 0 : 1, `${trace} ${id}`);
        assert.equal(facts.frameworkId === undefined, trace === "standalone", `${trace} ${id}`);
      }
    }
    assert(seen >= 10);
  });

  it("gives a pod the ports of all of its tasks and a task its own", () => {
    const [root, ...tasks] = prepared("pod");
    assert(root && tasks.length > 1);
    const facts = factsOf(root.config, root.id);
    const children = tasks.map((task) => factsOf(task.config, task.id, facts));
    assert(facts.ports && facts.ports.length > 0);
    for (const child of children) {
      assert(child.nested && child.ports);
      assert.notDeepEqual(child.ports, facts.ports);
    }
    assert.equal(
      new Set(children.map(({ ports }) => formatPorts(ports ?? []))).size,
      children.length,
      "each has its own",
    );
  });

  it("reads all entries: reservations come apart", () => {
    const resources = [
      ports([[31005, 31009]], { allocation_info: { role: "a" } }),
      CPUS,
      ports([[31000, 31004]], {
        allocation_info: { role: "a" },
        reservations: [{ type: "DYNAMIC", role: "a" }],
      }),
      ports(
        [
          [31020, 31020],
          [31030, 31031],
        ],
        { allocation_info: { role: "a" } },
      ),
    ];
    const facts = factsOf(config({ resources }), "c");
    assert.equal(formatPorts(facts.ports ?? []), "31000-31009,31020,31030-31031");
    assert.deepEqual(facts.roles, ["a"]);
  });

  it("gives a root container without ports none, a nested one without resources its parent's", () => {
    assert.deepEqual(factsOf(config({}), "c").ports, []);
    assert.deepEqual(factsOf(config({ resources: [CPUS] }), "c.d", true).ports, []);
    const nested = factsOf(
      config({ executor_info: executor({ resources: [ports([[31000, 31999]])] }) }),
      "c.d",
      true,
    );
    assert.equal(nested.ports, undefined);
  });

  it("never reads the ports of executor_info", () => {
    const executor_info = executor({ resources: [ports([[31000, 31999]])] });
    for (const parent of [undefined, true] as const) {
      const facts = factsOf(config({ executor_info, resources: [ports([[31005, 31005]])] }), "c", parent);
      assert.deepEqual(facts.ports, [{ begin: 31005, end: 31005 }]);
    }
  });

  it("refuses numbers that are no ports, and names the container", () => {
    const bad: object[][] = [
      [ports([[0, 10]])],
      [ports([[31000, 65536]])],
      [ports([[31005, 31000]])],
      [CPUS, ports([[31000, 31000]]), ports([[2 ** 48 + 1, 2 ** 48 + 2]])],
      [{ name: "ports", type: "SCALAR", scalar: { value: 31000 } }],
      [ports(Array.from({ length: 1025 }, (_, i) => [2 * i + 1, 2 * i + 1]))],
    ];
    for (const resources of bad) {
      assert.throws(() => factsOf(config({ resources }), "pod.web"), {
        code: "bad-argument",
        message: /^the ports of container pod\.web cannot be used: /,
      });
    }
    assert.deepEqual(factsOf(config({ resources: [ports([[1, 65535]])] }), "c").ports, [
      { begin: 1, end: 65535 },
    ]);
  });

  it("bounds labels and counts what it leaves out", () => {
    const long = "x".repeat(1024);
    const many = Array.from({ length: 200 }, (_, i): [string, string] => [`k${i}`, "v"]);
    const facts = factsOf(
      config({
        executor_info: executor(labels([long, long], [`${long}x`, "v"], ["k", "é".repeat(513)], ...many)),
      }),
      "c",
    );
    assert.equal(facts.labels.length, 128);
    assert.deepEqual(facts.labels[0], [long, long]);
    assert.equal(facts.labelsIgnored, 2 + 200 - 127);
  });

  it("has a command task's labels once, though they come twice, and a label without a value", () => {
    const both = labels(["a", "1"], ["a", "2"], ["b"]);
    const task = { name: "t", task_id: { value: "t" }, slave_id: { value: "s" }, ...both };
    const facts = factsOf(config({ executor_info: executor(both), task_info: task }), "c");
    assert.deepEqual(facts.labels, [
      ["a", "1"],
      ["a", "2"],
      ["b", ""],
    ]);
    assert.equal(facts.labelsIgnored, 0);
  });

  it("has what a nested container lacks from its parent", () => {
    const parent = factsOf(
      config({
        executor_info: executor(),
        resources: [{ ...CPUS, allocation_info: { role: "a" } }],
        container_info: { type: "MESOS", network_infos: [{ name: "blue" }] },
      }),
      "c",
    );
    assert(parent.ownNetwork);
    const child = factsOf(config({}), "c.d", parent);
    assert.deepEqual(
      [child.roles, child.frameworkId, child.executorId, child.ownNetwork, child.nested],
      [["a"], "f", "e", true, true],
    );
    assert.deepEqual(factsOf(config({}), "c.d", true).roles, []);
  });

  it("takes a network without a name for the host's", () => {
    const network = (...network_infos: object[]): boolean =>
      factsOf(config({ container_info: { type: "MESOS", network_infos } }), "c").ownNetwork;
    assert.equal(network(), false);
    assert.equal(network({ groups: ["g"] }, { name: "" }), false);
    assert.equal(network({}, { name: "blue" }), true);
  });

  it("is data that JSON keeps", () => {
    const [root] = prepared("pod");
    assert(root);
    const facts = factsOf(root.config, root.id);
    assert.deepEqual(JSON.parse(JSON.stringify(facts)), facts);
  });
});

/** Facts of a container, by default of role web. */
function container(values: Partial<ContainerFacts> = {}): ContainerFacts {
  return {
    ports: [],
    ownNetwork: false,
    nested: false,
    roles: ["web"],
    labels: [],
    labelsIgnored: 0,
    ...values,
  };
}

describe("policyFor()", () => {
  it("is the configuration's, with the container's ports", () => {
    const range = [{ begin: 31000, end: 31004 }];
    assert.deepEqual(policyFor(DEFAULTS, container({ ports: range })), {
      ports: range,
      enforce: "on",
      ephemeral: "allow",
      allowProtocols: [],
    });
    const all = yaml(
      "enforce: audit\nephemeral: clients\nallow_protocols: [dccp]\njudge: agent_range\nagent_ports: 31000-32000\n",
    );
    assert.deepEqual(policyFor(all, container()), {
      ports: [],
      enforce: "audit",
      ephemeral: "clients",
      allowProtocols: ["dccp"],
      judged: { begin: 31000, end: 32000 },
    });
  });

  it("leaves the ports of a nested container without resources to its parent", () => {
    const facts = factsOf(config({}), "c.d", container());
    assert(!("ports" in policyFor(DEFAULTS, facts)));
  });

  it("judges nothing in a network of its own, and claims none of the host's ports", () => {
    const policy = policyFor(
      DEFAULTS,
      container({ ports: [{ begin: 31000, end: 31000 }], ownNetwork: true }),
    );
    assert.deepEqual([policy.ports, policy.ownNetwork], [[], true]);
  });
});

describe("exemptions", () => {
  const enforce = (text: string, facts: Partial<ContainerFacts> = {}): string =>
    policyFor(yaml(text), container(facts)).enforce;

  it("hold where all that they name does", () => {
    const all =
      "exemptions: [{ match: { role: web, framework_id: f, executor_id: e, labels: { a: '1', b: '' } }, enforce: off }]";
    const facts: Partial<ContainerFacts> = {
      frameworkId: "f",
      executorId: "e",
      labels: [
        ["a", "0"],
        ["a", "1"],
        ["b", ""],
      ],
    };
    assert.equal(enforce(all, facts), "off");
    for (const other of [
      { roles: ["web/x"] },
      { roles: [] },
      { frameworkId: "g" },
      { executorId: "E" },
      { labels: [["a", "1"]] },
      {
        labels: [
          ["b", ""],
          ["a", "11"],
        ],
      },
      {
        labels: [
          ["a", "1"],
          ["b", "x"],
        ],
      },
    ] as Partial<ContainerFacts>[]) {
      assert.equal(enforce(all, { ...facts, ...other }), "on", JSON.stringify(other));
    }
  });

  it("hold by the first that matches, and may be stricter than what holds for all", () => {
    const text =
      "enforce: audit\nexemptions: [{ match: { role: x }, enforce: off }, { match: { role: web, framework_id: f }, enforce: audit }, { match: { role: web }, enforce: off }]";
    assert.equal(enforce(text, { roles: ["x"] }), "off");
    assert.equal(enforce(text, { frameworkId: "f" }), "audit");
    assert.equal(enforce(text, { frameworkId: "g" }), "off");
    assert.equal(enforce(text, { roles: ["y"] }), "audit");
  });

  it("know a role by its exact name, and hold only where the container has no other", () => {
    const text = "exemptions: [{ match: { role: '*' }, enforce: off }]";
    assert.equal(enforce(text, { roles: ["*"] }), "off");
    for (const roles of [["web"], ["*", "web"], ["web", "*"], []])
      assert.equal(enforce(text, { roles }), "on");
  });

  it("do not believe labels and executor ids of those who are not trusted", () => {
    for (const match of ["labels: { free: me }", "executor_id: e", "executor_id: e, labels: { free: me }"]) {
      const text = `trusted_roles: [ops, dev]\nexemptions: [{ match: { ${match} }, enforce: off }]`;
      const facts: Partial<ContainerFacts> = { executorId: "e", labels: [["free", "me"]], frameworkId: "f" };
      assert.equal(enforce(text, { ...facts, roles: ["ops"] }), "off", match);
      for (const roles of [["web"], [], ["ops", "web"], ["ops/team"]])
        assert.equal(enforce(text, { ...facts, roles }), "on", `${match} ${roles.join()}`);
    }
  });

  it("are not to be had by labels that look like others", () => {
    const text = "trusted_roles: [ops]\nexemptions: [{ match: { labels: { free: me } }, enforce: off }]";
    for (const labels of [[["Free", "me"]], [["free", "me "]], [["free", ""]], [["me", "free"]]] as [
      string,
      string,
    ][][])
      assert.equal(enforce(text, { roles: ["ops"], labels }), "on", JSON.stringify(labels));
  });
});
