/**
 * A state directory that is full, read-only, from a newer version, damaged or gone: what runs stays enforced, what can go
 * on does, and what cannot says why. Disks of the test's own are mounted in a mount namespace that only it and its daemon
 * are in.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { nameOf } from "../../isolator/cli/table.js";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { cgroupRoot } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { instanceName } from "../support/instance.js";
import { enterOwnMounts, enterOwnNetwork, sh } from "../support/network.js";
import { runIsolator } from "../support/process.js";
import { Task } from "../support/task.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
enterOwnMounts();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);
const { State } = bpf_isolator.ContainerSummary;

const directory = join(STATE_ROOT, daemon.instance);
const containers = join(directory, "containers");
const recordOf = (name: string): string => join(containers, name.replaceAll(".", ":"), "record.json");

const names = async (): Promise<string[]> =>
  (await agent.list()).map(({ container_id }) => nameOf(container_id)).sort();

/** What is no record, or not a whole one. */
const DAMAGED: Record<string, (text: string) => string | undefined> = {
  "that is cut off": (text) => text.slice(0, text.length / 2),
  "that is empty": () => "",
  "that is gone": () => undefined,
  "of zeros": (text) => "\0".repeat(text.length),
  "that is no record": () => "[1, 2]",
  "with ports that are none": (text) => text.replace(/"begin":\d+/, '"begin":"x"'),
  "without a policy": (text) => text.replace('"enforce":"on"', '"enforce":"?"'),
  "with ids that are none": (text) => text.replace(/"chain":\["\d+/, '"chain":["x'),
};

describe("a record", () => {
  it("that is damaged, of a container that runs: it stays enforced, and is taken up from the kernel", async () => {
    const pods = [];
    for (const [i, [what, damage]] of Object.entries(DAMAGED).entries()) {
      const [name, port] = [`pod-${i}`, 31000 + 10 * i];
      const task = await agent.launch(name, { resources: [ports(`${port}-${port + 1}`)] });
      const child = await agent.launch(`${name}.task`, { resources: [ports(`${port + 1}`)] });
      const sidecar = await agent.launch(`${name}.sidecar`, {});
      pods.push({ name, port, what, damage, task, child, sidecar });
    }
    const all = await names();
    await daemon.stop("SIGKILL");
    for (const { name, damage } of pods) {
      for (const each of [name, `${name}.task`, `${name}.sidecar`]) {
        const text = damage(readFileSync(recordOf(each), "utf8"));
        if (text === undefined) unlinkSync(recordOf(each));
        else writeFileSync(recordOf(each), text);
      }
    }
    await daemon.start();
    assert.deepEqual(await names(), all);
    for (const { name, port, what, task, child, sidecar } of pods) {
      const may = async (who: Task): Promise<boolean[]> => [
        await who.mayBind(port),
        await who.mayBind(port + 1),
        await who.mayBind(8080),
      ];
      assert.deepEqual(await may(task), [true, true, false], what);
      assert.deepEqual(await may(child), [false, true, false], what);
      assert.deepEqual(await may(sidecar), [true, true, false], what);
      for (const each of [name, `${name}.task`])
        assert.match((await daemon.event("warning", each)).msg, /damaged/);
      await agent.update(name, ports(`${port + 1}-${port + 2}`));
      assert.deepEqual([await task.mayBind(port), await task.mayBind(port + 2)], [false, true], what);
      await agent.cleanup(name);
    }
  });

  it("that says nothing, of what runs and the kernel knows no policy of: it is left alone until the agent has judged", async () => {
    const task = await Task.start();
    const root = join(cgroupRoot(requireCgroup2(), daemon.instance), "strange");
    await daemon.stop("SIGKILL");
    mkdirSync(root, { recursive: true });
    mkdirSync(join(containers, "strange"), { recursive: true });
    writeFileSync(join(root, "cgroup.procs"), `${task.pid}`);
    await daemon.start();
    assert.match((await daemon.event("warning", "strange")).msg, /stays as it is/);
    await agent.recover(["strange"]);
    assert.equal(task.ended, false);
    assert.equal((await agent.find("strange"))?.state, State.UNMANAGED);
    await daemon.restart();
    await agent.recover([]);
    await until(() => task.ended, "it is removed, since the agent does not know it");
    await daemon.event("removed", "strange");
  });

  it("that is damaged, of a container in which nothing runs: it is undone, and its ports are free", async () => {
    await agent.prepare("empty", { resources: [ports("31010")] });
    await daemon.stop("SIGKILL");
    writeFileSync(recordOf("empty"), "{");
    await daemon.start();
    assert.deepEqual(await names(), []);
    await agent.prepare("next", { resources: [ports("31010")] });
    await agent.cleanup("next");
  });

  it("of a newer version: the daemon does not start, says which one, and all stays as it is", async () => {
    const task = await agent.launch("newer", { resources: [ports("31020")] });
    await daemon.stop("SIGKILL");
    const text = readFileSync(recordOf("newer"), "utf8");
    const newer = text.replace(/"version":\d+/, '"version":99');
    writeFileSync(recordOf("newer"), newer);
    await assert.rejects(
      daemon.start(),
      /ended \(1\): bpf-isolator: .*newer.record\.json was written by a newer version/,
    );
    assert.equal(readFileSync(recordOf("newer"), "utf8"), newer);
    assert.deepEqual([await task.mayBind(31020), await task.mayBind(8080)], [true, false]);
    writeFileSync(recordOf("newer"), text);
    await daemon.start();
    assert.deepEqual(await names(), ["newer"]);
    await agent.cleanup("newer");
  });

  it("with a ContainerConfig that is damaged: its policy stays", async () => {
    const values = { resources: [ports("31030")] };
    const task = await agent.launch("odd", values);
    await daemon.stop("SIGKILL");
    writeFileSync(join(containers, "odd", "config.pb"), Buffer.from([0xff, 0xff, 0xff]));
    await daemon.start();
    assert.match((await daemon.event("warning", "odd")).msg, /ContainerConfig/);
    assert.deepEqual([await task.mayBind(31030), await task.mayBind(8080)], [true, false]);
    await agent.update("odd", ports("31031"));
    assert.deepEqual([await task.mayBind(31030), await task.mayBind(31031)], [false, true]);
    await agent.cleanup("odd");
  });
});

describe("a state directory", () => {
  it("with files of others in it does not disturb", async () => {
    const task = await agent.launch("tidy", { resources: [ports("31040")] });
    await daemon.stop("SIGKILL");
    for (const name of ["junk", "tidy:file"]) writeFileSync(join(containers, name), "?");
    for (const name of [":", "::", ".hidden", "a b", "lost+found", "tidy:", "new", "tidy:.x"]) {
      mkdirSync(join(containers, name));
      writeFileSync(join(containers, name, "junk"), "?");
    }
    writeFileSync(join(containers, "tidy", "record.json.new"), "{");
    writeFileSync(join(directory, "junk"), "?");
    await daemon.start();
    assert.deepEqual(await names(), ["tidy"]);
    assert.deepEqual([await task.mayBind(31040), await task.mayBind(8080)], [true, false]);
    await agent.recover(["tidy"]);
    await agent.prepare("new", { resources: [ports("31041")] });
    for (const name of ["tidy", "new"]) await agent.cleanup(name);
    rmSync(join(directory, "junk"));
  });

  it("that somebody removed: what runs stays enforced until it ends", async () => {
    const task = await agent.launch("lost", { resources: [ports("31050")] });
    const node = await agent.node("lost");
    await daemon.stop("SIGKILL");
    renameSync(containers, `${containers}.away`);
    await daemon.start();
    assert.deepEqual(await names(), []);
    assert.equal(await task.mayBind(8080), false);
    await agent.recover(["lost"]);
    assert.equal((await agent.find("lost"))?.state, State.UNMANAGED);
    await agent.cleanup("lost");
    assert.equal(task.ended, false, "it is not known to be an agent's");
    await task.end();
    await until(() => !node.populated(), "nothing runs in it");
    rmSync(`${containers}.away`, { recursive: true });
    await daemon.restart("SIGTERM");
    await agent.prepare("lost", { resources: [ports("31050")] });
    await agent.cleanup("lost");
  });
});

describe("a disk", () => {
  const mount = (options: string): void => {
    mkdirSync(containers, { recursive: true });
    sh("mount", "-t", "tmpfs", "-o", options, "tmpfs", containers);
  };
  const isMounted = (): boolean => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${containers} `);
  after(() => {
    if (isMounted()) sh("umount", containers);
  });

  it("that is full: a prepare() is refused and leaves nothing, what runs stays, and a cleanup() is done", async () => {
    mount("size=64k");
    const task = await agent.launch("first", { resources: [ports("31100")] });
    const filler = join(containers, "filler");
    writeFileSync(filler, "");
    assert.throws(() => {
      for (;;) writeFileSync(filler, Buffer.alloc(4096), { flag: "a" });
    }, /ENOSPC/);
    await assert.rejects(
      agent.prepare("second", { resources: [ports("31101")] }),
      /^IsolatorError: container second: .*ENOSPC.*: make room on that file system$/,
    );
    await assert.rejects(agent.update("first", ports("31102")), /first.*ENOSPC/);
    assert.deepEqual(await names(), ["first"]);
    assert.deepEqual([await task.mayBind(31100), await task.mayBind(31102)], [true, false]);
    assert(((await agent.usage("first")).net_rx_packets ?? 0n) > 0n);
    const glass = (...words: string[]) =>
      runIsolator(["break-glass", "--instance", daemon.instance, "--container", "first", ...words]);
    const { status, stdout } = await glass("--audit");
    assert.deepEqual([status, await task.mayBind(31102)], [3, true], "it works, and says for how long");
    assert.match(
      stdout,
      /^not written down for first: it holds only for as long as the daemon lives: .*ENOSPC.*: make room on/m,
    );
    assert.equal((await glass("--restore")).status, 0);
    assert.equal(await task.mayBind(31102), false);
    await agent.cleanup("first");
    assert.deepEqual(await names(), [], "what is removed needs no room");
    unlinkSync(filler);
    await agent.prepare("second", { resources: [ports("31101")] });
    await agent.cleanup("second");
    sh("umount", containers);
  });

  it("that becomes read-only: what runs stays, and a cleanup() goes on when it can be written again", async () => {
    mount("size=1m");
    const task = await agent.launch("kept", { resources: [ports("31110")] });
    sh("mount", "-o", "remount,ro", containers);
    await assert.rejects(agent.prepare("refused", { resources: [ports("31111")] }), /refused.*EROFS/);
    assert.deepEqual([await task.mayBind(31110), await task.mayBind(31111)], [true, false]);
    await agent.cleanup("kept");
    assert.match((await daemon.event("cleanup_pending", "kept")).msg, /EROFS/);
    assert.equal((await agent.find("kept"))?.state, State.CLEANING);
    await assert.rejects(agent.prepare("kept", { resources: [ports("31110")] }), /on its way out/);
    sh("mount", "-o", "remount,rw", containers);
    await until(async () => (await names()).length === 0, "it is removed in the background");
    // What is tried again is that container, and not another that has its name by then.
    const old = await agent.launch("kept", { resources: [ports("31110")] });
    sh("mount", "-o", "remount,ro", containers);
    await old.end();
    await agent.cleanup("kept");
    sh("mount", "-o", "remount,rw", containers);
    await agent.cleanup("kept");
    await agent.prepare("kept", { resources: [ports("31110")] });
    const watch = await agent.watch("kept");
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual([await names(), watch.isOpen()], [["kept"], true]);
    await agent.cleanup("kept");
    sh("umount", containers);
  });

  it("that is read-only from the start: the daemon says so, and does not start", async () => {
    const instance = instanceName();
    const place = join(STATE_ROOT, instance);
    mkdirSync(place);
    sh("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place);
    try {
      const { status, stderr } = await runIsolator([
        ...["serve", "--instance", instance, "--config", daemon.configFile],
      ]);
      assert.deepEqual([status, stderr.includes("cannot be used: EROFS")], [1, true], stderr);
    } finally {
      sh("umount", place);
      rmdirSync(place);
    }
  });
});
