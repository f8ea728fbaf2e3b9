/** The operator's server of a real daemon: what it shows, in an agent's own shape, and whom it does not answer. */
// not in the VM: HTTP is the same there
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";
import express from "express";
import { EventStreams, message } from "../../isolator/operator/event-stream.js";
import { Agent, CPUS, ports } from "../support/agent.js";
import { Connector, Listener } from "../support/connections.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork, keepTimewait, kernelTimewait } from "../support/network.js";
import { attempt, execute, inNode } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
keepTimewait();
const directory = mkdtempSync(join(tmpdir(), "isolator-operator-"));
const tokenFile = join(directory, "token");
after(() => {
  rmSync(directory, { recursive: true });
});
const CONFIG = "statistics: { interval: 1, rates: { window: 5, interval: 0.05 } }\n";
const daemon = await TestDaemon.start({ config: CONFIG });
const agent = new Agent(daemon);

/** What is shown for one executor, as far as tests look. */
interface Shown {
  container_id?: string;
  executor_id: string;
  executor_name: string;
  framework_id: string;
  source: string;
  statistics: {
    net_rx_packets: number;
    net_rx_bytes: number;
    net_rx_errors: number;
    net_tcp_active_connections: number;
    net_tcp_time_wait_connections: number;
    net_snmp_statistics: { tcp_stats: Record<string, number> };
    net_rate_statistics?: Record<string, Record<string, number>>;
  };
  status?: { container_id: { value: string } };
}

const portOf = (which: TestDaemon): number =>
  Number(
    /:(\d+)$/.exec(String(which.log.findLast(({ operator }) => operator !== undefined)?.["operator"]))?.[1],
  );

async function get(path: string, headers = {}, port = portOf(daemon), method = "GET") {
  const sent = request({ host: "127.0.0.1", port, path, headers, method, agent: false });
  sent.end();
  const [response] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
  return { status: response.statusCode, type: response.headers["content-type"], body: await text(response) };
}

const shown = async (path: string): Promise<Shown[]> => JSON.parse((await get(path)).body) as Shown[];

const executor = (id: string) => ({
  resources: [CPUS, ports(`${31000 + id.length}`)],
  executor_info: {
    executor_id: { value: id },
    framework_id: { value: "framework-0" },
    ...{ name: `Executor "${id}"\n`, source: id, command: {} },
  },
});

