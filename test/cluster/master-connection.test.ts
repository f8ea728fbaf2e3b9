/** The connection to a master, and all that can be wrong with one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readRecord } from "../../isolator/cluster/master-events.js";
import { MasterState } from "../../isolator/cluster/master-state.js";
import type { ContainerClass } from "../../isolator/config/classes.js";
import { codecs } from "../../isolator/mesos/messages.js";
import { eventRecord, TestMaster, type MasterEvent } from "../support/master.js";
import { until } from "../support/wait.js";
import {
  Type,
  TaskState,
  ANY,
  classifier,
  Told,
  subscribe,
  FRAMEWORK,
  agent,
  ports,
  task,
  snapshot,
  updated,
  added,
  streamed,
} from "../support/master-source.js";

describe("the connection to a master", () => {
  it("follows the redirection to the leading one, also without a scheme, and asks it again when that is another", async () => {
    const leader = await TestMaster.start();
    const other = await TestMaster.start();
    other.answer = (response) => {
      response.writeHead(307, { Location: `//127.0.0.1:${leader.port}/master/api/v1` }).end();
    };
    const { source, told } = subscribe({ urls: [other.url] });
    const first = await leader.next();
    first.response.write(eventRecord(snapshot([agent("a", "10.0.0.1")], [task("t", "a")])));
    await until(() => told.list.length === 2, "the leader's endpoints");
    assert.equal(source.status().where, `127.0.0.1:${leader.port}`);
    const next = await TestMaster.start();
    other.answer = (response) => {
      response.writeHead(307, { Location: `http://127.0.0.1:${next.port}/api/v1` }).end();
    };
    leader.stop();
    const second = await next.next();
    assert.equal(told.list.length, 2, "what was known holds");
    assert.equal(source.status().state, "stale");
    second.response.write(eventRecord(snapshot([agent("a", "10.0.0.1")], [task("u", "a")])));
    await until(
      () => told.list.every((line: string) => line.includes("(u)")) && told.list.length > 0,
      "the new leader's",
    );
    assert.equal(source.status().state, "current");
  });

  it("ends in an error after too many redirections, or one to nowhere", async () => {
    const master = await TestMaster.start();
    for (const location of [master.url, "ftp://127.0.0.1/", ""]) {
      master.answer = (response) => {
        response.writeHead(307, { ...(location === "" ? {} : { Location: location }) }).end();
      };
      const { source } = subscribe({ urls: [master.url] });
      await until(() => /redirections|names no leading master/.test(source.status().error ?? ""), "an error");
      source.stop();
    }
  });

  it("tries each master in its turn, with pauses, until one is there again", async () => {
    // A port that nobody listens on.
    const free = await new Promise<number>((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => {
        const { port } = server.address() as { port: number };
        server.close(() => {
          resolve(port);
        });
      });
    });
    const live = await TestMaster.start();
    const { source, told } = subscribe({ urls: [`http://127.0.0.1:${free}`, live.url] });
    const { response } = await live.next();
    assert.match(source.status().error ?? "", /ECONNREFUSED/);
    assert.equal(source.status().state, "waiting");
    response.write(eventRecord(snapshot([agent("a", "10.0.0.1")], [task("t", "a")])));
    await until(() => told.list.length === 2, "endpoints");
    assert.equal(source.status().error, undefined);
    response.destroy();
    await live.next();
    assert.equal(told.list.length, 2, "what was known holds");
    assert.match(source.status().error ?? "", /broken the stream off|ended the stream|ECONNREFUSED/);
    assert.ok(told.warnings.length >= 2);
  });

  it("takes silence of three heartbeats for the end", async () => {
    const { source, master, response, told } = await streamed();
    const event = snapshot([agent("a", "10.0.0.1")], [task("t", "a")]) as { subscribed: object };
    response.write(
      eventRecord({
        ...(event as MasterEvent),
        subscribed: { ...event.subscribed, heartbeat_interval_seconds: 0.1 },
      }),
    );
    await until(() => source.status().state === "current", "a first state");
    await master.next();
    assert.match(told.warnings.join("\n"), /has sent nothing for/);
    assert.equal(told.list.length, 2);
  });

  it("shows a credential to the master, as it is at the time, and says when it is refused", async () => {
    const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-credential-"));
    after(() => {
      rmSync(directory, { recursive: true });
    });
    const credential = join(directory, "credential");
    const master = await TestMaster.start();
    const seen: (string | undefined)[] = [];
    master.answer = (response) => {
      seen.push(master.subscribers.at(-1)?.headers.authorization);
      response.writeHead(401).end("not you");
    };
    const { source } = subscribe({ urls: [master.url], credential });
    await until(() => /credential .* cannot be used/.test(source.status().error ?? ""), "there is none");
    writeFileSync(credential, JSON.stringify({ principal: "isolator", secret: "s3cret" }));
    await until(() => seen.length > 0, "it is shown");
    assert.equal(seen[0], `Basic ${Buffer.from("isolator:s3cret").toString("base64")}`);
    await until(() => (source.status().error ?? "").includes('answers 401: "not you"'), "refused");
  });
});

describe("bad input from a master", () => {
  for (const [what, bytes] of [
    ["no RecordIO", "hello, this is a web page\n"],
    ["a length over the limit", "9999999999\n"],
    ["garbage in a frame", "12\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"],
    ["half a record", "100\nabc"],
  ] as const) {
    it(`${what}: the stream is begun again, and what was known holds`, async () => {
      const { master, response, told, source } = await streamed();
      response.write(eventRecord(snapshot([agent("a", "10.0.0.1")], [task("t", "a")])));
      await until(() => told.list.length === 2, "endpoints");
      response.end(Buffer.from(bytes, "latin1"));
      const again = await master.next();
      assert.equal(told.list.length, 2);
      assert.equal(source.status().state, "stale");
      again.response.write(eventRecord(snapshot([agent("a", "10.0.0.1")], [])));
      await until(() => told.list.length === 0, "the new first state");
    });
  }

  it("a wrong content type is no stream", async () => {
    const master = await TestMaster.start();
    master.answer = (response) => {
      response.writeHead(200, { "Content-Type": "text/html" }).end("<html>");
    };
    const { source } = subscribe({ urls: [master.url] });
    await until(() => (source.status().error ?? "").includes('content type "text/html"'), "an error");
  });

  it("events before a first state, of unknown types and tasks, and with nothing in them change nothing", async () => {
    const { told, send } = await streamed();
    await send(
      snapshot([agent("a", "10.0.0.1")], [task("t", "a")]),
      codecs.MasterEvent.decode(Uint8Array.of(8, 99)),
      { type: Type.TASK_ADDED },
      { type: Type.TASK_UPDATED },
      { type: Type.AGENT_REMOVED },
      {},
      updated("nobody", TaskState.TASK_RUNNING),
    );
    assert.equal(told.list.length, 2);
  });

  it("10,000 tasks in a first state are taken in, and the changes that follow", async () => {
    const { told, send } = await streamed([ANY]);
    const agents = Array.from({ length: 100 }, (_, i) => agent(`a${i}`, `10.0.1.${i}`));
    const tasks = Array.from({ length: 10_000 }, (_, i) => {
      const port = 31000 + 10 * Math.floor(i / 100);
      return task(`t${i}`, `a${i % 100}`, { resources: ports([port, port + 1]) });
    });
    await send(snapshot(agents, tasks));
    assert.equal(told.claims.size, 20_000);
    await send(...tasks.slice(0, 5000).map(({ task_id }) => updated(task_id.value, TaskState.TASK_FAILED)));
    assert.equal(told.claims.size, 10_000);
  });

  it("leave the event loop to others while 10,000 tasks are taken in, and what was known holds meanwhile", async (t) => {
    const agents = Array.from({ length: 200 }, (_, i) => agent(`a${i}`, `10.0.1.${i}`));
    const labels = {
      labels: Array.from({ length: 10 }, (_, i) => ({ key: `key-${i}`, value: "x".repeat(40) })),
    };
    const tasks = Array.from({ length: 10_000 }, (_, i) =>
      task(`t${i}`, `a${i % 200}`, { resources: ports([31000 + i, 31000 + i]), labels }),
    );
    const event = snapshot(agents, tasks);
    for (const encoding of ["protobuf", "json"] as const) {
      const state = new MasterState(classifier([ANY]), undefined);
      const told = new Told();
      state.tell(told);
      await state.begin({
        agents: agents.slice(0, 1),
        tasks: tasks.slice(0, 1),
        recovered: [],
        frameworks: [],
      });
      const record =
        encoding === "json"
          ? Buffer.from(JSON.stringify(codecs.MasterEvent.toJson(event)))
          : Buffer.from(codecs.MasterEvent.encode(event));
      const seen: number[] = [];
      let longest = 0;
      let last = performance.now();
      const timer = { on: true };
      const tick = (): void => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
        seen.push(told.claims.size);
        if (timer.on) setImmediate(tick);
      };
      setImmediate(tick);
      await new Promise(setImmediate);
      const read = readRecord(record, encoding);
      assert.ok("first" in read);
      await state.begin(read.first);
      timer.on = false;
      t.diagnostic(
        `${encoding}, ${record.length} bytes: ${seen.length} turns, ${Math.round(longest)} ms at most`,
      );
      assert.equal(told.claims.size, 10_000);
      assert.deepEqual([...new Set(seen)].slice(0, 2), [1], "all of one or all of the other");
      assert.ok(seen.length > 20, `${encoding}: ${seen.length} turns of others`);
    }
    const record = Buffer.from(codecs.MasterEvent.encode(event));
    assert.throws(() => readRecord(record.subarray(0, record.length - 7), "protobuf"), {
      code: "bad-message",
    });
  });

  it("of a framework tell its principal, which a class may demand", async () => {
    const OPS: ContainerClass = { name: "ops", match: { principal: "operations", labels: [] } };
    const { told, send } = await streamed([OPS, ANY]);
    const framework = (principal?: string) => ({
      framework: { framework_info: { id: FRAMEWORK, ...(principal === undefined ? {} : { principal }) } },
    });
    const first = snapshot([agent("a", "10.0.0.1")], [task("t", "a", { resources: ports([80, 80]) })]);
    await send(first);
    assert.deepEqual(told.list, ["10.0.0.1:80 any (t)"]);
    await send({ type: Type.FRAMEWORK_ADDED, framework_added: framework("operations") });
    assert.deepEqual(told.list, ["10.0.0.1:80 ops, any (t)"]);
    assert.deepEqual([...told.known], [["fw", "operations"]]);
    await send({ type: Type.FRAMEWORK_UPDATED, framework_updated: framework("others") });
    assert.deepEqual(told.list, ["10.0.0.1:80 any (t)"]);
    const get_state = {
      ...first.subscribed?.get_state,
      get_frameworks: { frameworks: [framework("operations").framework] },
    };
    await send({ ...first, subscribed: { ...first.subscribed, get_state } });
    assert.deepEqual(told.list, ["10.0.0.1:80 ops, any (t)"]);
    await send({ type: Type.FRAMEWORK_REMOVED, framework_removed: framework().framework });
    assert.deepEqual([told.list, [...told.known]], [[], []]);
  });
});

describe("a new leading master", () => {
  it("that waits for its agents does not take their tasks away; those that come back without one do", async () => {
    const first = [agent("a", "10.0.0.1"), agent("b", "10.0.0.2"), agent("c", "10.0.0.3")];
    const { told, send } = await streamed([ANY]);
    const tasks = ["a", "b", "c"].map((on) => task(`on-${on}`, on, { resources: ports([80, 80]) }));
    await send(snapshot(first, tasks));
    const infos = first.slice(1).map(({ agent_info }) => agent_info);
    await send(snapshot(first.slice(0, 1), [], infos));
    assert.deepEqual(told.list, ["10.0.0.2:80 any (on-b)", "10.0.0.3:80 any (on-c)"]);
    await send({ type: Type.AGENT_REMOVED, agent_removed: { agent_id: { value: "c" } } });
    assert.deepEqual(told.list, ["10.0.0.2:80 any (on-b)"]);
    await send({ type: Type.AGENT_ADDED, agent_added: { agent: agent("b", "10.0.0.2") } });
    assert.deepEqual(told.list, ["10.0.0.2:80 any (on-b)"]);
    await send(added(task("on-b", "b", { resources: ports([81, 81]) })));
    assert.deepEqual(told.list, ["10.0.0.2:81 any (on-b)"]);
  });
});
