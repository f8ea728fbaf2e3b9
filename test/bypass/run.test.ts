/** `run --deny-socket` and `run --escape`: what a user meets, where the kernel has BPF LSM and where not. */
import assert from "node:assert/strict";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { policy, testInstance } from "../support/instance.js";
import { hasLsm } from "../support/lsm.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, runIsolator, type Result } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const lsm = hasLsm();
/** A run takes seconds in the kernel lab: there only what BPF LSM has a part in. */
const skip = process.env["BPF_ISOLATOR_VM"] !== undefined && "the same with and without BPF LSM";
const { instance: held, cell } = testInstance();
const instance = held.name;
const name = `run-escape-${process.pid}`;
const outside = join(requireCgroup2(), name);
const run = (...args: string[]): Promise<Result> => runIsolator(["run", "--instance", instance, ...args]);
const ATTEMPTS = ["raw-icmp", "packet", "xdp", "tcp"]
  .map((create) => `"$0" socket create=${create}`)
  .join("; ");

before(async () => {
  mkdirSync(outside);
  // With a container beside, each run finds the programs loaded: that takes seconds in the kernel lab.
  await cell(["beside"], policy("31000"));
});
after(async () => {
  writeFileSync(join(outside, "cgroup.kill"), "1");
  await until(() => {
    rmdirSync(outside);
    return true;
  }, "nothing is left outside");
});

const made = (stdout: string): string[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { errno: string | null }).errno ?? "ok");

describe("run --deny-socket", () => {
  it("denies, and says what this kernel leaves open", async () => {
    const { stdout, stderr } = await run(
      ...["--name", "box", "--deny-socket", "raw,packet", "--", "sh", "-c", ATTEMPTS, ATTEMPT],
    );
    assert.deepEqual(made(stdout), ["EPERM", lsm ? "EPERM" : "ok", "ok", "ok"]);
    assert.match(stderr, /^bpf-isolator: box: denied socket\(\) raw ipv4 icmp by attempt\[\d+\]$/m);
    if (lsm) {
      assert.match(stderr, /^bpf-isolator: box: denied socket\(\) packet by attempt\[\d+\]$/m);
      assert.doesNotMatch(stderr, /not closed/);
    } else {
      assert.match(stderr, /^bpf-isolator: box: not closed: packet sockets; "bpf-isolator check" says/m);
    }
    assert.match(stderr, lsm ? /denied 2 \(socket 2\)/ : /denied 1 \(socket 1\)/);
  });

  it("denies what goes round rules of egress where there are any, unless it is asked for", async () => {
    const rules = ["--name", "box", "--deny-egress", "10.0.0.0/8", "--allow-socket", "xdp"];
    const { stdout, stderr } = await run(...rules, "--", "sh", "-c", ATTEMPTS, ATTEMPT);
    assert.deepEqual(made(stdout), ["ok", lsm ? "EPERM" : "ok", "ok", "ok"]);
    if (lsm) assert.match(stderr, /denied socket\(\) packet by attempt\[/);
    else assert.match(stderr, /not closed: packet sockets; /);
  });

  it("says it as JSON", { skip }, async () => {
    const all = "raw,packet,vsock,xdp,received";
    const { stderr } = await run("--json", "--deny-socket", all, "--", "true");
    const lines = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; what?: string });
    const gaps = lines.filter(({ event }) => event === "not_closed").map(({ what }) => what);
    const without = [
      "packet sockets",
      "vsock sockets",
      "XDP sockets",
      "sockets that come from outside of the container",
    ];
    assert.deepEqual(gaps, lsm ? [] : without);
  });

  it("denies nothing by default, and nothing in audit mode", { skip }, async () => {
    const { stdout } = await run("--", "sh", "-c", ATTEMPTS, ATTEMPT);
    assert.deepEqual(made(stdout), ["ok", "ok", "ok", "ok"]);
    const audit = await run("--audit", "--deny-socket", "raw", "--", "sh", "-c", ATTEMPTS, ATTEMPT);
    assert.deepEqual(made(audit.stdout), ["ok", "ok", "ok", "ok"]);
    assert.match(audit.stderr, /would deny socket\(\) raw ipv4 icmp/);
    assert.match(audit.stderr, /denied 0; would have denied 1 \(socket 1\)/);
  });

  it("takes only what it knows", { skip }, async () => {
    const { status, stderr } = await run("--deny-socket", "raw,tcp", "--", "true");
    assert.equal(status, 125);
    assert.match(stderr, /Known: raw, packet, vsock, xdp, received/);
  });
});

describe("run --escape", () => {
  const LEAVE = `echo 0 >${outside}/cgroup.procs && exec sleep 1.5`;

  it("is deny by default: refused, or found and told", async () => {
    const { status, stderr } = await run("--name", "box", "--", "sh", "-c", LEAVE);
    if (lsm) {
      assert.notEqual(status, 0);
      assert.match(
        stderr,
        /box: denied open of cgroup\.procs or cgroup\.threads outside of the container by sh\[/,
      );
    } else {
      assert.equal(status, 0);
      const told =
        /^bpf-isolator: box: escaped: \w+\[\d+\] is outside of the container's cgroup, in \/(\S+): no rule/m;
      assert.equal(told.exec(stderr)?.[1], name, stderr);
    }
    assert.doesNotMatch(stderr, /not closed/, "nobody asked for it by name");
  });

  it("allow lets go, and tells nothing", async () => {
    const { status, stderr } = await run("--escape", "allow", "--", "sh", "-c", LEAVE);
    assert.equal(status, 0);
    assert.doesNotMatch(stderr, /escaped|denied open|not closed/);
  });

  it("deny, asked for by name, says what this kernel leaves open", async () => {
    const { stderr } = await run("--escape", "deny", "--", "true");
    const gaps = stderr.match(/not closed: .*(?=;)/g) ?? [];
    assert.equal(gaps.length, lsm ? 0 : 5, stderr);
    if (!lsm) assert.match(stderr, /not closed: mounting cgroup2 and bpffs; /);
  });
});
