/** Endpoints from a master: the stream of a real one, replayed over HTTP, and what it means. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
// not in the VM: no kernel is asked
import type { ContainerClass } from "../../isolator/config/classes.js";
import { codecs, mesos } from "../../isolator/mesos/messages.js";
import { recordedRecords, recordedStream, TestMaster } from "../support/master.js";
import { until } from "../support/wait.js";
import {
  Type,
  TaskState,
  ANY,
  classifier,
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
