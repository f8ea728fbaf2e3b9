/** What `check` warns of, in network namespaces with settings of their own. As root. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CheckReport } from "../../isolator/cli/check.js";
import { v1ClassWarning } from "../../isolator/cli/check-warnings.js";
import { parseMountinfo } from "../../isolator/kernel/mounts.js";
import { check, checkJson, CHECKS_AT_ONCE } from "../support/check.js";
import { instanceName } from "../support/instance.js";
import { execute, isolator } from "../support/process.js";

describe("check warns of ephemeral ports", { concurrency: CHECKS_AT_ONCE }, () => {
  const range = "sysctl -qw net.ipv4.ip_local_port_range='32768 60999'";
  const reserve = (list: string): string => `${range}; sysctl -qw net.ipv4.ip_local_reserved_ports=${list}`;

  it("that overlap the tasks', with the command that ends it", async () => {
    const place = { setup: range };
    const report = await checkJson(["--ports", "31000-31005,33000-33005"], place);
    assert.equal(report.status, 0);
    const [warning] = report.warnings;
    assert.equal(warning?.code, "ports-not-reserved");
    assert.equal(warning.fix, "sysctl -w net.ipv4.ip_local_reserved_ports=31000-31005,33000-33005");
    assert.match(warning.message, /task ports 33000-33005 to other programs/);
    const after = await checkJson(["--ports", "31000-31005,33000-33005"], {
      setup: `${range}; ${warning.fix} >/dev/null`,
    });
    assert.deepEqual(after.warnings, [], "the command did not end it");
  });

  it("and keeps what is reserved already", async () => {
    const report = await checkJson(["--ports", "33000-33005"], { setup: reserve("8080,33000-33002") });
    assert.equal(report.warnings[0]?.fix, "sysctl -w net.ipv4.ip_local_reserved_ports=8080,33000-33005");
  });

  it("also beside a list that is longer than one read of a file", async () => {
    // 12 KB of text, none of whose ports are neighbours.
    const write = "dd of=/proc/sys/net/ipv4/ip_local_reserved_ports bs=64k iflag=fullblock status=none";
    const setup = `${range}; seq -s, 10001 2 14001 | ${write}`;
    const report = await checkJson(["--ports", "33000-33005"], { setup });
    const list = Array.from({ length: 2001 }, (_, i) => 10001 + 2 * i).join(",");
    assert.equal(report.warnings[0]?.fix, `sysctl -w net.ipv4.ip_local_reserved_ports=${list},33000-33005`);
  });

  it("not where the range or the reserved ports keep off them", async () => {
    assert.deepEqual((await checkJson(["--ports", "31000-31005"], { setup: range })).warnings, []);
    const reserved = await checkJson(["--ports", "33000-33005"], { setup: reserve("33000-33005") });
    assert.deepEqual(reserved.warnings, []);
    assert.doesNotMatch((await check(["--ports", "31000"], { setup: range })).stdout, /warning/);
  });

  it("with no command where that would leave no ephemeral port", async () => {
    const report = await checkJson(["--ports", "1-65535"], { setup: range });
    assert.equal(report.warnings[0]?.fix, null);
  });

  it("of live containers, when no --ports are given", async () => {
    const instance = instanceName();
    const inside = isolator("check", "--json", "--instance", instance);
    const run = ["run", "--instance", instance, "--ports", "33000", "--", ...inside];
    const script = `${range}; exec "$@"`;
    const result = await execute(["unshare", "-n", "sh", "-c", script, "sh", ...isolator(...run)]);
    const report = JSON.parse(result.stdout) as CheckReport;
    assert.equal(report.warnings[0]?.fix, "sysctl -w net.ipv4.ip_local_reserved_ports=33000", result.stderr);
    assert.deepEqual((await checkJson(["--instance", instance], { setup: range })).warnings, []);
  });
});

describe("v1ClassWarning()", () => {
  const mounts = parseMountinfo(`32 30 0:27 / /cg/memory rw - cgroup cgroup rw,memory
33 30 0:28 / /cg/net_cls,net_prio rw shared:12 - cgroup cgroup rw,net_cls,net_prio`);

  it("warns of net_cls and net_prio where the kernel is old, with the command that ends it", () => {
    const [warning] = v1ClassWarning(mounts, "5.14.0-427.el9");
    assert.deepEqual([warning?.code, warning?.fix], ["v1-net-classes", "umount /cg/net_cls,net_prio"]);
  });

  it("does not on newer kernels, nor of other controllers", () => {
    assert.deepEqual(v1ClassWarning(mounts, "5.15.0"), []);
    assert.deepEqual(v1ClassWarning(mounts.slice(0, 1), "5.10.0"), []);
  });
});
