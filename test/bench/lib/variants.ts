/** The same task, isolated in each of the ways that are compared, all set up side by side. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attachEmpty, effectivePrograms } from "../empty.js";
import { type Built, repository } from "./build.js";
import { makeNode, moveInto, nodeOf } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { inNamespace } from "./command.js";
import { CORE_HOOKS, type Hook } from "./hooks.js";
import { LoadEnd } from "./load.js";
import { isolate, prepareHost } from "./portmapping.js";
import type { Host, Network } from "./topology.js";

/**
 * bare: no isolation, and no cgroup of its own. null: the same once more, so its distance from bare is the noise.
 * empty: a cgroup with empty programs on the hooks that ours uses. ours: `bpf-isolator run`.
 * counted: the same with connections counted. mapped: with port mappings. marked: with a marking, marked-to:
 * with one for all destinations besides. vip: to a virtual address. proxy, dnat: bare, to what a TCP proxy or iptables leads on. netns: portmapping.ts.
 */
export type VariantName =
  | "bare"
  | "null"
  | "empty"
  | "ours"
  | "counted"
  | "mapped"
  | "marked"
  | "marked-to"
  | "vip"
  | "proxy"
  | "dnat"
  | "netns";

export interface Variant {
  name: VariantName;
  task: LoadEnd;
  host: Host;
  /** First port of the task's; see load.c for what is on it and after it. */
  port: number;
}

/** Where everything runs and what it is made of. */
export interface Setting {
  network: Network;
  built: Built;
  /** The benchmark's own cgroup2 node. */
  root: string;
  /** The CPU that every end is pinned to. */
  cpu: number;
  cleanup: Cleanup;
}

/** Ports of the task that is isolated, and of the other end. */
const PORTS = { begin: 31000, end: 31005 };
const COUNTED_PORTS = { begin: 31050, end: 31055 };
export const PEER_PORT = 20000;
const MARKED_PORTS = { begin: 31080, end: 31085 };
const MARKED_TO_PORTS = { begin: 31090, end: 31095 };
/** Of the container that has port mappings. */
const MAPPED_PORTS = { begin: 31060, end: 31065 };
export const MAPPED_PORT = 80;
/** The last of a hundred. */
export const MAPPED_PORT_OF_MANY = 1099;

/** Path of the built command. @throws Error when it is not built */
export function builtCommand(): string {
  const path = join(repository(), "dist/isolator/cli/main.js");
  if (!existsSync(path)) throw new Error("dist/isolator/cli/main.js is missing: npm run build");
  return path;
}

/** Options of node that the built command has in its first line: there is no such line where node is started by its path. */
export function nodeOptions(): string[] {
  const [line = ""] = readFileSync(builtCommand(), "utf8").split("\n", 1);
  return line.split(" ").filter((word) => word.startsWith("--"));
}

/** Starts a load process in a namespace, in no cgroup of its own. */
export async function startPlain(setting: Setting, name: string, namespace: string): Promise<LoadEnd> {
  const argv = inNamespace(namespace, setting.built.load, String(setting.cpu));
  return LoadEnd.start(name, argv, setting.cleanup);
}

/** The other end of the path. */
export async function startPeer(setting: Setting): Promise<LoadEnd> {
  const peer = await startPlain(setting, "the other end", setting.network.peer);
  await peer.command(`open ${PEER_PORT}`);
  return peer;
}

export async function startBare(setting: Setting, name: "bare" | "null", port: number): Promise<Variant> {
  const { host } = setting.network;
  const task = await startPlain(setting, name, host.namespace);
  await task.command(`open ${port}`);
  return { name, task, host, port };
}

/**
 * @param more options of `run`
 * @param morePorts more of its ports, to follow the first ones
 * @throws Error when the command is not built, or its task has no program on it
 */
async function startRun(
  { network: { host }, built, cpu, cleanup }: Setting,
  name: "ours" | "counted" | "mapped" | "marked" | "marked-to" | "vip",
  ports: { begin: number; end: number },
  more: readonly string[],
  morePorts = "",
): Promise<Variant> {
  const instance = `bench-${process.pid}`;
  const argv = inNamespace(
    host.namespace,
    ...[
      process.execPath,
      builtCommand(),
      "run",
      "--ports",
      `${ports.begin}-${ports.end}${morePorts}`,
      ...more,
    ],
    ...["--name", `${name}-${process.pid}`, "--instance", instance, "--", built.load, String(cpu)],
  );
  const task = await LoadEnd.start(name, argv, cleanup);
  if (effectivePrograms(nodeOf(task.pid)).size === 0)
    throw new Error("the task under `run` has no program on it");
  await task.command(`open ${ports.begin}`);
  return { name, task, host, port: ports.begin };
}

