/** CAP_NET_RAW: taken from launches where packet sockets are denied and no hook of this kernel refuses them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mustTakeNetRaw, withoutNetRaw } from "../../isolator/features/net-raw.js";
import type { Policy } from "../../isolator/features/policy.js";
import { fromContainerId, mesos } from "../../isolator/mesos/messages.js";
import { Agent, config, CPUS, idOf } from "../support/agent.js";
import { TestDaemon, Type } from "../support/daemon.js";
import { policy } from "../support/instance.js";
import { hasLsm } from "../support/lsm.js";

const { Capability } = mesos.CapabilityInfo;
const asked = (linux_info: object): mesos.slave.ContainerConfig =>
  config({ container_info: { type: "MESOS", linux_info } });
const set = (...capabilities: string[]): object => ({ capabilities });
const namesOf = (info: mesos.slave.ContainerLaunchInfo | undefined): string[] | undefined =>
  info?.bounding_capabilities?.capabilities?.map((value) => Capability[value]).sort();

describe("what a launch loses", () => {
  it("is nothing but NET_RAW, and no more is given than Mesos's own isolator would", () => {
    const all = namesOf(withoutNetRaw(config({}), "c")) ?? [];
    assert(all.includes("CHOWN") && all.includes("SYS_ADMIN") && !all.includes("NET_RAW"));
    assert.equal(all.length, 40);
    const own = asked({ bounding_capabilities: set("CHOWN", "KILL"), effective_capabilities: set("KILL") });
    assert.deepEqual(namesOf(withoutNetRaw(own, "c")), ["CHOWN", "KILL"]);
    assert.deepEqual(namesOf(withoutNetRaw(asked({ capability_info: set("CHOWN") }), "c")), ["CHOWN"]);
    for (const key of ["bounding_capabilities", "effective_capabilities", "capability_info"])
      assert.throws(() => withoutNetRaw(asked({ [key]: set("NET_RAW") }), "c"), /asks for the capability/);
  });

  it("is so only where the policy denies such sockets and the kernel cannot", () => {
    const denies: Partial<Policy>[] = [{ sockets: { packet: "deny" } }, { sockets: { raw: "deny" } }];
    for (const more of denies) {
      assert(mustTakeNetRaw(policy("", more), (hook) => hook === "sock_create"));
      assert(!mustTakeNetRaw(policy("", more), () => true));
      assert(!mustTakeNetRaw(policy("", { ...more, enforce: "audit" }), () => false));
    }
    assert(!mustTakeNetRaw(policy("", { sockets: { vsock: "deny" } }), () => false));
  });
});

describe(
  "net_raw: take",
  { skip: hasLsm() && "this kernel has BPF LSM, which refuses packet sockets" },
  async () => {
    const daemon = await TestDaemon.start({ config: "sockets: { packet: deny }\nnet_raw: take\n" });
    const agent = new Agent(daemon);

    async function prepare(name: string, values: object): Promise<string[] | undefined> {
      const container_id = fromContainerId(idOf(name));
      const call = { type: Type.PREPARE, prepare: { container_id, container_config: config(values) } };
      return namesOf((await daemon.call(call)).prepare?.launch_info);
    }

    it("holds for a container and what is nested in it, by whatever daemon, and nothing is said to be open", async () => {
      const first = await prepare("pod", { resources: [CPUS] });
      assert.equal(first?.includes("NET_RAW"), false);
      assert.deepEqual(await prepare("pod", { resources: [CPUS] }), first, "the same call, the same answer");
      assert.deepEqual(await prepare("pod.task", {}), first);
      await daemon.restart();
      const { status } = await daemon.call({
        type: Type.STATUS,
        status: { container_id: fromContainerId(idOf("pod")) },
      });
      assert.deepEqual(namesOf(status?.session_launch_info), first, "for sessions");
      await daemon.reload("sockets: { packet: deny }\n");
      assert.deepEqual(await prepare("pod.later", {}), first, "a child has no more than its parent");
      assert.deepEqual(daemon.events("warning"), []);
      await assert.rejects(
        prepare("pod.greedy", {
          container_info: { type: "MESOS", linux_info: { effective_capabilities: set("NET_RAW") } },
        }),
        /asks for the capability NET_RAW/,
      );
      assert.equal(await prepare("keeps", {}), undefined);
      assert.match((await daemon.event("warning", "keeps")).msg, /cannot refuse: packet sockets/);
      for (const name of ["pod", "keeps"]) await agent.cleanup(name);
    });
  },
);
