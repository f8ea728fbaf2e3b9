/** `bpf-isolator run` that cannot be: what it refuses, and what it says where the machine lacks something. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { assertNothingLeft } from "../support/instance.js";
import { enterOwnNetwork } from "../support/network.js";
import { ATTEMPT, execute, isolator, runIsolator, type Result } from "../support/process.js";
import { HOLD, testRuns } from "../support/run.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));
const { instance, run, start } = testRuns();
after(() => {
  rmSync(directory, { recursive: true });
});

describe("refuses", () => {
  const cases: [string, string[], number, RegExp][] = [
    ["port 0", ["--ports", "0", "--", "true"], 125, /bad ports "0": 0 is not between 1 and 65535/],
    ["port 65536", ["--ports", "65536", "--", "true"], 125, /65536 is not between 1 and 65535/],
    ["a backward range", ["--ports", "5-3", "--", "true"], 125, /the range 5-3 ends before it begins/],
    ["words", ["--ports", "a-b", "--", "true"], 125, /"a" is not a port number/],
    ["no ports", ["--ports", "", "--", "true"], 125, /bad ports "": it is empty/],
    ["an empty range", ["--ports", "1,,2", "--", "true"], 125, /a range in it is empty/],
    ["negative ports", ["--ports=-5", "--", "true"], 125, /"" is not a port number/],
    ["a hexadecimal port", ["--ports", "0x50", "--", "true"], 125, /is not a port number/],
    [
      "10,000 ranges",
      ["--ports", Array.from({ length: 10000 }, (_, i) => 2 * i + 1).join(), "--", "true"],
      125,
      /10000 ranges are more than 1024/,
    ],
    ["an unknown mode", ["--ephemeral", "maybe", "--", "true"], 125, /allow, clients, deny/],
    ["an unknown protocol", ["--allow-protocol", "smtp", "--", "true"], 125, /Known: sctp, dccp/],
    ["an unknown option", ["--prots", "1", "--", "true"], 125, /unknown option '--prots'/],
    ["no command", ["--ports", "31000"], 125, /missing required argument 'command'/],
    ["a bad name", ["--name", "../x", "--", "true"], 125, /bad container name "\.\.\/x"/],
    ["a name too long", ["--name", "x".repeat(129), "--", "true"], 125, /bad container name/],
    [
      "a missing command",
      ["--", "no-such-command"],
      127,
      /"no-such-command" was not found: it is in no directory of PATH/,
    ],
    ["a missing path", ["--", "/no/such/command"], 127, /there is no such file/],
    ["a directory", ["--", "/usr"], 126, /\/usr is not an executable file/],
    [
      "a usage file in nowhere",
      ["--usage-file", "/no/where/f", "--", "true"],
      125,
      /--usage-file "\/no\/where\/f" cannot be written/,
    ],
  ];
  for (const [what, args, status, message] of cases) {
    it(`${what}, with a clear error and nothing left behind`, async () => {
      const result = await run(...args);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stderr, message);
      assert(!result.stderr.includes("    at "), "no stack traces for users");
      assertNothingLeft(instance);
    });
  }

  it("a file that is not executable", async () => {
    const file = join(directory, "plain");
    writeFileSync(file, "#!/bin/sh\n", { mode: 0o644 });
    const { status, stderr } = await run("--", file);
    assert.equal(status, 126);
    assert.match(stderr, /plain is not an executable file/);
  });

  it("a bad instance name", async () => {
    for (const name of ["", "a/b", "..", "a.b", "x".repeat(65)]) {
      const { status, stderr } = await runIsolator(["run", "--instance", name, "--", "true"]);
      assert.equal(status, 125);
      assert.match(stderr, /bad instance name/);
    }
  });

  it("a name, and ports, that a running container has; other runs go on beside it undisturbed", async () => {
    const first = await start("--name", "first", "--ports", "31000-31005", "--", ...HOLD(31000));
    const name = await run("--name", "first", "--", "true");
    assert.equal(name.status, 125);
    assert.match(name.stderr, /a container named first is running already \(process \d+\)/);
    const ports = await run("--ports", "31005-31010", "--", "true");
    assert.equal(ports.status, 125);
    assert.match(ports.stderr, /31005 of container first/);
    const beside = await run("--name", "beside", "--ports", "31006", "--", ATTEMPT, "bind", "port=31006");
    assert.equal(beside.status, 0, beside.stderr);
    assert.equal(first.child.exitCode, null);
    assert.equal(first.stderr(), "");
    first.child.stdin.end();
    assert.deepEqual(await first.exited, [0, null]);
    assertNothingLeft(instance);
  });
});

describe("on a machine that lacks something", () => {
  const namespaced = (setUp: string): Promise<Result> =>
    execute([
      "unshare",
      "--mount",
      "sh",
      "-c",
      `${setUp} && exec "$@"`,
      "sh",
      ...isolator("run", "--instance", instance, "--", "true"),
    ]);
  const CGROUP2 = "$(findmnt -nt cgroup2 -o TARGET | head -1)";

  it("says that there is no cgroup2", async () => {
    const { status, stderr } = await namespaced("umount -a -t cgroup2");
    assert.equal(status, 125);
    assert.match(stderr, /no cgroup2 file system is mounted here.*mount -t cgroup2/s);
  });

  it("says that cgroup2 is read-only", async () => {
    const { status, stderr } = await namespaced(`mount -o remount,ro,bind ${CGROUP2}`);
    assert.equal(status, 125);
    assert.match(stderr, /is read-only.*remount,rw/s);
  });

  it("mounts bpffs where there is none", async () => {
    const { status, stderr } = await namespaced("{ umount /sys/fs/bpf || true; }");
    assert.equal(status, 0, stderr);
  });

  it("says that it needs root", async () => {
    const command = isolator("run", "--instance", instance, "--", "true");
    const { status, stderr } = await execute([
      // Another user that may read this directory all the same.
      ...["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"],
      ...command,
    ]);
    assert.equal(status, 125);
    assert.match(stderr, /only root .*sudo/);
  });

  it("says which program the kernel refuses, where it does", async () => {
    const command = isolator("run", "--instance", instance, "--", "true");
    const drop = "--bounding-set=-bpf,-sys_admin,-perfmon,-net_admin";
    const { status, stderr } = await execute(["setpriv", drop, ...command]);
    assert.equal(status, 125);
    assert.match(stderr, /EPERM/);
    assertNothingLeft(instance);
  });
});
