/** `list` and `usage` where no daemon answers: containers are enforced and counted all the same, and are shown. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { policy, testInstance } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { attempt, runIsolator } from "../support/process.js";

enterOwnNetwork();
const { instance, cell } = testInstance();

describe("without a daemon", () => {
  it("list and usage show what records and kernel say, and that it is from there", async () => {
    const web = await cell(["web"], policy("31000-31009"));
    assert.equal((await attempt("bind port=8080", web.container.node)).status, 1);
    assert.equal((await attempt("udp-connected-send listen-port=31000", web.container.node)).status, 0);
    const { txPackets } = web.container.counts.usage();
    assert(txPackets > 0n);

    const list = await runIsolator(["list", "--instance", instance.name]);
    assert.equal(list.status, 0, list.stderr);
    assert.match(list.stderr, /no daemon answers: this is what records and kernel say/);
    assert.match(list.stdout, /^web +isolated +31000-31009 +on +0 .* 1 +0$/m);

    const usage = await runIsolator(["usage", "web", "--json", "--instance", instance.name]);
    assert.equal(usage.status, 0, usage.stderr);
    const said = JSON.parse(usage.stdout) as {
      daemon: boolean;
      statistics: { net_tx_packets: number };
      denied: object[];
    };
    assert.deepEqual(
      [said.daemon, said.statistics.net_tx_packets, said.denied],
      [false, Number(txPackets), [{ name: "bind", count: 1 }]],
    );
  });

  it("an instance with neither daemon nor container is no-daemon", async () => {
    const { status, stderr } = await runIsolator(["list", "--instance", `${instance.name}-none`]);
    assert.equal(status, 3);
    assert.match(stderr, /no bpf-isolator daemon listens/);
  });
});
