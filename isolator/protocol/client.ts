/** The other side of the protocol, for the command line and tests: calls and streams, in protobuf. */
import { Agent, request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { STATE_ROOT } from "../containers/instance.js";
import { IsolatorError, messageOf, systemCode, type ErrorCode } from "../errors.js";
import { bpf_isolator, codecs } from "../mesos/messages.js";
import { API_PATH, PROTOBUF } from "./encoding.js";
import { RecordDecoder } from "../mesos/recordio.js";

/** ms. No call takes that long; a daemon that hangs must not hang who asks it. */
const TIMEOUT = 30_000;
/** Connections of one client. Streams take one each, which do not count. */
const MAX_SOCKETS = 16;
/** Bytes of one record of a stream. */
const MAX_RECORD = 4 * 1024 * 1024;

/** The daemon's socket. */
export function socketPath(instance: string): string {
  return join(STATE_ROOT, instance, "isolator.sock");
}

export class ProtocolClient {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });

  /** @param path of the socket; nothing is connected before the first call */
  constructor(private readonly path: string) {}

  /** A client of the daemon of an instance. */
  static of(instance: string): ProtocolClient {
    return new ProtocolClient(socketPath(instance));
  }

  /**
   * @returns the answer, which is never an ERROR
   * @throws the daemon's own IsolatorError; no-daemon, not-root, request-timeout, bad-message
   */
  async call(call: bpf_isolator.Call): Promise<bpf_isolator.Response> {
    const message = await this.send(call, this.agent, AbortSignal.timeout(TIMEOUT));
    return this.checked(codecs.Response.decode(await this.guarded(buffer(message))));
  }

  /**
   * The records of a WATCH or EVENTS call, until the daemon ends the stream, the caller ends the iteration, or `signal`
   * is aborted.
   * @throws as call()
   */
  async *stream(call: bpf_isolator.Call, signal?: AbortSignal): AsyncGenerator<bpf_isolator.Response> {
    let message: IncomingMessage | undefined;
    try {
      message = await this.send(call, false, signal);
      if (message.statusCode !== 200) {
        this.checked(codecs.Response.decode(await this.guarded(buffer(message))));
        throw new IsolatorError(
          "bad-message",
          `the daemon answered ${message.statusCode ?? 0} with no error`,
        );
      }
      const decoder = new RecordDecoder(MAX_RECORD);
      const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      for (;;) {
        const chunk = await this.guarded(chunks.next());
        if (chunk.done) break;
        for (const record of decoder.push(chunk.value)) yield this.checked(codecs.Response.decode(record));
      }
      decoder.end();
    } catch (error) {
      // Whatever comes of ending it is what the caller wanted.
      if (!signal?.aborted) throw error;
    } finally {
      message?.destroy();
    }
  }

  /** Closes the connections that are idle; safe to repeat. */
  close(): void {
    this.agent.destroy();
  }

  /** @param agent false: a connection of its own */
  private async send(
    call: bpf_isolator.Call,
    agent: Agent | false,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const body = codecs.Call.encode(call);
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request({
        socketPath: this.path,
        path: API_PATH,
        method: "POST",
        agent,
        headers: { "Content-Type": PROTOBUF, "Content-Length": body.length },
        ...(signal ? { signal } : {}),
      });
      sent.once("response", resolve);
      sent.on("error", reject);
      sent.end(body);
    });
    return this.guarded(answered);
  }

  /** Says in words what can happen to a connection. */
  private async guarded<T>(promise: Promise<T>): Promise<T> {
    try {
      return await promise;
    } catch (error) {
      const code = systemCode(error);
      if (code === "EACCES" || code === "EPERM") {
        throw new IsolatorError("not-root", "only root may talk to bpf-isolator: run this with sudo", error);
      }
      if (code === "ABORT_ERR") {
        throw new IsolatorError(
          "request-timeout",
          `the daemon on ${this.path} did not answer in time`,
          error,
        );
      }
      if (code === "ENOENT" || code === "ECONNREFUSED") {
        throw new IsolatorError(
          "no-daemon",
          `no bpf-isolator daemon listens on ${this.path}: start it (bpf-isolator serve), or name its --instance. ` +
            "Containers stay enforced without it",
          error,
        );
      }
      throw new IsolatorError(
        "no-daemon",
        `the daemon on ${this.path} went away (${messageOf(error)}): containers stay enforced; try again when it is back`,
        error,
      );
    }
  }

  private checked(response: bpf_isolator.Response): bpf_isolator.Response {
    if (response.type !== bpf_isolator.Response.Type.ERROR) return response;
    const { code = "internal", message = "the daemon gave no reason" } = response.error ?? {};
    // A newer daemon may have codes that this build does not; they are passed on as they are.
    throw new IsolatorError(code as ErrorCode, message);
  }
}
