/** What each call of an agent means, sent again, out of order, or about what is not there. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nameOf } from "../../isolator/cli/table.js";
import { fromContainerId, bpf_isolator, type mesos } from "../../isolator/mesos/messages.js";
import { Agent, config, CPUS, ports } from "../support/agent.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt } from "../support/process.js";
import { answers, hold, Task } from "../support/task.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();
const agent = new Agent(daemon);
const inJson = new Agent(daemon, "json");

const { State } = bpf_isolator.ContainerSummary;

function rejectsWith(work: Promise<unknown>, code: string, message?: RegExp): Promise<void> {
  return assert.rejects(work, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    if (message) assert.match(error.message, message);
    return true;
  });
}

/** A second process in a container. */
async function join(name: string): Promise<Task> {
  const task = await Task.start();
  await agent.isolate(name, task.pid);
  return task;
}

describe("prepare()", () => {
  it("again with the same config gives the same answer, in the other encoding too, before and after isolate()", async () => {
    const values = { resources: [CPUS, ports("31000-31001")] };
    await agent.prepare("again", values);
    await agent.prepare("again", values);
    await inJson.prepare("again", values);
    const task = await join("again");
    await inJson.prepare("again", values);
    assert.equal((await agent.find("again"))?.state, State.ISOLATED);
    assert.equal(await task.mayBind(31001), true);
    assert.equal(
      (await agent.list()).filter(({ container_id }) => nameOf(container_id) === "again").length,
      1,
    );
  });

  it("again with another config is refused, and changes nothing", async () => {
    await rejectsWith(agent.prepare("again", { resources: [ports("31000-31002")] }), "conflict", /again/);
    await rejectsWith(
      agent.prepare("again", { resources: [CPUS, ports("31000-31001")], user: "nobody" }),
      "conflict",
    );
    const task = await join("again");
    assert.deepEqual([await task.mayBind(31000), await task.mayBind(31002)], [true, false]);
  });

  it("again is the same after the daemon was killed", async () => {
    await daemon.restart();
    await agent.prepare("again", { resources: [CPUS, ports("31000-31001")] });
    await rejectsWith(agent.prepare("again", { resources: [ports("31000")] }), "conflict");
    await agent.cleanup("again");
  });

  it("of the same container many times at once makes one", async () => {
    const values = { resources: [ports("31000")] };
    await Promise.all(Array.from({ length: 10 }, () => agent.prepare("many", values)));
    await agent.cleanup("many");
    assert.equal(await agent.find("many"), undefined);
  });

  it("reads all entries of ports: reservations come apart", async () => {
    const reservations = [{ type: "DYNAMIC", role: "eng", principal: "p" }];
    const task = await agent.launch("entries", {
      resources: [
        ports("31010"),
        CPUS,
        ports("31012-31013", { reservations }),
        ports("31011", { role: "eng" }),
      ],
    });
    for (const port of [31010, 31011, 31012, 31013]) assert.equal(await task.mayBind(port), true, `${port}`);
    for (const port of [31009, 31014]) assert.equal(await task.mayBind(port), false, `${port}`);
    assert.deepEqual((await agent.find("entries"))?.ports, [{ begin: 31010n, end: 31013n }]);
    await agent.cleanup("entries");
  });

  it("with ports that are none is refused, and leaves nothing", async () => {
    for (const text of ["0", "65536", "31001-31000"]) {
      await rejectsWith(agent.prepare("bad", { resources: [ports(text)] }), "bad-argument", /bad/);
    }
    const resources = [{ name: "ports", type: "SCALAR", scalar: { value: 31000 } }];
    await rejectsWith(agent.prepare("bad", { resources }), "bad-argument");
    assert.equal(await agent.find("bad"), undefined);
    await agent.cleanup("bad");
  });
});

describe("ports of others", () => {
  it("that live are refused, and their owner is named", async () => {
    const owner = await agent.launch("owner", { resources: [ports("31020-31029")] });
    await rejectsWith(
      agent.prepare("thief", { resources: [ports("31025-31035")] }),
      "port-owned",
      /31025-31029 of container owner/,
    );
    await agent.prepare("thief", { resources: [ports("31030")] });
    await rejectsWith(agent.update("thief", ports("31029-31030")), "port-owned", /31029 of container owner/);
    const thief = await join("thief");
    assert.deepEqual([await thief.mayBind(31029), await thief.mayBind(31030)], [false, true]);
    assert.equal(await owner.mayBind(31029), true);
    await agent.cleanup("thief");
  });

  it("that wait for their process are refused too", async () => {
    await agent.prepare("waiting", { resources: [ports("31040")] });
    await rejectsWith(agent.prepare("thief", { resources: [ports("31040")] }), "port-owned", /waiting/);
    await agent.cleanup("waiting");
  });

  it("that are dead are taken over, with an event, and their late cleanup() takes nothing back", async () => {
    const task = await agent.launch("dead", { resources: [ports("31050-31051")] });
    await task.end();
    const heir = await agent.launch("heir", { resources: [ports("31051-31052")] });
    const { msg } = await daemon.event("taken_over", "heir");
    assert.match(msg, /31051 .*container dead/);
    assert.equal(await heir.mayBind(31051), true);
    await agent.cleanup("dead");
    assert.equal(await heir.mayBind(31051), true);
    assert.equal((await attempt("bind port=31051", await agent.node("owner"))).status, 1);
    await agent.cleanup("heir");
    await agent.cleanup("owner");
  });

  it("are free at once after a cleanup()", async () => {
    for (let i = 0; i < 3; i++) {
      await agent.prepare(`turn-${i}`, { resources: [ports("31060-31069")] });
      await agent.cleanup(`turn-${i}`);
    }
  });
});

