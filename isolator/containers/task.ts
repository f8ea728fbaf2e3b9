/**
 * A command as the task of a container, with this process's terminal, stdin, environment and directory.
 *
 * Nothing of the command runs outside: a shell moves itself into the container's node and then becomes the command
 * (exec), so that every thread and child is born inside.
 *
 * It dies with this process, however this one dies: a guard, a shell in a session of its own, holds the node's
 * cgroup.kill open and the read end of a pipe whose other end only this process has. The kernel closes that end when
 * this process is gone, and the guard kills the node. Were the guard killed too, the next sweep does it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, statSync } from "node:fs";
import { constants as os } from "node:os";
import { delimiter, join } from "node:path";
import { IsolatorError, messageOf } from "../errors.js";
import type { CgroupNode } from "../kernel/cgroup.js";

const GUARD = 'trap "" HUP INT QUIT TERM; exec 3>"$0" && echo ready && read -r _; echo 1 >&3';
const LAUNCHER = 'echo 0 >"$0" || exit 125; exec "$@"';

/**
 * Finds a command as the shell would.
 * @returns path to give to exec
 * @throws command-not-found, command-not-executable
 */
export function findCommand(command: string): string {
  const candidates = command.includes("/")
    ? [command]
    : (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory || ".", command));
  let found: string | undefined;
  for (const path of candidates) {
    if (!statSync(path, { throwIfNoEntry: false })) continue;
    found ??= path;
    try {
      accessSync(path, constants.X_OK);
    } catch {
      continue;
    }
    if (statSync(path).isFile()) return path;
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
   * Starts a command in a node.
   * @param command path from findCommand()
   * @throws launch-failed
   */
  static async start(node: CgroupNode, command: string, args: readonly string[]): Promise<Task> {
    const guard = spawn("/bin/sh", ["-c", GUARD, join(node.path, "cgroup.kill")], {
      detached: true,
      stdio: ["pipe", "pipe", "ignore"],
    });
    const [ready] = (await Promise.race([once(guard.stdout, "data"), once(guard, "exit")])) as unknown[];
    if (!Buffer.isBuffer(ready)) {
      throw new IsolatorError(
        "launch-failed",
        `the guard cannot open ${node.path}/cgroup.kill (kernel 5.14 has it)`,
      );
    }
    guard.stdin.on("error", () => undefined);
    guard.unref();
    const child = spawn("/bin/sh", ["-c", LAUNCHER, join(node.path, "cgroup.procs"), command, ...args], {
      stdio: "inherit",
    });
    const exited = once(child, "exit").then(([code, signal]) =>
      exitStatus(code as number | null, signal as NodeJS.Signals),
    );
    exited.catch(() => undefined);
    try {
      await once(child, "spawn");
    } catch (error) {
      guard.kill("SIGKILL");
      throw new IsolatorError("launch-failed", `/bin/sh cannot be started: ${messageOf(error)}`, error);
    }
    return new Task(guard, child, exited);
  }

  /** Lets go of the guard: nobody kills the node any more when this process dies. */
  close(): void {
    this.guard.kill("SIGKILL");
  }
}

/** 128 + number for a death by signal. */
export function exitStatus(code: number | null, signal: NodeJS.Signals): number {
  return code ?? 128 + os.signals[signal];
}
