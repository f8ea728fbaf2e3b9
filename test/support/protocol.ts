/** A server of the protocol for a test, and clients that send whatever the test wants. */
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request, type IncomingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { buffer } from "node:stream/consumers";
import type { IsolatorError } from "../../isolator/errors.js";
import { bpf_isolator, codecs } from "../../isolator/mesos/messages.js";
import { ProtocolClient } from "../../isolator/protocol/client.js";
import type { ProtocolLimits } from "../../isolator/protocol/limits.js";
import { ProtocolServer } from "../../isolator/protocol/server.js";
import { RecordingService } from "./service.js";

export const PROTOBUF = "application/x-protobuf";
export const JSON_TYPE = "application/json";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** A directory of the test's own for sockets, removed after the tests of the file. */
export function socketDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-"));
  after(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

export class TestServer {
  readonly client: ProtocolClient;
  private readonly sockets: Socket[] = [];

  private constructor(
    readonly path: string,
    readonly service: RecordingService,
    readonly problems: IsolatorError[],
    private readonly server: ProtocolServer,
  ) {
    this.client = new ProtocolClient(path);
  }

  static async start(directory: string, limits: Partial<ProtocolLimits> = {}): Promise<TestServer> {
    const path = join(mkdtempSync(join(directory, "s")), "isolator.sock");
    const service = new RecordingService();
    const problems: IsolatorError[] = [];
    const server = await ProtocolServer.listen({
      path,
      service,
      limits,
      identity: { version: "1.2.3", instance: "test", features: ["ports"] },
      onProblem: (problem) => problems.push(problem),
    });
    return new TestServer(path, service, problems, server);
  }

  /** Ends the server as a daemon does. */
  close(): Promise<void> {
    return this.server.close();
  }

  /** Ends the server and all of the test's connections. */
  async stop(): Promise<void> {
    this.client.close();
    for (const socket of this.sockets) socket.destroy();
    await this.server.close();
  }

  /** One request with a connection of its own. */
  send(
    body: string | Uint8Array | undefined,
    headers: Record<string, string | number> = { "Content-Type": JSON_TYPE },
    path = "/api/v1",
    method = "POST",
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const agent = new Agent();
      const sent = request({ socketPath: this.path, path, method, headers, agent }, (message) => {
        buffer(message)
          .then((answer) => {
            resolve({ status: message.statusCode ?? 0, headers: message.headers, body: answer });
          })
          .catch(reject);
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }

  /** A connection that sends bytes as they are. */
  raw(text: string | Uint8Array = ""): Socket {
    const socket = connect(this.path);
    socket.on("error", () => undefined);
    socket.write(text);
    this.sockets.push(socket);
    return socket;
  }

  /** What comes back on such a connection until it is closed. */
  async rawAnswer(text: string | Uint8Array): Promise<string> {
    return (await buffer(this.raw(text))).toString();
  }

  /** Facts of the server's own. */
  async facts(): Promise<bpf_isolator.DaemonStatus> {
    const { get_status } = await this.client.call({ type: bpf_isolator.Call.Type.GET_STATUS });
    return get_status?.status ?? {};
  }
}

/** The response in an answer of either type. */
export function responseOf({ headers, body }: Answer): bpf_isolator.Response {
  return headers["content-type"] === PROTOBUF
    ? codecs.Response.decode(body)
    : codecs.Response.parseJson(body.toString());
}
