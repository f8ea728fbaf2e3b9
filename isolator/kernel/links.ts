/**
 * Programs that are attached to no cgroup (MACHINE_HOOKS): each by a link that is pinned beside the programs of its build,
 * and so outlives every process. Whoever removes the pin detaches the program.
 */
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError, systemCode } from "../errors.js";
import type { ProgramFds } from "./attach.js";
import { LSM_MAC, MACHINE_HOOKS } from "./machine-hooks.js";
import { errnoName, libbpf, libc } from "./native.js";

const PREFIX = "link_";

/** Names of the programs whose links are pinned in a directory. */
export function attachedToMachine(directory: string): string[] {
  try {
    return readdirSync(directory).flatMap((name) =>
      name.startsWith(PREFIX) ? name.slice(PREFIX.length) : [],
    );
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}

/**
 * Attaches what is not attached yet. Under the instance's lock. Safe to repeat after it was interrupted anywhere.
 * @param directory of the build's pins
 * @throws attach-failed, and then those that were attached before stay
 */
export function attachToMachine(directory: string, programs: ProgramFds): void {
  const there = new Set(attachedToMachine(directory));
  for (const { name, hook } of MACHINE_HOOKS) {
    const program = programs.get(name);
    if (program === undefined || there.has(name)) continue;
    const link = libbpf().linkCreate(program, 0, LSM_MAC, null);
    const result = link < 0 ? link : libbpf().objectPin(link, join(directory, `${PREFIX}${name}`));
    if (link >= 0) libc().close(link);
    if (result < 0) {
      throw new IsolatorError(
        "attach-failed",
        `the program for lsm/${hook}, which file rules need, cannot be attached (${errnoName(result)}): ` +
          "other tracing programs, or a live patch, may sit on this LSM hook. bpftool link shows them",
      );
    }
  }
}

/** Detaches all of a build's. Under the instance's lock. */
export function detachFromMachine(directory: string): void {
  for (const name of attachedToMachine(directory)) unlinkSync(join(directory, `${PREFIX}${name}`));
}
