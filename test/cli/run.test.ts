/** `bpf-isolator run` as a user meets it: what passes through, what it tells, what it refuses, what it leaves. */
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
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, execute, inNode, isolator, runIsolator, type Result } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
const instance = instanceName();
after(() => {
  rmSync(directory, { recursive: true });
  assertNothingLeft(instance);
});

const run = (...args: string[]): Promise<Result> => runIsolator(["run", "--instance", instance, ...args]);

/** Starts a run and waits until its task has written a line. */
async function start(...args: string[]) {
  const [file = "", ...rest] = isolator("run", "--instance", instance, ...args);
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "pipe"] });
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [line] = (await Promise.race([once(child.stdout, "data"), exited])) as unknown[];
  return { child, exited, line: String(line), stderr: () => stderr };
}

const HOLD = (port: number): string[] => [ATTEMPT, "hold", `port=${port}`];

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function gone(pid: number): Promise<void> {
  await until(() => !alive(pid), `process ${pid} is gone`);
}

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

describe("refuses", () => {
  const cases: [string, string[], number, RegExp][] = [
    ["port 0", ["--ports", "0", "--", "true"], 125, /bad ports "0": 0 is not between 1 and 65535/],
    ["port 65536", ["--ports", "65536", "--", "true"], 125, /65536 is not between 1 and 65535/],
    ["a backward range", ["--ports", "5-3", "--", "true"], 125, /the range 5-3 ends before it begins/],
    ["words", ["--ports", "a-b", "--", "true"], 125, /"a" is not a port number/],
    ["no ports", ["--ports", "", "--", "true"], 125, /bad ports "": it is empty/],
    ["an empty range", ["--ports", "1,,2", "--", "true"], 125, /a range in it is empty/],
    ["negative ports", ["--ports=-5", "--", "true"], 125, /"" is not a port number/],
    ["a hexadecimal port", ["--ports", "0x50", "--", "true"], 125, /is not a port number/],
    [
      "10,000 ranges",
      ["--ports", Array.from({ length: 10000 }, (_, i) => 2 * i + 1).join(), "--", "true"],
      125,
      /10000 ranges are more than 1024/,
    ],
    ["an unknown mode", ["--ephemeral", "maybe", "--", "true"], 125, /allow, clients, deny/],
    ["an unknown protocol", ["--allow-protocol", "smtp", "--", "true"], 125, /Known: sctp, dccp/],
    ["an unknown option", ["--prots", "1", "--", "true"], 125, /unknown option '--prots'/],
    ["no command", ["--ports", "31000"], 125, /missing required argument 'command'/],
    ["a bad name", ["--name", "../x", "--", "true"], 125, /bad container name "\.\.\/x"/],
    ["a name too long", ["--name", "x".repeat(129), "--", "true"], 125, /bad container name/],
    [
      "a missing command",
      ["--", "no-such-command"],
      127,
      /"no-such-command" was not found: it is in no directory of PATH/,
    ],
    ["a missing path", ["--", "/no/such/command"], 127, /there is no such file/],
    ["a directory", ["--", "/usr"], 126, /\/usr is not an executable file/],
    [
      "a usage file in nowhere",
      ["--usage-file", "/no/where/f", "--", "true"],
      125,
      /--usage-file "\/no\/where\/f" cannot be written/,
    ],
  ];
  for (const [what, args, status, message] of cases) {
    it(`${what}, with a clear error and nothing left behind`, async () => {
      const result = await run(...args);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, message);
      assert(!result.stderr.includes("    at "), "no stack traces for users");
      assertNothingLeft(instance);
    });
  }

  it("a file that is not executable", async () => {
    const file = join(directory, "plain");
    writeFileSync(file, "#!/bin/sh\n", { mode: 0o644 });
    const { status, stderr } = await run("--", file);
    assert.equal(status, 126);
    assert.match(stderr, /plain is not an executable file/);
  });

  it("a bad instance name", async () => {
    for (const name of ["", "a/b", "..", "a.b", "x".repeat(65)]) {
      const { status, stderr } = await runIsolator(["run", "--instance", name, "--", "true"]);
      assert.equal(status, 125);
      assert.match(stderr, /bad instance name/);
    }
  });

  it("a name, and ports, that a running container has; other runs go on beside it undisturbed", async () => {
    const first = await start("--name", "first", "--ports", "31000-31005", "--", ...HOLD(31000));
    const name = await run("--name", "first", "--", "true");
    assert.equal(name.status, 125);
    assert.match(name.stderr, /a container named first is running already \(process \d+\)/);
    const ports = await run("--ports", "31005-31010", "--", "true");
    assert.equal(ports.status, 125);
    assert.match(ports.stderr, /31005 of container first/);
    const beside = await run("--name", "beside", "--ports", "31006", "--", ATTEMPT, "bind", "port=31006");
    assert.equal(beside.status, 0, beside.stderr);
    assert.equal(first.child.exitCode, null);
    assert.equal(first.stderr(), "");
    first.child.stdin.end();
    assert.deepEqual(await first.exited, [0, null]);
    assertNothingLeft(instance);
  });
});

