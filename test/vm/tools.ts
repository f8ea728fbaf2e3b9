/** What the lab's files share: progress lines, other programs, and the two kinds of failure. */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { getPriority, setPriority } from "node:os";
import { delimiter, join } from "node:path";

/** This machine cannot give that VM, through no fault of the project: the test is skipped, and says why. */
export class VmUnavailable extends Error {
  override readonly name = "VmUnavailable";
}

/** The VM did not do its work: a panic, a hang, a qemu that would not start. The message ends with the console's tail. */
export class VmFailure extends Error {
  override readonly name = "VmFailure";
}

/** The emulated machine itself failed: what was asked of it says nothing about the project. */
export class VmMachineFault extends VmFailure {}

/** A progress line, on stderr: stdout is for what the guest prints. */
export function say(subject: string, text: string): void {
  process.stderr.write(`vm ${subject}: ${text}\n`);
}

/** Has a process that was just started, and what it will start, give way to what this one starts. @param nice steps, as nice(1)'s */
export function giveWay(pid: number, nice: number): void {
  if (nice > 0) setPriority(pid, Math.min(19, getPriority() + nice));
}

/** Time since `started` (ms, Date.now()) for a progress line. */
export function seconds(started: number): string {
  return `${((Date.now() - started) / 1000).toFixed(1)} s`;
}

/** Path of a program, also where root's PATH lacks the sbin directories; undefined when there is none. */
export function findTool(name: string): string | undefined {
  const directories = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/sbin",
    "/usr/bin",
    "/bin",
  ];
  return directories
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** @throws Error that names the Debian package to install */
export function requireTool(name: string, debianPackage: string): string {
  const path = findTool(name);
  if (path === undefined) {
    throw new Error(
      `${name} is missing: isolator/setup/setup.sh test installs it (package ${debianPackage})`,
    );
  }
  return path;
}

/**
 * Runs a program to its end.
 * @param options.env added to this process's environment
 * @returns its stdout
 * @throws Error with the last lines of stderr
 */
export function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const env = { ...process.env, ...options.env };
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd: options.cwd, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new Error(`${command} ${args.join(" ")}: ${lastLines(stderr, 5) || error.message}`, {
            cause: error,
          }),
        );
    });
  });
}

/** The last `count` lines that say something. Carriage returns, as serial consoles send them, are dropped. */
export function lastLines(text: string, count: number): string {
  const lines = text.replaceAll("\r", "").split("\n");
  return lines
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n");
}
