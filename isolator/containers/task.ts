/**
 * A command as the task of a container, with this process's terminal, stdin, environment and directory.
 *
 * Nothing of the command runs outside: this process moves itself into the container's node, spawns the command there,
 * and moves back, so that the command and every thread and child of it is born inside.
 *
 * It dies with this process, however this one dies: a guard, a shell in a session and a cgroup of its own, holds the
 * node's cgroup.kill open and the read end of a pipe whose other end only this process has. The kernel closes that end
 * when this process is gone, and the guard kills the node. Were the guard killed too, the next sweep does it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, closeSync, constants, mkdirSync, statSync, writeSync, type Stats } from "node:fs";
import { constants as os } from "node:os";
import { delimiter, join } from "node:path";
import { IsolatorError, messageOf } from "../errors.js";
import { ownNode, type CgroupNode } from "../kernel/cgroup.js";
import type { Container } from "./container.js";
import type { Instance } from "./instance.js";

const GUARD = 'trap "" HUP INT QUIT TERM; exec 3>"$0" && echo 0 >"$1" && echo ready && read -r _; echo 1 >&3';
/** As execvp(3) has it where PATH is not set. */
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";

/** What is at a path, or undefined also where the path itself makes no sense. */
function statOrNothing(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Finds a command as the shell would.
 * @returns path to give to exec
 * @throws command-not-found, command-not-executable
 */
export function findCommand(command: string): string {
  const candidates = command.includes("/")
    ? [command]
    : (process.env["PATH"] ?? DEFAULT_PATH)
        .split(delimiter)
        .map((directory) => join(directory || ".", command));
  let found: string | undefined;
  for (const path of candidates) {
    const stats = command === "" ? undefined : statOrNothing(path);
    if (!stats) continue;
    found ??= path;
    try {
      accessSync(path, constants.X_OK);
    } catch {
      continue;
    }
    if (stats.isFile()) return path;
  }
  if (found !== undefined) {
    throw new IsolatorError(
      "command-not-executable",
      `${found} is not an executable file: chmod +x, or give another`,
    );
  }
  const where = command.includes("/") ? "there is no such file" : "it is in no directory of PATH";
  throw new IsolatorError(
    "command-not-found",
    `the command ${JSON.stringify(command)} was not found: ${where}`,
  );
}

export class Task {
  private constructor(
    private readonly guard: ChildProcess,
    readonly child: ChildProcess,
    /** Exit status as shells count it: 128 + number for a death by signal. */
    readonly exited: Promise<number>,
  ) {}

  /**
   * Starts a command in a container's node.
   * @param command path from findCommand()
   * @throws launch-failed
   */
  static async start(
    container: Container,
    instance: Instance,
    command: string,
    args: readonly string[],
  ): Promise<Task> {
    const home = ownNode(instance.cgroup2);
    const guard = await startGuard(container.node, instance.guardNode());
    try {
      // Opened now: from inside, the policy may refuse it.
      const back = home.openProcs();
      try {
        container.node.add(process.pid);
        const child = spawn(command, args, { stdio: "inherit" });
        const spawned = once(child, "spawn");
        const exited = once(child, "exit").then(([code, signal]) =>
          exitStatus(code as number | null, signal as NodeJS.Signals),
        );
        exited.catch(() => undefined);
        await spawned;
        return new Task(guard, child, exited);
      } finally {
        writeSync(back, `${process.pid}`);
        closeSync(back);
      }
    } catch (error) {
      await endGuard(guard);
      throw new IsolatorError("launch-failed", `${command} cannot be started: ${messageOf(error)}`, error);
    }
  }

  /** Ends the guard: nobody kills the node any more when this process dies. */
  close(): Promise<void> {
    return endGuard(this.guard);
  }
}

/** @param home path of the guard's own node: what kills this process's cgroup as a whole must not kill the guard */
async function startGuard(node: CgroupNode, home: string): Promise<ChildProcess> {
  mkdirSync(home, { recursive: true, mode: 0o755 });
  const guard = spawn("/bin/sh", ["-c", GUARD, join(node.path, "cgroup.kill"), join(home, "cgroup.procs")], {
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
  });
  guard.stdin.on("error", () => undefined);
  const [ready] = (await Promise.race([once(guard.stdout, "data"), once(guard, "exit")])) as unknown[];
  if (!Buffer.isBuffer(ready)) {
    throw new IsolatorError(
      "launch-failed",
      `the guard of ${node.path} cannot open cgroup.kill there (kernel 5.14 has it) or enter ${home}`,
    );
  }
  guard.unref();
  return guard;
}

async function endGuard(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  const exited = once(guard, "exit");
  guard.ref();
  guard.kill("SIGKILL");
  await exited;
}

/** 128 + number for a death by signal. */
export function exitStatus(code: number | null, signal: NodeJS.Signals): number {
  return code ?? 128 + os.signals[signal];
}
