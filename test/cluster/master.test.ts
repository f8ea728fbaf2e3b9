/** Endpoints from a master: the stream of a real one, replayed over HTTP, and all that can be wrong with one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
// not in the VM: no kernel is asked
import { MasterSource } from "../../isolator/cluster/master.js";
import { readRecord } from "../../isolator/cluster/master-events.js";
import { MasterState } from "../../isolator/cluster/master-state.js";
import { ClaimMap, type Claim, type Classifier, type SourceSink } from "../../isolator/cluster/source.js";
import { classesOf, type ContainerClass } from "../../isolator/config/classes.js";
import type { MasterConfig } from "../../isolator/config/endpoints.js";
import { formatClasses } from "../../isolator/features/classes.js";
import { formatPlace, keyOf, placeOf, type PlaceKey } from "../../isolator/features/endpoints.js";
import { codecs, mesos } from "../../isolator/mesos/messages.js";
import {
  eventRecord,
  recordedRecords,
  recordedStream,
  TestMaster,
  type MasterEvent,
} from "../support/master.js";
import { until } from "../support/wait.js";

const { Type } = mesos.v1.master.Event;
const { TaskState } = mesos.v1.master;
const LABELED: ContainerClass = { name: "net", match: { role: "*", labels: [["team", "net"]] } };
const ANY: ContainerClass = { name: "any", match: { role: "*", labels: [] } };
const WEB: ContainerClass = { name: "web", match: { appId: "/web", labels: [] } };
const CLASSES = [LABELED, WEB, ANY];

function classifier(classes: readonly ContainerClass[]): Classifier {
  return {
    names: new Set(classes.map(({ name }) => name)),
    classesOf: (facts) => classesOf(classes, facts, []),
  };
}

/** What a source has told, as a directory would have it. */
class Told implements SourceSink {
  claims = new ClaimMap();
  readonly warnings: string[] = [];
  known: ReadonlyMap<string, string> = new Map();
  replaced = 0;

  replace(claims: ClaimMap): void {
    this.claims = claims;
    this.replaced++;
  }
  add(key: PlaceKey, claim: Claim): void {
    this.claims.add(key, claim);
  }
  remove(key: PlaceKey, task: string): void {
    this.claims.remove(key, task);
  }
  principals(principals: ReadonlyMap<string, string>): void {
    this.known = new Map(principals);
  }
  warn(message: string): void {
    this.warnings.push(message);
  }

  /** "127.0.0.1:31001 any (t1)", sorted. */
  get list(): string[] {
    return [...this.claims.keys()]
      .map((key) => {
        const claim = this.claims.get(key);
        return `${formatPlace(placeOf(key))} ${formatClasses(claim?.classes)} (${claim?.task.split("/")[1] ?? ""})`;
      })
      .sort();
  }
}

const sources: MasterSource[] = [];
after(() => {
  for (const source of sources) source.stop();
});

const QUICK = { pauses: { first: 5, longest: 20 }, timeout: 2000 };

function subscribe(
  config: Partial<MasterConfig> & { urls: string[] },
  classes: readonly ContainerClass[] = CLASSES,
): { source: MasterSource; told: Told } {
  const source = new MasterSource({ encoding: "protobuf", ...config }, classifier(classes), QUICK);
  const told = new Told();
  sources.push(source);
  source.start(told);
  return { source, told };
}

const FRAMEWORK = { value: "fw" };
/** A place of nobody else's. */
const MARK = keyOf({ address: "203.0.113.1", port: 1 });

function agent(id: string, ip: string, more: object = {}): mesos.v1.master.Agent {
  return {
    agent_info: { hostname: `${id}.example`, id: { value: id }, ...more },
    pid: `slave(1)@${ip}:5051`,
  };
}

function ports(...ranges: [number, number][]): mesos.Resource[] {
  return ranges.map(([begin, end]) => ({
    name: "ports",
    type: mesos.Value.Type.RANGES,
    ranges: { range: [{ begin: BigInt(begin), end: BigInt(end) }] },
    allocation_info: { role: "*" },
  }));
}