describe("update()", () => {
  it("changes ports at once; what listens stays, and is named", async () => {
    const task = await agent.launch("service", { resources: [ports("31100-31101")] });
    const node = await agent.node("service");
    const server = await hold(31100, node);
    await agent.update("service", CPUS, ports("31101-31102"));
    assert.deepEqual([await task.mayBind(31101), await task.mayBind(31102)], [true, true]);
    assert.equal(await answers(31100), true, "the server still accepts");
    const { msg } = await daemon.event("listener_kept", "service");
    assert.match(msg, new RegExp(`tcp port 31100.*attempt\\[${server.pid}\\]`));
    // The port is nobody's now, so that another may have it.
    await agent.prepare("next", { resources: [ports("31100")] });
    server.close();
    await until(async () => !(await answers(31100)), "the server is gone");
    assert.equal(await task.mayBind(31100), false);
    await agent.update("service");
    assert.deepEqual([await task.mayBind(31101), await task.mayBind(31102)], [false, false]);
    assert.equal(daemon.events("listener_kept", "service").length, 1, "nobody else listened");
    await agent.cleanup("service");
    await agent.cleanup("next");
  });

  it("of an unknown container fails clearly; with bad ports it changes nothing", async () => {
    await rejectsWith(agent.update("nobody", ports("31100")), "no-container", /nobody/);
    const task = await agent.launch("kept", { resources: [ports("31110")] });
    await rejectsWith(agent.update("kept", ports("0-5")), "bad-argument", /kept/);
    assert.equal(await task.mayBind(31110), true);
    await agent.cleanup("kept");
  });

  it("before isolate() holds for what comes", async () => {
    await agent.prepare("early", { resources: [ports("31120")] });
    await agent.update("early", ports("31121"));
    const task = await join("early");
    assert.deepEqual([await task.mayBind(31120), await task.mayBind(31121)], [false, true]);
    await agent.cleanup("early");
  });
});

describe("usage() and status()", () => {
  it("of unknown containers answer, empty", async () => {
    for (const each of [agent, inJson]) {
      assert.deepEqual(await each.status("nobody"), {});
      assert.deepEqual(Object.keys(await each.usage("nobody")), ["timestamp"]);
      assert.deepEqual(await each.status("nobody.child"), {});
    }
  });

  it("answer while prepare() of the same container is under way", async () => {
    let answered = 0;
    const pending = agent.prepare("slow", { resources: [ports("31200-31999")] });
    const asked = Array.from({ length: 20 }, async () => {
      await Promise.all([agent.usage("slow"), inJson.status("slow")]);
      answered++;
    });
    await Promise.all([pending, ...asked]);
    assert.equal(answered, 20);
    assert.deepEqual(await agent.status("slow"), { container_id: { value: "slow" } });
    await agent.cleanup("slow");
  });

  it("count packets and bytes, and nothing of what cleaned up containers had", async () => {
    const values = { resources: [ports("31300")] };
    const task = await agent.launch("counted", values);
    await task.attempt("udp-connected-send listen-port=31300");
    const usage = await agent.usage("counted");
    assert(
      (usage.net_rx_packets ?? 0n) > 0n && (usage.net_tx_bytes ?? 0n) >= (usage.net_tx_packets ?? 0n) * 28n,
    );
    await agent.cleanup("counted");
    assert.deepEqual(Object.keys(await agent.usage("counted")), ["timestamp"]);
    await agent.prepare("counted", values);
    assert.equal((await agent.usage("counted")).net_rx_packets, 0n);
    await agent.cleanup("counted");
  });
});

describe("isolate()", () => {
  it("of a process that is gone fails clearly", async () => {
    await agent.prepare("late", { resources: [] });
    const task = await Task.start();
    await task.end();
    await rejectsWith(agent.isolate("late", task.pid), "no-process", new RegExp(`late.*${task.pid}.*gone`));
    assert.equal((await agent.find("late"))?.state, State.PREPARED);
    await agent.cleanup("late");
  });

  it("of an unknown container, of no process, and of the daemon's own is refused", async () => {
    const task = await Task.start();
    await rejectsWith(agent.isolate("nobody", task.pid), "no-container", /nobody/);
    await rejectsWith(agent.isolate("nobody.child", task.pid), "no-container");
    await agent.prepare("strict", { resources: [] });
    for (const pid of [1, daemon.pid]) await rejectsWith(agent.isolate("strict", pid), "bad-argument");
    await rejectsWith(agent.isolate("strict", 2 ** 31), "bad-message");
    await agent.cleanup("strict");
    await task.end();
  });
});

