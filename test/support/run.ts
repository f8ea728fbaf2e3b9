/** `bpf-isolator run` in an instance of a test's own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after } from "node:test";
import { assertNothingLeft, instanceName } from "./instance.js";
import { ATTEMPT, isolator, runIsolator, type Result } from "./process.js";
import { until } from "./wait.js";

/** An instance for runs, to their end or ones that stay; that they left nothing of it is looked at after all tests. */
export function testRuns() {
  const instance = instanceName();
  after(() => {
    assertNothingLeft(instance);
  });
  return {
    instance,
    run: (...args: string[]): Promise<Result> => runIsolator(["run", "--instance", instance, ...args]),
    start: (...args: string[]) => start(instance, args),
  };
}

/** Starts a run and waits until its task has written a line. */
async function start(instance: string, args: readonly string[]) {
  const [file = "", ...rest] = isolator("run", "--instance", instance, ...args);
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "pipe"] });
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [line] = (await Promise.race([once(child.stdout, "data"), exited])) as unknown[];
  return { child, exited, line: String(line), stderr: () => stderr };
}

/** A task that holds a port until its stdin ends. */
export const HOLD = (port: number): string[] => [ATTEMPT, "hold", `port=${port}`];

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export async function gone(pid: number): Promise<void> {
  await until(() => !alive(pid), `process ${pid} is gone`);
}
