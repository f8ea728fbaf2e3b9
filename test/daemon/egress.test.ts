/** Egress as the operator of a daemon sees it: rules by classes, explained, counted by rule, changed, and ended connections. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseDestination, renderExplanation } from "../../isolator/cli/explain.js";
import { renderList } from "../../isolator/cli/list.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import { nameServers } from "../../isolator/config/egress.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, CPUS } from "../support/agent.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork, makeWayOut } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
makeWayOut();
const server = await Listener.start();
const METRICS = 31_999;
const config = (rules: string, more = ""): string => `
classes:
  - {name: production, match: {role: production}}
  - {name: batch, match: {role: batch}}
  - {name: web, match: {labels: {app: web}}}
endpoints: {static: [{class: batch, address: 10.5.0.1, ports: "80"}]}
statistics: {interval: 1}
operator: {address: "127.0.0.1:${METRICS}"}
egress_errno: EHOSTUNREACH
${more}
egress:
${rules}`;
const RULES = `
  - {from: production, to: batch, action: deny}
  - {from: "*", to: {cidr: 169.254.169.254/32}, action: deny}
  - {from: production, to: {cidr: 10.1.0.0/16}, action: allow}
  - {from: production, to: {cidr: 10.0.0.0/8, ports: "22"}, action: audit}
  - {from: production, to: {cidr: 10.0.0.0/8}, action: deny}
`;
const daemon = await TestDaemon.start({ config: config(RULES) });
const agent = new Agent(daemon);

async function container(name: string, role: string): Promise<Connector> {
  await agent.prepare(name, {
    resources: [{ ...CPUS, allocation_info: { role } }],
    executor_info: { executor_id: { value: "e" }, framework_id: { value: "f" }, command: {} },
  });
  return Connector.start(await agent.node(name));
}

async function cli(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runIsolator([...args, "--instance", daemon.instance]);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** What `explain` prints, without a process for each. */
async function explained(name: string, text: string): Promise<string> {
  const to = parseDestination(text);
  const explain = { container_id: { value: name }, ...to };
  const answer = await daemon.client.call({ type: bpf_isolator.Call.Type.EXPLAIN, explain });
  return renderExplanation(to, answer.explain ?? {});
}

async function connect(task: Connector, to: string, port: number): Promise<string> {
  const fd = await task.socket();
  await task.try(`nonblock ${fd}`);
  const result = await task.try(`connect ${fd} ${to} ${port}`);
  await task.try(`close ${fd}`);
  return result === "EINPROGRESS" ? "ok" : result;
}

describe("egress in a daemon", () => {
  it("is judged, explained, and counted by rule in usage, list, events and metrics", async () => {
    const task = await container("shop", "production");
    const other = await container("job", "batch");
    for (const [to, port, result, by, about] of [
      [
        "10.5.0.1",
        80,
        "EHOSTUNREACH",
        "deny, by egress[0] (class batch)",
        "first for class batch: egress[0]",
      ],
      ["169.254.169.254", 80, "EHOSTUNREACH", "deny, by egress[1]", "169.254.169.254/32"],
      ["10.1.2.3", 22, "ok", "allow, by egress[2]", "first for the address: egress[2]"],
      ["10.2.2.3", 22, "ok", "audit, by egress[3]", "ports 22"],
      ["10.2.2.3", 23, "EHOSTUNREACH", "deny, by egress[4]", "10.0.0.0/8"],
      ["11.0.0.1", 80, "ok", "allow, by the default", "everything"],
    ] as const) {
      assert.equal(await connect(task, to, port), result, `${to}:${port}`);
      const said = await explained("shop", `${to}:${port}`);
      assert.ok(said.includes(by), `${said} ${by}`);
      assert.ok(said.includes(about), `${said} ${about}`);
    }
    assert.equal(await connect(other, "10.2.2.3", 23), "ok", "another class");
    assert.match(await explained("job", "10.5.0.1:80"), /verdict +allow\n/);
    assert.equal(await cli("explain", "shop", "10.5.0.1:80"), await explained("shop", "10.5.0.1:80"));
    const json = JSON.parse(await cli("explain", "shop", "udp:10.5.0.1:80", "--json")) as {
      verdicts: { action: string; by: string }[];
    };
    assert.deepEqual(
      json.verdicts.map(({ action, by }) => [action, by]),
      [["deny", "egress[0]"]],
    );
    const found = await agent.find("shop");
    assert(found);
    assert.match(renderUsage(found), /egress +\d+ rules, else allow\n +egress\[0\]: denied 1\n/);
    assert.match(renderUsage(found), /egress\[3\]: denied 0, reported 1\n/);
    assert.match(renderList([found]), /EGRESS[^\n]*\n[^\n]*egress\[0\] 1, egress\[1\] 1, /);
    const { msg } = await daemon.event("denied", "shop");
    assert.match(msg, /connect\(\) or send tcp to 10\.5\.0\.1:80, by rule egress\[0\]/);
    const response = await fetch(`http://127.0.0.1:${METRICS}/metrics`);
    const metrics = await response.text();
    assert.match(
      metrics,
      /container_egress_total\{container="shop",[^}]*rule="egress\[4\]",action="denied"\} 1\n/,
    );
    assert.match(
      metrics,
      /container_egress_total\{container="shop",[^}]*rule="egress\[3\]",action="audited"\} 1\n/,
    );
    const { status, stderr } = await runIsolator([
      "explain",
      "shop",
      "nowhere",
      "--instance",
      daemon.instance,
    ]);
    assert.deepEqual([status, stderr.includes("is no destination")], [2, true]);
  });

  it("leaves connections through a reload, and ends them where the configuration says so", async () => {
    const task = await container("longlived", "production");
    const { fd, result } = await task.connect(server.port);
    assert.equal(result, "ok");
    const deny = `  - {from: production, to: {cidr: 127.0.0.0/8}, action: deny}\n`;
    await daemon.reload(config(deny));
    assert.equal((await task.connect(server.port)).result, "EHOSTUNREACH");
    assert.equal(await task.try(`write ${fd}`), "ok");
    await daemon.reload(config(deny, "egress_existing: terminate"));
    const { msg } = await daemon.event("ended", "longlived");
    assert.equal(msg, `a connection that its rules deny now: ended tcp 127.0.0.1:${server.port}`);
    assert.notEqual(await task.try(`write ${fd}`), "ok");
    await until(async () => (await agent.find("longlived")) !== undefined, "it lives");
  });

  it("denies by default, and lets through to the agent and to name servers, visibly", async () => {
    await daemon.reload(config(`  - {from: "*", to: "*", action: deny}\n`));
    const agent_address = { ip: "10.77.0.1", port: 5051 };
    const handshake = { name: "test", mesos_version: "1.11.0", protocol_versions: [1], agent_address };
    await daemon.client.call({ type: bpf_isolator.Call.Type.HANDSHAKE, handshake });
    const explain = (to: string): Promise<string> => explained("job", to);
    await until(
      async () => (await explain("10.77.0.1:5051")).includes("allow, by the agent"),
      "the agent is let through",
    );
    assert.match(await explain("10.77.0.1:5052"), /deny, by egress\[0\]/);
    for (const address of nameServers().slice(0, 1))
      assert.match(
        await explain(`udp:${address.includes(":") ? `[${address}]` : address}:53`),
        /allow, by DNS/,
      );
    await daemon.reload(config(`  - {from: "*", to: "*", action: deny}\n`, "egress_exceptions: []"));
    assert.match(await explain("10.77.0.1:5051"), /deny, by egress\[0\]/);
  });
});
