/** The lab itself: what comes back from a guest, how it is set up, and that a guest that dies is a failure. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { bootVm, vmSkipReason } from "./boot.js";
import { VmFailure } from "./tools.js";

const skip = (await vmSkipReason()) ?? false;

describe("bootVm", { skip }, () => {
  it("brings back exit code, output and files, and has lo, cgroup2, bpffs, BPF LSM and modules", async () => {
    const commands = [
      "ip -brief address show lo",
      "stat -f -c %T /sys/fs/cgroup /sys/fs/bpf",
      "cat /sys/kernel/security/lsm; echo",
      "ip link add veth0 type veth peer name veth1 && tc qdisc add dev veth0 ingress && echo veth and qdisc",
      "modprobe sctp && modprobe dccp_ipv4 && modprobe vsock_loopback && echo protocols",
      'echo "$GREETING"; echo kept >/run/results/file',
      "seq 100000",
      "sleep 1000 & exit 7",
    ];
    const result = await bootVm({
      command: ["bash", "-c", commands.join("\n")],
      env: { GREETING: "it's me" },
    });
    assert.equal(result.exitCode, 7);
    assert.match(result.output, /^lo +\S+ +127\.0\.0\.1\/8 ::1\/128/m);
    assert.match(result.output, /^cgroup2fs\nbpf_fs$/m);
    assert.match(result.output, /,bpf$/m);
    assert.match(result.output, /^veth and qdisc\nprotocols\nit's me$/m);
    assert.ok(result.output.endsWith("\n99999\n100000\n"), "all output comes back");
    assert.equal(readFileSync(join(result.logs, "results/file"), "utf8"), "kept\n");
    assert.match(readFileSync(join(result.logs, "results/processes.txt"), "utf8"), /sleep 1000/);
  });

  it("fails with the console's end when the kernel panics", async () => {
    const panic = bootVm({ command: ["sh", "-c", "echo before; sleep 1; echo c >/proc/sysrq-trigger"] });
    await assert.rejects(panic, (error) => {
      assert.ok(error instanceof VmFailure);
      assert.match(error.message, /Kernel panic - not syncing: sysrq triggered crash/);
      assert.match(error.message, /before/);
      return true;
    });
  });

  it("fails when the time is up, and says what ran", async () => {
    // It is up by then also beside two others; the last words come 20 s before the end, here after 5.
    const hang = bootVm({ command: ["sleep", "1000"], timeout: 25_000 });
    await assert.rejects(hang, /not done after 25 s: killed[^]*process \d+ \S+: sleep 1000/);
  });
});
