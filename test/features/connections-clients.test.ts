/**
 * Programs that people use, at their limit: Python's asyncio and sockets and Node's net as clients, with nginx from
 * Debian as the other side. What each makes of the errno is what README.md says of it.
 */
// not in the VM: the clients are not in it, and what they make of an errno is not the kernel's
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { ConnectErrno } from "../../isolator/features/connections.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { execute, inNode } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { cell } = testInstance();
const NGINX = "/usr/sbin/nginx";
const PORT = 8080;
const LIMIT = 5;
let count = 0;

/** A server with keep-alive connections, in no container. */
async function startNginx(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-nginx-"));
  const file = join(directory, "nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    file,
    `daemon off; pid ${directory}/pid; error_log stderr crit; worker_processes 1;
     events { worker_connections 512; }
     http { access_log off; keepalive_timeout 600s; ${temporary.join(" ")}
       server { listen 127.0.0.1:${PORT}; location / { return 200 "hello\\n"; } } }`,
  );
  const child = spawn(NGINX, ["-p", directory, "-c", file, "-e", "stderr"], { stdio: "inherit" });
  const exited = once(child, "exit");
  after(async () => {
    child.kill("SIGTERM");
    await exited;
    rmSync(directory, { recursive: true, force: true });
  });
  await until(async () => {
    const socket = createConnection({ host: "127.0.0.1", port: PORT });
    await once(socket, "connect");
    socket.destroy();
    return true;
  }, "nginx answers");
}

async function limited(errno: ConnectErrno): Promise<Cell> {
  return cell([`l${count++}`], policy("", { connections: { max: LIMIT, errno } }));
}

/** Runs a program in a container whose limit is LIMIT. @returns its lines */
async function lines(errno: ConnectErrno, ...command: string[]): Promise<string[]> {
  const box = await limited(errno);
  const { stdout, stderr } = await execute(inNode(box.container.node, command));
  assert.equal(Number(box.container.counts.usage().denied.connections), 1, stdout + stderr);
  return stdout.trim().split("\n");
}

/** Opens one connection more than it may, each with a request that is answered. */
const ASYNCIO = `
import asyncio
async def main():
    kept = []
    for i in range(${LIMIT + 1}):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", ${PORT})
        except OSError as error:
            print("connect:", type(error).__name__, flush=True)
            continue
        kept.append(writer)
        try:
            writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            await writer.drain()
            answer = await reader.readline()
            print("answer:", answer.decode().strip() or "none", flush=True)
        except OSError as error:
            print("use:", type(error).__name__, flush=True)
asyncio.run(main())
`;
const SOCKET = `
import socket
kept = []
for i in range(${LIMIT + 1}):
    try:
        kept.append(socket.create_connection(("127.0.0.1", ${PORT}), timeout=TIMEOUT))
        print("ok", flush=True)
    except OSError as error:
        print(type(error).__name__, error.errno, flush=True)
`;
const NODE = `
const net = require("net");
const next = (i) => {
  if (i === ${LIMIT + 1}) process.exit(0);
  const socket = net.connect(${PORT}, "127.0.0.1");
  socket.on("connect", () => { console.log("ok"); next(i + 1); });
  socket.on("error", ({ code }) => { console.log(code); next(i + 1); });
};
next(0);
`;

const ANSWERED = "answer: HTTP/1.1 200 OK";
const python = (text: string): string[] => ["python3", "-c", text];

describe(
  "clients of nginx at their limit",
  { skip: !existsSync(NGINX) && "nginx is not installed" },
  async () => {
    await startNginx();

    it("Python's asyncio takes EAGAIN for a connection that is under way, and fails when it is used", async () => {
      const answers = await lines("EAGAIN", ...python(ASYNCIO));
      assert.deepEqual(answers.slice(0, LIMIT), Array(LIMIT).fill(ANSWERED));
      const last = answers[LIMIT] ?? "";
      assert.match(last, /^(use: |answer: none)/, "not by open_connection()");
    });

    for (const errno of ["EADDRNOTAVAIL", "ECONNREFUSED", "EPERM", "EHOSTUNREACH"] as const) {
      it(`Python's asyncio fails to connect with ${errno}`, async () => {
        const answers = await lines(errno, ...python(ASYNCIO));
        assert.deepEqual(answers.slice(0, LIMIT), Array(LIMIT).fill(ANSWERED));
        assert.match(answers[LIMIT] ?? "", /^connect: /);
      });
    }

    it("Python's sockets raise BlockingIOError, EAGAIN; with a timeout too", async () => {
      const answers = await lines("EAGAIN", ...python(SOCKET.replace("TIMEOUT", "None")));
      assert.deepEqual(answers, [...Array<string>(LIMIT).fill("ok"), "BlockingIOError 11"]);
      const timed = await lines("EAGAIN", ...python(SOCKET.replace("TIMEOUT", "2")));
      assert.deepEqual(timed, [...Array<string>(LIMIT).fill("ok"), "BlockingIOError 11"]);
    });

    it("Node's net fails with EAGAIN", async () => {
      const answers = await lines("EAGAIN", process.execPath, "-e", NODE);
      assert.deepEqual(answers, [...Array<string>(LIMIT).fill("ok"), "EAGAIN"]);
    });
  },
);
