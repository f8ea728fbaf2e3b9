/**
 * Escape: the ways out of a container's node, and into the programs and maps that police it. The kernel's side is
 * bpf/escape.h; README.md, "Escape", is the user's. What left all the same is found by containers/escaped.ts.
 */
import { layouts } from "../kernel/gen/layout.js";

export const ESCAPE_MODES = ["deny", "allow"] as const;

/** "deny" refuses what the hooks below see, where the kernel has BPF LSM. */
export type EscapeMode = (typeof ESCAPE_MODES)[number];

/** By name of the hook: the way that stays open where there is no program for it. */
const WAYS: Record<string, string> = {
  file_open: "moving processes to a cgroup outside of the container",
  task_alloc: "starting processes in a cgroup outside of the container (CLONE_INTO_CGROUP)",
  sb_set_mnt_opts: "mounting cgroup2 and bpffs",
  bpf_map: "the isolator's maps",
  bpf_prog: "the isolator's programs",
};

export function escapeFlags(mode: EscapeMode): number {
  return mode === "deny" ? layouts.enums.policy_flags.POLICY_DENY_ESCAPE : 0;
}

/** Names of the hooks that the policy needs. */
export function escapeHooks(mode: EscapeMode): string[] {
  return mode === "deny" ? Object.keys(WAYS) : [];
}

/**
 * Ways that the policy denies and nobody refuses.
 * @param has whether there is a program for a hook
 */
export function openWays(mode: EscapeMode, has: (hook: string) => boolean): string[] {
  return escapeHooks(mode).flatMap((hook) => (has(hook) ? [] : (WAYS[hook] ?? hook)));
}
