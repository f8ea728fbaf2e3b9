/** Probes for hooks of BPF LSM. */
import { HOOKS, type Hook } from "./hooks.js";
import { loadMachine } from "./load.js";
import { LSM_MAC, MACHINE_HOOKS } from "./machine-hooks.js";
import { activeSecurityModules, kernelOption } from "./machine.js";
import { libbpf } from "./native.js";
import { withAttached, withLsmProgram } from "./probe-programs.js";
import { Failure, requireRoot, type Probe, type ProbeSite } from "./probe.js";
import { runTask } from "./trial.js";

/** "bpf" is among the active modules, and the kernel has the hook. @throws Failure */
function requireLsm(hook: Pick<Hook, "name" | "attachType">): void {
  requireRoot();
  const modules = activeSecurityModules();
  if (modules && !modules.includes("bpf")) {
    throw new Failure(
      "lsm-not-active",
      `BPF is not among the active security modules (${modules.join(",")}): ` +
        `boot with lsm=${[...modules.filter((name) => name !== "capability"), "bpf"].join(",")} on the kernel's command line`,
    );
  }
  if (libbpf().vmlinuxBtfId(hook.name, hook.attachType) >= 0) return;
  if (kernelOption("CONFIG_BPF_LSM") !== "y")
    throw new Failure("no-bpf-lsm", "this kernel was built without CONFIG_BPF_LSM");
  throw new Failure("no-lsm-hook", `this kernel has no security hook ${hook.name} in its BTF`);
}

/** A program at the security hook of listen() refuses it to one cgroup only. */
function refuseListen(site: ProbeSite, hook: Hook): void {
  withLsmProgram(hook, 0, (program) => {
    const node = site.node();
    withAttached(program, node.fd, hook.attachType, () => {
      const { listen } = runTask(node, "listen");
      if (listen === "EPERM") return;
      throw new Failure(
        "not-enforced",
        `a listen() that must be EPERM gave ${listen}: add bpf to lsm= on the kernel's command line`,
      );
    });
  });
}

/** A hook of BPF LSM: a program loads and attaches, acts (shown at listen()), and the isolator's own is loaded. */
export function lsmProbe(hook: Hook): Probe {
  return {
    name: `lsm_${hook.name}`,
    since: hook.since,
    run: (site) => {
      requireLsm(hook);
      if (hook.name === "socket_listen") {
        refuseListen(site, hook);
      } else {
        withLsmProgram(hook, 1, (program) => {
          withAttached(program, site.node().fd, hook.attachType, () => undefined);
        });
      }
      if (!site.programs().has(hook.name))
        throw new Failure("not-loaded", `the program for ${hook.section} does not load on this kernel`);
      return undefined;
    },
  };
}

/** Programs on hooks of BPF LSM that are attached to no cgroup: those for files load. */
const filesProbe: Probe = {
  name: "lsm_files",
  since: "6.1",
  run: () => {
    for (const { hook, newer } of MACHINE_HOOKS)
      if (newer !== true) requireLsm({ name: hook, attachType: LSM_MAC });
    if (!loadMachine()) throw new Failure("not-loaded", "the programs for files do not load on this kernel");
    return undefined;
  },
};

export const LSM_PROBES: readonly Probe[] = [...HOOKS.filter(({ lsm }) => lsm).map(lsmProbe), filesProbe];
