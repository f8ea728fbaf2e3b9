/** Daemons that are none: a unix socket that is silent, slow, dies or talks garbage, and counts what it is asked. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** What is done with a connection, and with each piece of a request on it. */
export interface Manners {
  onConnect?: (socket: Socket) => void;
  onData?: (socket: Socket, data: Buffer) => void;
}

/** An answer that is HTTP. */
export function httpAnswer(body: string | Uint8Array, status = "200 OK", more = ""): Buffer {
  const bytes = Buffer.from(body);
  const head = `HTTP/1.1 ${status}\r\nContent-Length: ${bytes.length}\r\nContent-Type: application/x-protobuf\r\n${more}\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** By what it does. */
export const MANNERS: Record<string, Manners> = {
  "never answers": {},
  "hangs up at once": { onConnect: (socket) => socket.destroy() },
  "hangs up at each call": { onData: (socket) => socket.destroy() },
  "hangs up within its answer": {
    onData: (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"),
  },
  "does not speak HTTP": { onData: (socket) => socket.write("\u0000\u0001 220 ready\r\n\r\n") },
  "answers with bytes that are no message": {
    onData: (socket) => socket.write(httpAnswer("\xff\xff\xff\xff")),
  },
  "answers with an empty message": { onData: (socket) => socket.write(httpAnswer("")) },
  "answers every call as a handshake": {
    // Response{type: HANDSHAKE, handshake: {}}
    onData: (socket) => socket.write(httpAnswer(Uint8Array.of(8, 1, 18, 0))),
  },
  "answers without end": {
    onData: (socket) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
      const flood = (): void => {
        while (!socket.destroyed && socket.write(chunk));
        if (!socket.destroyed) socket.once("drain", flood);
      };
      flood();
    },
  },
  "talks when nobody has asked": { onConnect: (socket) => socket.write(httpAnswer("hello")) },
  "answers 500 with text": {
    onData: (socket) => socket.write(httpAnswer("oops", "500 Internal Server Error")),
  },
};

export class BadDaemon {
  readonly directory = mkdtempSync(join(tmpdir(), "bpf-isolator-bad-"));
  readonly path = join(this.directory, "isolator.sock");
  connections = 0;
  private readonly sockets = new Set<Socket>();
  private server: Server | undefined;

  constructor(private readonly manners: Manners = {}) {
    after(async () => {
      await this.stop();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  async start(): Promise<void> {
    const server = createServer((socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => this.sockets.delete(socket));
      socket.on("data", (data) => this.manners.onData?.(socket, data));
      this.manners.onConnect?.(socket);
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const { server } = this;
    this.server = undefined;
    if (server) await new Promise((resolve) => server.close(resolve));
  }
}
