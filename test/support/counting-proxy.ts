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
  private readonly calls = new Map<string, number>();
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((socket) => {
    this.connections++;
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
    // A call of a test is one piece.
    socket.on("data", (data) => {
      const type = typeOf(data);
      if (type !== undefined) this.calls.set(type, (this.calls.get(type) ?? 0) + 1);
      if (type === undefined || type !== this.swallows) daemon.write(data);
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

  /** How often a call has come. */
  count(type: keyof typeof bpf_isolator.Call.Type): number {
    return this.calls.get(type) ?? 0;
  }
}

function typeOf(data: Buffer): string | undefined {
  const body = data.indexOf(HEAD_END) + HEAD_END.length;
  return data[body] === TYPE_KEY ? bpf_isolator.Call.Type[data[body + 1] ?? 0] : undefined;
}
