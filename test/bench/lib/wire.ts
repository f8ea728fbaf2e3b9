/**
 * A connection to a daemon's socket that does next to nothing itself: an agent's module is no Node program, so a client
 * that parses headers and messages would be measured with the daemon.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { bpf_isolator, codecs } from "../../../isolator/mesos/messages.js";
import { API_PATH, PROTOBUF } from "../../../isolator/protocol/encoding.js";

const END_OF_HEAD = "\r\n\r\n";

/** A call as it goes over the socket. */
export function requestOf(call: bpf_isolator.Call): Buffer {
  const body = codecs.Call.encode(call);
  const head =
    `POST ${API_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${PROTOBUF}\r\n` +
    `Content-Length: ${body.length}${END_OF_HEAD}`;
  return Buffer.concat([Buffer.from(head), body]);
}

export class Connection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { resolve: (body: Buffer) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#receive(chunk);
    });
    const end = (error?: Error) => {
      this.#waiting?.reject(error ?? new Error("the daemon closed the connection"));
    };
    socket.on("error", end).on("close", () => {
      end();
    });
  }

  /** @throws Error of the system where nobody listens at `path` */
  static async open(path: string): Promise<Connection> {
    const socket = connect(path);
    await once(socket, "connect");
    return new Connection(socket);
  }

  /**
   * Sends one request and waits for its answer.
   * @returns the answer's body; empty for a stream, whose records are not looked at
   * @throws Error with what the daemon says when it refuses
   */
  call(request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const end = this.#received.indexOf(END_OF_HEAD);
    if (end < 0) return;
    const head = this.#received.toString("latin1", 0, end);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
    const body = this.#received.subarray(end + END_OF_HEAD.length);
    if (body.length < length) return;
    this.#waiting = undefined;
    this.#received = Buffer.alloc(0);
    if (head.startsWith("HTTP/1.1 200 ")) waiting.resolve(body);
    else waiting.reject(new Error(codecs.Response.decode(body).error?.message ?? head));
  }
}
