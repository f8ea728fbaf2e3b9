/** What a table must say about the machine that it was made on, and what a machine must be like to make one. */
import { readFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { hasCommand } from "./command.js";

/** "AMD EPYC, 2 cores, Linux 6.18.44, 2025-01-31" */
export function machineLine(): string {
  const all = cpus();
  const date = new Date().toISOString().slice(0, 10);
  return `${all[0]?.model.trim() ?? "unknown CPU"}, ${all.length} cores, Linux ${release()}, ${date}`;
}

/** @throws Error with what is missing: root, a tool, or a kernel at rest */
export function requireMachine(): void {
  if (process.getuid?.() !== 0) throw new Error("not root: run it with sudo");
  const missing = ["ip", "tc", "nsenter", "clang"].filter((tool) => !hasCommand(tool));
  if (missing.length > 0)
    throw new Error(`missing: ${missing.join(", ")}. isolator/setup/setup.sh bench installs them`);
  if (bpfStatsOn())
    throw new Error("kernel.bpf_stats_enabled is 1: it slows every program down. Set it to 0 first");
}

function bpfStatsOn(): boolean {
  try {
    return readFileSync("/proc/sys/kernel/bpf_stats_enabled", "utf8").trim() !== "0";
  } catch {
    return false; // No such setting before 5.1.
  }
}

/** The CPU that the measured processes are pinned to: the last one, since CPU 0 has the most interrupts. */
export function measuringCpu(): number {
  return cpus().length - 1;
}

/** Share of time, in percent, that a CPU was idle or stolen by the hypervisor since `before`. */
export function cpuShares(cpu: number, before: CpuTimes): { idle: number; steal: number } {
  const now = cpuTimes(cpu);
  const total = Math.max(now.total - before.total, 1);
  return {
    idle: (100 * (now.idle - before.idle)) / total,
    steal: (100 * (now.steal - before.steal)) / total,
  };
}

export interface CpuTimes {
  total: number;
  idle: number;
  steal: number;
}

/** Times of one CPU from /proc/stat, in clock ticks (10 ms each). */
export function cpuTimes(cpu: number): CpuTimes {
  const line = new RegExp(`^cpu${cpu} (.*)$`, "m").exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? "";
  // user nice system idle iowait irq softirq steal; guest times are within user.
  const fields = line.split(" ").slice(0, 8).map(Number);
  return {
    total: fields.reduce((sum, value) => sum + value, 0),
    idle: (fields[3] ?? 0) + (fields[4] ?? 0),
    steal: fields[7] ?? 0,
  };
}
