/** What happens to containers of a daemon, told to whoever asks: at once, bounded, and nothing left out without a word. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { isolator, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);

interface EventLine {
  container?: string;
  type: string;
  message: string;
  lost?: number;
  denial?: { port: number; reason: string; owner?: string };
}

/** `bpf-isolator events --follow --json`, until it is ended. */
function follow(...args: string[]) {
  const [file = "", ...rest] = isolator(
    "events",
    "--instance",
    daemon.instance,
    "--follow",
    "--json",
    ...args,
  );
  const child = spawn(file, rest, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const lines: EventLine[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(JSON.parse(line) as EventLine));
  return {
    lines,
    end: async (): Promise<void> => {
      child.kill("SIGTERM");
      assert.deepEqual(await exited, [0, null]);
    },
  };
}

describe("events --follow", () => {
  it("gets refusals as they happen, of all or of one container", async () => {
    const all = follow();
    const one = follow("--container", "one");
    await until(async () => (await agent.facts()).streams === 2, "both are heard");
    const tasks = [
      await agent.launch("one", { resources: [ports("31000")] }),
      await agent.launch("one.child", { resources: [ports("31000")] }),
      await agent.launch("two", { resources: [ports("31001")] }),
    ];
    for (const task of tasks) await task.attempt("bind port=31002");
    await tasks[0]?.attempt("bind port=31001");
    await until(() => all.lines.length === 4 && one.lines.length === 3, "all are told");
    assert.deepEqual(
      one.lines.map(({ container, type, denial }) => [container, type, denial?.port, denial?.owner]),
      [
        ["one", "denied", 31002, undefined],
        ["one.child", "denied", 31002, undefined],
        ["one", "denied", 31001, "two"],
      ],
    );
    assert.match(
      one.lines[2]?.message ?? "",
      /^denied bind\(\) tcp 127\.0\.0\.1:31001 by attempt\[\d+\]: .*container two$/,
    );
    await agent.cleanup("two");
    await Promise.all([all.end(), one.end()]);
    await agent.cleanup("one");
  });

  it("is told how many more there were than are shown: none is lost without a word", async () => {
    const stream = await daemon.stream({
      type: Type.EVENTS,
      events: { follow: true, container_id: { value: "loud" } },
    });
    const task = await agent.launch("loud", { resources: [] });
    await task.attempt("flood-bind port=8080 n=500 delay-ms=0");
    const denied = (await agent.find("loud"))?.denied?.find(({ name }) => name === "bind")?.count;
    assert.equal(denied, 500n);
    const told = () => {
      const events = stream.records.flatMap(({ events }) => events?.event ?? []);
      const shown = events.filter(({ type }) => type === "denied").length;
      const hidden = events
        .filter(({ type }) => type === "not_shown")
        .reduce((sum, { lost = 0n }) => sum + Number(lost), 0);
      return { shown, hidden };
    };
    await until(() => told().shown + told().hidden === 500, "all are told, or counted");
    assert(told().shown >= 20 && told().shown < 200, `${told().shown} are shown`);
    await agent.cleanup("loud");
    stream.close();
  });

  it("of one container is not kept from it by the noise of another", async () => {
    const noisy = await agent.launch("noisy", { resources: [] });
    const quiet = await agent.launch("quiet", { resources: [] });
    await Promise.all([
      noisy.attempt("flood-bind port=8080 n=2000 delay-ms=0"),
      quiet.attempt("bind port=8081"),
    ]);
    assert.match((await daemon.event("denied", "quiet")).msg, /:8081/);
    await agent.cleanup("noisy");
    await agent.cleanup("quiet");
  });
});

describe("events", () => {
  it("shows the last ones, of containers that are gone too, as text", async () => {
    const { status, stdout } = await runIsolator([
      "events",
      "--instance",
      daemon.instance,
      "--container",
      "one",
    ]);
    assert.equal(status, 0);
    assert.match(stdout, /^\S+ {2}one {2}denied bind\(\) tcp 127\.0\.0\.1:31002 by attempt/m);
    const none = await runIsolator(["events", "--instance", daemon.instance, "--container", "nobody"]);
    assert.deepEqual([none.status, none.stdout], [0, "no events\n"]);
  });
});
