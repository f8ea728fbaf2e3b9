/** What works today and bites later: settings of the machine that `check` warns of. */
import { release } from "node:os";
import { join } from "node:path";
import { STATE_ROOT } from "../containers/instance.js";
import { Records } from "../containers/records.js";
import { formatPorts, mergeRanges, type PortRange } from "../features/ports.js";
import { findOverlap, RANGE_SETTING, RESERVED_SETTING } from "../features/reserved-ports.js";
import { isAtLeast, sysctl } from "../kernel/machine.js";
import type { Mount } from "../kernel/mounts.js";

export interface Warning {
  /** Stable name, for scripts. */
  code: string;
  message: string;
  /** Command that ends it, where one does. */
  fix: string | null;
}

/** Whether a process with this id is there, whoever's it is. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Ports of an instance's live containers; none where the records cannot be read (not root). */
export function livePorts(instance: string): PortRange[] {
  try {
    const records = new Records(join(STATE_ROOT, instance)).list();
    return mergeRanges(records.filter(({ pid }) => isAlive(pid)).flatMap(({ policy }) => policy.ports ?? []));
  } catch {
    return [];
  }
}

function overlapWarning(ports: readonly PortRange[]): Warning[] {
  const local = sysctl(RANGE_SETTING);
  if (local === undefined) return [];
  const overlap = findOverlap(ports, local, sysctl(RESERVED_SETTING) ?? "");
  if (!overlap) return [];
  const range = local.replace(/\s+/, "-");
  const what =
    `the kernel may give the task ports ${formatPorts(overlap.ports)} to other programs as ephemeral ports: ` +
    `they are within ${RANGE_SETTING} (${range}) and not in ${RESERVED_SETTING}`;
  return [
    {
      code: "ports-not-reserved",
      message: overlap.fix
        ? `${what}. Reserve them, in /etc/sysctl.d/ too for the next boot`
        : `${what}. Reserving them would leave no ephemeral port: move ${RANGE_SETTING}, or give tasks fewer ports`,
      fix: overlap.fix,
    },
  ];
}

function unprivilegedBpfWarning(setting = sysctl("kernel.unprivileged_bpf_disabled")): Warning[] {
  if (setting !== "0") return [];
  return [
    {
      code: "unprivileged-bpf",
      message: "kernel.unprivileged_bpf_disabled is 0: tasks without any right may load BPF programs",
      fix: "sysctl -w kernel.unprivileged_bpf_disabled=2",
    },
  ];
}

/** Up to 5.14 a socket had room for one of the two: a v1 net_cls or net_prio class took the place of its cgroup v2. */
export function v1ClassWarning(mounts: readonly Mount[], kernel = release()): Warning[] {
  if (isAtLeast(kernel, "5.15")) return [];
  const found = mounts.filter(
    ({ type, superOptions }) => type === "cgroup" && /\bnet_(cls|prio)\b/.test(superOptions),
  );
  if (found.length === 0) return [];
  return [
    {
      code: "v1-net-classes",
      message:
        `cgroup v1 net_cls or net_prio is mounted at ${found.map(({ path }) => path).join(", ")}, and on kernels ` +
        "before 5.15 its first use switches every cgroup v2 program off for new sockets",
      fix: `umount ${found.map(({ path }) => path).join(" ")}`,
    },
  ];
}

/** @param ports of the tasks */
export function findWarnings(ports: readonly PortRange[], mounts: readonly Mount[]): Warning[] {
  return [...overlapWarning(ports), ...unprivilegedBpfWarning(), ...v1ClassWarning(mounts)];
}
