/** What is wrong is refused with a sentence, and harms nothing else. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmodSync } from "node:fs";
import { dirname } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { IsolatorError } from "../../isolator/errors.js";
import { bpf_isolator, codecs, type mesos } from "../../isolator/mesos/messages.js";
import {
  JSON_TYPE,
  PROTOBUF,
  responseOf,
  socketDirectory,
  TestServer,
  type Answer,
} from "../support/protocol.js";
import { until } from "../support/wait.js";

const { Type } = bpf_isolator.Call;
const directory = socketDirectory();
const BODY_LIMIT = 64 * 1024;
let server: TestServer;

before(async () => {
  server = await TestServer.start(directory, { body: BODY_LIMIT, connections: 600 });
});
after(() => server.stop());
beforeEach(() => {
  server.service.asked.length = 0;
});
afterEach(async () => {
  // Whatever came before, the next call is answered.
  await server.client.call({ type: Type.LIST });
  assert.deepEqual(server.problems, []);
});

function assertError(answer: Answer, status: number, code: string, pattern: RegExp): void {
  const { type, error } = responseOf(answer);
  assert.equal(type, bpf_isolator.Response.Type.ERROR);
  assert.ok(error);
  assert.equal(error.code, code, error.message);
  assert.match(error.message ?? "", pattern);
  assert.equal(answer.status, status);
  assert.deepEqual(server.service.asked, [], "the service was asked");
}

function nested(depth: number): mesos.ContainerID {
  let id: mesos.ContainerID = { value: "0" };
  for (let i = 1; i < depth; i++) id = { value: String(i), parent: id };
  return id;
}

describe("messages", () => {
  it("that cannot be read", async () => {
    for (const body of ["<html>", "\xff\xff", "\x08", "\x12\x80\x80\x80\x80\x10"]) {
      const answer = await server.send(Buffer.from(body, "latin1"), { "Content-Type": PROTOBUF });
      assert.equal(answer.headers["content-type"], PROTOBUF);
      assertError(answer, 400, "bad-message", /no bpf_isolator.Call in protobuf/);
    }
    for (const body of ["", "{", "[]", "null", '"x"', '{"type":1}', '{"type":"LIST"', "\0"]) {
      assertError(await server.send(body), 400, "bad-message", /no bpf_isolator.Call in JSON/);
    }
    const deep = await server.send(`${'{"type":"X","a":'.repeat(3000)}1${"}".repeat(3000)}`);
    assertError(deep, 400, "unknown-call", /no type/);
  });

  it("of a type that is not known", async () => {
    const future = Buffer.from([0x08, 0x63]);
    for (const body of [future, Buffer.alloc(0)]) {
      const answer = await server.send(body, { "Content-Type": PROTOBUF });
      assertError(answer, 400, "unknown-call", /those are HANDSHAKE, RECOVER, .*GET_STATUS/);
    }
    for (const body of ["{}", '{"type":"SUBSCRIBE"}', '{"type":"UNKNOWN"}', '{"usage":{}}']) {
      assertError(await server.send(body), 400, "unknown-call", /those are HANDSHAKE/);
    }
  });

  it("that lack what their call needs", async () => {
    const calls = [
      "HANDSHAKE",
      "RECOVER",
      "PREPARE",
      "ISOLATE",
      "WATCH",
      "UPDATE",
      "USAGE",
      "STATUS",
      "CLEANUP",
    ];
    for (const type of calls) {
      const field = type.toLowerCase();
      const missing = new RegExp(`${type} needs ${field}, which is missing`);
      assertError(await server.send(JSON.stringify({ type })), 400, "bad-message", missing);
      if (type === "RECOVER") continue;
      const first = type === "HANDSHAKE" ? "name" : "container_id";
      const body = JSON.stringify({ type, [field]: {} });
      assertError(await server.send(body), 400, "bad-message", new RegExp(`needs ${field}.${first}`));
    }
    const id = { container_id: { value: "c" } };
    const lacking = [
      [{ type: "PREPARE", prepare: id }, /needs prepare.container_config/],
      [
        { type: "PREPARE", prepare: { ...id, container_config: {} } },
        /container_config.directory is missing/,
      ],
      [{ type: "ISOLATE", isolate: id }, /needs isolate.pid/],
      [{ type: "ISOLATE", isolate: { ...id, pid: 0 } }, /0 is no process id/],
      [{ type: "ISOLATE", isolate: { ...id, pid: 2 ** 31 } }, /2147483648 is no process id/],
      [{ type: "ISOLATE", isolate: { ...id, pid: -1 } }, /isolate.pid is -1/],
      [{ type: "HANDSHAKE", handshake: { name: "x" } }, /needs handshake.protocol_versions/],
      [{ type: "UPDATE", update: { ...id, resource_requests: [{ name: "x" }] } }, /\[0\].type is missing/],
    ] as const;
    for (const [call, pattern] of lacking) {
      assertError(await server.send(JSON.stringify(call)), 400, "bad-message", pattern);
    }
  });

  it("with container ids that are none of Mesos's", async () => {
    const values = [
      "",
      "/",
      "a/../b",
      "..",
      ".",
      "a.b",
      "nul\0",
      "new\nline",
      "a b",
      "\\",
      "x".repeat(10_000),
    ];
    const ids = [...values.map((value) => ({ value })), nested(40), { value: "c", parent: { value: ".." } }];
    for (const container_id of ids) {
      for (const field of ["prepare", "isolate", "watch", "update", "usage", "status", "cleanup"] as const) {
        const call: bpf_isolator.Call = {
          type: Type[field.toUpperCase() as "USAGE"],
          [field]: { container_id },
        };
        const inProtobuf = await server.send(codecs.Call.encode(call), { "Content-Type": PROTOBUF });
        assertError(inProtobuf, 400, "bad-container-id", /the container id/);
        const inJson = await server.send(JSON.stringify(codecs.Call.toJson(call)));
        assertError(inJson, 400, "bad-container-id", /the container id/);
      }
    }
    const filter = { type: "EVENTS", events: { container_id: { value: "../x" } } };
    assertError(await server.send(JSON.stringify(filter)), 400, "bad-container-id", /the container id/);
  });

  it("with ids that are no UUIDs are answered", async () => {
    for (const value of ["check-1", "standalone", "ümläut", "a:b", "*", "x".repeat(242)]) {
      const body = JSON.stringify({
        type: "CLEANUP",
        cleanup: { container_id: { value, parent: { value: "r" } } },
      });
      assert.equal((await server.send(body)).status, 200, value);
    }
  });
});

describe("requests", () => {
  it("of a wrong content type", async () => {
    for (const type of [
      "text/plain",
      "application/x-protobuf2",
      "application/x-www-form-urlencoded",
      "",
      "json",
    ]) {
      const answer = await server.send('{"type":"LIST"}', type === "" ? {} : { "Content-Type": type });
      assertError(answer, 415, "wrong-content-type", /Content-Type is .*: send application\/x-protobuf or/);
    }
    const packed = await server.send(gzipSync('{"type":"LIST"}'), {
      "Content-Type": JSON_TYPE,
      "Content-Encoding": "gzip",
    });
    assertError(packed, 415, "wrong-content-type", /compressed/);
  });

  it("for an answer in a type that there is not", async () => {
    const refused = [
      { Accept: "text/html" },
      { Accept: "application/recordio" },
      { Accept: `${JSON_TYPE};q=0, ${PROTOBUF};q=0` },
    ];
    for (const headers of refused) {
      const answer = await server.send('{"type":"LIST"}', { "Content-Type": JSON_TYPE, ...headers });
      assertError(answer, 406, "not-acceptable", /ask for one of them with Accept/);
    }
    const watch = '{"type":"WATCH","watch":{"container_id":{"value":"c"}}}';
    const answer = await server.send(watch, { "Content-Type": JSON_TYPE, "Message-Accept": "text/html" });
    assertError(answer, 406, "not-acceptable", /framed as application\/recordio/);
  });

  it("for another path or by another method", async () => {
    for (const path of ["/", "/api/v2", "/api/v1/", "/API/V1", "/api/v1/../v1", "/%00"]) {
      assertError(await server.send("{}", undefined, path), 404, "not-found", /calls go to \/api\/v1/);
    }
    for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
      const answer = await server.send(undefined, {}, undefined, method);
      assertError(answer, 405, "wrong-method", /use POST/);
      assert.equal(answer.headers.allow, "POST");
    }
  });

  it("that are too large, of known length or not", async () => {
    const body = Buffer.alloc(BODY_LIMIT + 1, 0x20);
    const headers = { "Content-Type": JSON_TYPE };
    const pattern = /larger than the 65536 bytes allowed/;
    const known = await server.send(body, { ...headers, "Content-Length": body.length });
    assertError(known, 413, "too-large", pattern);
    const chunked = await server.send(body, { ...headers, "Transfer-Encoding": "chunked" });
    assertError(chunked, 413, "too-large", pattern);
    // The answer does not wait for a body that never comes.
    const claimed = server.raw(
      `POST /api/v1 HTTP/1.1\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: 99999999999\r\n\r\n{`,
    );
    const [start] = (await once(claimed, "data")) as [Buffer];
    assert.match(start.toString(), /^HTTP\/1\.1 413 /);
    claimed.destroy();
    assert.equal(
      (await server.send(Buffer.concat([Buffer.from('{"type":"LIST"}'), body.subarray(20)]))).status,
      200,
    );
  });

  it("that are no HTTP", async () => {
    const garbage = [
      "garbage\r\n\r\n",
      "\0\0\0\0\0\0\0\0",
      "\x16\x03\x01\x02\x00\x01",
      "POST /api/v1 HTTP/9.9\r\n\r\n",
      "POST /api/v1 HTTP/1.1\r\nContent-Length: x\r\n\r\n",
      "POST /api/v1 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
      `GET / HTTP/1.1\r\nX: ${"x".repeat(100_000)}\r\n\r\n`,
    ];
    for (const text of garbage) {
      const answer = await server.rawAnswer(text);
      assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\nConnection: close\r\n/, text.slice(0, 40));
      const { error } = codecs.Response.parseJson(answer.slice(answer.indexOf("\r\n\r\n") + 4));
      assert.equal(error?.code, "bad-message");
    }
  });

  it("that never come whole", async (context) => {
    const hasty = await TestServer.start(directory, { headers: 300, request: 600 });
    context.after(() => hasty.stop());
    const half = `POST /api/v1 HTTP/1.1\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: 100\r\n`;
    for (const text of ["", "POST /api", half, `${half}\r\n{"type":`]) {
      const answer = await hasty.rawAnswer(text);
      assert.match(answer, /^HTTP\/1\.1 408 Request Timeout\r\n/, text);
    }
  });

  it("whose client hangs up in the middle", async () => {
    for (const text of [
      "POST /api/v1 HTTP/1.1\r\nContent-Ty",
      `POST /api/v1 HTTP/1.1\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: 100\r\n\r\n{"type":`,
    ]) {
      const socket = server.raw(text);
      await until(() => socket.bytesWritten === Buffer.byteLength(text), "the bytes were written");
      socket.destroy();
    }
    await until(async () => (await server.facts()).calls === 1, "no call is left under way");
  });

  it("on very many connections", async () => {
    const sockets = Array.from({ length: 550 }, () => server.raw("POST /"));
    await server.client.call({ type: Type.LIST });
    for (const socket of sockets) socket.destroy();
  });
});

describe("other users", () => {
  it("are refused even where the socket's mode lets them in", async () => {
    for (const path of [directory, dirname(server.path)]) chmodSync(path, 0o755);
    chmodSync(server.path, 0o666);
    const script = `
      const http = require("node:http");
      const headers = { "Content-Type": "application/json" };
      http.request({ socketPath: ${JSON.stringify(server.path)}, path: "/api/v1", method: "POST", headers }, (answer) => {
        process.stdout.write(answer.statusCode + " " + answer.headers.connection + " ");
        answer.pipe(process.stdout);
      }).end('{"type":"LIST"}');`;
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", script], {
      uid: 65534,
      gid: 65534,
      cwd: "/",
    });
    assert.equal(
      stdout,
      '403 close {"type":"ERROR","error":{"code":"forbidden","message":"only root may talk to bpf-isolator: run this with sudo"}}',
    );
    assert.deepEqual(server.service.asked, []);
  });
});

describe("errors of the service", () => {
  it("are the answer", async () => {
    server.service.before = () => {
      throw new IsolatorError("port-owned", "port 31000 belongs to container x");
    };
    const body = '{"type":"CLEANUP","cleanup":{"container_id":{"value":"c"}}}';
    const answer = await server.send(body);
    server.service.asked.length = 0;
    server.service.before = () => undefined;
    assertError(answer, 409, "port-owned", /^port 31000 belongs to container x$/);
  });

  it("that are mistakes of the daemon say so, and are reported", async () => {
    server.service.before = () => {
      throw new TypeError("x is undefined");
    };
    const answer = await server.send('{"type":"USAGE","usage":{"container_id":{"value":"c"}}}');
    server.service.asked.length = 0;
    server.service.before = () => undefined;
    assertError(answer, 500, "internal", /USAGE failed by a mistake of bpf-isolator: x is undefined/);
    assert.deepEqual(
      server.problems.splice(0).map(({ code }) => code),
      ["internal"],
    );
  });
});
