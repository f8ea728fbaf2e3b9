/**
 * Runs `bpf-isolator check` in namespaces of its own. Each has a cgroup2 of its own too (a subtree mounted over the
 * real one, for itself only), so that what it leaves there is known to be its own.
 */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import type { CheckReport } from "../../isolator/cli/check.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { execute, isolator, type Result } from "./process.js";

const cgroup2 = requireCgroup2();
/** Checks take half a second each, mostly waiting for processes. */
export const CHECKS_AT_ONCE = 4;
let trees = 0;

/** A cgroup of a test's own, which must be empty again after it. */
export async function withTree<T>(use: (tree: string) => Promise<T>): Promise<T> {
  const tree = join(cgroup2, `check-test-${process.pid}-${trees++}`);
  mkdirSync(tree);
  try {
    const result = await use(tree);
    assert.deepEqual(nodesIn(tree), [], "check left a cgroup");
    return result;
  } finally {
    rmdirSync(tree);
  }
}

/** Names of the cgroups in one. */
export function nodesIn(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

export interface Place {
  /** Shell commands run first, as root, in mount and network namespaces of their own. */
  setup?: string;
  /** What check is started through. */
  through?: string[];
}

/** Runs `check` with a cgroup tree of its own, and fails when anything is left in it. */
export function check(args: string[], place: Place = {}): Promise<Result> {
  return withTree((tree) => checkIn(tree, args, place));
}

/** The same, with a tree that the caller made. */
export function checkIn(
  tree: string,
  args: string[],
  { setup = "", through = [] }: Place = {},
): Promise<Result> {
  const script = `set -e; ip link set lo up; mount --bind "$0" ${cgroup2}; ${setup}\nexec "$@"`;
  const command = ["unshare", "-m", "-n", "sh", "-c", script, tree, ...through];
  return execute([...command, ...isolator("check", ...args)]);
}

/** What it says with --json, and its exit status. */
export async function checkJson(
  args: string[],
  place: Place = {},
): Promise<CheckReport & { status: number }> {
  const { status, stdout, stderr } = await check(["--json", ...args], place);
  assert.equal(stderr, "");
  return { ...(JSON.parse(stdout) as CheckReport), status };
}
