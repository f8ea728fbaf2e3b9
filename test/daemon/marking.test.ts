/** Marking of an agent's containers: what the agent is told of it, what operators see, and the program on devices. */
// not in the VM: test/features/marking.test.ts has what kernels do
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import { Agent, config, ports } from "../support/agent.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { execute, inNode, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
sh("ip", "link", "add", "m0", "type", "veth", "peer", "name", "m1");
const CONFIG = `
classes: [{ name: gold, match: { role: gold } }]
marking:
  - { to: gold, dscp: EF }
  - { dscp: AF21, mark: 0x10/0xff, change: deny, wrong_dscp: rewrite }
`;
const daemon = await TestDaemon.start({ config: `${CONFIG}marking_devices: [m0]\n` });
const agent = new Agent(daemon);

const onDevice = (device: string): string =>
  /name (marking_rewrite) /.exec(sh("tc", "filter", "show", "dev", device, "egress"))?.[1] ?? "none";
const id = (value: string): object => ({ container_id: { value } });
const classid = { net_cls: { classid: 0x10 } };

describe("a container with a mark", () => {
  it("has it as its class id in PREPARE's answer, in STATUS, also of the next daemon, and until a reload", async () => {
    const call = { type: bpf_isolator.Call.Type.PREPARE };
    const { prepare } = await daemon.call({
      ...call,
      prepare: { ...id("web"), container_config: config({ resources: [ports("31000")] }) },
    });
    assert.deepEqual(prepare?.status?.cgroup_info, classid);
    assert.deepEqual((await agent.status("web")).cgroup_info, classid);
    await agent.prepare("web.task", { resources: [ports("31000")] });
    assert.deepEqual((await agent.status("web.task")).cgroup_info, classid);
    await daemon.stop("SIGKILL");
    await daemon.start();
    assert.deepEqual((await agent.status("web")).cgroup_info, classid);
    await daemon.reload(CONFIG.replace("mark: 0x10/0xff", "mark: 7"));
    assert.deepEqual((await agent.status("web")).cgroup_info, { net_cls: { classid: 7 } });
    await daemon.reload("");
    assert.equal((await agent.status("web")).cgroup_info, undefined);
    await agent.cleanup("web.task");
    await agent.cleanup("web");
  });

  it("has what its labels ask for where its role is trusted, and the operator is told where not", async () => {
    await daemon.reload(`${CONFIG}trusted_roles: [ops]\n`);
    const labels = Object.entries({ "bpf-isolator.dscp": "EF", "bpf-isolator.mark": "9" });
    const executor_info = {
      ...{ executor_id: { value: "e" }, framework_id: { value: "f" }, command: {} },
      labels: { labels: labels.map(([key, value]) => ({ key, value })) },
    };
    const listed = async (name: string): Promise<string> =>
      (await runIsolator(["list", "--instance", daemon.instance])).stdout
        .split("\n")
        .find((line) => line.includes(name)) ?? "";
    await agent.prepare("trusts", {
      resources: [ports("31020", { allocation_info: { role: "ops" } })],
      executor_info,
    });
    assert.match(await listed("trusts"), /DSCP EF, mark 0x9\b/);
    assert.deepEqual((await agent.status("trusts")).cgroup_info, { net_cls: { classid: 9 } });
    await agent.prepare("asks", {
      resources: [ports("31021", { allocation_info: { role: "web" } })],
      executor_info,
    });
    assert.match(await listed("asks"), /DSCP AF21, mark 0x10\/0xff/);
    for (const name of ["dscp", "mark"])
      assert(
        daemon.log.some(({ msg }) =>
          msg.includes(`no marking: its label bpf-isolator.${name} counts in trusted_roles only`),
        ),
        name,
      );
    await agent.cleanup("trusts");
    await agent.cleanup("asks");
  });

  it("shows its marking and what was refused in list, usage and events", async () => {
    await daemon.reload(CONFIG);
    await agent.prepare("shown", { resources: [ports("31010")] });
    const words = "DSCP AF21, mark 0x10/0xff; to class gold: DSCP EF; changes refused; wrong DSCP rewritten";
    const options = ["--instance", daemon.instance];
    assert((await runIsolator(["list", ...options])).stdout.includes(words));
    assert((await runIsolator(["usage", "shown", ...options])).stdout.includes(words));
    const json = await runIsolator(["list", ...options, "--json"]);
    const { containers } = JSON.parse(json.stdout) as { containers: { name: string; marking: object }[] };
    assert.deepEqual(containers.find(({ name }) => name === "shown")?.marking, {
      ...{ dscp: 18, mark: 16, mark_mask: 255, change: "deny", wrong_dscp: "rewrite" },
      destinations: [{ to: "class gold", marking: { dscp: 46 } }],
    });
    const script =
      "import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.setsockopt(s.SOL_IP, s.IP_TOS, 40)";
    const { status } = await execute(inNode(await agent.node("shown"), ["python3", "-c", script]));
    assert.equal(status, 1, "EPERM");
    await until(
      async () => /shown.*IP_TOS/.test((await runIsolator(["events", ...options])).stdout),
      "the event is told",
    );
    assert.match((await runIsolator(["usage", "shown", ...options])).stdout, /marking +1\b/);
    await agent.cleanup("shown");
  });
});

describe("marking_devices", () => {
  it("have the program through daemons that are killed, as the configuration says, and not for longer", async () => {
    await daemon.reload(`${CONFIG}marking_devices: [m0, m9]\n`);
    assert.deepEqual([onDevice("m0"), onDevice("m1")], ["marking_rewrite", "none"]);
    assert(
      daemon.log.some(({ msg }) =>
        msg.includes("marking_devices names m9, and there is no such network device"),
      ),
    );
    await daemon.stop("SIGKILL");
    assert.equal(onDevice("m0"), "marking_rewrite");
    daemon.configure(`${CONFIG}marking_devices: [m1]\n`);
    await daemon.start();
    assert.deepEqual([onDevice("m0"), onDevice("m1")], ["none", "marking_rewrite"]);
    await daemon.stop();
    assert.equal(onDevice("m1"), "none", "no container is left");
  });
});
