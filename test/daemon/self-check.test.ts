/** The daemon's look at itself: programs that somebody took away, a policy that somebody changed, a node that is gone. */
import assert from "node:assert/strict";
import { rmdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { renderStatus } from "../../isolator/cli/status.js";
import { hooksOf } from "../../isolator/features/policy.js";
import { CgroupNode, cgroupRoot } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { Programs } from "../../isolator/kernel/programs.js";
import { u64Key } from "../../isolator/kernel/codec.js";
import { codecs, fromContainerId, type bpf_isolator } from "../../isolator/mesos/messages.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const daemon = await TestDaemon.start();

async function prepare(name: string, port: number): Promise<CgroupNode> {
  const container_config = codecs.ContainerConfig.parseJson(
    JSON.stringify({
      ...{ directory: "/tmp", command_info: {} },
      resources: [{ name: "ports", type: "RANGES", ranges: { range: [{ begin: port, end: port }] } }],
    }),
  );
  await daemon.call({
    type: Type.PREPARE,
    prepare: { container_id: fromContainerId([name]), container_config },
  });
  const node = CgroupNode.open(join(cgroupRoot(requireCgroup2(), daemon.instance), name));
  assert(node);
  return node;
}

async function facts(): Promise<bpf_isolator.SelfCheck> {
  const { get_status } = await daemon.call({ type: Type.GET_STATUS });
  return get_status?.status?.self_check ?? {};
}

/** A reload has the daemon look at once. @returns what it found */
async function look(): Promise<bpf_isolator.SelfCheck> {
  const { time: before } = await facts();
  await daemon.reload("");
  return until(async () => {
    const check = await facts();
    return check.time !== undefined && check.time !== before ? check : undefined;
  }, "the daemon looks");
}

/** What the operator's server says at a path. */
async function ask(path: string): Promise<{ status: number; text: string }> {
  const operator = await until(
    () => daemon.log.findLast((line) => line["operator"] !== undefined)?.["operator"] as string | undefined,
    "the operator's server listens",
  );
  const answer = await fetch(`http://${operator}${path}`);
  return { status: answer.status, text: await answer.text() };
}

async function withPrograms(use: (programs: Programs) => void | Promise<void>): Promise<void> {
  const programs = Programs.open(daemon.instance);
  try {
    await use(programs);
  } finally {
    programs.close();
  }
}

describe("the daemon's look at itself", () => {
  it("finds nothing where nothing is wrong", async () => {
    await prepare("whole", 31000);
    const { containers, repaired, failures } = await look();
    assert.deepEqual([containers, repaired, failures ?? []], [1, 0n, []]);
    assert.equal(daemon.events("repaired").length, 0);
    assert.deepEqual(await ask("/healthz"), { status: 200, text: "ok\n" });
    assert.deepEqual(await ask("/readyz"), { status: 200, text: "ok\n" });
  });

  it("attaches programs again that somebody took away, and says so", async () => {
    const node = await prepare("bare", 31001);
    await withPrograms((programs) => {
      node.withFd((fd) => {
        programs.detach(fd, "bare");
        assert(
          programs.missing(fd, hooksOf({ ephemeral: "allow", enforce: "on", allowProtocols: [] })).length > 5,
        );
      });
    });
    assert.equal((await attempt("bind port=8080", node)).ok, true);
    assert.equal((await look()).repaired, 1n);
    const { msg } = await daemon.event("repaired", "bare");
    assert.match(msg, /its programs on .*cgroup\/bind4.* were gone/);
    assert.equal((await attempt("bind port=8080", node)).errno, "EPERM");
    assert.equal((await attempt("bind port=31001", node)).ok, true);
  });

  it("writes a policy again that somebody changed", async () => {
    const node = await prepare("changed", 31002);
    await withPrograms((programs) => {
      const policies = programs.map("policies");
      const value = policies.lookup(u64Key(node.id));
      assert(value);
      policies.update(
        u64Key(node.id),
        value.map((byte, i) => (i < 32 ? byte ^ 1 : byte)),
      );
    });
    assert.equal((await look()).repaired, 2n);
    assert.match((await daemon.event("repaired", "changed")).msg, /its policy in the kernel was another one/);
    assert.equal((await attempt("bind port=8080", node)).errno, "EPERM");
  });

  it("leaves alone what break-glass has taken away", async () => {
    const glass = (...args: string[]) => runIsolator(["break-glass", "--instance", daemon.instance, ...args]);
    assert.equal((await glass("--detach", "--container", "bare")).status, 0);
    assert.equal((await look()).repaired, 2n);
    assert.equal((await glass("--restore", "--container", "bare")).status, 0);
    assert.equal((await look()).repaired, 2n);
  });

  it("says what it cannot put right, until it is gone", async () => {
    const node = await prepare("lost", 31003);
    rmdirSync(node.path);
    const { failures = [] } = await look();
    assert.deepEqual(
      failures.map(({ container }) => container),
      ["lost"],
    );
    await look();
    assert.equal(daemon.events("self_check", "lost").length, 1);
    const { get_status } = await daemon.call({ type: Type.GET_STATUS });
    assert.match(
      renderStatus(get_status?.status ?? {}, Date.now() / 1000),
      /self-check +programs and policy of 3 of 4 right, \d+ s ago; repaired 2\n +lost: its node cannot be looked at/,
    );
    const sick = await ask("/healthz");
    assert.equal(sick.status, 503);
    assert.match(sick.text, /^container lost: its node cannot be looked at/);
    assert.equal((await ask("/readyz")).status, 200);
    const metrics = (await ask("/metrics")).text;
    assert.match(metrics, /^bpf_isolator_self_check_failures 1$/m);
    assert.match(metrics, /^bpf_isolator_self_check_repaired_total 2$/m);
    assert.match(metrics, /^bpf_isolator_self_check_timestamp_seconds \d{10}/m);
    await daemon.call({ type: Type.CLEANUP, cleanup: { container_id: fromContainerId(["lost"]) } });
    assert.deepEqual((await look()).failures ?? [], []);
    assert.equal((await ask("/healthz")).status, 200);
  });
});
