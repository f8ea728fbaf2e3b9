/**
 * What is on disk of each container: /run/bpf-isolator/INSTANCE/containers/ID/ with
 *   lock         locked (flock) by the process that looks after the container, for as long as that lives
 *   record.json  the container, written to a temporary file and renamed
 * The directory is made before anything else of the container and removed after everything else, so that whatever is
 * left half done is found by it. All changes are made under the instance's lock.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import type { Policy } from "../features/policy.js";
import { FileLock } from "../kernel/lock.js";
import { formatId, type ContainerId } from "./names.js";

const VERSION = 1;
/** Stands between the names of a nested container's directory; no name has it. */
const SEPARATOR = ":";

export interface ContainerRecord {
  version: typeof VERSION;
  id: ContainerId;
  /** Path of the cgroup node. */
  cgroup: string;
  /** cgroup ids from the root container down to this one, decimal. */
  chain: string[];
  policy: Policy;
  /** Build of the programs that are attached to it (buildId()). */
  build: string;
  /** Process that looks after it. */
  pid: number;
  /** Seconds since the epoch. */
  started: number;
}

/** A record that this process holds the lock of. */
export interface HeldRecord {
  id: ContainerId;
  directory: string;
  lock: FileLock;
}

export class Records {
  private readonly directory: string;

  /** @param stateDirectory of the instance */
  constructor(stateDirectory: string) {
    this.directory = join(stateDirectory, "containers");
  }

  /**
   * Reserves a name and locks it.
   * @throws name-taken
   */
  reserve(id: ContainerId): HeldRecord {
    const directory = join(this.directory, id.join(SEPARATOR));
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw stateError(directory, error);
      const holder = this.read(id.join(SEPARATOR));
      throw new IsolatorError(
        "name-taken",
        `a container named ${formatId(id)} is running already${holder ? ` (process ${holder.pid})` : ""}: ` +
          "give this one another --name",
      );
    }
    const lock = FileLock.try(join(directory, "lock"));
    if (!lock) throw new IsolatorError("busy", `${directory} is locked by another process`);
    return { id, directory, lock };
  }

  /** Writes the record, whole or not at all. @throws state-failed */
  write(held: HeldRecord, record: ContainerRecord): void {
    const file = join(held.directory, "record.json");
    try {
      writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      throw stateError(file, error);
    }
  }

  /** Removes the record; the name is free. */
  remove(held: HeldRecord): void {
    rmSync(held.directory, { recursive: true, force: true });
    held.lock.release();
  }

  /** Ids of all containers, whole records or not. */
  ids(): ContainerId[] {
    return this.names().map((name) => name.split(SEPARATOR) as [string, ...string[]]);
  }

  /** All records that are whole. */
  list(): ContainerRecord[] {
    return this.names().flatMap((name) => this.read(name) ?? []);
  }

  /** Takes over the records whose process is gone, whole or not. */
  abandoned(): { held: HeldRecord; record: ContainerRecord | undefined }[] {
    return this.names().flatMap((name) => {
      const directory = join(this.directory, name);
      const lock = FileLock.try(join(directory, "lock"));
      const id = name.split(SEPARATOR) as [string, ...string[]];
      return lock ? [{ held: { id, directory, lock }, record: this.read(name) }] : [];
    });
  }

  private names(): string[] {
    try {
      const entries = readdirSync(this.directory, { withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
        .sort();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return [];
      throw error;
    }
  }

  private read(name: string): ContainerRecord | undefined {
    const file = join(this.directory, name, "record.json");
    try {
      const record: unknown = JSON.parse(readFileSync(file, "utf8"));
      return isRecord(record) ? record : undefined;
    } catch (error) {
      // Missing: its process was killed before it wrote one, or is about to. Damaged: as good as missing.
      if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "") || error instanceof SyntaxError)
        return undefined;
      throw stateError(file, error);
    }
  }
}

/** Whether it has what the sweep and other runs rely on. */
function isRecord(value: unknown): value is ContainerRecord {
  if (typeof value !== "object" || value === null) return false;
  const { version, id, chain, build, policy } = value as Partial<Record<keyof ContainerRecord, unknown>>;
  const isList = (list: unknown): boolean =>
    Array.isArray(list) && list.every((item) => typeof item === "string");
  return (
    version === VERSION &&
    isList(id) &&
    isList(chain) &&
    typeof build === "string" &&
    typeof policy === "object"
  );
}

function stateError(path: string, error: unknown): IsolatorError {
  return new IsolatorError("state-failed", `${path} cannot be written: ${messageOf(error)}`, error);
}
