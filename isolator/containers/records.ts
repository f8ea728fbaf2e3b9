/**
 * What is on disk of each container: /run/bpf-isolator/INSTANCE/containers/KEY/ with
 *   lock         of a `run`: locked (flock) by the process that looks after the container, for as long as that lives
 *   record.json  the container, written to a temporary file and renamed
 *   config.pb    of an agent's: the ContainerConfig of its prepare(), as it came
 *   task.json    of an agent's: what its agent's API says of its tasks
 *   break-glass  see glass.ts
 * The directory is made before anything else of the container and removed after everything else, so that whatever is
 * left half done is found by it. All changes are made under the instance's lock.
 *
 * KEY is the names of the node's directories from the instance's root down, joined by ':'.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { TaskFacts } from "../config/facts.js";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { FileLock } from "../kernel/lock.js";
import { formatId, type ContainerId } from "./names.js";
import {
  isNewer,
  isRecord,
  isRecordKey,
  isTask,
  recordKey,
  type ContainerRecord,
  type Source,
} from "./record.js";

/** A record that this process may change. */
export interface HeldRecord {
  key: string;
  directory: string;
  /** Only of a `run`. */
  lock?: FileLock;
}

/** A process that was killed while it wrote has left this one. */
const TEMPORARY = "record.json.new";

export class Records {
  private readonly directory: string;

  /** @param stateDirectory of the instance */
  constructor(stateDirectory: string) {
    this.directory = join(stateDirectory, "containers");
  }

  /**
   * Reserves a name, and locks it for a `run`.
   * @throws name-taken
   */
  reserve(id: ContainerId, source: Source): HeldRecord {
    const key = recordKey(id);
    const directory = join(this.directory, key);
    try {
      this.makeDirectory(directory);
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw stateError(directory, error, id);
      const holder = this.read(key);
      throw new IsolatorError(
        "name-taken",
        `a container named ${formatId(id)} is running already${holder ? ` (process ${holder.pid})` : ""}: ` +
          "give this one another --name",
      );
    }
    if (source === "agent") return { key, directory };
    const lock = FileLock.try(join(directory, "lock"));
    if (!lock) throw new IsolatorError("busy", `${directory} is locked by another process`);
    return { key, directory, lock };
  }

