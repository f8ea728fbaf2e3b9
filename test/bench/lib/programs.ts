/** What the kernel's BPF statistics say of the programs on a cgroup's hooks. */
import { closeSync, readFileSync } from "node:fs";
import { libbpf } from "../../../isolator/kernel/native.js";
import { effectivePrograms } from "../empty.js";
import { nodeOf } from "./cgroup.js";
import { check } from "./check.js";
import type { Cleanup } from "./cleanup.js";
import type { Hook } from "./hooks.js";

/** BPF_STATS_RUN_TIME. */
const RUN_TIME = 0;

/**
 * Has the kernel time every program's runs until `cleanup`. By a file descriptor rather than by the sysctl
 * kernel.bpf_stats_enabled: should the benchmark be killed, the kernel switches it off again.
 */
export function enableStatistics(cleanup: Cleanup): void {
  const fd = check("BPF statistics", libbpf().enableStats(RUN_TIME));
  cleanup.add("BPF statistics", () => {
    closeSync(fd);
  });
}

/** Sums since the programs were loaded. */
export interface Runs {
  ns: number;
  count: number;
}

/** The programs on the hooks of one process's cgroup, those of parent nodes included. */
export class Programs {
  readonly #fds = new Map<Hook, number[]>();

  constructor(pid: number, cleanup: Cleanup) {
    cleanup.add("closing programs", () => {
      for (const fd of [...this.#fds.values()].flat()) closeSync(fd);
    });
    for (const [hook, ids] of effectivePrograms(nodeOf(pid))) {
      this.#fds.set(
        hook,
        ids.map((id) => check(`program ${id}`, libbpf().programById(id))),
      );
    }
  }

  get hooks(): Hook[] {
    return [...this.#fds.keys()];
  }

  /** What has run on each hook so far. Several programs on one hook add up to one run of it. */
  read(): Map<Hook, Runs> {
    return new Map(
      [...this.#fds].map(([hook, fds]) => {
        const each = fds.map(runsOf);
        return [
          hook,
          {
            ns: each.reduce((sum, { ns }) => sum + ns, 0),
            count: Math.max(...each.map(({ count }) => count)),
          },
        ];
      }),
    );
  }
}

function runsOf(fd: number): Runs {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  const value = (name: string): number => {
    const found = new RegExp(`^${name}:\\s*(\\d+)$`, "m").exec(text)?.[1];
    if (found === undefined) throw new Error(`fdinfo of a program has no ${name}`);
    return Number(found);
  };
  return { ns: value("run_time_ns"), count: value("run_cnt") };
}
