/** `bpf-isolator run` that is killed, at any moment: what becomes of its task, and what the next run sweeps. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { assertNothingLeft } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, execute, inNode, isolator } from "../support/process.js";
import { alive, gone, testRuns } from "../support/run.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const { instance, run, start } = testRuns();

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
