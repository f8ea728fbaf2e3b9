/** Processes that left their container's node, found where nothing refuses it. Runs the same with BPF LSM: escape is allowed. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { EscapeWatch, type EscapedProcess } from "../../isolator/containers/escaped.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { parseStat, readProcess, readProcesses } from "../../isolator/kernel/processes.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { inNode } from "../support/process.js";
import { until } from "../support/wait.js";

const { cell } = testInstance();
const cgroup2 = requireCgroup2();
const name = `escaped-test-${process.pid}`;
const outside = join(cgroup2, name);
const LEAVE = `echo 0 >${outside}/cgroup.procs`;

let box: Cell | undefined;
const children: ChildProcess[] = [];

function theBox(): Cell {
  assert(box);
  return box;
}

before(async () => {
  mkdirSync(outside);
  box = await cell(["box"], policy("", { escape: "allow" }));
});
afterEach(async () => {
  writeFileSync(join(outside, "cgroup.kill"), "1");
  await theBox().container.killAll();
  for (const child of children.splice(0)) child.stdin?.destroy();
});
after(async () => {
  await until(() => {
    rmdirSync(outside);
    return true;
  }, "nothing is left outside");
});

/** Runs a script in the node that says a line when it is where it wants to be. @returns that line */
async function inBox(script: string): Promise<string> {
  const [file = "", ...args] = inNode(theBox().container.node, ["sh", "-c", script]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  let line = "";
  for await (const chunk of child.stdout.setEncoding("utf8")) {
    line += String(chunk);
    if (line.includes("\n")) break;
  }
  return line.trim();
}

const watchBox = (): EscapeWatch => new EscapeWatch(theBox().container.node, cgroup2);

/** What is found until one of it is `sleep`: a shell that leaves may be found before it is something else. */
async function untilFound(watch: EscapeWatch): Promise<EscapedProcess> {
  const found: EscapedProcess[] = [];
  return until(() => {
    found.push(...watch.look());
    return found.find(({ pid }) => readProcess(pid)?.name === "sleep");
  }, "a process outside is found");
}

describe("a process that left the node is found", () => {
  it("when it was in it before, and once", async () => {
    const pid = Number(await inBox("echo $$; exec sleep 1000"));
    const watch = watchBox();
    assert.deepEqual(watch.look(), []);
    writeFileSync(join(outside, "cgroup.procs"), `${pid}`);
    assert.deepEqual(watch.look(), [{ pid, process: "sleep", cgroup: `/${name}` }]);
    assert.deepEqual(watch.look(), [], "told once");
  });

  it("when its parent is in it, at the first look", async () => {
    await inBox(`(${LEAVE}; exec sleep 1000) & sleep 1; echo ready; wait`);
    assert.equal((await untilFound(watchBox())).cgroup, `/${name}`);
  });

  it("when its session was made in it, though its parent is gone", async () => {
    const script = `exec setsid -w sh -c 'echo $$; read -r x; sh -c "${LEAVE}; sleep 1000 &"; exec sleep 1000'`;
    const leader = Number(await inBox(script));
    const watch = watchBox();
    assert.deepEqual(watch.look(), []);
    children.at(-1)?.stdin?.write("go\n");
    const { pid } = await untilFound(watch);
    assert.notEqual(pid, leader);
    assert.equal(readProcess(pid)?.session, leader);
  });

  it("when it was put in it, and left before the first look", async () => {
    const pid = Number(await inBox("echo $$; exec sleep 1000"));
    const watch = watchBox();
    watch.add(pid);
    writeFileSync(join(outside, "cgroup.procs"), `${pid}`);
    assert.deepEqual(
      watch.look().map(({ pid }) => pid),
      [pid],
    );
  });

  it("with what it starts outside", async () => {
    const pid = Number(await inBox(`echo $$; read -r x; sleep 1000 & wait`));
    const watch = watchBox();
    watch.look();
    writeFileSync(join(outside, "cgroup.procs"), `${pid}`);
    children.at(-1)?.stdin?.write("go\n");
    await until(() => readProcesses().some(({ parent }) => parent === pid), "it has a child");
    const found = watch.look();
    assert.deepEqual(found.map(({ pid }) => pid).slice(0, 1), [pid]);
    assert.equal(found.length, 2);
  });

  it("when it comes back and leaves again, no second time", async () => {
    const pid = Number(await inBox("echo $$; exec sleep 1000"));
    const watch = watchBox();
    watch.look();
    for (const node of [outside, theBox().container.node.path, outside]) {
      writeFileSync(join(node, "cgroup.procs"), `${pid}`);
      watch.look();
    }
    assert.deepEqual(watch.look(), []);
  });
});

describe("nothing is found of", () => {
  it("processes in the node and in nodes below it, zombies, and what never was there", async () => {
    const { path } = theBox().container.node;
    mkdirSync(join(path, "below/threads"), { recursive: true });
    writeFileSync(join(path, "below/threads/cgroup.type"), "threaded");
    const script = `(echo 0 >${path}/below/cgroup.procs; exec sleep 1000) & true & echo $$; exec sleep 1000`;
    const pid = Number(await inBox(script));
    await until(
      () => readProcesses().filter(({ parent }) => parent === pid).length === 1,
      "one child is a zombie",
    );
    const watch = watchBox();
    assert.deepEqual(watch.look(), []);
    assert.deepEqual(watch.look(), []);
  });
});

describe("parseStat()", () => {
  const rest = "7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1000 10";
  it("reads a name with brackets and spaces", () => {
    assert.deepEqual(parseStat(5, `5 (a) b (c) S ${rest}\n`), {
      pid: 5,
      parent: 7,
      session: 9,
      started: 12345n,
      name: "a) b (c",
    });
  });
  it("takes a zombie, and what is no stat, for nothing", () => {
    assert.equal(parseStat(5, `5 (a) Z ${rest}`), undefined);
    assert.equal(parseStat(5, ""), undefined);
  });
});
