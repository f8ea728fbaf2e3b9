/** `bpf-isolator top`: rates and order of made-up looks, then a real daemon with real traffic, piped and on a terminal. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { linesOf, renderLines, sortLines } from "../../isolator/cli/top.js";
import { bpf_isolator, codecs, fromContainerId } from "../../isolator/mesos/messages.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, isolator, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();

function container(name: string, received: bigint, denied = 0n): bpf_isolator.ContainerSummary {
  return {
    container_id: { value: name },
    pids: 1,
    statistics: { timestamp: 0, net_rx_bytes: received, net_tx_bytes: 0n },
    denied: [{ name: "bind", count: denied }],
  };
}

describe("lines of top", () => {
  const before = {
    at: 1000,
    containers: [container("a", 0n), container("b", 100n, 2n), container("c", 900n)],
  };
  const now = {
    at: 3000,
    containers: [container("a", 4096n), container("b", 100n, 5n), container("c", 1n), container("d", 9n)],
  };
  const lines = linesOf(now, before);

  it("have rates since the look before, never less than none", () => {
    assert.deepEqual(
      lines.map(({ received }) => received),
      [2048, 0, 0, undefined],
    );
    assert.deepEqual(
      lines.map(({ deniedNow }) => deniedNow),
      [0n, 3n, 0n, 0n],
    );
  });

  it("are sorted by each column, most first", () => {
    const names = (...args: [Parameters<typeof sortLines>[1], boolean?]): string =>
      sortLines(lines, ...args)
        .map(({ name }) => name)
        .join("");
    assert.equal(names("received"), "abcd");
    assert.equal(names("denied"), "bacd");
    assert.equal(names("name"), "abcd");
    assert.equal(names("name", true), "dcba");
  });

  it("fit the width, and are plain text", () => {
    const evil = linesOf({ at: 0, containers: [container("\u001b[2J".repeat(50), 0n)] }, undefined);
    for (const row of renderLines(evil, 40)) {
      assert(row.length <= 40);
      assert.match(row, /^[ -~]*$/);
    }
  });
});

describe("top with a daemon", () => {
  const top = (...args: string[]): string[] => ["top", "--instance", daemon.instance, ...args];

  it("shows a container's traffic, look after look", async () => {
    const container_id = fromContainerId(["busy"]);
    const container_config = codecs.ContainerConfig.parseJson(
      JSON.stringify({
        ...{ directory: "/tmp", command_info: {} },
        resources: [{ name: "ports", type: "RANGES", ranges: { range: [{ begin: 31000, end: 31000 }] } }],
      }),
    );
    await daemon.call({ type: Type.PREPARE, prepare: { container_id, container_config } });
    const send = `read line; while :; do ${ATTEMPT} udp-connected-send listen-port=31000 >/dev/null; done`;
    const task = spawn("sh", ["-c", send], { stdio: ["pipe", "ignore", "inherit"] });
    await daemon.call({ type: Type.ISOLATE, isolate: { container_id, pid: task.pid } });
    task.stdin.end("go\n");
    try {
      const tables = await until(async () => {
        const { status, stdout } = await runIsolator(top("--count", "2", "--interval", "0.5"));
        assert.equal(status, 0);
        const parts = stdout.trim().split("\n\n");
        return / busy|^busy +isolated +31000 +\d+ +\S+ +[1-9]/m.test(parts[1] ?? "") ? parts : undefined;
      }, "traffic is shown");
      assert.equal(tables.length, 2);
      assert.match(tables[0] ?? "", /^CONTAINER +STATE .*\nbusy +isolated +31000 +\d+ +\S+ +- +- /);
    } finally {
      task.kill("SIGKILL");
    }
  });

  it("has the terminal to itself, takes keys, and gives it back", async () => {
    const line = isolator(...top("--interval", "0.2")).join(" ");
    const child = spawn("script", ["--quiet", "--return", "--command", line, "/dev/null"], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, TERM: "xterm" },
    });
    const exited = once(child, "exit");
    let screen = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (screen += text));
    try {
      await until(() => screen.includes("by received") && screen.includes("busy"), "a screen is shown");
      child.stdin.write("nR");
      await until(() => screen.includes("by name, reversed"), "keys are taken");
      child.stdin.write("q");
      assert.deepEqual(await exited, [0, null]);
    } finally {
      child.kill("SIGKILL");
    }
    assert(screen.startsWith("\u001b[?1049h\u001b[?25l"));
    assert(screen.trimEnd().endsWith("\u001b[?25h\u001b[?1049l"));
  });

  it("exits 3 without a daemon, and 2 for what it does not know", async () => {
    assert.equal((await runIsolator(["top", "--instance", `${daemon.instance}-none`])).status, 3);
    for (const args of [
      ["--sort", "colour"],
      ["--interval", "0"],
      ["--count", "x"],
    ])
      assert.equal((await runIsolator(top(...args))).status, 2, args.join(" "));
  });
});
