/**
 * Rules for files in the kernel's maps. Containers with the same rules share a set of entries, which is made with the first
 * of them and taken away with the last. What a path led to once stays ruled for as long as the set is there: a task may
 * have moved a directory above it.
 */
import { closeSync, openSync } from "node:fs";
import { IsolatorError } from "../errors.js";
import {
  FILE_MODES,
  FILE_VERDICTS,
  fileKey,
  fileSet,
  fileSetNumber,
  filterOf,
  NO_FILES,
  type FileFilter,
  type FilesPolicy,
} from "../features/files.js";
import type { Policy } from "../features/policy.js";
import { decode, encode, u32Key, u64Key } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { identify } from "../kernel/identify.js";
import type { BpfMap } from "../kernel/maps.js";
import type { Programs } from "../kernel/programs.js";
import { inodeKey, resolveRules, type RuledInode } from "./file-paths.js";
import { PathWatch } from "./file-watch.js";

const KEY = layouts.structs.file_key;
const POLICY = layouts.structs.policy;
/**
 * Inodes of a set that paths led to once and do not any more, at most: a task that moves directories to and fro makes many.
 * The oldest go first, but those from before this process had the set never: what a task has kept away is among them.
 */
const MAX_LEFT = 4096;

/** Entries of a set that are in the kernel. */
function readSet(map: BpfMap, set: bigint): Map<string, RuledInode> {
  const found = new Map<string, RuledInode>();
  for (const bytes of map.keys(KEY.size)) {
    const key = decode(KEY, bytes);
    if (key.set !== set) continue;
    const value = map.lookup(bytes);
    const verdict = value && new DataView(value.buffer).getUint32(0, true);
    const mode = FILE_MODES.find((each) => FILE_VERDICTS[each] === verdict);
    if (mode) found.set(inodeKey(key), { ...key, mode });
  }
  return found;
}

/** Takes away what no container has any more. @param used numbers of the sets that are in use */
export function dropSets(map: BpfMap, used: ReadonlySet<bigint>): void {
  const unused = [...map.keys(KEY.size)].filter((bytes) => !used.has(decode(KEY, bytes).set));
  for (const bytes of unused) map.delete(bytes);
}

/** Rules of one set, kept up with what their paths lead to. */
class FileRuleSet {
  readonly users = new Set<bigint>();
  private readonly set: bigint;
  /** The oldest first. */
  private readonly inodes: Map<string, RuledInode>;
  /** Of them those that stay, whatever comes. */
  private lasting: ReadonlySet<string> = new Set();
  private readonly watch: PathWatch;
  missing: string[] = [];

  /**
   * @param maxLeft MAX_LEFT, or less
   * @param onChange called when paths may lead elsewhere: refresh() is to be called, under the instance's lock
   */
  constructor(
    private readonly policy: FilesPolicy,
    readonly programs: Programs,
    private readonly maxLeft: number,
    onChange: () => void,
  ) {
    this.set = fileSetNumber(policy);
    this.inodes = readSet(this.map, this.set);
    this.watch = new PathWatch(onChange);
    try {
      this.resolve();
      this.lasting = new Set(this.inodes.keys());
    } catch (error) {
      this.watch.close();
      throw error;
    }
  }

  private get map(): BpfMap {
    return this.programs.map("file_rules");
  }

  get filter(): FileFilter {
    return filterOf(this.inodes.values());
  }

  /** @returns whether there are others than before */
  private resolve(): boolean {
    const began = performance.now();
    const program = this.programs.call("files_identify");
    const { inodes, missing, directories } = resolveRules(this.policy.rules, (fds) => identify(program, fds));
    let changed = false;
    let written = false;
    for (const [key, inode] of inodes) {
      if (this.inodes.get(key)?.mode === inode.mode) continue;
      written = true;
      this.map.update(fileKey(this.set, inode), u32Key(FILE_VERDICTS[inode.mode]));
      changed ||= !this.inodes.has(key);
      this.inodes.set(key, inode);
    }
    if (changed) this.dropOldest(inodes);
    if (written) this.programs.forgetVerdicts();
    this.missing = missing;
    this.watch.update(directories, performance.now() - began);
    return changed;
  }

  /** @param current that paths lead to */
  private dropOldest(current: ReadonlyMap<string, RuledInode>): void {
    const left = [...this.inodes].filter(([key]) => !current.has(key) && !this.lasting.has(key));
    for (const [key, inode] of left.slice(0, Math.max(0, left.length - this.maxLeft))) {
      this.map.delete(fileKey(this.set, inode));
      this.inodes.delete(key);
    }
  }

