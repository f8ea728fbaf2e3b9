/**
 * Services of a daemon: from its configuration and the labels of a master's tasks, with nginx and Node as backends that
 * are killed and replaced under load, a real DNS server behind one, and all of it shown to the operator.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { bpf_isolator, mesos } from "../../isolator/mesos/messages.js";
import { Agent, CPUS } from "../support/agent.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { eventRecord, TestMaster, type MasterEvent } from "../support/master.js";
import { enterOwnNetwork } from "../support/network.js";
import { inNode, runIsolator } from "../support/process.js";
import { added, subscribed, task, updated } from "../support/vip-tasks.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { TaskState } = mesos.v1.master;
const directory = mkdtempSync(join(tmpdir(), "isolator-services-"));
const hosts = join(directory, "hosts", "services");
const master = await TestMaster.start();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);
const children = new Set<ChildProcess>();
after(() => {
  // Killed outright, an nginx would leave its worker.
  for (const child of children) child.kill("SIGTERM");
  rmSync(directory, { recursive: true });
});

const config = (more = ""): string => `
services:
  range: 10.77.0.0/24
  domain: test.l4lb
  hosts_file: ${hosts}
  avoid: 30
  claims:
    - {match: {role: web}, names: ["/web", "/shop/**"], addresses: [10.88.0.0/24]}
${more}
endpoints:
  master: {urls: ["${master.url}"]}
`;

async function services(): Promise<bpf_isolator.Service[]> {
  const all: bpf_isolator.Service[] = [];
  for await (const { services: some } of daemon.client.stream({ type: bpf_isolator.Call.Type.SERVICES }))
    all.push(...(some?.services ?? []));
  return all;
}

async function container(name: string): Promise<Connector> {
  await agent.prepare(name, { resources: [CPUS] });
  return Connector.start(await agent.node(name));
}

function run(file: string, args: readonly string[]): ChildProcess {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  child.on("exit", () => children.delete(child));
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** An HTTP server of Node's that answers with its port. */
async function nodeServer(port: number): Promise<ChildProcess> {
  const code = `require("http").createServer((q,r)=>r.end("${port}")).listen(${port},"127.0.0.1",()=>console.log("up"))`;
  const child = run(process.execPath, ["-e", code]);
  if (child.stdout) await once(child.stdout, "data");
  return child;
}

async function nginx(port: number): Promise<ChildProcess> {
  const file = join(directory, `nginx-${port}.conf`);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    file,
    `daemon off; worker_processes 1; worker_shutdown_timeout 2s; pid ${directory}/nginx-${port}.pid; error_log /dev/null;
events { worker_connections 512; }
http { access_log off; ${temporary.join(" ")} server { listen 127.0.0.1:${port}; location / { return 200 "${port}"; } } }`,
  );
  const child = run("/usr/sbin/nginx", ["-c", file, "-p", directory]);
  const probe = Connector.start();
  await until(async () => (await probe.connect(port)).result === "ok" || undefined, "nginx listens");
  await probe.kill();
  return child;
}

/** What requests gave: how often which answer or error; and of those that were begun after the first refusal. */
interface Load {
  counts: Record<string, number>;
  after: Record<string, number>;
}

