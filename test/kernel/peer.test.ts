/** Who is at the other end of a unix socket. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { peerOf } from "../../isolator/kernel/peer.js";
import { socketDirectory } from "../support/protocol.js";

describe("peerOf()", () => {
  it("tells the process that connected", async () => {
    const path = join(socketDirectory(), "socket");
    const server = createServer().listen(path);
    const connection = once(server, "connection") as Promise<[{ _handle: { fd: number } }]>;
    const script = `require("node:net").connect(process.argv[1]).resume()`;
    const child = spawn(process.execPath, ["-e", script, path], { stdio: "ignore" });
    try {
      const [socket] = await connection;
      assert.deepEqual(peerOf(socket._handle.fd), { pid: child.pid, uid: 0, gid: 0 });
    } finally {
      child.kill("SIGKILL");
      server.close();
    }
  });

  it("knows nobody at what is no socket", () => {
    const fd = openSync("/dev/null", "r");
    assert.equal(peerOf(fd), undefined);
    closeSync(fd);
    assert.equal(peerOf(-1), undefined);
  });
});
