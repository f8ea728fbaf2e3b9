/** The socket itself, who may be at its other end, and how much at once. */
import assert from "node:assert/strict";
import { lstatSync, mkdirSync, mkdtempSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { afterEach, describe, it } from "node:test";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { ProtocolClient } from "../../isolator/protocol/client.js";
import { ProtocolServer } from "../../isolator/protocol/server.js";
import { socketDirectory, TestServer } from "../support/protocol.js";
import { RecordingService } from "../support/service.js";
import { until } from "../support/wait.js";

const { Type } = bpf_isolator.Call;
const directory = socketDirectory();
let opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const it of opened) await it.close();
  opened = [];
});

async function listen(path: string): Promise<ProtocolServer> {
  const identity = { version: "1", instance: "test", features: [] };
  const server = await ProtocolServer.listen({ path, service: new RecordingService(), identity });
  opened.push(server);
  return server;
}

function newPath(): string {
  return join(mkdtempSync(join(directory, "d")), "isolator.sock");
}

describe("the socket", () => {
  it("is root's alone, and so is the directory made for it", async () => {
    const path = join(newPath(), "..", "made", "isolator.sock");
    const mask = process.umask(0);
    try {
      await listen(path);
      assert.equal(statSync(path).mode & 0o7777, 0o600);
      assert.equal(statSync(join(path, "..")).mode & 0o7777, 0o700);
      writeFileSync(`${path}.other`, "");
      assert.equal(statSync(`${path}.other`).mode & 0o777, 0o666, "the process's umask is as it was");
    } finally {
      process.umask(mask);
    }
  });

  it("of a killed daemon is replaced", async () => {
    const path = newPath();
    const script = `require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, 9))`;
    await once(spawn(process.execPath, ["-e", script, path], { stdio: "ignore" }), "exit");
    assert.ok(lstatSync(path).isSocket());
    const client = new ProtocolClient(path);
    await assert.rejects(client.call({ type: Type.LIST }), { code: "no-daemon" });
    await listen(path);
    await client.call({ type: Type.LIST });
    client.close();
  });

  it("of a daemon that lives is not taken", async () => {
    const path = newPath();
    await listen(path);
    await assert.rejects(listen(path), { code: "already-serving" });
    const client = new ProtocolClient(path);
    await client.call({ type: Type.LIST });
    client.close();
  });

  it("is not put in the place of anything else", async () => {
    const path = newPath();
    writeFileSync(path, "precious");
    await assert.rejects(listen(path), { code: "state-failed", message: /is no socket: remove it/ });
    assert.equal(statSync(path).size, 8);
    mkdirSync(`${path}.d`);
    await assert.rejects(listen(`${path}.d`), { code: "state-failed" });
    await assert.rejects(listen(join(path, "isolator.sock")), { code: "state-failed" });
    await assert.rejects(listen(`/tmp/${"x".repeat(104)}`), { code: "bad-argument", message: /too long/ });
  });

  it("that is not there is an error that says what to do", async () => {
    const client = new ProtocolClient(newPath());
    await assert.rejects(client.call({ type: Type.LIST }), {
      code: "no-daemon",
      message: /no bpf-isolator daemon listens on .*isolator.sock: start it \(bpf-isolator serve\)/,
    });
  });
});

describe("calls at once", () => {
  it("are bounded, and a refused one says so", async () => {
    const server = await TestServer.start(directory, { calls: 3, close: 100 });
    opened.push({ close: () => server.stop() });
    const finish = server.service.hold("cleanup");
    const cleanup = (): Promise<unknown> =>
      server.client.call({ type: Type.CLEANUP, cleanup: { container_id: { value: "c" } } });
    const calls = [cleanup(), cleanup(), cleanup()];
    await until(() => finish.length === 3, "three are under way");
    const refused = await server.send('{"type":"LIST"}');
    assert.equal(refused.status, 503);
    await assert.rejects(cleanup(), {
      code: "overloaded",
      message: "bpf-isolator has 3 calls under way of at most 3: try again in a moment",
    });
    finish[0]?.();
    await Promise.race(calls);
    await until(() => server.client.call({ type: Type.LIST }), "there is room again");
    for (const each of finish) each();
    await Promise.all(calls);
  });

  it("whose client goes away are finished all the same", async () => {
    const server = await TestServer.start(directory);
    opened.push({ close: () => server.stop() });
    const finish = server.service.hold("cleanup");
    const body = '{"type":"CLEANUP","cleanup":{"container_id":{"value":"c"}}}';
    const socket = server.raw(
      `POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => finish.length === 1, "it is under way");
    socket.destroy();
    await until(async () => (await server.facts()).calls === 1, "its place is free");
    finish[0]?.();
    assert.deepEqual(server.service.methods(), ["cleanup c"]);
    assert.deepEqual(server.problems, []);
  });

  it("hold no more bytes of requests than are allowed", async () => {
    const server = await TestServer.start(directory, { bodies: 1000, body: 600 });
    opened.push({ close: () => server.stop() });
    const head = (length: number): string =>
      `POST /api/v1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{`;
    const first = server.raw(head(600));
    await until(async () => (await server.facts()).calls === 2, "the first is being read");
    const answer = await server.send("x".repeat(500));
    assert.equal(answer.status, 503);
    assert.match(answer.body.toString(), /600 bytes of requests under way of at most 1000/);
    first.destroy();
    await until(async () => (await server.facts()).calls === 1, "it has gone");
    assert.equal((await server.send(" ".repeat(500))).status, 400);
  });

  it("on more connections than are allowed wait for nobody", async () => {
    const server = await TestServer.start(directory, { connections: 5 });
    opened.push({ close: () => server.stop() });
    await server.client.call({ type: Type.LIST });
    const others = Array.from({ length: 20 }, () => connect(server.path).on("error", () => undefined));
    opened.push(...others.map((socket) => ({ close: () => socket.destroy() })));
    await until(() => others.filter((socket) => socket.closed).length >= 16, "those beyond are closed");
    await server.client.call({ type: Type.LIST });
  });
});