describe("the operator's server", () => {
  before(async () => {
    await agent.launch("web", executor("a"));
    await agent.prepare("web.nested", {});
    await agent.launch("batch", executor("ab"));
  });

  it("shows executors as an agent's /monitor/statistics and /containers do", async () => {
    const task = Connector.start(await agent.node("web"));
    const listener = await Listener.start();
    await task.tell(`hold 3 tcp 127.0.0.1 ${listener.port}`);
    const statistics = await until(async () => {
      const all = await shown("/monitor/statistics");
      assert.deepEqual(
        all.map(({ executor_id }) => executor_id),
        ["ab", "a"],
        "root containers, by their ids",
      );
      const web = all[1]?.statistics;
      return web && "net_tcp_rtt_microsecs_p50" in web ? web : undefined;
    }, "a pass has seen the connections");
    assert.equal(statistics.net_tcp_active_connections, 3);
    assert.equal(statistics.net_tcp_time_wait_connections, 0);
    assert(statistics.net_rx_bytes > 0 && statistics.net_rx_errors === 0);
    const { net_snmp_statistics: snmp } = statistics;
    assert.deepEqual(
      [snmp.tcp_stats["ActiveOpens"], snmp.tcp_stats["CurrEstab"], snmp.tcp_stats["RetransSegs"]],
      [3, 3, 0],
    );
    const containers = await shown("/containers");
    const web = containers[1];
    assert.deepEqual(Object.keys(web ?? {}).sort(), [
      "container_id",
      "executor_id",
      "executor_name",
      "framework_id",
      "source",
      "statistics",
      "status",
    ]);
    assert.deepEqual(
      [
        web?.container_id,
        web?.executor_name,
        web?.framework_id,
        web?.source,
        web?.status?.container_id.value,
      ],
      ["web", 'Executor "a"\n', "framework-0", "a", "web"],
    );
  });

  it("shows rates that the configuration asks for", async () => {
    const rates = await until(async () => {
      const { statistics } = (await shown("/monitor/statistics"))[1] ?? {};
      const found = statistics?.net_rate_statistics;
      return (found?.["rx_rate"]?.["samples"] ?? 0) >= 10 ? found : undefined;
    }, "ten samples");
    const { sampling_window_secs, sampling_interval_secs, rx_rate = {}, tx_error_rate = {} } = rates;
    assert.deepEqual([sampling_window_secs, sampling_interval_secs], [5, 0.05]);
    const order = ["min", "p50", "p90", "p95", "p99", "p999", "p9999", "max"].map(
      (name) => rx_rate[name] ?? -1,
    );
    assert.deepEqual(
      order,
      [...order].sort((x, y) => x - y),
    );
    assert.equal(tx_error_rate["max"], 0);
  });

  it("shows the same as usage does", async () => {
    const [entry] = await shown("/containers");
    const usage = await agent.usage("batch");
    assert.equal(BigInt(entry?.statistics.net_rx_packets ?? -1), usage.net_rx_packets);
    assert.equal(entry?.statistics.net_tcp_active_connections, usage.net_tcp_active_connections);
  });

  it("shows Prometheus what it scrapes, whatever frameworks call their executors", async () => {
    const long = executor("abc");
    await agent.prepare("long", {
      ...long,
      executor_info: { ...long.executor_info, executor_id: { value: "l".repeat(5_000) } },
    });
    const { body, type } = await get("/metrics");
    await agent.cleanup("long");
    assert.match(type ?? "", /^text\/plain; version=0\.0\.4/);
    for (const line of body.split("\n").filter((each) => each !== ""))
      assert.match(
        line,
        /^(# (HELP|TYPE) .*|[a-z_:][a-z_:\d]*(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? [-+\d.eNa]+)$/i,
      );
    assert.match(
      body,
      /^bpf_isolator_container_receive_bytes_total\{container="web",.*executor_id="a"\} [1-9]/m,
    );
    assert.match(body, new RegExp(`executor_id="${"l".repeat(256)}"`), "what a framework chooses is cut");
    assert.match(body, /^bpf_isolator_containers\{state="isolated"\} 2$/m);
    assert.match(body, /^bpf_isolator_info\{version="[\d.]+",instance=".+"\} 1$/m);
  });

  it("has the metrics and labels that the alert rules and the dashboard ask for, as promtool wants them", async (context) => {
    await attempt("bind port=8080", await agent.node("web"));
    const { body } = await until(async () => {
      const answer = await get("/metrics");
      return answer.body.includes("container_denied_total{") ? answer : undefined;
    }, "it is counted");
    const config = fileURLToPath(new URL("../../../config/", import.meta.url));
    const asked = ["prometheus/alerts.yaml", "grafana/bpf-isolator.json"]
      .map((file) => readFileSync(join(config, file), "utf8").replaceAll('\\"', '"'))
      .join("\n");
    const names = new Set(asked.match(/\bbpf_isolator_\w+/g));
    assert(names.size > 10);
    for (const name of names) assert(body.includes(`\n# TYPE ${name} `), name);
    const sampled = new Set<string>();
    for (const [, name = "", labels = ""] of asked.matchAll(/\b(bpf_isolator_\w+)\{([^}]*)\}/g))
      for (const [, label = ""] of labels.matchAll(/(\w+)=/g)) {
        const sample = body.split("\n").find((line) => line.startsWith(`${name}{`));
        if (label === "instance" || sample === undefined) continue;
        assert.match(sample, new RegExp(`[{,]${label}="`));
        sampled.add(name);
      }
    assert(sampled.size >= 5, [...sampled].join());
    const tool = (await execute(["sh", "-c", "command -v promtool"])).stdout.trim();
    if (tool === "") {
      context.diagnostic("no promtool here (Debian's package prometheus)");
      return;
    }
    const file = join(directory, "metrics");
    writeFileSync(file, body);
    const { stdout, stderr, status } = await execute(["sh", "-c", `${tool} check metrics <${file}`]);
    // What prom-client itself names is its own.
    const said = `${stdout}${stderr}`
      .split("\n")
      .filter((line) => !/^(bpf_isolator_(nodejs|process)_.*)?$/.test(line));
    assert.deepEqual([said, status === 0 || status === 3], [[], true]);
  });

  it("answers no socket of a container, nested nodes included, and the host's all the same", async () => {
    const url = `http://127.0.0.1:${portOf(daemon)}/metrics`;
    const script = `fetch(${JSON.stringify(url)}).then((answer) => answer.text()).then(console.log)`;
    const command = [process.execPath, "-e", script];
    const node = await agent.node("web.nested");
    const inside = await execute(inNode(node, command));
    assert.match(inside.stdout, /^forbidden: its socket is a container's\n\n$/);
    const outside = await execute(command);
    assert.match(outside.stdout, /bpf_isolator_info/);
  });

  it("takes its own names in Host only", async () => {
    for (const [host, status] of [
      ["localhost:5052", 200],
      ["127.0.0.1", 200],
      ["[::1]:80", 200],
      ["evil.example", 403],
      ["localhost.evil.example", 403],
    ] as const) {
      assert.equal((await get("/containers", { Host: host })).status, status, host);
    }
  });

  it("has nothing but its pages, and changes nothing", async () => {
    for (const [path, method] of [
      ["/nothing", "GET"],
      ["/page/../../main.js", "GET"],
      ["/container/none", "GET"],
      ["/metrics", "POST"],
      ["/containers", "DELETE"],
    ] as const) {
      assert.equal((await get(path, {}, portOf(daemon), method)).status, 404, `${method} ${path}`);
    }
  });

  it("gives a browser nothing but its own, and lets it do nothing else", async () => {
    const [answer] = (await once(request({ port: portOf(daemon), path: "/" }).end(), "response")) as [
      import("node:http").IncomingMessage,
    ];
    const policy = String(answer.headers["content-security-policy"]);
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; /);
    assert.doesNotMatch(policy, /unsafe|\*|http|data:/);
    assert.deepEqual(
      [answer.headers["x-frame-options"], answer.headers["referrer-policy"], answer.headers["x-powered-by"]],
      ["DENY", "no-referrer", undefined],
    );
    const page = await text(answer);
    assert.doesNotMatch(page, /<script(?![^>]* src=)|<style|style=|\son\w+=|https?:/);
    const links = [...page.matchAll(/(?:src|href)="(\/page\/[^"]*)"/g)].map(([, path = ""]) => path);
    assert(links.length > 3);
    for (const path of links) assert.equal((await get(path)).status, 200, path);
    assert.equal((await get("/container/%ff")).status, 400);
    assert.equal((await get("/events", {}, portOf(daemon), "HEAD")).status, 405);
  });

  it("asks for the token that the configuration names, and for names that it adds", async () => {
    writeFileSync(tokenFile, "0123456789abcdef\n");
    await daemon.reload(`${CONFIG}operator: { hosts: [Node1.example], token_file: ${tokenFile} }\n`);
    const authorization = (token: string) => ({ Authorization: `Bearer ${token}` });
    assert.equal((await get("/containers")).status, 401);
    assert.equal((await get("/events")).status, 401);
    assert.equal((await get("/containers", authorization("0123456789abcdeg"))).status, 401);
    const basic = (text: string) => ({ Authorization: `Basic ${Buffer.from(text).toString("base64")}` });
    assert.equal((await get("/containers", basic("anybody:0123456789abcdef"))).status, 200);
    for (const bad of ["0123456789abcdef:", ":", "0123456789abcdef"])
      assert.equal((await get("/containers", basic(bad))).status, 401, bad);
    assert.equal((await get("/containers", authorization("0123456789abcdef"))).status, 200);
    const named = { ...authorization("0123456789abcdef"), Host: "node1.example:5052" };
    assert.equal((await get("/containers", named)).status, 200);
    writeFileSync(tokenFile, "short");
    assert.equal((await get("/containers", authorization("short"))).status, 403);
    await daemon.reload(CONFIG);
  });
});

