/** `bpf-isolator check`: what this machine can and cannot do, tried for real. Leaves nothing behind. */
import { machine, release } from "node:os";
import { checkInstanceName } from "../containers/names.js";
import { assess, NEEDS, type Assessment } from "../features/needs.js";
import { parsePorts, type PortRange } from "../features/ports.js";
import { activeSecurityModules, kernelOption } from "../kernel/machine.js";
import {
  BPFFS,
  cgroupLayout,
  findCgroup2,
  hasBpffs,
  readMounts,
  type CgroupLayout,
} from "../kernel/mounts.js";
import { libbpfVersion } from "../kernel/native.js";
import { runProbes, type ProbeResult } from "../kernel/probe.js";
import { PROBES } from "../kernel/probes.js";
import { AGENT_TREE, renderCheck } from "./check-text.js";
import { paintFor } from "./colours.js";
import { findWarnings, livePorts, type Warning } from "./check-warnings.js";

const AGENT_TREE_NOTE =
  "an agent of Mesos 1.12 has a tree of its own here, and containers stay in it: a pod's task that has\n" +
  "no cgroup there shares its pod's, and may use the ports of the whole pod";

/** Options as the command line gives them. */
export interface CheckOptions {
  instance: string;
  json?: boolean;
  ports?: string;
}

/** All that `check` found: the document of --json. Keys and codes stay; new ones may come. */
export interface CheckReport {
  version: 1;
  /** Whether the features with `main` work. */
  works: boolean;
  instance: string;
  kernel: { release: string; architecture: string };
  /** Version of libbpf, or null where it cannot be loaded. */
  libbpf: string | null;
  root: boolean;
  cgroup2: { path: string | null; layout: CgroupLayout; writable: boolean };
  bpffs: { path: string; mounted: boolean };
  lsm: {
    /** Active security modules, or null where they cannot be read. */
    active: string[] | null;
    /** CONFIG_BPF_LSM, or null where the kernel's configuration cannot be read. */
    config: string | null;
  };
  probes: ProbeResult[];
  features: Assessment[];
  warnings: Warning[];
  /** What needs nobody's attention. */
  notes: { code: string; message: string }[];
}

/** @param ports of the tasks, for warnings */
function inspect(instance: string, ports: readonly PortRange[]): CheckReport {
  const mounts = readMounts();
  const layout = cgroupLayout(mounts);
  const probes = runProbes(PROBES);
  const features = NEEDS.map((needs) => assess(needs, probes));
  const ok = (name: string): boolean => probes.some((probe) => probe.name === name && probe.ok);
  return {
    version: 1,
    works: features.every(({ main, status }) => !main || status !== "fails"),
    instance,
    kernel: { release: release(), architecture: machine() },
    libbpf: libbpfVersion() ?? null,
    root: process.geteuid?.() === 0,
    cgroup2: {
      path: findCgroup2(mounts)?.path ?? null,
      layout,
      writable: ok("cgroup2_writable"),
    },
    bpffs: { path: BPFFS, mounted: hasBpffs(mounts) },
    lsm: { active: activeSecurityModules() ?? null, config: kernelOption("CONFIG_BPF_LSM") ?? null },
    probes,
    features,
    warnings: findWarnings(ports, mounts),
    notes: [
      ...probes.flatMap((probe) =>
        probe.ok && probe.detail ? { code: probe.detail.code, message: probe.detail.reason } : [],
      ),
      ...(layout === "pure" ? [{ code: AGENT_TREE, message: AGENT_TREE_NOTE }] : []),
    ],
  };
}

/**
 * Looks, and prints what it found.
 * @returns exit status: 0 when the main job works, 1 when it cannot
 * @throws bad-argument
 */
export function check(options: CheckOptions): number {
  checkInstanceName(options.instance);
  const ports = options.ports === undefined ? undefined : parsePorts(options.ports);
  const report = inspect(options.instance, ports ?? livePorts(options.instance));
  process.stdout.write(
    options.json ? `${JSON.stringify(report, null, 2)}\n` : renderCheck(report, paintFor(process.stdout)),
  );
  return report.works ? 0 : 1;
}
