/** Compiles the C parts of the benchmarks into a directory that goes away with them. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { isAlive } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { run } from "./command.js";

const PREFIX = "bpf-isolator-bench-";

/** The repository that this file belongs to, also when it runs from dist/. */
export function repository(): string {
  for (let at = import.meta.dirname; at !== dirname(at); at = dirname(at)) {
    if (existsSync(join(at, "test/helpers/load.c"))) return at;
  }
  throw new Error(`no test/helpers/load.c above ${import.meta.dirname}`);
}

/** Paths of what was compiled. */
export interface Built {
  /** The load generator. */
  load: string;
  /** BPF object of the empty programs. */
  empty: string;
}

export function build(cleanup: Cleanup): Built {
  const root = repository();
  sweep();
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  cleanup.add(`removing ${directory}`, () => {
    rmSync(directory, { recursive: true, force: true });
  });
  const load = join(directory, "load");
  run("clang", "-O2", "-pthread", join(root, "test/helpers/load.c"), "-o", load);
  const empty = join(directory, "empty.bpf.o");
  const machine = run("uname", "-m").trim();
  // The same flags as bpf/build.sh.
  const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", `-I/usr/include/${machine}-linux-gnu`];
  run("clang", ...flags, "-c", join(root, "test/bench/empty.bpf.c"), "-o", empty);
  return { load, empty };
}

/** Removes the directories of benchmarks that were killed before they could. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX) || isAlive(parseInt(name.slice(PREFIX.length), 10))) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
