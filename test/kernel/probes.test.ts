/** The probes themselves: that they find what is there, and that each kind can fail. As root. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, openSync, closeSync, rmdirSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { HOOKS, type Hook } from "../../isolator/kernel/hooks.js";
import {
  activeSecurityModules,
  isAtLeast,
  isInitialUserNamespace,
  kernelOption,
  missingCapabilities,
  sysctl,
} from "../../isolator/kernel/machine.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { libc } from "../../isolator/kernel/native.js";
import { runProbes, type Probe, type ProbeResult } from "../../isolator/kernel/probe.js";
import { ProbeNode } from "../../isolator/kernel/probe-node.js";
import { Refused, withMap, withProgram } from "../../isolator/kernel/probe-programs.js";
import { hookProbe, PROBES } from "../../isolator/kernel/probes.js";
import { lsmProbe } from "../../isolator/kernel/probe-lsm.js";

const LOCK_EX = 2;

function only(probe: Probe): ProbeResult {
  const [result] = runProbes([probe]);
  assert(result);
  return result;
}

function hookNamed(name: string): Hook {
  const hook = HOOKS.find((candidate) => candidate.name === name);
  assert(hook);
  return hook;
}

describe("the probes of this machine", () => {
  // Set by the kernel lab, whose kernels have BPF LSM.
  const inLab = process.env["BPF_ISOLATOR_VM"] !== undefined;
  for (const result of runProbes(PROBES)) {
    if (result.name === "counting" || (result.name.startsWith("lsm_") && !inLab)) continue;
    it(`${result.name} works: this kernel (${release()}) has it`, () => {
      assert.equal(result.ok, true, result.detail?.reason);
    });
  }

  it("are each tried once", () => {
    let tries = 0;
    const probe: Probe = {
      name: "counted",
      since: null,
      run: () => {
        tries++;
        return undefined;
      },
    };
    assert.equal(only(probe), only(probe));
    assert.equal(tries, 1);
  });

  it("leave no node", () => {
    let path = "";
    only({
      name: "node",
      since: null,
      run: (site) => {
        path = site.node().path;
        assert(existsSync(path));
        return undefined;
      },
    });
    assert.equal(existsSync(path), false);
  });

  it("leave no node when one of them breaks", () => {
    let path = "";
    const broken: Probe = {
      name: "broken",
      since: null,
      run: (site) => {
        path = site.node().path;
        throw new TypeError("a mistake");
      },
    };
    assert.throws(() => runProbes([broken]), /a mistake/);
    assert.equal(existsSync(path), false);
  });
});

describe("what no kernel has is reported missing", () => {
  const bind4 = hookNamed("bind4");

  it("an attach type", () => {
    const { ok, detail } = only(hookProbe({ ...bind4, name: "future", attachType: 200 }));
    assert.equal(ok, false);
    assert.deepEqual(detail, {
      code: "EINVAL",
      reason: "EINVAL at load: this kernel does not have it, though 6.1 and newer can be built with it",
    });
  });

  it("an attach type that is another program type's", () => {
    assert.equal(only(hookProbe({ ...bind4, name: "mixed", attachType: 0 })).ok, false);
  });

  it("with the first kernel that has it, when this one is older", () => {
    const { detail } = only(hookProbe({ ...bind4, name: "newer", attachType: 200, since: "99.1" }));
    assert.match(detail?.reason ?? "", /kernel 99\.1 is the first that has it, and this is /);
  });

  it("a helper that a hook does not have (recvmsg has no bpf_get_retval)", () => {
    const recvmsg4 = { programType: bind4.programType, attachType: 19 };
    const load = (retval: boolean): boolean => withProgram({ ...recvmsg4, retval }, () => true);
    assert.equal(load(false), true);
    assert.throws(() => load(true), Refused);
  });

  it("a map type", () => {
    const spec = { type: 200, keySize: 4, valueSize: 4, maxEntries: 1 };
    assert.throws(() => {
      withMap(spec, () => undefined);
    }, Refused);
  });

  it("socket storage without BTF: the probe's own is what the kernel takes", () => {
    const spec = { type: 24, keySize: 4, valueSize: 4, maxEntries: 0, flags: 1 };
    assert.throws(() => {
      withMap(spec, () => undefined);
    }, Refused);
  });
});

describe("BPF LSM", () => {
  it("is found where the kernel runs it, and the reason is named where not", () => {
    const { ok, detail } = only(lsmProbe(hookNamed("socket_listen")));
    const modules = activeSecurityModules();
    if (ok) {
      assert.equal(modules?.includes("bpf") ?? true, true);
      return;
    }
    if (modules && !modules.includes("bpf")) assert.equal(detail?.code, "lsm-not-active");
    else if (kernelOption("CONFIG_BPF_LSM") === "n") assert.equal(detail?.code, "no-bpf-lsm");
    else assert.equal(detail?.code, "EPERM", detail?.reason);
  });
});

describe("a probe's node", () => {
  it("is left alone while its process lives, and removed after", () => {
    const parent = join(requireCgroup2(), "bpf-isolator");
    const path = join(parent, `.probe-test-${process.pid}`);
    mkdirSync(path, { recursive: true });
    const fd = openSync(path, "r");
    assert.equal(libc().flock(fd, LOCK_EX), 0);
    ProbeNode.create(requireCgroup2()).remove();
    assert.equal(existsSync(path), true);
    closeSync(fd);
    ProbeNode.create(requireCgroup2()).remove();
    assert.equal(existsSync(path), false);
    assert.throws(() => {
      rmdirSync(path);
    });
  });
});

describe("machine", () => {
  const versions: [string, string, boolean][] = [
    ["6.18.44-fc-v669", "6.1", true],
    ["6.1.0-56-cloud-amd64", "6.1", true],
    ["6.1.0", "6.12", false],
    ["5.15.0-generic", "6.1", false],
    ["10.0", "6.1", true],
    ["5.14.0-427.el9", "5.15", false],
  ];
  for (const [kernel, since, expected] of versions) {
    it(`${kernel} is ${expected ? "" : "not "}at least ${since}`, () => {
      assert.equal(isAtLeast(kernel, since), expected);
    });
  }

  it("reads capabilities", () => {
    const status = (effective: string): string => `Name:\tx\nCapEff:\t${effective}\nCapBnd:\t0\n`;
    assert.deepEqual(missingCapabilities(status("000001ffffffffff")), []);
    assert.deepEqual(missingCapabilities(status("0000000000200000")), []);
    assert.deepEqual(missingCapabilities(status("0000000000001000")), ["CAP_BPF", "CAP_PERFMON"]);
    assert.deepEqual(missingCapabilities(status("0")), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
  });

  it("tells user namespaces apart", () => {
    assert.equal(isInitialUserNamespace("         0          0 4294967295\n"), true);
    assert.equal(isInitialUserNamespace("         0       1000          1\n"), false);
    assert.equal(isInitialUserNamespace("         0     100000      65536\n"), false);
  });

  it("reads settings, and knows what there is not", () => {
    assert.match(sysctl("net.ipv4.ip_local_port_range") ?? "", /^\d+\s+\d+$/);
    assert.equal(sysctl("net.ipv4.no_such_setting"), undefined);
  });
});
