/** `bpf-isolator run` as a user meets it: what passes through, and what it tells. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertNothingLeft } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, execute, isolator, runIsolator } from "../support/process.js";
import { gone, HOLD, testRuns } from "../support/run.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
const { instance, run, start } = testRuns();
after(() => {
  rmSync(directory, { recursive: true });
});

describe("passes through", () => {
  it("the exit status, arguments, stdout, environment and directory", async () => {
    const { status, stdout } = await runIsolator(
      [
        "run",
        "--instance",
        instance,
        "--",
        "sh",
        "-c",
        'echo "$1|$2|$COLOUR|$PWD"; exit 37',
        "x",
        "--ports",
        "a b",
      ],
      { env: { ...process.env, COLOUR: "blue" }, cwd: "/usr" },
    );
    assert.equal(stdout, "--ports|a b|blue|/usr\n");
    assert.equal(status, 37);
  });

  it("the environment and a removed directory as they are, with no shell in between", async () => {
    const odd = { ...process.env, "a.b": "c", "BASH_FUNC_f%%": "() { :; }", IFS: "x" };
    const { stdout, stderr } = await runIsolator(
      ["run", "--instance", instance, "--", process.execPath, "-p", "JSON.stringify(process.env)"],
      { env: odd },
    );
    const seen = JSON.parse(stdout) as Record<string, string>;
    assert.deepEqual(seen, odd);
    assert(!stderr.includes("getcwd"));
  });

  it("a reader of stderr that goes away: the task stays", async () => {
    const script = `${isolator("run", "--instance", instance, "--", ATTEMPT, "flood-bind", "port=8080", "n=3000", "delay-ms=0").join(" ")} 2>&1 >/dev/null | head -1; echo "\${PIPESTATUS[0]}"`;
    const { stdout } = await execute(["bash", "-c", script]);
    assert.equal(stdout.trim().split("\n").at(-1), "1", "the status of the attempt itself");
    assertNothingLeft(instance);
  });

  it("stdin", async () => {
    const { child, exited, line } = await start("--", "sh", "-c", 'echo ready; read -r x; echo "got $x" >&2');
    assert.equal(line, "ready\n");
    child.stdin.end("hello\n");
    assert.deepEqual(await exited, [0, null]);
  });

  it("signals, and a death by signal as 128 + its number", async () => {
    const trapped = await start(
      "--",
      "sh",
      "-c",
      'trap "exit 42" TERM; echo ready; while :; do sleep 0.05; done',
    );
    trapped.child.kill("SIGTERM");
    assert.deepEqual(await trapped.exited, [42, null]);
    const untrapped = await start("--", "sh", "-c", "echo ready; exec sleep 30");
    untrapped.child.kill("SIGHUP");
    assert.deepEqual(await untrapped.exited, [129, null]);
  });

  it("a signal that comes before the task: there never is one", async () => {
    for (let delay = 100; delay <= 300; delay += 20) {
      const [file = "", ...args] = isolator("run", "--instance", instance, "--", "sleep", "30");
      const child = spawn(file, args, { stdio: "ignore" });
      const exited = once(child, "exit");
      await sleep(delay);
      child.kill("SIGTERM");
      const [status, signal] = (await exited) as [number | null, NodeJS.Signals | null];
      assert(status === 143 || signal === "SIGTERM", `${status} ${signal}`);
    }
    assertNothingLeft(instance);
  });

  it("the terminal, and ^C on it exactly once", async () => {
    const script =
      'trap "echo caught; n=$((n+1))" INT; test -t 0 && echo on a tty; sleep 1; sleep 0.3; echo "$n times"';
    const command = isolator("run", "--instance", instance, "--", "sh", "-c", `'${script}'`).join(" ");
    const terminal = spawn("script", ["-qec", command, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"] });
    let output = "";
    terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (!output.includes("on a tty") && (output + text).includes("on a tty")) {
        setTimeout(() => terminal.stdin.write("\x03"), 200);
      }
      output += text;
    });
    await once(terminal, "exit");
    assert.match(output, /1 times/);
  });
});

describe("places the task", () => {
  it("inside its node from its first instruction, threads and children too", async () => {
    const { stdout } = await run(
      "--name",
      "place",
      "--",
      "sh",
      "-c",
      "cat /proc/self/cgroup; sh -c 'cat /proc/self/cgroup'",
    );
    const lines = stdout.split("\n").filter((line) => line.startsWith("0::"));
    assert.deepEqual(lines, Array(2).fill(`0::/bpf-isolator/${instance}/place`));
  });

  it("and ends what it left running", async () => {
    const { stdout } = await run("--", "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!");
    await gone(Number(stdout));
  });
});

describe("tells", () => {
  it("denials as they happen: what, which port, who, and whose port it is", async () => {
    const owner = await start("--name", "owner", "--ports", "31000-31005", "--", ...HOLD(31000));
    const { status, stderr } = await run("--name", "guest", "--", ATTEMPT, "bind", "port=31003", "family=6");
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^bpf-isolator: guest: denied bind\(\) tcp \[::1\]:31003 by attempt\[\d+\]: the port belongs to container owner$/m,
    );
    assert.match(
      stderr,
      /^bpf-isolator: guest: received \d+ packets, \d+ bytes; sent .*; denied 1 \(bind 1\)$/m,
    );
    owner.child.stdin.end();
    await owner.exited;
  });

  it("the same as JSON lines", async () => {
    const { stderr } = await run(
      "--json",
      "--name",
      "lines",
      "--",
      ATTEMPT,
      "bind",
      "port=8080",
      "proto=udp",
    );
    const [denial, usage, ...rest] = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(rest, []);
    const { pid, time, ...known } = denial ?? {};
    assert(Number(pid) > 1 && Number(time) > 0);
    assert.deepEqual(known, {
      event: "denied",
      container: "lines",
      reason: "bind",
      protocol: "udp",
      family: "ipv4",
      address: "127.0.0.1",
      port: 8080,
      uid: 0,
      process: "attempt",
    });
    assert.equal(usage?.["event"], "usage");
    assert.equal(usage["container"], "lines");
  });

  it("no more than a person can read, and counts the rest", async () => {
    const { stderr } = await run("--json", "--", ATTEMPT, "flood-bind", "port=8080", "n=5000");
    const lines = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const count = (event: string): number =>
      lines
        .filter((line) => line["event"] === event)
        .reduce((sum, line) => sum + Number(line["count"] ?? 1), 0);
    assert(count("denied") <= 40, `${count("denied")} lines`);
    assert.equal(count("denied") + count("not_shown") + count("lost"), 5000);
    const { denied } = lines.at(-1)?.["bpf_isolator"] as { denied: Record<string, number> };
    assert.equal(denied["bind"], 5000);
  });

  it("a flood of denials without going deaf: a signal ends it all the same", async () => {
    const flooding = await start(
      "--",
      "sh",
      "-c",
      'echo ready; while :; do "$0" flood-bind port=8080 n=100000; done',
      ATTEMPT,
    );
    await sleep(500);
    const sent = Date.now();
    flooding.child.kill("SIGTERM");
    await flooding.exited;
    assert(Date.now() - sent < 5000, "it took longer than anybody would wait");
  });

  it("process names with everything unprintable escaped", async () => {
    const evil = join(directory, "\x1b[31mx\n\\");
    copyFileSync(ATTEMPT, evil);
    chmodSync(evil, 0o755);
    const { stderr } = await run("--", evil, "bind", "port=8080");
    assert.match(stderr, /by \\x1b\[31mx\\x0a\\x5c\[\d+\]/);
    assert(!stderr.includes("\x1b"));
  });

  it("usage in Mesos's field names", async () => {
    const file = join(directory, "usage.json");
    const { status } = await run(
      "--ports",
      "31000",
      "--usage-file",
      file,
      "--",
      ATTEMPT,
      "bind",
      "port=31000",
    );
    assert.equal(status, 0);
    const usage = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    for (const field of ["net_rx_packets", "net_rx_bytes", "net_tx_packets", "net_tx_bytes"]) {
      assert(Number(usage[field]) > 0, `${field}: ${JSON.stringify(usage)}`);
    }
    assert.equal(usage["net_rx_dropped"], 0);
    assert(Math.abs(Number(usage["timestamp"]) - Date.now() / 1000) < 60);
  });

  it("usage to a device, which stays one, and never through a link that lies in wait", async () => {
    const device = await run("--usage-file", "/dev/null", "--", "true");
    assert.equal(device.status, 0, device.stderr);
    assert(statSync("/dev/null").isCharacterDevice());
    const file = join(directory, "trap.json");
    const victim = join(directory, "victim");
    writeFileSync(victim, "precious");
    symlinkSync(victim, `${file}.new`);
    symlinkSync(victim, join(directory, ".trap.json.new"));
    assert.equal((await run("--usage-file", file, "--", "true")).status, 0);
    assert.equal(readFileSync(victim, "utf8"), "precious");
    assert(lstatSync(file).isFile());
  });

  it("that audit mode only reports", async () => {
    const { status, stderr } = await run("--audit", "--", ATTEMPT, "bind", "port=8080");
    assert.equal(status, 0);
    assert.match(stderr, /would deny bind\(\) tcp 127\.0\.0\.1:8080 by attempt/);
    assert.match(stderr, /denied 0; would have denied 1 \(bind 1\)/);
  });

  it("a source port that is another container's, which nobody can prevent", async () => {
    const owner = await start("--name", "owner", "--ports", "40000-40005,31000", "--", ...HOLD(31000));
    for (const proto of ["tcp", "udp"]) {
      const { status, stderr } = await run(
        ...[
          "--",
          ATTEMPT,
          "local-port-range",
          "how=connect",
          "port=40001",
          "dest-port=31000",
          `proto=${proto}`,
        ],
      );
      assert.equal(status, 0, stderr);
      const line = `cannot prevent connect() ${proto}, for which the kernel chose the source port 40001 by attempt`;
      assert(stderr.includes(line), stderr);
      assert.match(stderr, /belongs to container owner\n/);
      assert.match(stderr, /denied 0; connects from another container's port 1\n/);
    }
    owner.child.stdin.end();
    await owner.exited;
  });
});
