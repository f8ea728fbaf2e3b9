/** Running the tools that set the path up: ip, tc, clang. */
import { execFileSync, spawnSync } from "node:child_process";

/** Runs a command to its end and gives its standard output. @throws Error with what it wrote to standard error */
export function run(command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const text = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new Error(`${[command, ...args].join(" ").slice(0, 200)}: ${text || String(error)}`, {
      cause: error,
    });
  }
}

/** Whether a command can be found and run at all. */
export function hasCommand(command: string): boolean {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;
}

/** argv that runs a command in the named network namespace. Not `ip netns exec`: that also remounts /sys, and the
 * cgroup2 mount below it is gone. */
export function inNamespace(namespace: string, ...command: string[]): string[] {
  return ["nsenter", `--net=/run/netns/${namespace}`, ...command];
}

/** Runs a shell script in the named network namespace; the first failing line ends it. */
export function script(namespace: string, lines: readonly string[]): void {
  const [command, ...args] = inNamespace(namespace, "sh", "-ec", lines.join("\n"));
  run(command ?? "", ...args);
}
