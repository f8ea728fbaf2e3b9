/** `bpf-isolator check` on this machine and in namespaces where something is missing. As root. */
import assert from "node:assert/strict";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { CheckReport } from "../../isolator/cli/check.js";
import { BPFFS, requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { check, checkIn, checkJson, CHECKS_AT_ONCE, nodesIn, withTree } from "../support/check.js";
import { execute, isolator } from "../support/process.js";

const cgroup2 = requireCgroup2();

const statusOf = (report: CheckReport, name: string): string | undefined =>
  report.features.find(({ feature }) => feature === name)?.status;
const codeOf = (report: CheckReport, name: string): string | undefined =>
  report.probes.find((probe) => probe.name === name)?.detail?.code;
const codes = (list: readonly { code: string }[]): string[] => list.map(({ code }) => code);

describe("check on this machine", { concurrency: CHECKS_AT_ONCE }, () => {
  it("works and exits 0", async () => {
    const { status, stdout, stderr } = await check([]);
    assert.equal(status, 0, stdout);
    assert.equal(stderr, "");
    assert.match(stdout, /^ {2}hooks +(\d+) of \1 load and attach$/m);
    assert.match(stdout, /^ {2}ports +works/m);
    assert.match(stdout, /^ {2}accounting +works$/m);
    assert.match(stdout, /\nbpf-isolator works here\.\n$/);
  });

  it("says the same as one JSON document", async () => {
    const report = await checkJson([]);
    assert.equal(report.status, 0);
    assert.equal(report.version, 1);
    assert.deepEqual([report.works, report.root, report.cgroup2.writable], [true, true, true]);
    assert.equal(report.cgroup2.path, cgroup2);
    assert.equal(statusOf(report, "accounting"), "works");
    const lsm = report.probes.find(({ name }) => name === "lsm_socket_listen");
    assert.equal(statusOf(report, "ports"), lsm?.ok ? "works" : "limited");
    for (const { name, ok, detail } of report.probes) {
      if (!ok) assert.match(detail?.code ?? "", /^[A-Z0-9]+$|^[a-z][a-z0-9-]+$/, name);
    }
  });

  it("pins nothing", async () => {
    const before = nodesIn(BPFFS).length;
    const setup = `mount -t bpf bpf ${BPFFS}`;
    const { status, stdout } = await check([], {
      setup,
      through: ["sh", "-c", `"$@"; ls ${BPFFS}; exit $?`, "sh"],
    });
    assert.equal(status, 0);
    assert.match(stdout, /works here\.\n(maps\.debug\nprogs\.debug\n)?$/);
    assert.equal(nodesIn(BPFFS).length, before);
  });

  it("works several times at once", async () => {
    await withTree(async (tree) => {
      const all = await Promise.all(Array.from({ length: 6 }, () => checkIn(tree, [])));
      assert.deepEqual(
        all.map(({ status, stderr }) => [status, stderr]),
        all.map(() => [0, ""]),
      );
    });
  });

  it("removes what a killed check left", async () => {
    await withTree(async (tree) => {
      mkdirSync(join(tree, "bpf-isolator/.probe-killed"), { recursive: true });
      assert.equal((await checkIn(tree, [])).status, 0);
    });
  });

  it("leaves containers' nodes alone", async () => {
    await withTree(async (tree) => {
      const node = join(tree, "bpf-isolator/some-instance");
      mkdirSync(node, { recursive: true });
      assert.equal((await checkIn(tree, [])).status, 0);
      assert.deepEqual(nodesIn(join(tree, "bpf-isolator")), ["some-instance"]);
      rmdirSync(node);
      rmdirSync(join(tree, "bpf-isolator"));
    });
  });
});

describe("check where something is missing", { concurrency: CHECKS_AT_ONCE }, () => {
  /** Off with the test's own cgroup2 and with the machine's below it. */
  const noCgroup2 = `while umount ${cgroup2} 2>/dev/null; do :; done`;

  it("no cgroup2: exit 1", async () => {
    const report = await checkJson([], { setup: noCgroup2 });
    assert.deepEqual([report.status, report.works], [1, false]);
    assert.deepEqual(report.cgroup2, { path: null, layout: "none", writable: false });
    assert.equal(codeOf(report, "cgroup2"), "no-cgroup2");
    assert.deepEqual([statusOf(report, "ports"), statusOf(report, "accounting")], ["fails", "fails"]);
    const { status, stdout } = await check([], { setup: noCgroup2 });
    assert.equal(status, 1);
    assert.match(stdout, /ports +does not work: no cgroup2 file system is mounted here.* mount -t cgroup2/);
  });

  it("cgroup2 hidden by another mount: exit 1", async () => {
    const report = await checkJson([], { setup: `mount -t tmpfs none ${cgroup2}` });
    assert.deepEqual([report.status, report.cgroup2.path], [1, null]);
  });

  it("cgroup2 mounted read-only: exit 1", async () => {
    // "bind": this mount only. Without it the file system would become read-only for the whole machine.
    const setup = `mount -o remount,bind,ro ${cgroup2}`;
    const report = await checkJson([], { setup });
    assert.deepEqual([report.status, report.works], [1, false]);
    assert.equal(report.cgroup2.writable, false);
    assert.equal(codeOf(report, "cgroup2_writable"), "cgroup2-read-only");
    const { stdout } = await check([], { setup });
    assert.match(stdout, /not writable: cgroup2 at \S+ is read-only.* mount -o remount,rw/);
  });

  it("cgroup2 only: the pure layout", async () => {
    const setup = `
      base=$(mktemp -d); mount -t tmpfs none $base; mkdir $base/cg; mount --bind ${cgroup2} $base/cg
      grep ' - cgroup2\\? ' /proc/self/mountinfo | cut -d' ' -f5 | grep -v "^$base" | tac | xargs -r -n1 umount
      mount --bind $base/cg /sys/fs/cgroup; umount $base/cg; umount $base; rmdir $base`;
    const report = await checkJson([], { setup });
    assert.deepEqual(report.cgroup2, { path: "/sys/fs/cgroup", layout: "pure", writable: true });
    assert.equal(report.status, 0);
    // How existing connections are ended is told on each machine.
    assert.deepEqual(codes(report.notes), ["bpf_sock_destroy", "agent-tree"]);
    assert.match((await check([], { setup })).stdout, /writable\n.*the ports of the whole pod$/ms);
  });

  it("no bpffs: a note, and exit 0", async () => {
    const setup = `while umount ${BPFFS} 2>/dev/null; do :; done`;
    const report = await checkJson([], { setup });
    assert.deepEqual([report.status, report.bpffs.mounted], [0, false]);
    assert.deepEqual(codes(report.notes), ["not-mounted", "bpf_sock_destroy"]);
    assert.match(
      (await check([], { setup })).stdout,
      /bpffs +no bpffs is mounted at \/sys\/fs\/bpf: run mounts one/,
    );
  });

  it("bpffs read-only: exit 1", async () => {
    const report = await checkJson([], {
      setup: `mount -t bpf bpf ${BPFFS}; mount -o remount,bind,ro ${BPFFS}`,
    });
    assert.deepEqual([report.status, codeOf(report, "bpffs")], [1, "bpffs-read-only"]);
  });

  it("loopback down: counting is not tried, and exit 0", async () => {
    const report = await checkJson([], { through: ["unshare", "--net"] });
    assert.equal(report.status, 0);
    assert.equal(codeOf(report, "counting"), "not-tried");
  });

  it("not root: says so, says what can be seen, exit 1", async () => {
    // Reading any file: the checkout may be below /root.
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const through = [...nobody, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
    const report = await checkJson([], { through });
    assert.deepEqual([report.status, report.works, report.root], [1, false, false]);
    assert.equal(report.cgroup2.path, cgroup2);
    assert.equal(codeOf(report, "hook_bind4"), "not-root");
    const { stdout } = await check([], { through });
    assert.match(stdout, /root +no: this process is not root/);
    assert.match(stdout, /hooks +not tried; this kernel is new enough to have them/);
    assert.match(stdout, /kernel BTF +yes/);
  });

  const capabilities: [string, RegExp][] = [
    ["-sys_admin,-bpf", /lacks CAP_BPF:/],
    ["-sys_admin,-net_admin", /lacks CAP_NET_ADMIN:/],
    ["-sys_admin,-perfmon", /lacks CAP_PERFMON:/],
  ];
  for (const [bounds, says] of capabilities) {
    it(`root with capabilities ${bounds}: exit 1`, async () => {
      const through = ["setpriv", `--bounding-set=${bounds}`];
      const report = await checkJson([], { through });
      assert.deepEqual([report.status, codeOf(report, "root")], [1, "no-capability"]);
      assert.match((await check([], { through })).stdout, says);
    });
  }

  it("root of a user namespace: exit 1", async () => {
    const report = await checkJson([], { through: ["unshare", "--user", "--map-root-user"] });
    assert.deepEqual([report.status, codeOf(report, "root")], [1, "user-namespace"]);
  });
});

describe("check with bad usage", { concurrency: CHECKS_AT_ONCE }, () => {
  const bad: [string[], RegExp][] = [
    [["--ports", "0"], /bad ports "0"/],
    [["--ports", "5-3"], /ends before it begins/],
    [["--ports", ""], /it is empty/],
    [["--instance", "../x"], /bad instance name/],
    [["--unknown"], /unknown option/],
    [["more"], /too many arguments/],
  ];
  for (const [args, says] of bad) {
    it(`${JSON.stringify(args)}: exit 2`, async () => {
      const { status, stdout, stderr } = await execute(isolator("check", ...args));
      assert.deepEqual([status, stdout], [2, ""]);
      assert.match(stderr, says);
    });
  }

  it("--help: exit 0", async () => {
    assert.equal((await execute(isolator("check", "--help"))).status, 0);
  });
});