describe("on a machine that lacks something", () => {
  const namespaced = (setUp: string): Promise<Result> =>
    execute([
      "unshare",
      "--mount",
      "sh",
      "-c",
      `${setUp} && exec "$@"`,
      "sh",
      ...isolator("run", "--instance", instance, "--", "true"),
    ]);
  const CGROUP2 = "$(findmnt -nt cgroup2 -o TARGET | head -1)";

  it("says that there is no cgroup2", async () => {
    const { status, stderr } = await namespaced("umount -a -t cgroup2");
    assert.equal(status, 125);
    assert.match(stderr, /no cgroup2 file system is mounted here.*mount -t cgroup2/s);
  });

  it("says that cgroup2 is read-only", async () => {
    const { status, stderr } = await namespaced(`mount -o remount,ro,bind ${CGROUP2}`);
    assert.equal(status, 125);
    assert.match(stderr, /is read-only.*remount,rw/s);
  });

  it("mounts bpffs where there is none", async () => {
    const { status, stderr } = await namespaced("{ umount /sys/fs/bpf || true; }");
    assert.equal(status, 0, stderr);
  });

  it("says that it needs root", async () => {
    const command = isolator("run", "--instance", instance, "--", "true");
    const { status, stderr } = await execute([
      // Another user that may read this directory all the same.
      ...["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
      ...command,
    ]);
    assert.equal(status, 125);
    assert.match(stderr, /only root .*sudo/);
  });

  it("says which program the kernel refuses, where it does", async () => {
    const command = isolator("run", "--instance", instance, "--", "true");
    const drop = "--bounding-set=-bpf,-sys_admin,-perfmon,-net_admin";
    const { status, stderr } = await execute(["setpriv", drop, ...command]);
    assert.equal(status, 125);
    assert.match(stderr, /EPERM/);
    assertNothingLeft(instance);
  });
});

describe("killed with -9", () => {
  it("takes its task with it, and what the task has put into the background; the next run sweeps the node", async () => {
    const first = await start(
      "--name",
      "victim",
      "--ports",
      "31000",
      "--",
      "sh",
      "-c",
      "setsid sleep 300 & echo $$ $!; wait",
    );
    const pids = first.line.trim().split(" ").map(Number);
    first.child.kill("SIGKILL");
    for (const pid of pids) await gone(pid);
    const next = await run("--name", "victim", "--ports", "31000", "--", ATTEMPT, "bind", "port=31000");
    assert.equal(next.status, 0, next.stderr);
    assertNothingLeft(instance);
  });

  it("at any moment around the start of the task: the task is gone without a next run", async () => {
    const marker = `31${process.pid}`;
    for (let delay = 100; delay <= 340; delay += 12) {
      const [file = "", ...args] = isolator("run", "--instance", instance, "--", "sleep", marker);
      const child = spawn(file, args, { stdio: "ignore" });
      const exited = once(child, "exit");
      await sleep(delay);
      child.kill("SIGKILL");
      await exited;
    }
    const running = async (): Promise<boolean> =>
      (await execute(["pgrep", "-fx", `sleep ${marker}`])).status === 0;
    await until(async () => !(await running()), "no task is left");
    assert.equal((await run("--", "true")).status, 0);
    assertNothingLeft(instance);
  });

  it("with its whole cgroup, as a service manager does: the guard is not in it", async () => {
    const service = CgroupNode.create(join(requireCgroup2(), `test-service-${process.pid}`));
    const [file = "", ...args] = inNode(
      service,
      isolator("run", "--instance", instance, "--", "sh", "-c", "echo $$; sleep 300"),
    );
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "ignore"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    await until(() => service.pids().includes(child.pid ?? 0), "run is back in its own node");
    service.kill();
    await gone(Number(String(line)));
    await service.remove();
    assert.equal((await run("--", "true")).status, 0);
    assertNothingLeft(instance);
  });

  it("with its guard: the next run of the instance ends the task", async () => {
    const first = await start("--name", "orphan", "--ports", "31000", "--", "sh", "-c", "echo $$; sleep 300");
    const children = readFileSync(`/proc/${first.child.pid}/task/${first.child.pid}/children`, "utf8")
      .trim()
      .split(" ");
    const guard = children
      .map(Number)
      .find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("cgroup.kill"));
    assert(guard);
    process.kill(guard, "SIGKILL");
    first.child.kill("SIGKILL");
    await first.exited;
    assert(alive(Number(first.line)), "nobody is left to kill it");
    const owner = await run("--ports", "31000", "--", ATTEMPT, "bind", "port=31000");
    assert.equal(owner.status, 0, owner.stderr);
    await gone(Number(first.line));
    assertNothingLeft(instance);
  });

  it("at any moment of set-up or end, leaves nothing that the next run does not sweep", async () => {
    for (let delay = 20; delay <= 420; delay += 20) {
      const [file = "", ...args] = isolator(
        "run",
        "--instance",
        instance,
        "--name",
        "flicker",
        "--ports",
        "31000",
        "--",
        "true",
      );
      const child = spawn(file, args, { stdio: "ignore" });
      const exited = once(child, "exit");
      await sleep(delay);
      child.kill("SIGKILL");
      await exited;
    }
    const next = await run("--name", "flicker", "--ports", "31000", "--", ATTEMPT, "bind", "port=31000");
    assert.equal(next.status, 0, next.stderr);
    assertNothingLeft(instance);
  });
});
