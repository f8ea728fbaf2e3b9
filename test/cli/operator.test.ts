/** list, usage, status and events, of a daemon with a real container, and of names that somebody means ill with. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { findContainer } from "../../isolator/cli/daemon.js";
import { eventToJson, renderEvent } from "../../isolator/cli/events.js";
import { renderList } from "../../isolator/cli/list.js";
import { renderStatus } from "../../isolator/cli/status.js";
import { formatBytes, formatDuration, printable, toAsciiJson } from "../../isolator/cli/table.js";
import { renderUsage } from "../../isolator/cli/usage.js";
import { bpf_isolator, codecs, fromContainerId } from "../../isolator/mesos/messages.js";
import { ProtocolClient } from "../../isolator/protocol/client.js";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, execute, isolator, runIsolator, type Result } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { Type } = bpf_isolator.Call;

/** What would move a cursor, colour the rest, or look like another name. */
const EVIL = "w\u001b[2J\u009b31m\u202ele\u0007\r\nx\\é";

describe("what is printed of names that somebody chose", () => {
  const container: bpf_isolator.ContainerSummary = {
    container_id: { value: EVIL, parent: { value: "root" } },
    state: bpf_isolator.ContainerSummary.State.ISOLATED,
    ports: [{ begin: 31000n, end: 31005n }],
    enforcement: bpf_isolator.Enforcement.OFF,
    executor_id: EVIL,
    cgroup: `/sys/${EVIL}`,
    network: EVIL,
    denied: [{ name: EVIL, count: 2n }],
  };
  const event: bpf_isolator.Event = {
    time: 1.5,
    type: "denied",
    container_id: { value: EVIL },
    message: EVIL,
  };
  const status: bpf_isolator.DaemonStatus = {
    version: EVIL,
    agent: { name: EVIL, mesos_version: EVIL, agent_address: { ip: EVIL, port: 5051 } },
    config_error: `${EVIL}\n${EVIL}`,
    events: [event],
  };

  it("is plain ASCII in every text", () => {
    const texts = {
      list: renderList([container]),
      usage: renderUsage(container),
      event: renderEvent(event),
      json: eventToJson(event),
      status: renderStatus(status, 10),
    };
    for (const [name, text] of Object.entries(texts)) {
      assert.match(text, /^[ -~\n]*$/, name);
      assert(text.includes("\\x1b[2J") || text.includes("\\u001b[2J"), name);
    }
  });

  it("keeps its meaning in JSON", () => {
    assert.deepEqual((JSON.parse(eventToJson(event)) as { container: string }).container, EVIL);
    assert.equal(JSON.parse(toAsciiJson(EVIL)), EVIL);
  });

  it("has one line for an event, and as many columns as there are", () => {
    assert(!renderEvent(event).includes("\n"));
    assert.equal(renderList([container]).split("\n").length, 3);
  });

  it("shows other bytes by their numbers", () => {
    assert.equal(printable("a\\ é\u007f"), "a\\ \\xc3\\xa9\\x7f");
  });
});