describe("its address", () => {
  it("is the next that is free where another daemon has the default one", async () => {
    const other = await TestDaemon.start();
    assert.equal(portOf(daemon), 5052);
    assert.equal(portOf(other), 5053);
    assert.equal((await get("/monitor/statistics", {}, 5053)).body, "[]");
    await other.end();
  });

  it("is told where it is taken, or none of this host, and the daemon does the rest", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    for (const [address, why] of [
      [`127.0.0.1:${port}`, /cannot listen on 127\.0\.0\.1 port \d+ .*EADDRINUSE/],
      ["203.0.113.9:5052", /cannot listen on 203\.0\.113\.9 port 5052 .*EADDRNOTAVAIL/],
      // It listens, and says who may look.
      ["0.0.0.0:5060", /answers everybody who can reach it.*give operator\.token_file/],
    ] as const) {
      const other = await TestDaemon.start({ config: `operator: { address: "${address}" }` });
      assert.match((await other.event("warning")).msg, why);
      assert.deepEqual(await new Agent(other).list(), []);
      await other.end();
    }
    holder.close();
  });

  it("may be off", async () => {
    const other = await TestDaemon.start({ config: "operator: { address: off }" });
    assert.deepEqual(
      other.log.filter(({ operator }) => operator !== undefined),
      [],
    );
    await other.end();
  });
});

