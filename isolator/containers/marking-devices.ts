/**
 * Network devices on which packets get the right DSCP as they leave (`marking_devices`). The program stays on a device
 * through restarts of the daemon, as those on containers do; which devices have it is in a file of the instance.
 */
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../errors.js";
import { ensureOnDevice, removeFromDevice } from "../kernel/devices.js";

/** In the instance's state directory: names, one a line. */
export const DEVICES_FILE = "marking-devices";
/** ms between two looks: a device may come later, or be made anew. */
const INTERVAL = 10_000;

/** Handle of an instance's filters. */
function handleOf(instance: string): number {
  return (createHash("sha256").update(instance).digest().readUInt32BE() | 1) >>> 0;
}

function readNames(stateDirectory: string): string[] {
  try {
    return readFileSync(join(stateDirectory, DEVICES_FILE), "utf8")
      .split("\n")
      .filter((name) => name !== "");
  } catch {
    return [];
  }
}

interface Place {
  readonly name: string;
  readonly stateDirectory: string;
}

/** Takes the programs of an instance that ends off all devices. What cannot be taken off rewrites nothing any more. */
export function leaveDevices({ name, stateDirectory }: Place): void {
  for (const device of readNames(stateDirectory)) {
    try {
      removeFromDevice(device, handleOf(name));
    } catch {
      // The container programs that it waits for are gone.
    }
  }
}

export class MarkingDevices {
  private readonly timer: NodeJS.Timeout;
  private names: readonly string[] = [];
  /** What was told of a device; told again when it changes. */
  private readonly told = new Map<string, string>();

  /**
   * @param program file descriptor of the program now
   * @param warn gets what an operator must know
   */
  constructor(
    private readonly instance: Place,
    private readonly program: () => number,
    private readonly warn: (message: string) => void,
  ) {
    this.timer = setInterval(() => {
      this.look();
    }, INTERVAL).unref();
  }

  /** @param names of the devices that are to have it; others lose it */
  use(names: readonly string[]): void {
    const { name, stateDirectory } = this.instance;
    for (const device of readNames(stateDirectory)) {
      if (names.includes(device)) continue;
      try {
        removeFromDevice(device, handleOf(name));
      } catch (error) {
        this.warn(messageOf(error));
      }
    }
    this.names = names;
    const file = join(stateDirectory, DEVICES_FILE);
    try {
      if (names.length > 0)
        writeFileSync(file, names.map((device) => `${device}\n`).join(""), { mode: 0o600 });
      else rmSync(file, { force: true });
    } catch (error) {
      this.warn(`${file} cannot be written: ${messageOf(error)}`);
    }
    this.look();
  }

  private look(): void {
    for (const device of this.names) {
      const problem = this.problemOf(device);
      if (problem !== undefined && this.told.get(device) !== problem) this.warn(problem);
      if (problem === undefined) this.told.delete(device);
      else this.told.set(device, problem);
    }
  }

  private problemOf(device: string): string | undefined {
    try {
      if (ensureOnDevice(this.program(), device, handleOf(this.instance.name))) return undefined;
      return `marking_devices names ${device}, and there is no such network device: nothing is rewritten there until there is`;
    } catch (error) {
      return messageOf(error);
    }
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
