/** Empty programs on a cgroup's hooks, and the question which hooks a cgroup has programs on. */
import { closeSync, openSync } from "node:fs";
import { libbpf } from "../../isolator/kernel/native.js";
import { check, checkPointer } from "./lib/check.js";
import { ALL_HOOKS, HOOKS, type Hook } from "./lib/hooks.js";

/** BPF_F_ALLOW_MULTI: how the isolator attaches; the kernel's path differs from that of an exclusive program. */
const ALLOW_MULTI = 2;
/** BPF_F_QUERY_EFFECTIVE: programs inherited from parent nodes too. */
const QUERY_EFFECTIVE = 1;
const MAX_PROGRAMS = 64;

/**
 * Loads the empty programs of `hooks` from `object` (empty.bpf.c, compiled) and attaches them to the cgroup at `node`.
 * They go away with the node: nothing is pinned, and the object can be closed at once.
 */
export function attachEmpty(object: string, node: string, hooks: readonly Hook[]): void {
  const opened = checkPointer(`opening ${object}`, libbpf().objectOpen(object, null));
  const cgroup = openSync(node, "r");
  try {
    const program = (hook: Hook) => checkPointer(`program ${hook}`, libbpf().findProgram(opened, hook));
    for (const hook of ALL_HOOKS) libbpf().setAutoload(program(hook), hooks.includes(hook));
    check(`loading ${object}`, libbpf().objectLoad(opened));
    for (const hook of hooks) {
      const fd = libbpf().programFd(program(hook));
      check(`attaching ${hook} to ${node}`, libbpf().programAttach(fd, cgroup, HOOKS[hook], ALLOW_MULTI));
    }
  } finally {
    closeSync(cgroup);
    libbpf().objectClose(opened);
  }
}

/** Ids of the programs that run on each hook for sockets of the cgroup at `node`; hooks without a program are left out. */
export function effectivePrograms(node: string): Map<Hook, number[]> {
  const found = new Map<Hook, number[]>();
  const cgroup = openSync(node, "r");
  try {
    for (const hook of ALL_HOOKS) {
      const ids = new Uint32Array(MAX_PROGRAMS);
      const count = new Uint32Array([MAX_PROGRAMS]);
      // A hook that this kernel does not have: no program can be there.
      const memory = [ids, count].map(({ buffer }) => new Uint8Array(buffer)) as [Uint8Array, Uint8Array];
      if (libbpf().programQuery(cgroup, HOOKS[hook], QUERY_EFFECTIVE, null, ...memory) < 0) continue;
      if (count[0]) found.set(hook, [...ids.subarray(0, count[0])]);
    }
  } finally {
    closeSync(cgroup);
  }
  return found;
}