describe("clients that are a burden", () => {
  /** Opens GET /events. @returns its status, and what it sends */
  async function open(paused = false) {
    const sent = request({ port: portOf(daemon), path: "/events", agent: false }).end();
    const [answer] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
    answer.on("error", () => undefined);
    const client = { status: answer.statusCode, body: "", close: () => sent.destroy() };
    if (!paused) answer.setEncoding("utf8").on("data", (part: string) => (client.body += part));
    return client;
  }

  it("may be 200 streams of events at once, and no more than there is room for", async () => {
    const memory = async () => Number((await agent.facts()).memory_bytes);
    const before = await memory();
    const clients = await Promise.all(Array.from({ length: 200 }, (_, i) => open(i % 2 === 0)));
    assert(clients.every(({ status }) => status === 200));
    const readers = clients.filter((_, i) => i % 2 === 1);
    await until(
      () => readers.every(({ body }) => /event: snapshot\ndata: .*"key":"web"/.test(body)),
      "all are told what there is",
    );
    await attempt("bind port=8080", await agent.node("web"));
    await until(
      () => readers.every(({ body }) => /event: log\ndata: .*:8080/.test(body)),
      "all are told of a denial",
    );
    await until(() => readers.every(({ body }) => body.includes("event: tick")), "all are told what changes");
    assert.equal((await get("/metrics")).status, 200, "others are answered");
    const more = await Promise.all(Array.from({ length: 60 }, () => open()));
    assert.deepEqual(
      [200, 503].map((status) => more.filter((each) => each.status === status).length),
      [56, 4],
    );
    const grown = ((await memory()) - before) / 1024 / 1024;
    assert(grown < 100, `${grown} MiB for 256 streams`);
    for (const { close } of [...clients, ...more]) close();
    await until(async () => (await open()).status === 200, "there is room again");
  });

  it("may send 10 MB of headers, of which nothing is kept", async () => {
    const socket = connect(portOf(daemon), "127.0.0.1");
    socket.on("error", () => undefined);
    await once(socket, "connect");
    const answer = text(socket).catch(() => "");
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n");
    const line = `X: ${"x".repeat(1000)}\r\n`;
    for (let sent = 0; sent < 10_000_000 && !socket.destroyed; sent += 1000 * line.length)
      socket.write(line.repeat(1000));
    socket.end();
    assert.match(await answer, /^(HTTP\/1\.1 431 .*|)$/s);
    assert.equal((await get("/healthz")).status, 200);
  });

  it("is cut off when it never reads, and the others are not", async () => {
    const streams = new EventStreams();
    const app = express();
    app.get("/", (_request, response) => {
      streams.open(response, [message("snapshot", {})]);
    });
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const clients = [request({ port, agent: false }).end(), request({ port, agent: false }).end()];
    const answers = await Promise.all(clients.map((sent) => once(sent, "response")));
    let read = 0;
    (answers[1]?.[0] as import("node:http").IncomingMessage).on(
      "data",
      (part: Buffer) => (read += part.length),
    );
    const bytes = message("tick", "x".repeat(1024 * 1024));
    let sent = 0;
    while (streams.dropped === 0) {
      streams.send(bytes);
      sent += bytes.length;
      await until(() => read >= sent, "the one that reads has all");
    }
    assert.deepEqual([streams.dropped, streams.count], [1, 1]);
    assert(sent < 32 * 1024 * 1024, `${sent} bytes were kept for it`);
    for (const client of clients) client.destroy();
    streams.close();
    server.close();
  });
});

