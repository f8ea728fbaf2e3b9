/** Labels of tasks that only the agent's API tells: a real agent's answers, served to a daemon. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parseTasks } from "../../isolator/agent/tasks.js";
import { Agent, CPUS } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { until } from "../support/wait.js";

function recorded(name: string): string {
  return readFileSync(new URL(`../../../test/fixtures/agent-api/${name}.json`, import.meta.url), "utf8");
}

const POD = recorded("agent-GET_TASKS-pod");
const ROOT = "9e0e934a-25a7-4728-be81-484ebff0ea83";
/** Of task p3a, which has labels and a discovery name, and of p3b, which has another label. */
const [LABELLED, PLAIN] = ["f6461e81-4571-4b96-baea-c3e7f250cf2c", "b9ea3b6f-5576-4c5c-9ee4-5028663b11db"];

describe("parseTasks()", () => {
  it("finds each task's container, labels and app", () => {
    const tasks = parseTasks(JSON.parse(POD));
    assert.deepEqual(
      [...tasks].filter(([name]) => name.startsWith(ROOT)),
      [
        [
          `${ROOT}.${LABELLED}`,
          {
            labels: [
              ["team", "net"],
              ["policy", "allow=web"],
            ],
            appId: "/web",
          },
        ],
        [`${ROOT}.${PLAIN}`, { labels: [["which", "b"]] }],
      ],
    );
    assert.equal(parseTasks(JSON.parse(recorded("agent-GET_TASKS"))).size, 1);
  });

  it("bounds what users write, leaves out ids that make no sense, and refuses what is no answer", () => {
    const labels = Array.from({ length: 1000 }, (_, i) => ({ key: `k${i}` }));
    const task = (id: unknown) => ({
      labels: { labels },
      statuses: [{ container_status: { container_id: id } }],
    });
    const tasks = parseTasks({
      get_tasks: { launched_tasks: [task({ value: "../x" }), task(7), task({}), task({ value: "a" }), {}] },
    });
    assert.deepEqual([...tasks.keys()], ["a"]);
    assert.equal(tasks.get("a")?.labels.length, 128);
    for (const answer of [
      null,
      {},
      { get_tasks: 1 },
      { get_tasks: { launched_tasks: [{ labels: [["which", "b"]] }] } },
    ])
      assert.throws(() => parseTasks(answer), /makes no sense/);
  });
});

describe("a daemon that asks the agent", async () => {
  enterOwnNetwork();
  const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-labels-"));
  const asked: IncomingHttpHeaders[] = [];
  let answer: { status: number; body: string } = { status: 401, body: "" };
  /** What the next answer waits for. */
  let held = Promise.resolve();
  const server = createServer((request, response) => {
    asked.push(request.headers);
    request.resume();
    const { status, body } = answer;
    void held.then(() => response.writeHead(status, { "Content-Type": "application/json" }).end(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  });
  const credential = join(directory, "credential.json");
  writeFileSync(credential, JSON.stringify({ principal: "isolator", secret: "s3cret" }));
  const daemon = await TestDaemon.start({
    config: [
      `agent_api: { url: "http://127.0.0.1:${(server.address() as AddressInfo).port}", credential: ${credential} }`,
      "trusted_roles: [web]",
      "classes:",
      "  - { name: net, match: { labels: { team: net } } }",
      "  - { name: web, match: { app_id: /web } }",
      "  - { name: pods, match: { labels: { kind: pod } } }",
    ].join("\n"),
  });
  const agent = new Agent(daemon);
  const classesOf = async (name: string) => (await agent.find(name))?.classes?.map((each) => each.name) ?? [];

  it("keeps a pod's task in its parent's classes until the agent answers, and says that it does not", async () => {
    const executor = {
      executor_id: { value: "pod3" },
      framework_id: { value: "f" },
      type: "DEFAULT",
      labels: { labels: [{ key: "kind", value: "pod" }] },
    };
    const resources = [{ ...CPUS, allocation_info: { role: "web" } }];
    await agent.prepare(ROOT, { executor_info: executor, resources });
    for (const child of [LABELLED, PLAIN])
      await agent.prepare(`${ROOT}.${child}`, { executor_info: executor, resources });
    const warning = await daemon.event("warning");
    assert.match(warning.msg, /does not answer GET_TASKS: HTTP 401/);
    await until(() => asked.length >= 3, "it is asked again");
    assert.equal(daemon.events("warning").length, 1, "once");
    assert.deepEqual(await classesOf(`${ROOT}.${LABELLED}`), ["pods"]);
    assert.equal(asked[0]?.authorization, `Basic ${Buffer.from("isolator:s3cret").toString("base64")}`);
  });

  it("learns them when it does", async () => {
    answer = { status: 200, body: POD };
    await until(async () => (await classesOf(`${ROOT}.${LABELLED}`)).length === 3, "the classes", 60_000);
    assert.deepEqual(await classesOf(`${ROOT}.${LABELLED}`), ["net", "web", "pods"]);
    assert.deepEqual(await classesOf(`${ROOT}.${PLAIN}`), ["pods"]);
    assert.deepEqual(await classesOf(ROOT), ["pods"]);
  });

  it("remembers them when it starts again and the agent is away", async () => {
    answer = { status: 503, body: "" };
    await daemon.restart();
    assert.deepEqual(await classesOf(`${ROOT}.${LABELLED}`), ["net", "web", "pods"]);
    await daemon.reload(`${readFileSync(daemon.configFile, "utf8")}\nenforce: audit\n`);
    assert.deepEqual(
      await classesOf(`${ROOT}.${LABELLED}`),
      ["net", "web", "pods"],
      "also when all is judged again",
    );
  });

  it("asks again where an update() came before the answer: that is of the task before", async () => {
    const tasks = (team: string): string => {
      const labels = { labels: [{ key: "team", value: team }] };
      const statuses = [{ container_status: { container_id: { value: "custom" } } }];
      return JSON.stringify({ get_tasks: { launched_tasks: [{ labels, statuses }] } });
    };
    answer = { status: 200, body: tasks("other") };
    const before = asked.length;
    let release = (): void => undefined;
    held = new Promise((resolve) => (release = resolve));
    const executor_info = { executor_id: { value: "e" }, framework_id: { value: "f" }, command: {} };
    const resources = [{ ...CPUS, allocation_info: { role: "web" } }];
    await agent.prepare("custom", { executor_info, resources });
    await until(() => asked.length > before, "it is asked");
    await agent.update("custom", ...resources);
    answer = { status: 200, body: tasks("net") };
    held = Promise.resolve();
    release();
    await until(async () => (await classesOf("custom")).includes("net"), "the task of now is known");
    await agent.cleanup("custom");
  });

  it("has nothing to ask when all is known", async () => {
    const before = asked.length;
    await agent.prepare("alone", { resources: [CPUS] });
    await agent.cleanup("alone");
    assert.equal(asked.length, before);
  });
});
