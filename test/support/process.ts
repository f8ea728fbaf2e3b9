/** Processes that tests start: the program itself, and attempts inside and outside of a container. */
import { spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";

/** dist/ */
export const DIST = fileURLToPath(new URL("../..", import.meta.url));
export const MAIN = join(DIST, "isolator/cli/main.js");
export const ATTEMPT = join(DIST, "test/helpers/attempt");

export interface Result {
  /** Exit status; 255 for a death by signal. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. */
export async function execute(command: readonly string[], options: SpawnOptions = {}): Promise<Result> {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { status: code ?? 255, stdout, stderr };
}

/** The command line of `bpf-isolator ARGS`. */
export function isolator(...args: string[]): string[] {
  return [process.execPath, MAIN, ...args];
}

/** Runs `bpf-isolator ARGS` to its end. */
export function runIsolator(args: readonly string[], options: SpawnOptions = {}): Promise<Result> {
  return execute(isolator(...args), options);
}

/** The command line that runs a command in a node, moved there before it becomes the command. */
export function inNode(node: CgroupNode, command: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'echo 0 >"$0" && exec "$@"', join(node.path, "cgroup.procs"), ...command];
}

/** What test/helpers/attempt.c says. */
export interface Outcome {
  /** 0 got through, 1 stopped, 77 this kernel cannot do it at all. */
  status: number;
  ok: boolean;
  step: string;
  errno: string | null;
  port: number;
  detail: string;
}

/** @param said its line @throws Error where it could not be made, or `words` are wrong */
export function toOutcome(words: string, status: number, said: string): Outcome {
  if (![0, 1, 77].includes(status)) throw new Error(`attempt ${words}: exit ${status}: ${said}`);
  return { status, ...(JSON.parse(said) as Omit<Outcome, "status">) };
}

async function runAttempt(words: string, command: string[]): Promise<Outcome> {
  const { status, stdout, stderr } = await execute(command);
  return toOutcome(words, status, stdout || stderr);
}

/** Words of an attempt in a node: whoever tries to reach it comes from outside, under no policy. */
export function wordsIn(words: string, node?: CgroupNode): string {
  return node ? `${words} peer-cgroup=${requireCgroup2()}` : words;
}

/** Makes an attempt that begins outside and enters the node by itself (enter-cgroup). */
export function attemptEntering(words: string, node: CgroupNode): Promise<Outcome> {
  return runAttempt(words, [ATTEMPT, ...words.split(" "), `enter-cgroup=${node.path}`]);
}

/**
 * Makes an attempt.
 * @param words as on its command line: "bind proto=udp port=8080"
 * @param node where; outside of every container if not given
 * @param peerOutside whether whoever tries to reach it leaves the node first
 */
export function attempt(words: string, node?: CgroupNode, { peerOutside = true } = {}): Promise<Outcome> {
  const command = [ATTEMPT, ...wordsIn(words, peerOutside ? node : undefined).split(" ")];
  return runAttempt(words, node ? inNode(node, command) : command);
}
