/** Says when paths of file rules may lead elsewhere than before: by inotify, and by looking at what is mounted. */
import { readFileSync, statSync, watch, type FSWatcher } from "node:fs";
import { basename } from "node:path";

/** Between a first change and the look at it: what changes more comes with it. ms */
const SETTLE = 10;
/** Between two looks at the mounts. ms */
const MOUNTS = 2_000;
/**
 * Between two looks at everything: inotify tells nothing of network file systems, of a symlink that a symlink leads to, and
 * nothing at all where it has no room for more. ms
 */
const EVERYTHING = 30_000;
const WITHOUT_INOTIFY = 2_000;
/** Of the time, what looking may take: a task that changes directories all the time keeps nobody else waiting. */
const SHARE = 0.05;

interface Watched {
  watcher: FSWatcher;
  names: ReadonlySet<string>;
  /** Of the directory: another one may have its path by now. */
  inode: string;
}

function inodeOf(directory: string): string | undefined {
  const stats = statSync(directory, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

function mountsText(): string {
  return readFileSync("/proc/self/mountinfo", "latin1");
}

export class PathWatch {
  private readonly watched = new Map<string, Watched>();
  private readonly ticker: NodeJS.Timeout;
  private timer: NodeJS.Timeout | undefined;
  private mounts = mountsText();
  /** Directories that inotify has no room for. */
  private blind = false;
  private closed = false;
  /** Until the next look after a change, and when the last one was. ms */
  private pause = SETTLE;
  private looked = performance.now();

  /** @param onChange called a moment after a change; what changes meanwhile is told by another call */
  constructor(private readonly onChange: () => void) {
    this.ticker = setInterval(
      () => {
        const mounts = mountsText();
        const stale = performance.now() - this.looked > (this.blind ? WITHOUT_INOTIFY / 2 : EVERYTHING);
        if (mounts !== this.mounts || stale) this.changed();
        this.mounts = mounts;
      },
      Math.min(MOUNTS, WITHOUT_INOTIFY),
    ).unref();
  }

  /**
   * @param directories to be watched from now on, those that are there, with the names in them that matter
   * @param took what the look at them has taken, ms
   */
  update(directories: ReadonlyMap<string, ReadonlySet<string>>, took: number): void {
    this.blind = false;
    this.looked = performance.now();
    this.pause = Math.min(Math.max(SETTLE, took / SHARE), WITHOUT_INOTIFY);
    for (const [directory, { watcher }] of this.watched) {
      if (directories.has(directory)) continue;
      watcher.close();
      this.watched.delete(directory);
    }
    for (const [directory, names] of directories) this.add(directory, names);
  }

  private add(directory: string, names: ReadonlySet<string>): void {
    const known = this.watched.get(directory);
    try {
      const inode = inodeOf(directory);
      if (known && known.inode === inode) {
        known.names = names;
        return;
      }
      known?.watcher.close();
      this.watched.delete(directory);
      if (inode === undefined) return;
      const watcher = watch(directory, { persistent: false });
      watcher.on("change", (_, name) => {
        const text = name.toString();
        if (text === basename(directory) || this.watched.get(directory)?.names.has(text)) this.changed();
      });
      watcher.on("error", () => {
        this.changed();
      });
      this.watched.set(directory, { watcher, names, inode });
    } catch {
      // No more watches for this user (fs.inotify.max_user_watches), or no directory: looked at from time to time.
      this.blind = true;
    }
  }

  private changed(): void {
    if (this.closed) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.onChange();
    }, this.pause).unref();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.ticker);
    clearTimeout(this.timer);
    for (const { watcher } of this.watched.values()) watcher.close();
    this.watched.clear();
  }
}