/** Requests from a container, four at a time and each on a connection of its own, until it is told to stop. */
async function load(name: string, url: string): Promise<() => Promise<Load>> {
  const code = `
const http = require("http"); const counts = {}, after = {}; let on = true, refused = false;
const one = () => new Promise((done) => {
  const late = refused;
  const count = (what) => { counts[what] = (counts[what] || 0) + 1; if (late) after[what] = (after[what] || 0) + 1; done(); };
  http.get(process.argv[1], { agent: false }, (r) => { let t = ""; r.on("data", (c) => t += c); r.on("end", () => count(t)); r.on("error", (e) => count(e.code)); })
    .on("error", (e) => { const what = e.syscall + " " + e.code; if (what === "connect ECONNREFUSED") refused = true; count(what); });
});
const go = async () => { while (on) await one(); };
process.stdin.once("data", () => { on = false; });
console.log("up");
Promise.all([go(), go(), go(), go()]).then(() => { console.log(JSON.stringify({ counts, after })); process.exit(); });`;
  const [file = "", ...args] = inNode(await agent.node(name), [process.execPath, "-e", code, url]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  children.add(child);
  let text = "";
  child.stdout.on("data", (chunk) => (text += String(chunk)));
  await until(() => text.startsWith("up") || undefined, "the load begins");
  return async () => {
    const closed = once(child, "close");
    child.stdin.write("x");
    await closed;
    return JSON.parse(text.slice(3)) as Load;
  };
}

const errors = (counts: Record<string, number>): string[] =>
  Object.keys(counts).filter((key) => !/^\d+$/.test(key));

describe("a daemon's services", () => {
  it("come from the configuration, and are shown with what becomes of their backends", async () => {
    const server = await Listener.start();
    await daemon.reload(
      `services: {static: [{vip: "10.66.0.1:80", name: /old, backends: ["127.0.0.1:${server.port}"]}, {vip: "10.66.0.2:80"}]}`,
    );
    const client = await container("static");
    assert.equal((await client.connect(80, { to: "10.66.0.1" })).result, "ok");
    assert.equal((await client.connect(80, { to: "10.66.0.2" })).result, "ECONNREFUSED");
    const { stdout } = await runIsolator(["services", "--instance", daemon.instance]);
    assert.match(stdout, /^SERVICE +ADDRESS +BACKEND +STATE +CONNECTIONS +CONNECTS +FAILURES$/m);
    assert.match(
      stdout,
      new RegExp(`^/old +tcp 10.66.0.1:80 +127.0.0.1:${server.port} +active +1 +1 +0$`, "m"),
    );
    assert.match(stdout, /^- +tcp 10\.66\.0\.2:80 +none +1$/m);
    await server.close();
    assert.equal((await client.connect(80, { to: "10.66.0.1" })).result, "ECONNREFUSED");
    const json = await runIsolator(["services", "--json", "--instance", daemon.instance]);
    const [old] = (JSON.parse(json.stdout) as { services: { backends: { state: string }[] }[] }).services;
    assert.equal(old?.backends[0]?.state, "avoided");
    const status = (await runIsolator(["status", "--instance", daemon.instance])).stdout;
    assert.match(status, /services +2, with 1 backends; 1 avoided; 1 without a backend/);
    await until(
      () =>
        daemon.log.some(({ event, msg }) => event === "service" && msg.includes("is avoided")) || undefined,
      "an event tells of it",
    );
    await client.kill();
    await agent.cleanup("static");
  });

  it("are claimed by labels of those who may, have stable addresses, and resolve by the file of hosts", async () => {
    await daemon.reload(config());
    const { response } = await master.next();
    const send = (...events: MasterEvent[]): void => {
      for (const event of events) response.write(eventRecord(event));
    };
    const [one, two] = [await Listener.start(), await Listener.start()];
    send(
      subscribed([
        task("w1", one.port, { VIP_0: "/web:80", VIP_1: "10.88.0.1:443" }),
        task("w2", two.port, { VIP_0: "/web:80" }),
        task("h1", 31001, { VIP_0: "/web:80" }, "hostile"),
        task("h2", 31002, { VIP_0: "/other:80", VIP_1: "10.99.0.1:80", VIP_2: "127.0.0.1:22" }),
        task("h3", 31003, {
          VIP_0: "/web:0",
          VIP_1: `/${"x".repeat(500)}:80`,
          VIP_2: "../../etc/passwd:80",
          other: "/web:80",
        }),
      ]),
    );
    const web = await until(
      async () => (await services()).find(({ name }) => name === "/web"),
      "/web is there",
    );
    assert.deepEqual(web.backends?.map(({ port = 0 }) => port).sort(), [one.port, two.port].sort());
    assert.match(web.address ?? "", /^10\.77\.0\./);
    assert.equal((await services()).length, 2);
    assert.equal(readFileSync(hosts, "utf8").split("\n")[1], `${web.address ?? ""} web.test.l4lb`);
    const status = (await runIsolator(["status", "--instance", daemon.instance])).stdout;
    assert.match(status, /left out: .*lets their tasks not claim/);

    // Health and TASK_KILLING take a backend out; what has ended is gone.
    const ports = async (): Promise<Record<number, string>> =>
      Object.fromEntries(
        ((await services()).find(({ name }) => name === "/web")?.backends ?? []).map(
          ({ port = 0, state = "" }) => [port, state],
        ),
      );
    send(updated("w1", TaskState.TASK_RUNNING, false));
    await until(async () => (await ports())[one.port] === "draining" || undefined, "an unhealthy one is out");
    send(updated("w1", TaskState.TASK_RUNNING, true));
    await until(async () => (await ports())[one.port] === "active" || undefined, "it is back");
    send(updated("w2", TaskState.TASK_KILLING));
    await until(async () => (await ports())[two.port] === "draining" || undefined, "a killed one drains");
    send(updated("w2", TaskState.TASK_KILLED));
    await until(async () => (await ports())[two.port] === undefined || undefined, "it is gone");

    // The daemon is killed: its services go on, and the name keeps its address with the next one.
    const client = await container("claimed");
    assert.equal((await client.connect(80, { to: web.address ?? "" })).result, "ok");
    await daemon.restart("SIGKILL");
    assert.equal((await client.connect(80, { to: web.address ?? "" })).result, "ok");
    const next = await master.next();
    next.response.write(eventRecord(subscribed([task("w1", one.port, { VIP_0: "/web:80" })])));
    const again = await until(
      async () => (await services()).find(({ name }) => name === "/web"),
      "/web is there again",
    );
    assert.equal(again.address, web.address);
    await until(
      async () => (await client.connect(443, { to: "10.88.0.1" })).result !== "ok" || undefined,
      "what is claimed no more is gone",
    );
    await client.kill();
    await agent.cleanup("claimed");
    next.response.end();
  });

  it("lose no request when backends are replaced under load, and one connect at most when one is killed", async () => {
    const { response } = await master.next();
    const send = (...events: MasterEvent[]): void => {
      for (const event of events) response.write(eventRecord(event));
    };
    const vips = { VIP_0: "10.88.0.9:80" };
    let old: [id: string, port: number, child: ChildProcess] = ["b0", 32000, await nginx(32000)];
    const stays = await nodeServer(32100);
    send(subscribed([task("b0", 32000, vips), task("stays", 32100, vips)]));
    await until(
      async () => (await services()).some(({ backends }) => backends?.length === 2) || undefined,
      "both are there",
    );
    const client = await container("loaded");
    await client.kill();
    const rolling = await load("loaded", "http://10.88.0.9/");
    for (let i = 1; i <= 4; i++) {
      const [id, port, child] = old;
      const next: typeof old = [
        `b${i}`,
        32000 + i,
        i % 2 ? await nodeServer(32000 + i) : await nginx(32000 + i),
      ];
      send(added(task(next[0], next[1], vips)));
      send(updated(id, TaskState.TASK_KILLING));
      // It is out, and what it had begun is done: what an executor's grace period is for.
      await until(async () => {
        const [service] = await services();
        const drained = service?.backends?.find((backend) => backend.port === port);
        return (drained?.state === "draining" && !drained.connections) || undefined;
      }, `${id} is drained`);
      await end(child, port % 2 ? "SIGKILL" : "SIGQUIT");
      send(updated(id, TaskState.TASK_KILLED));
      await until(async () => {
        const [service] = await services();
        return service?.backends?.find((backend) => backend.port === next[1])?.connects;
      }, `${next[0]} is asked`);
      old = next;
    }
    const { counts: rolled } = await rolling();
    assert.deepEqual(errors(rolled), [], JSON.stringify(rolled));
    assert.ok((rolled["32004"] ?? 0) > 0 && (rolled["32100"] ?? 0) > 0, JSON.stringify(rolled));

    const killing = await load("loaded", "http://10.88.0.9/");
    const asked = async (): Promise<bigint> =>
      (await services())[0]?.backends?.reduce((sum, { connects = 0n }) => sum + connects, 0n) ?? 0n;
    const before = await asked();
    await until(async () => (await asked()) > before + 50n || undefined, "both are asked");
    await end(stays, "SIGKILL");
    const at = await asked();
    await until(async () => (await asked()) > at + 200n || undefined, "it is asked no more");
    const killed = await killing();
    // Four are in flight at a time, and as many may still be accepted by a process that ends. Whoever begins when one was
    // seen to be refused gets no refusal.
    const refused = killed.counts["connect ECONNREFUSED"] ?? 0;
    const others = errors(killed.counts).reduce((sum, key) => sum + (killed.counts[key] ?? 0), 0) - refused;
    assert.ok(refused >= 1 && refused <= 4 && others <= 8, JSON.stringify(killed));
    assert.deepEqual(errors(killed.after), [], JSON.stringify(killed));
    assert.ok((killed.after["32004"] ?? 0) > 100, JSON.stringify(killed));
    const [service] = await services();
    assert.equal(service?.backends?.find(({ port }) => port === 32100)?.state, "avoided");
    await end(old[2], "SIGTERM");
    response.end();
    await agent.cleanup("loaded");
  });

  it("lead to a real DNS server over UDP, which tells their names; a socket whose backend is gone is ended", async (context) => {
    if (!["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].some((path) => existsSync(path))) {
      context.skip("no dnsmasq here: isolator/setup/setup.sh test installs it");
      return;
    }
    const { response } = await master.next();
    const dns = run("dnsmasq", [
      ...["--keep-in-foreground", "--no-resolv", "--no-hosts", "--port=32053", "--listen-address=127.0.0.1"],
      ...[
        "--bind-interfaces",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        `--hostsdir=${join(directory, "hosts")}`,
      ],
    ]);
    await daemon.reload(
      config('  static: [{vip: "10.66.0.53:53", protocol: udp, backends: ["127.0.0.1:32053"]}]'),
    );
    response.write(eventRecord(subscribed([task("w1", 31009, { VIP_0: "/shop/cart:80" })])));
    const cart = await until(
      async () => (await services()).find(({ name }) => name === "/shop/cart"),
      "it is there",
    );
    const client = await container("resolver");
    const fd = await client.socket("udp");
    const code = `
const d = new (require("dns").promises.Resolver)({ timeout: 500, tries: 20 }); d.setServers(["10.66.0.53"]);
d.resolve4("cart.shop.test.l4lb").then((a) => console.log(a.join()), (e) => console.log(e.code));`;
    const answer = await until(async () => {
      const [file = "", ...args] = inNode(await agent.node("resolver"), [process.execPath, "-e", code]);
      const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      child.stdout.on("data", (chunk) => (text += String(chunk)));
      await once(child, "close");
      return text.trim() === cart.address ? text.trim() : undefined;
    }, "the name resolves over UDP");
    assert.equal(answer, cart.address);
    assert.equal(await client.try(`connect ${fd} 10.66.0.53 53`), "ok");
    assert.equal(await client.try(`write ${fd}`), "ok");
    const direct = await client.socket("udp");
    assert.equal(await client.try(`connect ${direct} 127.0.0.1 32053`), "ok");
    const left = await client.socket("udp");
    assert.equal(await client.try(`connect ${left} 10.66.0.53 53`), "ok");
    assert.equal(await client.try(`unspec ${left}`), "ok");
    await daemon.reload(config());
    await until(async () => (await client.try(`write ${fd}`)) !== "ok" || undefined, "its socket is ended");
    // Nobody else's: not one that is connected to the same place by its own address, nor one that has left.
    assert.equal(await client.try(`write ${direct}`), "ok");
    assert.equal(await client.try(`send ${left} 127.0.0.1 32053`), "ok");
    await until(
      () =>
        daemon.log.some(({ msg }) =>
          msg.startsWith("ended a UDP socket that was connected to backend 127.0.0.1:32053"),
        ) || undefined,
      "an event tells of it",
    );
    await end(dns, "SIGKILL");
    await client.kill();
    await agent.cleanup("resolver");
  });
});
