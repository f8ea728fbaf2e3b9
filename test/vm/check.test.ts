/** `bpf-isolator check` on whole machines: with and without BPF LSM, pure and hybrid cgroup2, no cgroup2. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CheckReport } from "../../isolator/cli/check.js";
import { NEEDS, type Assessment, type FeatureNeeds } from "../../isolator/features/needs.js";
import { PROBES } from "../../isolator/kernel/probes.js";
import { bootVm, vmSkipReason } from "./boot.js";
import type { VmOptions } from "./boot.js";

const skip = (await vmSkipReason()) ?? false;
const NEWER = "6.12-cloud";
const skipNewer = (await vmSkipReason(NEWER)) ?? false;

const LSM_PROBES = PROBES.map(({ name }) => name).filter((name) => name.startsWith("lsm_"));

/** What is left of a feature where there is no BPF LSM. */
function withoutLsm({ requires, prefers }: FeatureNeeds): Assessment["status"] {
  if (requires.some((probe) => LSM_PROBES.includes(probe))) return "fails";
  return prefers.some(({ probe }) => LSM_PROBES.includes(probe)) ? "limited" : "works";
}

/** What check says in a VM, and its exit code. */
async function checkIn(machine: Omit<VmOptions, "command">): Promise<CheckReport & { exitCode: number }> {
  const command = ["node", "/work/dist/isolator/cli/main.js", "check", "--json"];
  const { exitCode, output } = await bootVm({ ...machine, command });
  return { ...(JSON.parse(output) as CheckReport), exitCode };
}

function statuses(report: CheckReport): Record<string, string> {
  return Object.fromEntries(report.features.map(({ feature, status }) => [feature, status]));
}

function codes(report: CheckReport): Record<string, string> {
  const failed = report.probes.filter(({ ok }) => !ok);
  return Object.fromEntries(failed.map(({ name, detail }) => [name, detail?.code ?? ""]));
}

describe("check in a VM", { skip }, () => {
  it("pure cgroup2 and BPF LSM, as Debian boots: all works", async () => {
    const report = await checkIn({});
    assert.deepEqual([report.exitCode, report.works], [0, true]);
    assert.deepEqual(report.cgroup2, { path: "/sys/fs/cgroup", layout: "pure", writable: true });
    assert.equal(report.lsm.config, "y");
    assert.ok(report.lsm.active?.includes("bpf"));
    assert.deepEqual(codes(report), {});
    assert.deepEqual(new Set(Object.values(statuses(report))), new Set(["works"]));
  });

  it("LSM without bpf, hybrid cgroup2, no bpffs: works, with limits, and without rules for files", async () => {
    const report = await checkIn({ cmdline: "lsm=apparmor", layout: "hybrid", bpffs: false });
    assert.deepEqual([report.exitCode, report.works], [0, true]);
    assert.deepEqual(report.cgroup2, { path: "/sys/fs/cgroup/unified", layout: "hybrid", writable: true });
    assert.equal(report.lsm.config, "y");
    assert.ok(report.lsm.active?.includes("apparmor") && !report.lsm.active.includes("bpf"));
    assert.deepEqual(codes(report), Object.fromEntries(LSM_PROBES.map((name) => [name, "lsm-not-active"])));
    const expected = Object.fromEntries(NEEDS.map((needs) => [needs.feature, withoutLsm(needs)]));
    assert.deepEqual(
      [expected["files"], expected["escape"], expected["marking"]],
      ["fails", "limited", "works"],
    );
    assert.deepEqual(statuses(report), expected);
    const reasons = report.features.find(({ feature }) => feature === "sockets")?.reasons;
    assert.deepEqual(reasons, [
      "packet, vsock and XDP sockets cannot be refused",
      "sockets that come from outside of the container cannot be refused",
    ]);
    assert.equal(report.bpffs.mounted, false);
  });

  it("BPF LSM on hybrid cgroup2, on a newer kernel: all works", { skip: skipNewer }, async () => {
    const report = await checkIn({ kernel: NEWER, layout: "hybrid" });
    assert.deepEqual([report.exitCode, report.works], [0, true]);
    assert.equal(report.cgroup2.layout, "hybrid");
    assert.deepEqual(codes(report), {});
    assert.deepEqual(new Set(Object.values(statuses(report))), new Set(["works"]));
  });

  for (const layout of ["v1", "none"] as const) {
    it(`no cgroup2 (${layout === "v1" ? "v1 only" : "nothing mounted"}): exit 1`, async () => {
      const report = await checkIn({ layout });
      assert.deepEqual([report.exitCode, report.works], [1, false]);
      assert.deepEqual(report.cgroup2, { path: null, layout: "none", writable: false });
      assert.equal(codes(report)["cgroup2"], "no-cgroup2");
      assert.equal(statuses(report)["ports"], "fails");
    });
  }
});