function task(id: string, on: string, more: Partial<mesos.v1.master.Task> = {}): mesos.v1.master.Task {
  return {
    task_id: { value: id },
    framework_id: FRAMEWORK,
    agent_id: { value: on },
    state: TaskState.TASK_RUNNING,
    resources: ports([31000, 31001]),
    ...more,
  };
}

function snapshot(
  agents: readonly mesos.v1.master.Agent[],
  tasks: readonly mesos.v1.master.Task[],
  recovered: readonly mesos.v1.master.AgentInfo[] = [],
): MasterEvent {
  return {
    type: Type.SUBSCRIBED,
    subscribed: {
      get_state: { get_agents: { agents, recovered_agents: recovered }, get_tasks: { tasks } },
      heartbeat_interval_seconds: 15,
    },
  };
}

function updated(
  id: string,
  state: mesos.v1.master.TaskState,
  container?: mesos.ContainerStatus,
): MasterEvent {
  return {
    type: Type.TASK_UPDATED,
    task_updated: {
      framework_id: FRAMEWORK,
      status: { task_id: { value: id }, ...(container ? { container_status: container } : {}) },
      state,
    },
  };
}

const added = (message: mesos.v1.master.Task): MasterEvent => ({
  type: Type.TASK_ADDED,
  task_added: { task: message },
});

/** A source with one stream, in which every task of role "*" is in a class, and what writes events on it. */
async function streamed(classes?: readonly ContainerClass[], more: Partial<MasterConfig> = {}) {
  const master = await TestMaster.start();
  const made = subscribe({ urls: [master.url], ...more }, classes);
  const { response } = await master.next();
  let sent = 0;
  return {
    ...made,
    master,
    response,
    /** Resolves when the events have been taken in. */
    send: async (...events: MasterEvent[]): Promise<void> => {
      for (const event of events) response.write(eventRecord(event));
      // A task of a framework of its own says that all before it has been read.
      const marker = `marker${sent++}`;
      const mark = {
        ...task(marker, "marks", { resources: ports([1, 1]) }),
        framework_id: { value: marker },
      };
      response.write(
        eventRecord({ type: Type.AGENT_ADDED, agent_added: { agent: agent("marks", "203.0.113.1") } }),
      );
      response.write(eventRecord(added(mark)));
      await until(() => made.told.claims.get(MARK)?.task === `${marker}/${marker}`, "events are taken in");
      response.write(
        eventRecord({
          type: Type.FRAMEWORK_REMOVED,
          framework_removed: { framework_info: { id: { value: marker } } },
        }),
      );
      await until(() => !made.told.claims.get(MARK), "the mark is gone");
    },
  };
}

