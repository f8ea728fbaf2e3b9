/** Real servers inside and outside of their ports, called by real clients from outside. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { execute, isolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
const instance = instanceName();
const usageFile = join(directory, "usage.json");
const children: ChildProcess[] = [];
after(async () => {
  // Only a failed test leaves one.
  for (const child of children.filter(({ exitCode }) => exitCode === null)) {
    child.kill("SIGTERM");
    await once(child, "exit");
  }
  rmSync(directory, { recursive: true });
  assertNothingLeft(instance);
});

const PORTS = ["--ports", "31000-31005"];

function serve(command: readonly string[], options: readonly string[] = PORTS) {
  const args = ["run", "--instance", instance, "--name", "server", "--usage-file", usageFile, ...options];
  const [file = "", ...rest] = isolator(...args, "--", ...command);
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  const closed = once(child, "close") as Promise<[number | null]>;
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  return {
    output: () => output,
    /** Ends it and waits. @returns exit status and usage */
    stop: async (): Promise<{ status: number | null; usage: Record<string, unknown> }> => {
      child.kill("SIGTERM");
      const [status] = await closed;
      return { status, usage: JSON.parse(readFileSync(usageFile, "utf8")) as Record<string, unknown> };
    },
    /** Waits until it ends by itself. */
    ended: async (): Promise<number | null> => (await closed)[0],
  };
}

function fetchBytes(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, agent: false }, (response) => {
      let bytes = 0;
      response
        .on("data", (chunk: Buffer) => (bytes += chunk.length))
        .on("end", () => {
          resolve(bytes);
        });
    }).on("error", reject);
  });
}

function nginx(port: number): string[] {
  const root = join(directory, `nginx-${port}`);
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "big"), "x".repeat(1_000_000));
  const conf = join(root, "nginx.conf");
  writeFileSync(
    conf,
    `daemon off; master_process on; user root; worker_processes 2; pid ${root}/pid; error_log stderr;
     events {} http { access_log off; server { listen 127.0.0.1:${port}; root ${root}; index big; } }`,
  );
  return ["/usr/sbin/nginx", "-p", root, "-c", conf, "-e", "stderr"];
}

const NODE_SERVER =
  'require("http").createServer((_, r) => r.end("x".repeat(1000000))).listen(Number(process.argv[1]), "127.0.0.1")';
const node = (port: number): string[] => [process.execPath, "-e", NODE_SERVER, `${port}`];

for (const [name, command, refusal] of [
  ["nginx", nginx, /bind\(\) to 127\.0\.0\.1:8080 failed \(1: Operation not permitted\)/],
  ["Node's http", node, /EPERM: operation not permitted 127\.0\.0\.1:8080/],
] as const) {
  describe(name, () => {
    it("serves on a port of its own, and its traffic is counted", async () => {
      const server = serve(command(31000));
      let bytes = await until(() => fetchBytes(31000), "the server answers");
      for (let i = 0; i < 9; i++) bytes += await fetchBytes(31000);
      assert.equal(bytes, 10_000_000);
      const { usage } = await server.stop();
      assert(Number(usage["net_tx_bytes"]) > 10_000_000);
      // Headers are 1 %; what a loaded machine sends again counts, as it should. Twice would be 20 MB.
      assert(Number(usage["net_tx_bytes"]) < 15_000_000, `sent ${String(usage["net_tx_bytes"])}`);
    });

    it("is told EPERM on another port, at once and in its own words", async () => {
      const server = serve(command(8080));
      assert.equal(await server.ended(), 1);
      assert.match(server.output(), refusal);
      assert.match(server.output(), /denied bind\(\) tcp 127\.0\.0\.1:8080/);
    });
  });
}

describe("iperf3", () => {
  it("serves TCP and UDP on a port of its own", async () => {
    const server = serve(["iperf3", "-s", "-p", "31001", "--forceflush"]);
    await until(() => server.output().includes("Server listening"), "iperf3 listens");
    const client = (...args: string[]) =>
      execute(["iperf3", "-c", "127.0.0.1", "-p", "31001", "-J", ...args]);
    const tcp = await client("-n", "20M", "-R");
    assert.equal(tcp.status, 0, tcp.stdout);
    const udp = await client("-u", "-b", "50M", "-n", "5M");
    assert.equal(udp.status, 0, udp.stdout);
    const { usage } = await server.stop();
    assert(Number(usage["net_tx_bytes"]) > 20 * 1024 * 1024);
    assert(Number(usage["net_rx_bytes"]) > 5 * 1024 * 1024);
  });

  it("is told EPERM on another port", async () => {
    const server = serve(["iperf3", "-s", "-p", "5201"]);
    assert.equal(await server.ended(), 1);
    assert.match(server.output(), /Operation not permitted/);
  });
});

describe("a server on a port that the kernel chooses", () => {
  it("listens unreachably where ephemeral is clients, and that is reported", async () => {
    const script =
      'const s = require("net").createServer((c) => c.end("hi"))' +
      '.listen(0, "127.0.0.1", () => console.log("port " + s.address().port))';
    const server = serve([process.execPath, "-e", script], [...PORTS, "--ephemeral", "clients"]);
    await until(() => /port \d+\n/.test(server.output()), "the server says its port");
    await until(() => server.output().includes("(unreachable)"), "the listener is reported");
    const port = Number(/port (\d+)/.exec(server.output())?.[1]);
    assert.match(server.output(), new RegExp(`denied listen\\(\\) tcp port ${port} by node`));
    const refused = await Promise.race([fetchBytes(port).catch(() => "refused"), sleep(1000, "no answer")]);
    assert.equal(refused, "no answer");
    const { usage } = await server.stop();
    assert(Number(usage["net_rx_dropped"]) > 0);
  });
});
