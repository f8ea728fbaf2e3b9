/**
 * What is costly to make and the same in every run: unpacked kernels and base images. An entry is made in a temporary
 * directory and renamed into place, so it is whole or absent; its name says what went into it, so it is never changed.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { FileLock } from "../../isolator/kernel/lock.js";
import { say } from "./tools.js";

const UNUSED_MS = 3 * 24 * 3600 * 1000;
const RUNS_KEPT = 40;
const BUILD_TIMEOUT_MS = 300_000;

export class Cache {
  /** @param root made if need be; $XDG_CACHE_HOME/bpf-isolator/vm unless given */
  constructor(
    readonly root = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "bpf-isolator/vm"),
  ) {
    mkdirSync(join(root, "runs"), { recursive: true });
  }

  /**
   * Path of the entry `key`, made by `make` in an empty directory if it is not there. Two runs at once make it once: the
   * second waits.
   */
  async provide(key: string, make: (temporary: string) => Promise<void>): Promise<string> {
    const path = join(this.root, key);
    if (this.use(path)) return path;
    const lock = await this.lock();
    const temporary = join(this.root, `tmp-${process.pid}`);
    try {
      if (this.use(path)) return path;
      this.prune();
      mkdirSync(temporary);
      await make(temporary);
      renameSync(temporary, path);
      return path;
    } finally {
      rmSync(temporary, { recursive: true, force: true });
      lock.release();
    }
  }

  /** A new directory for the files of one boot. Logs of the last boots stay; older ones go. */
  makeRun(name: string): string {
    const runs = join(this.root, "runs");
    // Names start with the time: their order is that of age.
    for (const old of readdirSync(runs).sort().slice(0, -RUNS_KEPT))
      rmSync(join(runs, old), { recursive: true, force: true });
    const stamp = new Date().toISOString().replaceAll(/[-:]/g, "").replace("T", "-").replace("Z", "");
    const path = join(runs, `${stamp}-${name}-${process.pid}`);
    mkdirSync(path);
    return path;
  }

  private async lock(): Promise<FileLock> {
    const path = join(this.root, "lock");
    const lock = FileLock.try(path);
    if (lock !== undefined) return lock;
    say("cache", "another run is filling it: waiting");
    return FileLock.acquire(path, BUILD_TIMEOUT_MS);
  }

  /** Whether the entry is there; marks it as used now. */
  private use(path: string): boolean {
    if (!existsSync(path)) return false;
    const now = new Date();
    utimesSync(path, now, now);
    return true;
  }

  /** Removes entries that nobody used for three days, and what killed runs left. The lock is held: no tmp- is alive. */
  private prune(): void {
    for (const name of readdirSync(this.root)) {
      if (!/^(tmp|kernel|base)-/.test(name)) continue;
      const path = join(this.root, name);
      const unused = Date.now() - statSync(path).mtimeMs > UNUSED_MS;
      if (unused || name.startsWith("tmp-")) rmSync(path, { recursive: true, force: true });
    }
  }
}