/** @throws as startRun() */
export function startOurs(setting: Setting): Promise<Variant> {
  return startRun(setting, "ours", PORTS, []);
}

/** Under limits that it never reaches. @throws as startRun() */
export function startCounted(setting: Setting): Promise<Variant> {
  const limits = ["--max-connections", "1000000", "--max-connections-total", "1000000"];
  return startRun(setting, "counted", COUNTED_PORTS, limits);
}

const VIP_PORTS = { begin: 31070, end: 31075 };
export const VIP = "10.77.0.1";

/** With a virtual address for the other end, to which it then goes. @throws as startRun() */
export async function startVip(setting: Setting): Promise<Variant> {
  const { host } = setting.network;
  const vips = [PEER_PORT, PEER_PORT + 2].flatMap((port) => [
    "--vip",
    `${VIP}:${port}=${host.peerAddress}:${port}`,
  ]);
  const variant = await startRun(setting, "vip", VIP_PORTS, vips);
  return { ...variant, host: { ...host, peerAddress: VIP } };
}

/** With port mappings: MAPPED_PORT first, then a hundred others. @throws as startRun() */
export function startMapped(setting: Setting): Promise<Variant> {
  const first = `${MAPPED_PORT}:${MAPPED_PORTS.end}`;
  const others = Array.from({ length: 100 }, (_, i) => `${i + 1000}:${i + 32000}`);
  return startRun(setting, "mapped", MAPPED_PORTS, ["--map", [first, ...others].join(",")], ",32000-32099");
}

/** @throws as startRun() */
export function startMarked(setting: Setting): Promise<Variant> {
  return startRun(setting, "marked", MARKED_PORTS, [
    "--dscp",
    "AF21",
    "--mark",
    "0x10/0xff",
    "--priority",
    "3",
  ]);
}

/** @throws as startRun() */
export function startMarkedTo(setting: Setting): Promise<Variant> {
  const directory = mkdtempSync(join(tmpdir(), "bench-marking-"));
  setting.cleanup.add(directory, () => {
    rmSync(directory, { recursive: true });
  });
  const file = join(directory, "isolator.yaml");
  const rules = ["{ dscp: AF21, mark: 0x10/0xff, priority: 3 }", '{ to: "*", dscp: EF }'];
  writeFileSync(file, `classes: [{ name: all, match: { role: all } }]\nmarking: [${rules.join(", ")}]\n`);
  return startRun(setting, "marked-to", MARKED_TO_PORTS, ["--class", "all", "--config", file]);
}

/**
 * Empty programs on `hooks`; the process is in the node before it makes its first socket.
 * @param name of the node, and "null" for a second one to compare with the first
 */
export async function startEmpty(
  setting: Setting,
  hooks: readonly Hook[],
  name: "empty" | "null" = "empty",
): Promise<Variant> {
  const { host } = setting.network;
  const node = makeNode(setting.root, name);
  attachEmpty(setting.built.empty, node, hooks);
  const task = await startPlain(setting, name, host.namespace);
  moveInto(node, task.pid);
  const port = name === "empty" ? 31030 : 31040;
  await task.command(`open ${port}`);
  return { name, task, host, port };
}

export async function startNetns(setting: Setting): Promise<Variant> {
  const { mesos, task: namespace } = setting.network;
  prepareHost(mesos);
  isolate(mesos, namespace, PORTS.begin, PORTS.end);
  const task = await startPlain(setting, "netns", namespace);
  await task.command(`open ${PORTS.begin}`);
  return { name: "netns", task, host: mesos, port: PORTS.begin };
}

/** Starts all variants. @param withOurs false leaves `ours` out, for work on the benchmark itself */
export async function startVariants(setting: Setting, withOurs: boolean): Promise<Variant[]> {
  const bare = await startBare(setting, "bare", 31010);
  const twin = await startBare(setting, "null", 31020);
  const ours = withOurs ? await startOurs(setting) : undefined;
  const hooks = ours ? [...effectivePrograms(nodeOf(ours.task.pid)).keys()] : CORE_HOOKS;
  const empty = await startEmpty(setting, hooks);
  const netns = await startNetns(setting);
  return [bare, twin, empty, ...(ours ? [ours] : []), netns];
}