  /** Looks again, and tells the policies of all that use it. Under the instance's lock. */
  refresh(): void {
    if (!this.resolve()) return;
    const { filter, programs } = this;
    for (const user of this.users) {
      for (const name of ["file_policies", "policies"] as const) {
        const bytes = programs.map(name).lookup(u64Key(user));
        const policy = bytes && decode(POLICY, bytes);
        if (policy?.file_set !== this.set) continue;
        programs.map(name).update(u64Key(user), encode(POLICY, { ...policy, file_filter: filter }));
      }
    }
    // What was found meanwhile was found by the old filters.
    programs.forgetVerdicts();
  }

  close(): void {
    this.watch.close();
  }
}

/**
 * @param what is the consequence, for the message
 * @throws kernel-lacks where a policy has rules for files and the kernel no BPF LSM
 */
export function requireFiles(programs: Programs, { files }: Policy, what: string): void {
  if (!files || (programs.has("file_open") && programs.loadForMachine())) return;
  throw new IsolatorError("kernel-lacks", `${what}: ${NO_FILES}`);
}

/** What a FileRules needs of its instance. */
export interface FileRulesHost {
  /** Directory of the containers' nodes. */
  root: string;
  locked<T>(change: () => Promise<T>): Promise<T>;
}

/** The rules for files of the containers that this process looks after. */
export class FileRules {
  private readonly sets = new Map<string, FileRuleSet>();

  constructor(
    private readonly host: FileRulesHost,
    private readonly maxLeft = MAX_LEFT,
  ) {}

  /**
   * Makes sure that a container's rules are in the kernel: before the policy that asks for them. Under the instance's lock.
   * @throws map-full, map-failed
   */
  open(programs: Programs, cgroupId: bigint, policy: FilesPolicy | undefined): void {
    const name = policy && fileSet(policy);
    for (const [other, set] of this.sets) {
      if (other !== name) this.leave(other, set, cgroupId);
    }
    if (!policy || name === undefined) return;
    this.tellRoot(programs);
    const key = u64Key(cgroupId);
    const counts = programs.map("file_counts");
    if (!counts.lookup(key)) counts.update(key, new Uint8Array(counts.valueSize));
    const set =
      this.sets.get(name) ??
      new FileRuleSet(policy, programs, this.maxLeft, () => {
        this.refresh(name);
      });
    this.sets.set(name, set);
    set.users.add(cgroupId);
  }

  /** Says which node the containers are in. */
  private tellRoot(programs: Programs): void {
    const fd = openSync(this.host.root, "r");
    try {
      programs.map("file_root").update(u32Key(0), u32Key(fd));
    } finally {
      closeSync(fd);
    }
  }

  private refresh(name: string): void {
    const refresh = (): Promise<void> => {
      this.sets.get(name)?.refresh();
      return Promise.resolve();
    };
    // Where it fails, the next change, or the next daemon, tries again.
    this.host.locked(refresh).catch((error: unknown) => {
      if (!(error instanceof IsolatorError)) throw error;
    });
  }

  private leave(name: string, set: FileRuleSet, cgroupId: bigint): void {
    set.users.delete(cgroupId);
    if (set.users.size > 0) return;
    set.close();
    this.sets.delete(name);
  }

  /** Paths of a container's rules that are not there: they are ruled from when they are. */
  missing(policy: FilesPolicy | undefined): string[] {
    return (policy && this.sets.get(fileSet(policy))?.missing) ?? [];
  }

  /** What a container's policy says of its rules, since open() for it. */
  filter(policy: FilesPolicy | undefined): FileFilter | undefined {
    return policy && this.sets.get(fileSet(policy))?.filter;
  }

  /** Whether no container of this process has rules. */
  get idle(): boolean {
    return this.sets.size === 0;
  }

  /** A container is gone. Under the instance's lock. */
  close(programs: Programs, cgroupId: bigint): void {
    for (const [name, set] of this.sets) this.leave(name, set, cgroupId);
    forgetFiles(programs, cgroupId);
  }
}

/** The maps that are needed; Programs is one. */
export interface FileMaps {
  map(name: "file_policies" | "file_counts"): BpfMap;
}

/** Takes away what there is of a container, but for the entries of its set. */
export function forgetFiles(maps: FileMaps, cgroupId: bigint): void {
  maps.map("file_policies").delete(u64Key(cgroupId));
  maps.map("file_counts").delete(u64Key(cgroupId));
}
