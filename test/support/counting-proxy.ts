/** A unix socket before a daemon's that hands everything on, and counts the connections and what is asked on them. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { bpf_isolator } from "../../isolator/mesos/messages.js";

const HEAD_END = Buffer.from("\r\n\r\n");
/** Key of Call.type, the first field of a call in protobuf. */
const TYPE_KEY = 8;

export class CountingProxy {
  private readonly directory = mkdtempSync(join(tmpdir(), "bpf-isolator-proxy-"));
  readonly path = join(this.directory, "isolator.sock");
  connections = 0;
  /** Calls that get lost here: they are neither handed on nor answered. */
  swallows: keyof typeof bpf_isolator.Call.Type | undefined;
  private isCut = false;
  private readonly calls = new Map<string, number>();
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((socket) => {
    this.connections++;
    if (this.isCut) {
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    const daemon = connect(this.to);
    for (const [one, other] of [
      [socket, daemon],
      [daemon, socket],
    ] as const) {
      this.sockets.add(one);
      one.on("error", () => undefined);
      one.once("close", () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
    daemon.pipe(socket);
    let pending = Buffer.alloc(0);
    socket.on("data", (data) => {
      pending = Buffer.concat([pending, data]);
      for (let size = sizeOf(pending); size > 0; size = sizeOf(pending)) {
        const request = pending.subarray(0, size);
        pending = pending.subarray(size);
        const type = typeOf(request);
        if (type !== undefined) this.calls.set(type, (this.calls.get(type) ?? 0) + 1);
        if (type === undefined || type !== this.swallows) daemon.write(request);
      }
    });
  });

  /** @param to the daemon's socket */
  constructor(private readonly to: string) {
    after(() => {
      this.server.close();
      for (const socket of this.sockets) socket.destroy();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  /** Ends all connections, and each that is made until mend(). */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.destroy();
  }

  mend(): void {
    this.isCut = false;
  }

  /** How often a call has come. */
  count(type: keyof typeof bpf_isolator.Call.Type): number {
    return this.calls.get(type) ?? 0;
  }
}

/** Bytes of the request that a buffer begins with; 0: it is not whole yet. */
export function sizeOf(data: Buffer): number {
  const end = data.indexOf(HEAD_END);
  if (end < 0) return 0;
  const length = /content-length: *(\d+)/i.exec(data.toString("latin1", 0, end))?.[1];
  const size = end + HEAD_END.length + Number(length ?? 0);
  return data.length >= size ? size : 0;
}

function typeOf(request: Buffer): string | undefined {
  const body = request.indexOf(HEAD_END) + HEAD_END.length;
  return request[body] === TYPE_KEY ? bpf_isolator.Call.Type[request[body + 1] ?? 0] : undefined;
}
