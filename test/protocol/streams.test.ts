/** WATCH and EVENTS: records as they come, clients that go or never read, and the end of the daemon. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { text } from "node:stream/consumers";
import { afterEach, describe, it } from "node:test";
import { bpf_isolator, codecs, mesos } from "../../isolator/mesos/messages.js";
import type { ProtocolLimits } from "../../isolator/protocol/limits.js";
import { encodeRecord, RecordDecoder } from "../../isolator/mesos/recordio.js";
import { JSON_TYPE, PROTOBUF, socketDirectory, TestServer } from "../support/protocol.js";
import { until } from "../support/wait.js";

const { Type } = bpf_isolator.Call;
const directory = socketDirectory();
const watch: bpf_isolator.Call = { type: Type.WATCH, watch: { container_id: { value: "c" } } };
const follow: bpf_isolator.Call = { type: Type.EVENTS, events: { follow: true } };
/** ms that a client has to read: long for one that does, on a busy machine too. */
const PATIENCE = 3_000;
let servers: TestServer[] = [];

async function start(limits: Partial<ProtocolLimits> = {}): Promise<TestServer> {
  const server = await TestServer.start(directory, limits);
  servers.push(server);
  return server;
}

afterEach(async () => {
  for (const server of servers) await server.stop();
  servers = [];
});

/** Iterations that the test feeds. */
class Feed<T> implements AsyncIterable<T> {
  private readonly waiting: ((result: IteratorResult<T>) => void)[] = [];
  private readonly results: IteratorResult<T>[] = [];

  private put(result: IteratorResult<T>): void {
    const taker = this.waiting.shift();
    if (taker) taker(result);
    else this.results.push(result);
  }
  push(value: T): void {
    this.put({ done: false, value });
  }
  end(): void {
    this.put({ done: true, value: undefined });
  }
  /** Values that nobody has asked for yet. */
  get left(): number {
    return this.results.length;
  }
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: () => {
        const result = this.results.shift();
        return result ? Promise.resolve(result) : new Promise((resolve) => this.waiting.push(resolve));
      },
    };
  }
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

