/** A master's v1 operator API over real HTTP: the recorded stream of a real one, or what a test makes. */
import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { codecs, type mesos } from "../../isolator/mesos/messages.js";
import { encodeRecord, RecordDecoder } from "../../isolator/mesos/recordio.js";

export type MasterEvent = mesos.v1.master.Event;
export const TYPES = { json: "application/json", protobuf: "application/x-protobuf" } as const;
export type Encoding = keyof typeof TYPES;

const TRACES = new URL("../../../test/fixtures/traces/", import.meta.url);

/** What a real master sent, byte for byte. */
export function recordedStream(encoding: Encoding): Buffer {
  return readFileSync(new URL(`master-events.${encoding}.recordio`, TRACES));
}

/** Its records, each with its frame. */
export function recordedRecords(encoding: Encoding): Buffer[] {
  const decoder = new RecordDecoder(1 << 26);
  const records = decoder.push(recordedStream(encoding)).map((record) => encodeRecord(record));
  decoder.end();
  return records;
}

export function eventRecord(event: MasterEvent): Buffer {
  return encodeRecord(codecs.MasterEvent.encode(event));
}

interface Subscriber {
  headers: IncomingHttpHeaders;
  body: string;
  response: ServerResponse;
}

export class TestMaster {
  readonly subscribers: Subscriber[] = [];
  /** Instead of a stream. */
  answer: ((response: ServerResponse) => void) | undefined;
  private waiting: ((subscriber: Subscriber) => void)[] = [];
  /** Of subscribers that nobody has waited for yet. */
  private unseen: Subscriber[] = [];

  private constructor(private readonly server: Server) {
    server.on("request", (request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        const subscriber = { headers: request.headers, body, response };
        this.subscribers.push(subscriber);
        if (this.answer) {
          this.answer(response);
          return;
        }
        const type = request.headers.accept ?? "";
        response.writeHead(200, { "Content-Type": type });
        response.flushHeaders();
        const next = this.waiting.shift();
        if (next) next(subscriber);
        else this.unseen.push(subscriber);
      });
    });
  }

  static async start(port = 0): Promise<TestMaster> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const master = new TestMaster(server);
    after(() => {
      master.stop();
    });
    return master;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The next stream that somebody has begun. */
  next(): Promise<Subscriber> {
    const seen = this.unseen.shift();
    return seen ? Promise.resolve(seen) : new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Ends it, and every stream. Safe to repeat. */
  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}
