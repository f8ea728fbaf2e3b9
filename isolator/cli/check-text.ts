/** What `check` found, for people: a table of the machine, one of the features, then what to look at. */
import type { Assessment } from "../features/needs.js";
import type { ProbeResult } from "../kernel/probe.js";
import { kernelIsAtLeast } from "../kernel/machine.js";
import type { CheckReport } from "./check.js";
import { PLAIN, type Paint } from "./colours.js";
import { table, type Row } from "./table.js";

const NOT_TRIED = "not tried";

/** Code of a note: an agent may use cgroup v2 itself here. */
export const AGENT_TREE = "agent-tree";

const ABOUT_RIGHTS = new Set(["not-root", "user-namespace", "no-capability"]);
/** Codes of what keeps from trying: told in full once, in the row that it belongs to. */
const BLOCKED = new Set([...ABOUT_RIGHTS, "no-libbpf", "no-cgroup2", "cgroup2-read-only"]);
const BLOCKING = ["root", "libbpf", "cgroup2", "cgroup2_writable"];

function isBlocked({ name, detail }: ProbeResult): boolean {
  return detail !== null && BLOCKED.has(detail.code) && !BLOCKING.includes(name);
}

function single(results: readonly ProbeResult[], name: string, yes: string): string {
  const result = results.find((candidate) => candidate.name === name);
  if (!result || isBlocked(result)) return NOT_TRIED;
  return result.ok ? (result.detail?.reason ?? yes) : `no: ${result.detail?.reason ?? ""}`;
}

/** What the kernel's version says of what could not be tried. */
function expected(blocked: readonly ProbeResult[]): string {
  const newer = blocked.filter(({ since }) => since !== null && !kernelIsAtLeast(since));
  if (newer.length === 0) return `${NOT_TRIED}; this kernel is new enough to have them`;
  return `${NOT_TRIED}; kernels older than these do not have them: ${newer.map(({ name, since }) => `${name} ${since ?? ""}`).join(", ")}`;
}

/** "10 of 10 work", and those that do not, with those of the same reason on one line. */
function group(results: readonly ProbeResult[], prefix: string, verb: string): string {
  const members = results.filter(({ name }) => name.startsWith(prefix));
  const blocked = members.filter(isBlocked);
  if (blocked.length === members.length) return expected(blocked);
  const failed = members.filter((member) => !member.ok && !blocked.includes(member));
  const namesOf = (some: readonly ProbeResult[]): string =>
    some.map(({ name }) => name.slice(prefix.length)).join(", ");
  const reasons = [...new Set(failed.map(({ detail }) => detail?.reason ?? ""))].map(
    (reason) => `${namesOf(failed.filter(({ detail }) => detail?.reason === reason))}: ${reason}`,
  );
  return [
    `${members.filter(({ ok }) => ok).length} of ${members.length} ${verb}`,
    ...reasons,
    ...(blocked.length > 0 ? [`${namesOf(blocked)}: ${expected(blocked)}`] : []),
  ].join("\n");
}

const LAYOUTS = {
  pure: "the only hierarchy",
  hybrid: "beside cgroup v1 (hybrid)",
  none: "",
} as const;

function cgroup2(report: CheckReport): string {
  const { path, layout, writable } = report.cgroup2;
  if (path === null) return single(report.probes, "cgroup2", "");
  const where = `${path}, ${LAYOUTS[layout]}`;
  if (writable) {
    const note = report.notes.find(({ code }) => code === AGENT_TREE);
    return `${where}, writable${note ? `\n${note.message}` : ""}`;
  }
  const result = report.probes.find(({ name }) => name === "cgroup2_writable");
  return result?.detail && ABOUT_RIGHTS.has(result.detail.code)
    ? `${where}; writing was ${NOT_TRIED}`
    : `${where}, not writable: ${result?.detail?.reason ?? ""}`;
}

/** Where it is, the first hook's trial says that it acts. */
function lsm(probes: readonly ProbeResult[]): string {
  const acts = probes.some(({ name, ok }) => name === "lsm_socket_listen" && ok);
  return `${group(probes, "lsm_", "hooks load and attach")}${acts ? "; a trial task's listen() was refused" : ""}`;
}

function machineRows(report: CheckReport): Row[] {
  const { probes, kernel } = report;
  return [
    ["kernel", `${kernel.release}, ${kernel.architecture}`],
    ["root", single(probes, "root", "yes")],
    ["libbpf", single(probes, "libbpf", report.libbpf ?? "yes")],
    ["cgroup v2", cgroup2(report)],
    ["cgroup.kill", single(probes, "cgroup_kill", "yes")],
    ["bpffs", single(probes, "bpffs", `mounted at ${report.bpffs.path}`)],
    ["kernel BTF", single(probes, "btf", "yes")],
    ["hooks", group(probes, "hook_", "load and attach")],
    ["maps", group(probes, "map_", "work")],
    ["programs", single(probes, "programs", "all load")],
    ["enforcement", single(probes, "enforcement", "a trial task's bind() was refused")],
    ["counting", single(probes, "counting", "a trial task's packets were counted")],
    ["ending connections", single(probes, "end_connections", "yes")],
    ["BPF LSM", lsm(probes)],
  ];
}

function featureRow({ feature, status, reasons }: Assessment, paint: Paint): Row {
  if (status === "works") return [feature, paint("green", "works")];
  const verdict = status === "limited" ? paint("yellow", "works, but") : paint("red", "does not work:");
  return [feature, `${verdict} ${reasons.join("\n")}`];
}

/** @returns text that ends with a newline */
export function renderCheck(report: CheckReport, paint: Paint = PLAIN): string {
  const warnings = report.warnings.map(
    ({ message, fix }) => `${paint("yellow", "warning:")} ${message}${fix === null ? "" : `:\n  ${fix}`}\n`,
  );
  return [
    "This machine:\n",
    table(machineRows(report)),
    "\nFeatures:\n",
    table(report.features.map((feature) => featureRow(feature, paint))),
    ...(warnings.length > 0 ? ["\n", ...warnings] : []),
    `\n${report.works ? paint("green", "bpf-isolator works here.") : paint("red", "bpf-isolator does not work here.")}\n`,
  ].join("");
}