describe("tables", () => {
  it("say what is not there", () => {
    assert.equal(renderList([]), "no containers\n");
    assert.match(renderList([{}]), /^CONTAINER.*\n\s+unknown\s+none\s+none\s+0\s+0 B\s+0 B\s+0\s+0\n$/);
    assert.match(renderStatus({}, 0), /agent +none has said who it is\n/);
  });

  it("show what a nested container has of its parent, and what is switched off", () => {
    const text = renderList([
      {
        container_id: fromContainerId(["a", "b"]),
        inherits_ports: true,
        enforcement: bpf_isolator.Enforcement.AUDIT,
        break_glass: "detach",
        denied: [
          { name: "bind", count: 3n },
          { name: "source_port", count: 5n },
        ],
      },
    ]);
    assert.match(text, /\na\.b +unknown +parent's +audit, but break-glass: detach +0 +0 B +0 B +3 +0\n/);
  });

  it("write numbers for people", () => {
    assert.deepEqual([0n, 1023n, 1024n, 1536n, 2n ** 64n].map(formatBytes), [
      "0 B",
      "1023 B",
      "1.0 KiB",
      "1.5 KiB",
      "16.0 EiB",
    ]);
    assert.deepEqual([0.5, 59, 60, 3601, 90061].map(formatDuration), [
      "0 s",
      "59 s",
      "1 min 0 s",
      "1 h 0 min",
      "1 d 1 h",
    ]);
  });
});

describe("findContainer()", () => {
  const ids = [["abc"], ["abc", "task"], ["abd"], ["a"]] as [string, ...string[]][];
  const containers = ids.map((id) => ({ container_id: fromContainerId(id) }));
  const find = (name: string): unknown => findContainer(containers, name).container_id;

  it("takes a whole name, and the beginning of one", () => {
    assert.deepEqual(find("a"), { value: "a" });
    assert.deepEqual(find("abc"), { value: "abc" });
    assert.deepEqual(find("abc.t"), { value: "task", parent: { value: "abc" } });
    assert.deepEqual(findContainer(containers.slice(0, 2), "ab").container_id, { value: "abc" });
  });

  it("does not choose among several", () => {
    assert.throws(() => find("ab"), {
      code: "bad-argument",
      message: /^2 containers .* abc, abd\. Give more/,
    });
    for (const name of ["x", "abc.x", ""]) assert.throws(() => find(name), { code: "no-container" });
  });
});

describe("with a daemon", () => {
  const instance = instanceName();
  let directory = "";
  let daemon: ChildProcess | undefined;
  let task: ChildProcess | undefined;
  const client = ProtocolClient.of(instance);
  const id = fromContainerId(["web-1234"]);

  const ask = (...args: string[]): Promise<Result> => runIsolator([...args, "--instance", instance]);
  const askJson = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await ask(...args, "--json");
    assert.equal(stderr, "");
    assert.equal(status, 0);
    return JSON.parse(stdout) as T;
  };

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "isolator-operator-"));
    const file = join(directory, "isolator.yaml");
    writeFileSync(file, "ephemeral: clients\n");
    const [command = "", ...args] = isolator("serve", "--config", file, "--instance", instance);
    daemon = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
    await until(() => client.call({ type: Type.GET_STATUS }), "the daemon answers");
    const container_config = codecs.ContainerConfig.parseJson(
      JSON.stringify({
        directory,
        command_info: {},
        executor_info: { executor_id: { value: "exec" }, framework_id: { value: "fw" } },
        resources: [{ name: "ports", type: "RANGES", ranges: { range: [{ begin: 31000, end: 31005 }] } }],
      }),
    );
    await client.call({ type: Type.PREPARE, prepare: { container_id: id, container_config } });
    // Waits for its line, as a launcher waits for its agent; then tries a port that is not its own, and stays.
    task = spawn("sh", ["-c", `read line; ${ATTEMPT} bind port=8080; echo tried; exec sleep infinity`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await client.call({ type: Type.ISOLATE, isolate: { container_id: id, pid: task.pid } });
    task.stdin?.end("go\n");
    assert(task.stdout);
    for await (const line of createInterface({ input: task.stdout })) if (line === "tried") break;
  });

  after(async () => {
    task?.kill("SIGKILL");
    if (daemon?.exitCode === null) {
      await client.call({ type: Type.CLEANUP, cleanup: { container_id: id } });
      client.close();
      daemon.kill("SIGTERM");
      await once(daemon, "exit");
    }
    rmSync(directory, { recursive: true });
    assertNothingLeft(instance);
  });

  it("lists the container", async () => {
    const { status, stdout } = await ask("list");
    assert.equal(status, 0);
    assert.match(stdout, /^CONTAINER +STATE +PORTS .*\nweb-1234 +isolated +31000-31005 +on +[12] .* 1 +0\n$/);
    const { version, containers } = await askJson<{ version: number; containers: Record<string, unknown>[] }>(
      "list",
    );
    const [first] = containers;
    assert(first);
    assert.deepEqual([version, containers.length, first["name"]], [1, 1, "web-1234"]);
    assert.deepEqual(first["ports"], [{ begin: 31000, end: 31005 }]);
    assert.deepEqual(first["denied"], [{ name: "bind", count: 1 }]);
  });

  it("shows its usage, by the beginning of its name too", async () => {
    for (const name of ["web-1234", "web"]) {
      const { status, stdout } = await ask("usage", name);
      assert.equal(status, 0);
      assert.match(
        stdout,
        /^web-1234\n {2}state +isolated, (1 process|2 processes)\n {2}ports +31000-31005\n/,
      );
      assert.match(stdout, /\n {2}denied +1 \(bind 1\)\n/);
      assert.match(stdout, /\n {2}framework +fw\n {2}executor +exec\n/);
    }
    const { name, statistics } = await askJson<{ name: string; statistics: Record<string, unknown> }>(
      "usage",
      "web",
    );
    assert.equal(name, "web-1234");
    assert.equal(typeof statistics["net_rx_bytes"], "number");
  });

  it("shows the usage of a task of `run`, which the daemon does not look after", async () => {
    const options = ["--instance", instance, "--name", "mine", "--ports", "31010"];
    const send = `${ATTEMPT} udp-connected-send listen-port=31010 >/dev/null; echo sent; exec sleep infinity`;
    const [command = "", ...args] = isolator("run", ...options, "--", "sh", "-c", send);
    const running = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
    const exited = once(running, "exit");
    try {
      await once(running.stdout, "data");
      const { stdout } = await ask("usage", "mine");
      assert.match(stdout, /^mine\n[^]*\n {2}ports +31010\n[^]*\n {2}sent +[1-9]\d* packets, /);
    } finally {
      running.kill("SIGTERM");
      await exited;
    }
  });

  it("shows the daemon", async () => {
    const { status, stdout } = await ask("status");
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`instance +${instance}\n`));
    assert.match(stdout, new RegExp(`process ${daemon?.pid ?? 0}, up `));
    assert.match(stdout, /containers +1 /);
    assert.match(stdout, /operators +http:\/\/127\.0\.0\.1:\d+\/\n/);
    assert.match(stdout, /configuration +\/.*isolator\.yaml, read 2/);
    const { daemon: facts } = await askJson<{ daemon: { pid: number } }>("status");
    assert.equal(facts.pid, daemon?.pid);
  });

  it("shows what happened, and with --follow what happens, until a signal", async () => {
    const denied = /Z {2}web-1234 {2}denied bind\(\) tcp .*:8080 by attempt\[\d+\]/;
    await until(async () => denied.test((await ask("events")).stdout), "the denial is an event");
    const lines = (await ask("events", "--container", "web", "--json")).stdout.trim().split("\n");
    const events = lines.map((line) => JSON.parse(line) as { container?: string; type: string });
    assert(events.some(({ type }) => type === "denied"));
    assert(events.every(({ container }) => container === "web-1234"));

    const [command = "", ...args] = isolator("events", "--follow", "--json", "--instance", instance);
    const following = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(following, "exit");
    const types: string[] = [];
    for await (const line of createInterface({ input: following.stdout })) {
      types.push((JSON.parse(line) as { type: string }).type);
      // All that was comes first; then a reload makes one more.
      if (types.at(-1) === "denied") daemon?.kill("SIGHUP");
      if (types.at(-1) === "configuration") break;
    }
    following.kill("SIGINT");
    assert.deepEqual(await exited, [0, null]);
  });

  it("ends when nobody reads any more", async () => {
    const script = `${isolator("events", "--follow", "--instance", instance).join(" ")} | head -n 1`;
    const running = execute(["bash", "-c", `set -o pipefail; ${script}`]);
    // Each makes a line, until one meets the closed pipe.
    const timer = setInterval(() => daemon?.kill("SIGHUP"), 50);
    const { status } = await running;
    clearInterval(timer);
    assert.equal(status, 0);
  });

  it("has an exit status for each kind of failure", async () => {
    const unknown = await ask("usage", "nobody");
    assert.deepEqual([unknown.status, unknown.stdout], [1, ""]);
    assert.match(unknown.stderr, /^bpf-isolator: the daemon knows no container nobody: /);
    for (const args of [["usage"], ["list", "more"], ["list", "--nonsense"], ["events", "--container"]])
      assert.equal((await ask(...args)).status, 2, args.join(" "));
    assert.equal((await runIsolator(["list", "--instance", "a/b"])).status, 2);
    for (const command of [["list"], ["usage", "x"], ["status"], ["events", "--follow"]]) {
      const { status, stderr } = await runIsolator([...command, "--instance", `${instance}-none`]);
      assert.equal(status, 3, command.join(" "));
      assert.match(stderr, /^bpf-isolator: no bpf-isolator daemon listens on .*: start it/);
    }
    const { status, stdout, stderr } = await runIsolator([
      ...["endpoints", "--json", "--instance", `${instance}-none`],
    ]);
    const said = JSON.parse(stderr) as { error: { code: string; message: string } };
    assert.deepEqual([status, stdout, said.error.code], [3, "", "no-daemon"], "and JSON of the error");
    const wrong = await runIsolator(["list", "--json", "--nonsense"]);
    assert.deepEqual(
      [wrong.status, JSON.parse(wrong.stderr)],
      [2, { version: 1, error: { code: "bad-argument", message: "unknown option '--nonsense'" } }],
    );
    const task = await runIsolator(["run", "--json", "--nonsense", "--", "true", "--json"]);
    assert.deepEqual(
      [task.status, (JSON.parse(task.stderr) as { event: string }).event],
      [125, "error"],
      task.stderr,
    );
  });

  it("says so when the daemon ends under a follower", async () => {
    const [command = "", ...args] = isolator("events", "--follow", "--instance", instance);
    const following = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const exited = once(following, "exit");
    await once(following.stdout, "data");
    await client.call({ type: Type.CLEANUP, cleanup: { container_id: id } });
    client.close();
    assert(daemon);
    daemon.kill("SIGTERM");
    await once(daemon, "exit");
    const [status] = (await exited) as [number];
    assert.equal(status, 3);
  });
});