describe("counters", () => {
  it("never go back: daemon killed, started again, container at its end", async () => {
    const task = Connector.start(await agent.node("batch"));
    const listener = await Listener.start();
    await task.tell(`hold 20 tcp 127.0.0.1 ${listener.port}`);
    await listener.accepted(20);
    const counts = async () => {
      const { net_rx_bytes, net_tx_packets, net_snmp_statistics, ...rest } = await agent.usage("batch");
      const { ActiveOpens, InSegs, OutSegs } = net_snmp_statistics?.tcp_stats ?? {};
      return {
        live: rest.net_tcp_active_connections,
        timewait: rest.net_tcp_time_wait_connections,
        counts: [net_rx_bytes, net_tx_packets, ActiveOpens, InSegs, OutSegs].map((count) =>
          Number(count ?? -1),
        ),
      };
    };
    const known = () => until(async () => ((await counts()).counts[3] ?? 0) >= 20 || undefined, "a pass");
    await known();
    await daemon.restart();
    const before = await counts();
    assert.equal(before.live, 20);
    await known();
    await task.try("closeall");
    // Only then the other end: where both close at once, a packet may come after its socket, and the RST ends the other one.
    await until(async () => (await counts()).live === 0 || undefined, "all are closed");
    await listener.drop("end");
    assert.equal((await counts()).timewait, 20);
    assert.equal(kernelTimewait(listener.port), 20);
    await daemon.restart();
    let known20: number | undefined;
    await until(
      async () => (known20 = (await counts()).timewait) === 20 || undefined,
      () => `known again by a pass: ${known20 ?? "none"}`,
    );
    const last = await counts();
    last.counts.forEach((count, i) => {
      assert(count >= (before.counts[i] ?? 0), `${String(last.counts)} after ${String(before.counts)}`);
    });
    // Told until it is gone, and then nothing: never less.
    const cleanup = agent.cleanup("batch");
    for (let told = last; ;) {
      const now = await counts();
      if (now.counts[0] === -1) break;
      now.counts.forEach((count, i) => {
        assert(count >= (told.counts[i] ?? 0), `${String(now.counts)} after ${String(told.counts)}`);
      });
      told = now;
    }
    await cleanup;
  });
});