function rawCall(call: bpf_isolator.Call): string {
  const body = JSON.stringify(codecs.Call.toJson(call));
  return `POST /api/v1 HTTP/1.1\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

describe("RecordIO", () => {
  const records = ["", "a", "x".repeat(1000), "1\n2"].map((text) => Buffer.from(text));
  const stream = Buffer.concat(records.map(encodeRecord));

  it("comes apart in pieces of any size", () => {
    for (let size = 1; size <= stream.length; size++) {
      const decoder = new RecordDecoder(1000);
      const got: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size)
        got.push(...decoder.push(stream.subarray(at, at + size)));
      decoder.end();
      assert.deepEqual(got, records);
    }
  });

  it("that is none is refused", () => {
    for (const bad of ["x\n", "-1\n", "1001\n", "12345678901", "\n", " 1\na"]) {
      assert.throws(() => new RecordDecoder(1000).push(Buffer.from(bad)), { code: "bad-message" }, bad);
    }
    const decoder = new RecordDecoder(1000);
    assert.deepEqual(decoder.push(Buffer.from("5\nabc")), []);
    assert.throws(() => {
      decoder.end();
    }, /ends within a record/);
  });
});

describe("WATCH", () => {
  const limitation: mesos.slave.ContainerLimitation = {
    message: "too much",
    reason: mesos.TaskStatus.Reason.REASON_CONTAINER_LIMITATION,
  };

  it("is silent until there is a limitation, and ends with its iteration", async () => {
    const server = await start();
    const feed = new Feed<mesos.slave.ContainerLimitation>();
    server.service.limitations = () => feed;
    const stream = server.client.stream(watch);
    const first = stream.next();
    await until(() => server.service.open === 1, "the watch is asked for");
    assert.equal((await server.facts()).streams, 1);
    assert.equal((await server.facts()).calls, 1, "a stream is no call under way");
    feed.push(limitation);
    assert.deepEqual(await first, {
      done: false,
      value: { type: bpf_isolator.Response.Type.WATCH, watch: { limitation } },
    });
    feed.end();
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    assert.equal((await server.facts()).streams, 0);
  });

  it("has records in the type asked for", async () => {
    const server = await start();
    server.service.limitations = () => {
      const feed = new Feed<mesos.slave.ContainerLimitation>();
      feed.push(limitation);
      feed.end();
      return feed;
    };
    const cases = [
      [{}, JSON_TYPE],
      [{ Accept: PROTOBUF }, PROTOBUF],
      [{ Accept: "application/recordio" }, JSON_TYPE],
      [{ Accept: "application/recordio", "Message-Accept": PROTOBUF }, PROTOBUF],
      [{ Accept: PROTOBUF, "Message-Accept": JSON_TYPE }, JSON_TYPE],
    ] as const;
    for (const [headers, type] of cases) {
      const answer = await server.send(JSON.stringify(codecs.Call.toJson(watch)), {
        "Content-Type": JSON_TYPE,
        ...headers,
      });
      assert.equal(answer.headers["content-type"], "application/recordio");
      assert.equal(answer.headers["message-content-type"], type);
      const [record, ...more] = new RecordDecoder(1000).push(answer.body);
      assert.ok(record && more.length === 0);
      const response =
        type === PROTOBUF ? codecs.Response.decode(record) : codecs.Response.parseJson(record.toString());
      assert.deepEqual(response.watch, { limitation });
    }
  });

  it("ends for the service when its client goes, however it goes", async () => {
    const server = await start();
    const controller = new AbortController();
    const left = collect(server.client.stream(watch, controller.signal));
    const socket = server.raw(rawCall(watch));
    await until(() => server.service.open === 2, "both are watching");
    controller.abort();
    assert.deepEqual(await left, []);
    socket.destroy();
    await until(() => server.service.open === 0, "the service was told");
    await until(async () => (await server.facts()).streams === 0, "no stream is left");
  });

  it("gets an ERROR record when the service fails", async () => {
    const server = await start();
    server.service.limitations = () => ({
      [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new TypeError("x is undefined")) }),
    });
    await assert.rejects(collect(server.client.stream(watch)), {
      code: "internal",
      message: /x is undefined/,
    });
  });

  it("is bounded, apart from calls", async () => {
    const server = await start({ watches: 2, eventStreams: 1, calls: 1 });
    const sockets = [server.raw(rawCall(watch)), server.raw(rawCall(watch)), server.raw(rawCall(follow))];
    await until(() => server.service.open === 3, "all are open");
    await assert.rejects(collect(server.client.stream(watch)), {
      code: "overloaded",
      message: "bpf-isolator has 2 WATCH streams of at most 2: try again in a moment",
    });
    await assert.rejects(collect(server.client.stream(follow)), { code: "overloaded" });
    await server.client.call({ type: Type.LIST });
    sockets[0]?.destroy();
    await until(() => server.service.open === 2, "one has gone");
    server.raw(rawCall(watch));
    await until(() => server.service.open === 3, "its place is free");
  });
});

describe("a client that never reads", () => {
  it("is dropped from its stream, and the others get every event", async () => {
    const server = await start({ streamBuffer: 10_000, read: PATIENCE });
    const feeds: Feed<bpf_isolator.Event>[] = [];
    server.service.happening = () => {
      const feed = new Feed<bpf_isolator.Event>();
      feeds.push(feed);
      return feed;
    };
    const deaf = server.raw(rawCall(follow));
    deaf.pause();
    await until(() => feeds.length === 1, "the first is open");
    const reader = collect(server.client.stream(follow));
    await until(() => feeds.length === 2, "the second is open");
    const count = 2000;
    for (let i = 0; i < count; i++) {
      for (const feed of feeds) feed.push({ type: String(i), message: "x".repeat(500) });
    }
    for (const feed of feeds) feed.end();
    const got = await reader;
    assert.deepEqual(
      got.map(({ events }) => events?.event?.type),
      Array.from({ length: count }, (_, i) => String(i)),
    );
    await until(async () => (await server.facts()).streams_dropped === 1n, "the deaf one is dropped");
    // The kernel's buffers and the server's took a part; the rest was never asked for.
    assert.ok((feeds[0]?.left ?? 0) > 0);
    assert.equal((await server.facts()).streams, 0);
  });

  it("loses its connection, and its call is no longer under way", async () => {
    const server = await start({ read: PATIENCE });
    server.service.summaries = Array.from({ length: 20_000 }, (_, i) => ({
      container_id: { value: `container-${i}` },
      cgroup: "/sys/fs/cgroup/bpf-isolator/default/x".repeat(3),
    }));
    const deaf = server.raw(rawCall({ type: Type.LIST }));
    deaf.pause();
    await until(() => server.service.asked.length === 1, "it has asked");
    assert.equal((await server.facts()).calls, 2);
    await until(async () => (await server.facts()).calls === 1, "the call has ended");
  });
});

describe("the end of the daemon", () => {
  it("ends streams with a reason, lets calls finish, and refuses new ones", async () => {
    // Longer than any test: nothing here may need it.
    const server = await start({ close: 3_600_000 });
    const watching = assert.rejects(collect(server.client.stream(watch)), {
      code: "shutting-down",
      message: /containers stay enforced/,
    });
    const finish = server.service.hold("cleanup");
    const call = server.client.call({ type: Type.CLEANUP, cleanup: { container_id: { value: "c" } } });
    const idle = server.raw();
    await until(() => server.service.asked.length === 2, "both are under way");
    const closed = server.close();
    await watching;
    assert.ok(!existsSync(server.path), "the socket is gone at once");
    await assert.rejects(server.client.call({ type: Type.LIST }), { code: "no-daemon" });
    finish[0]?.();
    assert.equal((await call).type, bpf_isolator.Response.Type.CLEANUP);
    let ended = false;
    void closed.then(() => (ended = true));
    await until(() => ended, "the server has closed, and the idle connection with it");
    assert.equal(await text(idle), "");
    await server.close();
  });

  it("does not wait for a call that hangs, nor for an idle client", async () => {
    const server = await start({ close: 200 });
    server.service.hold("cleanup");
    const call = server.client.call({ type: Type.CLEANUP, cleanup: { container_id: { value: "c" } } });
    const lost = assert.rejects(call, { code: "no-daemon", message: /went away/ });
    server.raw("POST");
    await until(() => server.service.asked.length === 1, "the call is under way");
    await server.close();
    await lost;
  });
});
