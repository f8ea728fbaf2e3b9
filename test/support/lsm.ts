/** What needs BPF LSM: skipped where the kernel has none, and a failure in the kernel lab, whose kernels have it. */
import type { TestContext } from "node:test";
import { HOOKS, type Hook } from "../../isolator/kernel/hooks.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { libbpf } from "../../isolator/kernel/native.js";
import { loadsLsm, withLsmProgram } from "../../isolator/kernel/probe-programs.js";

export function hookNamed(name: string): Hook {
  const hook = HOOKS.find((candidate) => candidate.name === name);
  if (!hook) throw new Error(`no hook ${name}`);
  return hook;
}

const known = new Map<string, boolean>();

/** Whether this kernel takes programs on a hook of BPF LSM. @throws in the kernel lab where not */
export function hasLsm(hook = "socket_listen"): boolean {
  const has = known.get(hook) ?? loadsLsm(hookNamed(hook));
  known.set(hook, has);
  if (!has && process.env["BPF_ISOLATOR_VM"] !== undefined)
    throw new Error(`the kernel lab's kernel takes no program on the security hook ${hook}`);
  return has;
}

/** Why a test is skipped, for `skip`; false where it is not. */
export function withoutLsm(hook = "socket_listen"): string | false {
  return hasLsm(hook) ? false : "this kernel takes no BPF LSM program: the kernel lab has it";
}

/** Skips a test in which something is impossible. @returns whether it did */
export function skipWithout(test: TestContext, hook: string): boolean {
  const reason = withoutLsm(hook);
  if (reason === false) return false;
  test.skip(reason);
  return true;
}

const BPF_F_ALLOW_MULTI = 2;

/**
 * Attaches a program that is nobody's to a security hook; it stays until the node is removed.
 * @param returns 1 allows, 0 refuses
 * @returns 0, or -errno of the attaching
 */
export function attachLsm(hook: Hook, returns: 0 | 1, node: CgroupNode): number {
  return withLsmProgram(hook, returns, (program) =>
    node.withFd((fd) => libbpf().programAttach(program, fd, hook.attachType, BPF_F_ALLOW_MULTI)),
  );
}