describe("watch()", () => {
  it("is pending until cleanup(), for each who watches, and ends then", async () => {
    const early = await agent.watch("watched");
    await agent.prepare("watched", { resources: [ports("31400")] });
    const watches = [early, await agent.watch("watched"), await inJson.watch("watched")];
    const task = await join("watched");
    await task.attempt("bind port=31401");
    await agent.update("watched");
    await task.end();
    assert.deepEqual(
      watches.map((watch) => watch.isOpen()),
      [true, true, true],
    );
    await agent.cleanup("watched");
    await until(() => watches.every((watch) => !watch.isOpen()), "all have ended");
    assert.deepEqual(
      watches.flatMap(({ records }) => records),
      [],
    );
  });
});

describe("cleanup()", () => {
  it("of unknown containers succeeds, whatever their id looks like", async () => {
    for (const name of ["nobody", "nobody.child", Array(32).fill("deep").join(".")])
      await agent.cleanup(name);
    await inJson.cleanup("nobody");
  });

  it("ends processes that are left, of nested containers too, and may be repeated", async () => {
    const parent = await agent.launch("pod", { resources: [ports("31500-31501")] });
    const child = await agent.launch("pod.task", { resources: [ports("31501")] });
    await Promise.all([agent.cleanup("pod"), agent.cleanup("pod"), inJson.cleanup("pod.task")]);
    await until(() => parent.ended && child.ended, "both processes are gone");
    assert.deepEqual(await agent.list(), []);
  });
});

describe("ids", () => {
  const odd = [
    "a".repeat(242),
    "ä".repeat(121),
    "容器-🚢",
    "standalone_name",
    "-dash",
    "_x",
    "~tilde",
    "cgroup:procs",
    "name;rm -rf".replace(" ", "$IFS"),
    "UPPER",
    "upper",
  ];

  it("of all kinds that Mesos has are good, each a container of its own", async () => {
    for (const [i, name] of odd.entries()) await agent.prepare(name, { resources: [ports(`${31600 + i}`)] });
    await daemon.restart();
    const names = (await inJson.list()).map(({ container_id }) => nameOf(container_id));
    assert.deepEqual(names, [...odd].sort());
    for (const [i, name] of odd.entries()) {
      const task = await join(name);
      assert.deepEqual([await task.mayBind(31600 + i), await task.mayBind(31599)], [true, false], name);
      assert.equal(nameOf((await agent.status(name)).container_id), name);
    }
    for (const name of odd) await agent.cleanup(name);
    assert.deepEqual(await agent.list(), []);
  });

  it("of four levels, each as long as can be, are good", async () => {
    const levels = ["x", "y", "z", "w"].map((letter) => letter.repeat(242));
    for (let depth = 1; depth <= 4; depth++) {
      await agent.prepare(levels.slice(0, depth).join("."), {
        resources: depth === 1 ? [ports("31700")] : [],
      });
    }
    const task = await join(levels.join("."));
    assert.deepEqual([await task.mayBind(31700), await task.mayBind(31701)], [true, false]);
    await rejectsWith(
      agent.prepare([...levels, "five"].join("."), { resources: [] }),
      "bad-argument",
      /5 deep/,
    );
    await agent.cleanup([...levels, "five"].join("."));
    await agent.cleanup(levels.join("."));
    await agent.cleanup(levels[0] ?? "");
  });

  it("of other kinds are refused by every call", async () => {
    const bad = [
      "",
      "a/b",
      "..",
      "a.b",
      "a b",
      "a\0b",
      "a\nb",
      "a\\b",
      "\u007f",
      "a".repeat(243),
      "a".repeat(10_000),
    ];
    for (const value of bad) {
      const container_id: mesos.ContainerID = { value };
      for (const call of [
        { type: Type.PREPARE, prepare: { container_id, container_config: config({}) } },
        { type: Type.ISOLATE, isolate: { container_id, pid: 2 } },
        { type: Type.UPDATE, update: { container_id } },
        { type: Type.USAGE, usage: { container_id } },
        { type: Type.STATUS, status: { container_id: { value: "x", parent: container_id } } },
        { type: Type.CLEANUP, cleanup: { container_id } },
      ]) {
        await rejectsWith(daemon.call(call), "bad-container-id");
      }
    }
    const [root = "", ...nested] = Array<string>(40).fill("n");
    const container_id = fromContainerId([root, ...nested]);
    await rejectsWith(
      daemon.call({ type: Type.CLEANUP, cleanup: { container_id } }),
      "bad-container-id",
      /32/,
    );
    assert.deepEqual(await agent.list(), []);
  });
});