  /** @throws EEXIST */
  private makeDirectory(directory: string): void {
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      mkdirSync(directory, { mode: 0o700 });
    }
  }

  /** Directory of a record. */
  pathOf(key: string): string {
    return join(this.directory, key);
  }

  /** The record of a container that another process of the daemon has made. */
  take(key: string): HeldRecord {
    return { key, directory: join(this.directory, key) };
  }

  /** Writes the record, whole or not at all. @throws state-failed */
  write(held: HeldRecord, record: ContainerRecord): void {
    const file = join(held.directory, "record.json");
    try {
      writeFileSync(join(held.directory, TEMPORARY), JSON.stringify(record), { mode: 0o600 });
      renameSync(join(held.directory, TEMPORARY), file);
    } catch (error) {
      throw stateError(file, error, record.id);
    }
  }

  /** @param config bytes of a ContainerConfig @throws state-failed */
  writeConfig(held: HeldRecord, id: ContainerId, config: Uint8Array): void {
    const file = join(held.directory, "config.pb");
    try {
      writeFileSync(file, config, { mode: 0o600 });
    } catch (error) {
      throw stateError(file, error, id);
    }
  }

  /** The bytes that writeConfig() was given, or undefined where there are none. */
  readConfig(key: string): Uint8Array | undefined {
    try {
      return readFileSync(join(this.directory, key, "config.pb"));
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw stateError(join(this.directory, key), error);
    }
  }

  /** What the agent says of a container's tasks. @throws state-failed */
  writeTask(key: string, task: TaskFacts): void {
    const file = join(this.directory, key, "task.json");
    try {
      writeFileSync(`${file}.new`, JSON.stringify(task), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      throw stateError(file, error);
    }
  }

  /** What writeTask() was given; undefined where there is nothing, or it is damaged. */
  readTask(key: string): TaskFacts | undefined {
    const file = join(this.directory, key, "task.json");
    // Most have none, and an exception costs ten times what this does.
    if (!existsSync(file)) return undefined;
    try {
      const task: unknown = JSON.parse(readFileSync(file, "utf8"));
      return isTask(task) ? task : undefined;
    } catch {
      return undefined;
    }
  }

  /** Removes the record; the name is free. @throws state-failed */
  remove(held: HeldRecord): void {
    try {
      removeDirectory(held.directory);
    } catch (error) {
      throw stateError(held.directory, error);
    }
    held.lock?.release();
  }

  /** Whether there is a record and it is an agent's, also where it is damaged. */
  isAgents(key: string): boolean {
    return this.keys().includes(key) && !this.isRuns(key);
  }

  /** Keys of all containers, parents before children, whole records or not. */
  keys(): string[] {
    try {
      const entries = readdirSync(this.directory, { withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory() && isRecordKey(entry.name))
        .map(({ name }) => name)
        .sort();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return [];
      throw error;
    }
  }

  /** Whether a container is of a `run`, as far as can be told from its record or its lock. @param record what read() gave */
  isRuns(key: string, record = this.read(key)): boolean {
    return record ? record.source === "run" : existsSync(join(this.directory, key, "lock"));
  }

  /** All records that are whole. */
  list(): ContainerRecord[] {
    return this.entries().flatMap(([, record]) => record ?? []);
  }

  /** Every key, parents before children, with what read() gives of it. @throws state-failed as read() */
  entries(): [key: string, record: ContainerRecord | undefined][] {
    return this.keys().map((key) => [key, this.read(key)]);
  }

  /** A record by its key; undefined where it is not whole. @throws state-failed where it is a newer version's */
  read(key: string): ContainerRecord | undefined {
    const file = join(this.directory, key, "record.json");
    try {
      const record: unknown = JSON.parse(readFileSync(file, "utf8"));
      if (isNewer(record)) {
        throw new IsolatorError(
          "state-failed",
          `${file} was written by a newer version of bpf-isolator: use that one, or end its containers first`,
        );
      }
      return isRecord(record) ? record : undefined;
    } catch (error) {
      // Missing: its process was killed before it wrote one, or is about to. Damaged: as good as missing.
      if (["ENOENT", "ENOTDIR", "EISDIR"].includes(systemCode(error) ?? "") || error instanceof SyntaxError)
        return undefined;
      if (error instanceof IsolatorError) throw error;
      throw stateError(file, error);
    }
  }

  /**
   * Takes over the records of processes of `run` that are gone. Those of an agent's containers stay: their daemon may be
   * away, they are not. Where neither the record nor a lock says whose it is, `unknown` is true.
   */
  abandoned(): { held: HeldRecord; record: ContainerRecord | undefined; unknown: boolean }[] {
    return this.keys().flatMap((key) => {
      const directory = join(this.directory, key);
      const record = this.read(key);
      if (record?.source === "agent") return [];
      if (!existsSync(join(directory, "lock")))
        return [{ held: { key, directory }, record, unknown: !record }];
      const lock = FileLock.try(join(directory, "lock"));
      return lock ? [{ held: { key, directory, lock }, record, unknown: false }] : [];
    });
  }
}

/** Missing is fine. */
function removeDirectory(directory: string): void {
  try {
    // Files only: what rmSync() does to find out takes twice as long.
    for (const name of readdirSync(directory)) unlinkSync(join(directory, name));
    rmdirSync(directory);
  } catch {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What to do, by what the kernel says. */
const REMEDIES: Partial<Record<string, string>> = {
  ENOSPC: "make room on that file system",
  EDQUOT: "make room on that file system",
  EROFS: "mount that file system writable",
};

/** @param id of the container that it is about */
export function stateError(path: string, error: unknown, id?: ContainerId): IsolatorError {
  const whose = id ? `container ${formatId(id)}: ` : "";
  const remedy = REMEDIES[systemCode(error) ?? ""];
  const what = `${whose}${path} cannot be used: ${messageOf(error)}${remedy === undefined ? "" : `: ${remedy}`}`;
  return new IsolatorError("state-failed", what, error);
}
