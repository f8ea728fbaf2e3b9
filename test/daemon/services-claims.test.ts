/**
 * Who may claim which virtual address of a daemon, by role and framework, and what becomes of hostile labels; and that
 * services go on while the daemon is killed, or another build takes its place.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { bpf_isolator, type mesos } from "../../isolator/mesos/messages.js";
import { Agent, CPUS } from "../support/agent.js";
import { otherLayouts, sameLayouts } from "../support/builds.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon, type DaemonOptions } from "../support/daemon.js";
import { eventRecord, TestMaster } from "../support/master.js";
import { enterOwnNetwork } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { labelled, subscribed, task } from "../support/vip-tasks.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const METRICS = 31_998;
const directory = mkdtempSync(join(tmpdir(), "isolator-claims-"));
after(() => {
  rmSync(directory, { recursive: true });
});
const master = await TestMaster.start();
const [one, two, fixed] = [await Listener.start(), await Listener.start(), await Listener.start()];
const options: DaemonOptions = {
  config: `
services:
  range: 10.77.0.0/24
  hosts_file: ${join(directory, "hosts")}
  static: [{vip: "10.88.0.200:80", name: /fixed, backends: ["127.0.0.1:${fixed.port}"]}]
  claims:
    - {match: {role: web}, names: ["/web", "/shop/**"], addresses: [10.88.0.0/24, 10.90.0.0/24]}
    - {match: {framework_id: second}, names: ["/api/*"], addresses: [10.90.0.0/24]}
endpoints:
  master: {urls: ["${master.url}"]}
operator: {address: "127.0.0.1:${METRICS}"}
`,
};
const daemon = await TestDaemon.start(options);
const agent = new Agent(daemon);

async function services(): Promise<Map<string, bpf_isolator.Service>> {
  const all = new Map<string, bpf_isolator.Service>();
  for await (const { services: some } of daemon.client.stream({ type: bpf_isolator.Call.Type.SERVICES }))
    for (const service of some?.services ?? [])
      all.set(
        service.name ?? `${service.protocol ?? ""} ${service.address ?? ""}:${service.port ?? 0}`,
        service,
      );
  return all;
}

const portsOf = (service: bpf_isolator.Service | undefined): number[] =>
  (service?.backends ?? []).map(({ port = 0 }) => port).sort((a, b) => a - b);

const TASKS: mesos.v1.master.Task[] = [
  // Labels of the task itself: VIP_n is about its n-th port.
  labelled(
    "t1",
    [31_000, two.port].sort((a, b) => a - b),
    {
      [two.port > 31_000 ? "VIP_1" : "VIP_0"]: "/shop/cart:80",
      VIP_2: "/shop/none:80",
    },
  ),
  // Two owners of one address, who both may have it.
  task("w1", one.port, { VIP_0: "/web:80", VIP_1: "10.90.0.1:80" }),
  task("s1", two.port, { VIP_0: "10.90.0.1:80", VIP_1: "/api/v1:80", VIP_2: "/web:80" }, "other", {
    framework_id: { value: "second" },
  }),
  // Nobody has let them: another role, an address of the configuration's own, somebody else's block.
  task("h1", 31_001, { VIP_0: "/web:80", VIP_1: "10.90.0.1:80", VIP_2: "127.0.0.1:22" }, "hostile"),
  task("h2", 31_002, { VIP_0: "10.88.0.200:80", VIP_1: "/api/v1:80", VIP_2: "10.99.0.1:80" }),
  // Not their port, no virtual address, too many, a loop.
  task("h3", 31_003, { VIP_0: "/web:80" }, "web", {
    resources: [],
  }),
  task("h4", 31_004, {
    ...{
      VIP_0: "/web:0",
      VIP_1: "/we b:80",
      VIP_2: "/../etc:80",
      VIP_3: "/\u001b[31m:80",
      VIP_4: "0.0.0.0:80",
    },
    ...{
      VIP_5: `/shop/${"x".repeat(300)}:80`,
      VIP_6: "",
      VIP_7: "/web:80000",
      VIP_1000: "/web:80",
      vip_0: "/web:80",
    },
  }),
  task(
    "h5",
    31_005,
    Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`VIP_${i}`, `10.88.0.9:${i + 1}`])),
  ),
  task("h6", 31_006, { VIP_0: `10.88.0.10:80` }),
];

describe("a daemon's services", () => {
  it("are those of who may claim them, by role or framework; hostile labels get nothing, and are counted", async () => {
    const { response } = await master.next();
    response.write(eventRecord(subscribed(TASKS)));
    const all = await until(async () => {
      const now = await services();
      return now.size > 35 ? now : undefined;
    }, "all are there");
    assert.deepEqual(portsOf(all.get("/web")), [one.port]);
    assert.deepEqual(portsOf(all.get("/shop/cart")), [two.port]);
    assert.deepEqual(portsOf(all.get("/api/v1")), [two.port]);
    assert.deepEqual(
      portsOf(all.get("tcp 10.90.0.1:80")),
      [one.port, two.port].sort((a, b) => a - b),
    );
    assert.deepEqual(portsOf(all.get("/fixed")), [fixed.port]);
    assert.deepEqual(portsOf(all.get("tcp 10.88.0.10:80")), [31_006]);
    const expected = ["/web", "/shop/cart", "/api/v1", "/fixed", "tcp 10.90.0.1:80", "tcp 10.88.0.10:80"];
    const others = [...all.keys()].filter((name) => !expected.includes(name));
    assert.deepEqual(
      others,
      Array.from({ length: 32 }, (_, i) => `tcp 10.88.0.9:${i + 1}`),
    );
    const { stdout } = await runIsolator(["status", "--instance", daemon.instance]);
    for (const what of [
      "lets their tasks not claim",
      "VIP labels that are no virtual address",
      "VIP labels of ports that are not the task's",
      "VIP labels beyond the 32 of a task",
    ])
      assert.ok(stdout.includes(what), `${what} in ${stdout}`);
  });

  it("are in the metrics", async () => {
    await agent.prepare("measured", { resources: [CPUS] });
    const client = Connector.start(await agent.node("measured"));
    const web = (await services()).get("/web")?.address ?? "";
    for (let i = 0; i < 3; i++) assert.equal((await client.connect(80, { to: web })).result, "ok");
    assert.equal((await client.connect(80, { to: "10.88.0.10" })).result, "ECONNREFUSED");
    const text = await (await fetch(`http://127.0.0.1:${METRICS}/metrics`)).text();
    for (const [name, service, backend, value] of [
      ["connects_total", "/web", `127.0.0.1:${one.port}`, 3],
      ["connections", "/web", `127.0.0.1:${one.port}`, 3],
      ["backend_avoided", "/web", `127.0.0.1:${one.port}`, 0],
      ["failures_total", "tcp 10.88.0.10:80", "127.0.0.1:31006", 1],
      ["backend_avoided", "tcp 10.88.0.10:80", "127.0.0.1:31006", 1],
    ] as const) {
      const line = `bpf_isolator_service_${name}{service="${service}",backend="${backend}"} ${value}\n`;
      assert.ok(text.includes(line), line);
    }
    assert.match(text, /^bpf_isolator_service_misses_total\{service="\/web"\} 0$/m);
    await client.kill();
    await agent.cleanup("measured");
  });

  it("go on while the daemon is dead, and under builds of the same and of other data layouts", async () => {
    await agent.prepare("upgraded", { resources: [CPUS] });
    const client = Connector.start(await agent.node("upgraded"));
    const web = (await services()).get("/web");
    const connect = async (to: string): Promise<string> => (await client.connect(80, { to })).result;
    const works = async (): Promise<void> => {
      assert.equal(await connect("10.88.0.200"), "ok");
      assert.equal(await connect(web?.address ?? ""), "ok");
    };
    await works();
    for (const [name, make] of Object.entries({ same: sameLayouts, other: otherLayouts })) {
      const before = (await services()).get("/web")?.backends?.[0]?.connects ?? 0n;
      assert.ok(before > 0n);
      await daemon.stop("SIGKILL");
      await works();
      options.main = make(directory);
      await daemon.start();
      assert.equal(await connect("10.88.0.200"), "ok");
      // With the same maps nothing was away for a moment; else labels are back when the master has told of them.
      if (name === "same") await works();
      const { response } = await master.next();
      response.write(eventRecord(subscribed(TASKS.filter((one) => one.task_id.value !== "s1"))));
      await until(
        async () => (await services()).get("tcp 10.90.0.1:80")?.backends?.length === 1 || undefined,
        "what the master says now holds",
      );
      const now = (await services()).get("/web");
      assert.equal(now?.address, web?.address);
      await works();
      assert.equal((await services()).has("/api/v1"), false);
      if (name === "same") assert.ok((now?.backends?.[0]?.connects ?? 0n) > before, "its count began anew");
    }
    await client.kill();
    await agent.cleanup("upgraded");
  });
});
