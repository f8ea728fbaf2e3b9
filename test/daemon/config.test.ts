/** The configuration and its reloads, as containers of a daemon that runs meet them. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { cgroupRoot } from "../../isolator/kernel/cgroup.js";
import { FileLock } from "../../isolator/kernel/lock.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { buildId } from "../../isolator/kernel/object.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { ProtocolClient, socketPath } from "../../isolator/protocol/client.js";
import { Agent, CPUS, ports } from "../support/agent.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { MAIN } from "../support/process.js";
import type { Task } from "../support/task.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const EXEMPTIONS = `
trusted_roles: [ops]
exemptions:
  - match: { role: infra }
    enforce: audit
  - match: { framework_id: legacy }
    enforce: off
  - match: { labels: { net: free } }
    enforce: audit
`;
const daemon = await TestDaemon.start({ config: EXEMPTIONS });
const agent = new Agent(daemon);
const { Enforcement } = bpf_isolator;

/** Whether a process has a handler for the signal: bit 0 of SigCgt, proc(5). */
function catchesSighup(pid: number): boolean {
  const [, mask = "0"] = /^SigCgt:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return (BigInt(`0x${mask}`) & 1n) === 1n;
}

/** What a container's resources, framework and labels say of it. */
interface Who {
  role?: string;
  framework?: string;
  labels?: Record<string, string>;
}

function values(list: string, { role = "web", framework = "f", labels = {} }: Who): object {
  const allocation_info = { role };
  return {
    resources: [{ ...CPUS, allocation_info }, ports(list, { allocation_info })],
    executor_info: {
      ...{ executor_id: { value: "e" }, framework_id: { value: framework }, command: {} },
      labels: { labels: Object.entries(labels).map(([key, value]) => ({ key, value })) },
    },
  };
}

/** The enforcement of a container, its refusals that were counted as audited, and whether they were told. */
async function judged(name: string) {
  const { enforcement, audited = [] } = (await agent.find(name)) ?? {};
  return { enforcement, audited: audited.reduce((sum, { count = 0n }) => sum + count, 0n) };
}

describe("exemptions", () => {
  const cases: [name: string, who: Who, enforcement: bpf_isolator.Enforcement][] = [
    ["role", { role: "infra" }, Enforcement.AUDIT],
    ["framework", { framework: "legacy" }, Enforcement.OFF],
    ["label", { role: "ops", labels: { net: "free" } }, Enforcement.AUDIT],
    ["untrusted-label", { labels: { net: "free" } }, Enforcement.ON],
    ["other-label", { role: "ops", labels: { net: "bound" } }, Enforcement.ON],
    ["nobody", {}, Enforcement.ON],
  ];

  for (const [i, [name, who, enforcement]] of cases.entries()) {
    it(`${name}: ${Enforcement[enforcement]}`, async () => {
      const port = 31000 + 10 * i;
      const task = await agent.launch(name, values(`${port}`, who));
      const isOn = enforcement === Enforcement.ON;
      assert.equal(await task.mayBind(port), true);
      assert.equal(await task.mayBind(8080), !isOn);
      assert.deepEqual(await judged(name), { enforcement, audited: isOn ? 0n : 1n });
      if (enforcement === Enforcement.AUDIT) await daemon.event("audited", name);
      if (isOn) await daemon.event("denied", name);
      const child = await agent.launch(`${name}.child`, { resources: [] });
      assert.equal(await child.mayBind(8080), !isOn, "a nested container is who its parent is");
      assert.equal(daemon.events("audited", name).length > 0, enforcement === Enforcement.AUDIT);
      await agent.cleanup(name);
    });
  }
});

