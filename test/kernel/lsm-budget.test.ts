/** The kernel's ten hooks of lsm_cgroup: what happens when others have them, and which ones the isolator takes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { HOOKS, type Hook } from "../../isolator/kernel/hooks.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { runProbes } from "../../isolator/kernel/probe.js";
import { lsmProbe } from "../../isolator/kernel/probe-lsm.js";
import { assertNothingLeft, instanceName, policy } from "../support/instance.js";
import { attachLsm, hookNamed, withoutLsm } from "../support/lsm.js";
import { until } from "../support/wait.js";

/** Security hooks that the isolator has no use for; more than the kernel has room for. */
const OTHERS = [
  "task_kill",
  "task_setnice",
  "task_setpgid",
  "task_getpgid",
  "task_getsid",
  "task_setscheduler",
  "task_getscheduler",
  "task_setioprio",
  "task_prctl",
  "inode_mkdir",
  "inode_rmdir",
].map((name): Hook => ({ ...hookNamed("socket_listen"), name }));

/** Takes as many of the ten as are free, by programs on a node of its own, for the length of `use`. */
async function withOthers(use: (taken: number) => Promise<void>): Promise<void> {
  const node = CgroupNode.create(join(requireCgroup2(), `lsm-budget-${randomBytes(4).toString("hex")}`));
  try {
    await use(OTHERS.filter((hook) => attachLsm(hook, 1, node) === 0).length);
  } finally {
    await node.remove();
  }
}

/** The kernel takes a removed node's programs away a little later. */
async function allFree(): Promise<void> {
  await until(async () => {
    let all = false;
    await withOthers((taken) => {
      all = taken === 10;
      return Promise.resolve();
    });
    return all;
  }, "all ten hooks are free again");
}

describe("the ten hooks", { skip: withoutLsm() }, () => {
  it("are enough for the isolator's, with two to spare", () => {
    assert.equal(HOOKS.filter(({ lsm }) => lsm).length, 8);
  });

  it("taken by others: a container is refused, loudly, and nothing of it is left", async () => {
    const name = instanceName();
    await allFree();
    await withOthers(async (taken) => {
      assert.equal(taken, 10);
      const instance = Instance.open(name);
      await assert.rejects(prepareContainer(instance, { id: ["box"], policy: policy("31000") }), {
        code: "attach-failed",
        message: /container box: .*lsm_cgroup\/socket_listen.*EINVAL: .*room for ten LSM hooks/,
      });
      const [probe] = runProbes([lsmProbe(hookNamed("file_open"))]);
      assert.deepEqual([probe?.ok, probe?.detail?.code], [false, "EINVAL"]);
      assert.match(probe?.detail?.reason ?? "", /ten security hooks have programs of cgroups already/);
    });
    assertNothingLeft(name);
    await allFree();
    const after = await prepareContainer(Instance.open(name), { id: ["box"], policy: policy("31000") });
    await after.cleanup();
    assertNothingLeft(name);
  });

  it("are taken only for what a policy asks", async () => {
    await allFree();
    const instance = Instance.open(instanceName());
    const all = policy("31000", { escape: "allow" });
    const box = await prepareContainer(instance, { id: ["box"], policy: all });
    // With socket_listen alone there is room for nine others.
    await withOthers(async (taken) => {
      assert.equal(taken, 9);
      const more = policy("31001", { escape: "allow", sockets: { packet: "deny" } });
      await assert.rejects(prepareContainer(instance, { id: ["more"], policy: more }), {
        code: "attach-failed",
        message: /lsm_cgroup\/socket_create/,
      });
    });
    await box.cleanup();
    assertNothingLeft(instance.name);
  });
});