describe("a master's stream", () => {
  for (const encoding of ["protobuf", "json"] as const) {
    it(`of a real one gives the endpoints of what runs, record by record: ${encoding}`, async () => {
      const master = await TestMaster.start();
      const { source, told } = subscribe({ urls: [master.url], encoding });
      const { headers, body, response } = await master.next();
      assert.deepEqual(JSON.parse(body), { type: "SUBSCRIBE" });
      assert.equal(headers["content-type"], "application/json");
      const lists: string[] = [];
      for (const record of recordedRecords(encoding)) {
        // In pieces, as a network may bring it.
        response.write(record.subarray(0, 9));
        await new Promise(setImmediate);
        response.write(record.subarray(9));
        await new Promise((resolve) => setTimeout(resolve, 2));
        const now = told.list.join("; ");
        if (lists.at(-1) !== now) lists.push(now);
      }
      await until(() => told.list.length === 0, "all tasks have ended");
      const all = lists.join("\n");
      // A command task's three ports, when it runs and not before.
      assert.match(
        all,
        /^127\.0\.0\.1:31001 any \(t1\); 127\.0\.0\.1:31002 any \(t1\); 127\.0\.0\.1:31003 any \(t1\)$/m,
      );
      // Two entries of ports, labels, a name; the DiscoveryInfo of the second one has a port that is not its own.
      assert.match(all, /127\.0\.0\.1:31030 net, web \(claimed\), any \(t2\)/);
      assert.match(all, /127\.0\.0\.1:31010 net, web \(claimed\), any \(t2b\)/);
      assert.doesNotMatch(all, /31020 [^;]*\(t2b\)/);
      assert.ok((source.status().ignored.get("ports in a DiscoveryInfo that are not the task's") ?? 0) > 0);
      assert.equal(source.status().state, "current");
      assert.equal(told.replaced, 1);
    });
  }

  it("is read in one piece too, and its first state is nobody's before it is whole", async () => {
    const master = await TestMaster.start();
    const { source, told } = subscribe({ urls: [master.url] });
    const { response } = await master.next();
    const stream = recordedStream("protobuf");
    response.write(stream.subarray(0, 100));
    await until(() => source.status().age !== undefined, "something has come");
    assert.equal(source.status().state, "waiting");
    assert.equal(told.replaced, 0);
    response.write(stream.subarray(100));
    await until(() => told.replaced === 1 && source.status().state === "current", "it is whole");
  });

  it("counts what runs: not what is staged, starting or unreachable, and killed tasks until they are gone", async () => {
    const { told, send } = await streamed();
    await send(snapshot([agent("a", "10.0.0.1")], [task("t", "a", { state: TaskState.TASK_STAGING })]));
    for (const [state, n] of [
      [TaskState.TASK_STARTING, 0],
      [TaskState.TASK_RUNNING, 2],
      [TaskState.TASK_UNREACHABLE, 0],
      [TaskState.TASK_RUNNING, 2],
      [TaskState.TASK_KILLING, 2],
      [TaskState.TASK_KILLED, 0],
      [TaskState.TASK_RUNNING, 0],
    ] as const) {
      await send(updated("t", state));
      assert.equal(told.list.length, n, TaskState[state]);
    }
  });

  it("goes by task_updated.state, since the status may be an old one", async () => {
    const { told, send } = await streamed();
    await send(snapshot([agent("a", "10.0.0.1")], [task("t", "a")]));
    const stale = codecs.MasterEvent.parseJson(
      JSON.stringify({
        type: "TASK_UPDATED",
        task_updated: {
          framework_id: FRAMEWORK,
          status: { task_id: { value: "t" }, state: "TASK_RUNNING" },
          state: "TASK_FINISHED",
        },
      }),
    );
    await send(stale);
    assert.equal(told.list.length, 0);
  });

  it("may tell of a task before its agent, and takes its tasks along when an agent or a framework goes", async () => {
    const { told, send } = await streamed([ANY]);
    await send(snapshot([], [task("early", "a"), task("other", "b"), task("third", "b")]));
    assert.equal(told.list.length, 0);
    await send(
      { type: Type.AGENT_ADDED, agent_added: { agent: agent("a", "10.0.0.1") } },
      { type: Type.AGENT_ADDED, agent_added: { agent: agent("b", "10.0.0.2") } },
      added({ ...task("t", "a", { resources: ports([31009, 31009]) }), framework_id: { value: "fw2" } }),
    );
    assert.equal(told.list.filter((line) => line.includes("10.0.0.1:")).length, 3);
    assert.equal(
      told.list.filter((line) => line.includes("10.0.0.2:")).length,
      2,
      "two claim the same ports",
    );
    assert.equal(told.claims.duplicates, 2);
    await send({ type: Type.AGENT_REMOVED, agent_removed: { agent_id: { value: "b" } } });
    assert.equal(
      told.list.some((line) => line.includes("10.0.0.2:")),
      false,
    );
    await send({
      type: Type.FRAMEWORK_REMOVED,
      framework_removed: { framework_info: { id: { value: "fw2" } } },
    });
    assert.deepEqual(told.list, ["10.0.0.1:31000 any (early)", "10.0.0.1:31001 any (early)"]);
  });

  it("gives tasks with a network of their own their whole address; not Docker's bridges, nor an agent's address", async () => {
    const { told, send, source } = await streamed([ANY]);
    const container = (name?: string): mesos.ContainerInfo => ({
      type: mesos.ContainerInfo.Type.MESOS,
      network_infos: [name === undefined ? {} : { name }],
    });
    const at = (name: string | undefined, ...ips: string[]): mesos.ContainerStatus => ({
      network_infos: [
        { ...(name === undefined ? {} : { name }), ip_addresses: ips.map((ip_address) => ({ ip_address })) },
      ],
    });
    await send(
      snapshot(
        [agent("a", "10.0.0.1"), agent("b", "10.0.0.2")],
        [
          task("own", "a", {
            resources: ports([31000, 31000]),
            container: container("blue"),
            statuses: [
              { container_status: at("blue", "10.9.0.1") },
              { container_status: at("blue", "10.9.0.2", "fd00::2") },
            ],
          }),
          task("thief", "a", { resources: [], container: container("blue") }),
          task("docker", "b", { resources: ports([31005, 31005]), container: container() }),
        ],
      ),
    );
    await send(
      updated("thief", TaskState.TASK_RUNNING, at("blue", "10.0.0.2", "10.9.0.66")),
      updated("docker", TaskState.TASK_RUNNING, at(undefined, "172.17.0.2")),
    );
    // Allocated to no role, "thief" is in no class: it has no port.
    assert.deepEqual(told.list, [
      "10.0.0.1:31000 any (own)",
      "10.0.0.2:31005 any (docker)",
      "10.9.0.2 any (own)",
      "fd00::2 any (own)",
    ]);
    await send(updated("own", TaskState.TASK_RUNNING, at("blue", "10.0.0.2")));
    assert.deepEqual(told.list, ["10.0.0.1:31000 any (own)", "10.0.0.2:31005 any (docker)"]);
    assert.ok((source.status().ignored.get("addresses of tasks that are an agent's") ?? 0) > 0);
  });

  it("knows more addresses of an agent by its attribute: IPv6", async () => {
    const { told, send } = await streamed([ANY], { addressAttribute: "ip6" });
    const attributes = [
      { name: "rack", text: { value: "r1" } },
      { name: "ip6", text: { value: "fd00::5, 192.0.2.5 nonsense" } },
    ];
    await send(
      snapshot([agent("a", "10.0.0.1", { attributes })], [task("t", "a", { resources: ports([80, 80]) })]),
    );
    assert.deepEqual(told.list, ["10.0.0.1:80 any (t)", "192.0.2.5:80 any (t)", "[fd00::5]:80 any (t)"]);
  });

  it("keeps apart what users claim: a label alone is only a claim", async () => {
    const loose: ContainerClass = { name: "prod", match: { labels: [["tier", "production"]] } };
    const { told, send } = await streamed([loose, ANY]);
    const labels = { labels: [{ key: "tier", value: "production" }] };
    await send(snapshot([agent("a", "10.0.0.1")], [task("t", "a", { resources: ports([80, 80]), labels })]));
    assert.deepEqual(told.list, ["10.0.0.1:80 prod (claimed), any (t)"]);
  });

  it("is judged anew when the configuration's classes are others", async () => {
    const { told, send, source } = await streamed([ANY]);
    await send(snapshot([agent("a", "10.0.0.1")], [task("t", "a", { resources: ports([80, 80]) })]));
    source.reclassify(classifier([{ ...ANY, name: "new" }]));
    await until(() => told.list.join() === "10.0.0.1:80 new (t)", "it is judged anew");
    source.reclassify(classifier([]));
    await until(() => told.list.length === 0, "it is in no class");
  });

  it("leaves out a task whose ports cannot be used, and goes on", async () => {
    const { told, send, source } = await streamed([ANY]);
    await send(
      snapshot(
        [agent("a", "10.0.0.1")],
        [
          task("bad", "a", { resources: ports([31000, 70000]) }),
          task("good", "a", { resources: ports([80, 80]) }),
        ],
      ),
    );
    assert.deepEqual(told.list, ["10.0.0.1:80 any (good)"]);
    assert.equal(source.status().ignored.get("tasks whose ports cannot be used"), 1);
  });
});

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