describe("a reload", () => {
  let task: Task;
  after(() => agent.cleanup("running"));

  it("changes what holds for containers that run", async () => {
    task = await agent.launch("running", values("31100", {}));
    assert.equal(await task.mayBind(8080), false);
    assert.match(await daemon.reload("enforce: audit\n"), /read again/);
    assert.equal(await task.mayBind(8080), true);
    assert.equal((await judged("running")).enforcement, Enforcement.AUDIT);
    await daemon.reload("ephemeral: deny\n");
    assert.equal(await task.mayBind(8080), false);
    assert.equal((await task.attempt("bind-zero")).errno, "EPERM");
    await daemon.reload("");
    assert.equal((await task.attempt("bind-zero")).ok, true);
    await daemon.reload("exemptions: [{ match: { role: web }, enforce: audit }]\n");
    assert.equal(await task.mayBind(8080), true);
  });

  it("judges only the agent's range where that is asked for", async () => {
    const other = await agent.launch("other", values("31110", {}));
    await daemon.reload("judge: agent_range\nagent_ports: 31000-31999\n");
    assert.deepEqual(
      [await task.mayBind(31100), await task.mayBind(31500), await task.mayBind(31110)],
      [true, false, false],
    );
    assert.deepEqual([await task.mayBind(8080), await other.mayBind(32000)], [true, true]);
    await agent.update("other", ports("8080"));
    assert.equal(await task.mayBind(8080), false, "it is somebody's now");
    await agent.cleanup("other");
    await daemon.reload("");
  });

  it("keeps the ports of the last update()", async () => {
    await agent.update("running", ports("31101"));
    await daemon.reload("enforce: audit\n");
    await daemon.reload("enforce: on\n");
    assert.deepEqual([await task.mayBind(31100), await task.mayBind(31101)], [false, true]);
  });

  it("of a bad file is refused: the old one stays, and the status says what is wrong where", async () => {
    const { config_read_at } = await agent.facts();
    for (const [text, problem] of [
      ["enforce: audit\nephemeral: no\n", /:2:12: ephemeral/],
      ["enforce: audit\nenforced: on\n", /:2:1: .*enforced/],
      ["enforce: [\n", /:\d+:\d+:/],
      ["enforce: audit\ninstance: other\n", /:2:1: instance.*cannot change/],
    ] as const) {
      assert.match(await daemon.reload(text), /was not changed/);
      const facts = await agent.facts();
      assert.match(facts.config_error ?? "", problem);
      assert(facts.config_error?.includes(daemon.configFile));
      assert.equal(facts.config_read_at, config_read_at);
      assert.equal(await task.mayBind(8080), false, text);
    }
    await daemon.reload("enforce: audit\n");
    assert.equal((await agent.facts()).config_error, undefined);
    assert.equal(await task.mayBind(8080), true);
  });

  it("is not needed where the file changed while no daemon ran", async () => {
    await daemon.stop("SIGKILL");
    assert.equal(await task.mayBind(8080), true);
    daemon.configure("enforce: on\n");
    await daemon.start();
    await until(async () => !(await task.mayBind(8080)), "the new file holds");
    assert.equal(await task.mayBind(31101), true);
  });

  it("that is cut short by the daemon's end is gone on with by the next one", async () => {
    const names = Array.from({ length: 60 }, (_, i) => `many-${i}`);
    for (const [i, name] of names.entries()) await agent.prepare(name, values(`${31300 + i}`, {}));
    const left = async (): Promise<number> =>
      (await agent.list()).filter(({ enforcement }) => enforcement !== Enforcement.AUDIT).length;
    daemon.configure("enforce: audit\n");
    process.kill(daemon.pid, "SIGHUP");
    await until(async () => (await left()) < names.length, "it is under way");
    assert.equal(await daemon.stop("SIGTERM"), 0);
    await daemon.start();
    await until(async () => (await left()) === 0, "all are judged by the new file");
    await Promise.all(names.map((name) => agent.cleanup(name)));
    await daemon.reload("enforce: on\n");
  });

  it("that is asked for while the daemon starts is done", async () => {
    await daemon.stop("SIGKILL");
    const lock = await FileLock.acquire(join(STATE_ROOT, daemon.instance, "lock"));
    const started = daemon.start();
    // It has read the file, listens to signals, and waits for the lock.
    await until(() => catchesSighup(daemon.pid), "it is ready for signals");
    daemon.configure("enforce: audit\n");
    process.kill(daemon.pid, "SIGHUP");
    lock.release();
    await started;
    await until(() => task.mayBind(8080), "the new file holds");
  });
});

it("the configuration's one key names the instance: socket, pins, cgroups and state", async () => {
  const name = instanceName();
  const file = join(tmpdir(), `${name}.yaml`);
  writeFileSync(file, `instance: ${name}\noperator: { address: off }\n`);
  const served = spawn(process.execPath, [MAIN, "serve", "--config", file], { stdio: "ignore" });
  const ended = once(served, "exit");
  const client = ProtocolClient.of(name);
  try {
    await until(() => existsSync(socketPath(name)), "it listens");
    const prepare = {
      container_id: { value: "web" },
      container_config: { directory: "/", command_info: {} },
    };
    await client.call({ type: Type.PREPARE, prepare });
    const places = [
      socketPath(name),
      join(pinRoot(name), buildId()),
      join(cgroupRoot(requireCgroup2(), name), "web"),
      join(STATE_ROOT, name, "containers/web/record.json"),
    ];
    assert.deepEqual(
      places.filter((path) => !existsSync(path)),
      [],
    );
    await client.call({ type: Type.CLEANUP, cleanup: { container_id: { value: "web" } } });
  } finally {
    client.close();
    served.kill("SIGTERM");
    await ended;
    rmSync(file);
  }
  assertNothingLeft(name);
});
