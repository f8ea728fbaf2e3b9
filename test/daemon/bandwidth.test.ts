/** Bandwidth of an agent's containers: asked for by resources, changed by update(), known after a restart, and shown. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { Agent, CPUS } from "../support/agent.js";
import { BANDWIDTH, Held } from "../support/bandwidth.js";
import { TestDaemon } from "../support/daemon.js";
import { enterOwnNetwork } from "../support/network.js";
import { execute, inNode, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const CONFIG = "bandwidth: { per_cpu: { egress: 10Mbit }, loopback: count, host: { egress: 1Gbit } }\n";
const daemon = await TestDaemon.start({ config: CONFIG });
const agent = new Agent(daemon);
const MBIT = 125_000n;

const asks = (value: number) => ({ name: "network_bandwidth", type: "SCALAR", scalar: { value } });

/** Mbit/s that it may send. */
async function limit(name: string): Promise<number> {
  const rate = (await agent.find(name))?.bandwidth?.egress?.rate ?? 0n;
  return Number(rate / MBIT);
}

async function metric(name: string): Promise<number> {
  const said = daemon.log.findLast(({ operator }) => operator !== undefined)?.["operator"];
  const port = /:(\d+)$/.exec(String(said))?.[1] ?? "";
  const body = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(new RegExp(`^bpf_isolator_${name} (\\S+)$`, "m").exec(body)?.[1] ?? "-1");
}

describe("the resource network_bandwidth", () => {
  it("is the limit, by update() too, and still is for a daemon that starts again and another configuration", async () => {
    await agent.launch("web", { resources: [CPUS, asks(20)] });
    assert.equal(await limit("web"), 20);
    await agent.update("web", CPUS, asks(50));
    assert.equal(await limit("web"), 50);
    await daemon.stop("SIGKILL");
    await daemon.start();
    assert.equal(await limit("web"), 50);
    await agent.recover(["web"]);
    await daemon.reload(CONFIG.replace("loopback", "resource_unit: 2Mbit, loopback"));
    assert.equal(await limit("web"), 100, "50 of the new unit, not 20 as at its start");
    await assert.rejects(agent.update("web", CPUS, asks(0)), /network_bandwidth/);
    assert.equal(await limit("web"), 100);
    await agent.update("web", CPUS);
    assert.equal(await limit("web"), 10, "by its CPU");
  });

  it("shows in usage and metrics what is used and dropped", async () => {
    const words = ["udp", "to=127.0.0.1", "port=9", "ms=300"];
    const { status } = await execute(inNode(await agent.node("web"), [BANDWIDTH, ...words]));
    assert.equal(status, 0);
    const usage = await agent.usage("web");
    assert.equal(usage.net_tx_rate_limit, 10n * MBIT);
    const [egress] = usage.net_traffic_control_statistics ?? [];
    assert.equal(egress?.id, "bw_limit");
    assert((egress.drops ?? 0n) > 0n && (egress.bytes ?? 0n) > 0n);
    // What was dropped is no part of it; nor are pauses of the sender, which bring bursts.
    assert((egress.ratebps ?? 0n) < 30n * MBIT, `${egress.ratebps}`);
    const labels = '\\{container="web",[^}]*direction="egress"\\}';
    assert.equal(await metric(`container_bandwidth_limit_bytes_per_second${labels}`), Number(10n * MBIT));
    const dropped = await metric(`container_bandwidth_dropped_packets_total${labels}`);
    assert(dropped >= Number(egress.drops), `${dropped}`);
    assert((await metric(`container_bandwidth_throttled_seconds_total${labels}`)) > 0);
    assert.equal(
      await metric('host_bandwidth_limit_bytes_per_second\\{direction="egress"\\}'),
      Number(1000n * MBIT),
    );
  });
});

describe("a daemon that dies as it brings a limit", () => {
  it("has the one after it look for connections that are older", async () => {
    // No other is changed meanwhile.
    await agent.cleanup("web");
    await daemon.reload("bandwidth: { loopback: count }\n");
    await agent.launch("old", { resources: [CPUS] });
    const sink = createServer((peer) => peer.resume()).listen(0, "127.0.0.1");
    await once(sink, "listening");
    const { port } = sink.address() as AddressInfo;
    const held = await Held.connect(await agent.node("old"), `to=127.0.0.1 port=${port} flows=1`);
    try {
      assert.deepEqual((await held.send()).pacing, [-1]);
      // With all written and attached, and before it looks.
      await daemon.stop("SIGKILL");
      await daemon.start({ BPF_ISOLATOR_KILL_AT: "update:done" });
      await assert.rejects(agent.update("old", CPUS, asks(20)));
      await daemon.start();
      const most = Number(20n * MBIT) * 1.25;
      await until(async () => {
        const [rate = 0] = (await held.send()).pacing;
        return rate > 0 && rate <= most;
      }, "it is paced");
    } finally {
      held.close();
      sink.close();
    }
  });
});

describe("run --egress-rate", () => {
  it("holds its command to it, and tells at the end", async () => {
    const options = ["--egress-rate", "10Mbit", "--egress-burst", "20KB", "--limit-loopback", "--json"];
    const words = [BANDWIDTH, "udp", "to=127.0.0.1", "port=9", "ms=300"];
    const { status, stdout, stderr } = await runIsolator(["run", ...options, "--", ...words]);
    assert.equal(status, 0, stderr);
    const line = stderr.split("\n").find((text) => text.includes('"event":"usage"')) ?? "{}";
    const usage = JSON.parse(line) as Record<string, number>;
    assert.equal(usage["net_tx_rate_limit"], Number(10n * MBIT));
    assert.equal(usage["net_tx_burst_size"], 20_000);
    const { ms } = JSON.parse(stdout) as { ms: number };
    const most = (Number(10n * MBIT) * (ms + 100)) / 1000 + 20_000;
    assert((usage["net_tx_bytes"] ?? Infinity) < most, `${usage["net_tx_bytes"]} bytes in ${ms} ms`);
  });
});
