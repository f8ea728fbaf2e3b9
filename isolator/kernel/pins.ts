/**
 * Pins in bpffs: /sys/fs/bpf/bpf-isolator/INSTANCE/BUILD/ holds the programs and maps of one build. They are made in a
 * directory beside it and renamed into place, so that a process killed half-way leaves nothing that the next one takes
 * for whole.
 */
import { readdirSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import type { ProgramFds } from "./attach.js";
import { readMapLayout, type Layout } from "./btf.js";
import { decode, encode, u32Key, u64Key } from "./codec.js";
import { Epoch, EPOCH_MAPS } from "./epoch.js";
import type { ServiceMapName } from "./service-maps.js";
import { BpfMap } from "./maps.js";
import { BPFFS } from "./mounts.js";
import { errnoName, libbpf, libc } from "./native.js";
import { MAPS, PRIMER, type MapName } from "./contents.js";
import { layouts } from "./gen/layout.js";
import { buildId } from "./object.js";

/** Directory of an instance's pins. */
export function pinRoot(instance: string): string {
  return join(BPFFS, "bpf-isolator", instance);
}

/** File descriptors of what is pinned in one directory; all are closed again when one is missing. */
export class Pins {
  private readonly names: ReadonlySet<string>;
  private readonly fds: number[] = [];

  constructor(
    private readonly directory: string,
    private readonly instance: string,
  ) {
    this.names = new Set(list(directory));
  }

  /** @throws load-failed */
  get(name: string): number {
    const path = join(this.directory, name);
    const fd = libbpf().objectGet(path);
    if (fd < 0) {
      for (const open of this.fds) libc().close(open);
      throw new IsolatorError(
        "load-failed",
        `the pin ${path} cannot be opened (${errnoName(fd)}). ` +
          `Remove ${this.directory} when no container of instance ${this.instance} runs, and try again`,
      );
    }
    this.fds.push(fd);
    return fd;
  }

  /** Whether there is one of that name. */
  has(name: string): boolean {
    return this.names.has(name);
  }

  /** Every program that is pinned but the primer. @param needed those that must be there */
  programs(needed: readonly string[]): ProgramFds {
    const names = [...this.names].flatMap((name) => /^program_(.*)$/.exec(name)?.[1] ?? []);
    const all = new Set([...names, ...needed]);
    all.delete(PRIMER.name);
    return new Map([...all].map((name) => [name, this.get(`program_${name}`)]));
  }
}

/** What one build of the programs has pinned, this one or another: its programs, and maps with that build's layouts. */
export class PinnedBuild {
  private constructor(
    readonly build: string,
    readonly programs: ProgramFds,
    private readonly maps: Readonly<Record<"counters" | "policies", LaidOutMap>>,
    /** Of containers with rules for files; a build from before there were any has none. */
    private readonly files: Readonly<Record<"counts" | "policies", LaidOutMap>> | undefined,
    /** Of struct event, in that build's rings. */
    readonly eventLayout: Layout,
  ) {}

  /** @throws load-failed where its pins are not whole; layout-mismatch */
  static open(instance: string, build: string): PinnedBuild {
    const pins = new Pins(join(pinRoot(instance), build), instance);
    const programs = pins.programs([]);
    const map = (name: MapName, struct: string): LaidOutMap => {
      const fd = pins.get(`map_${name}`);
      const layout = readMapLayout(fd, struct);
      return { map: new BpfMap(name, fd, layout.size), layout };
    };
    const maps = { counters: map("counters", "counters"), policies: map("policies", "policy") };
    const files = pins.has("map_file_counts")
      ? { counts: map("file_counts", "counters"), policies: map("file_policies", "policy") }
      : undefined;
    // A ring has no types of its own; every other map is loaded with all of its object's.
    const eventLayout = readMapLayout(maps.counters.map.fd, "event");
    return new PinnedBuild(build, programs, maps, files, eventLayout);
  }

  /** As that build was compiled with: the kernel keeps it with the map. */
  get countersLayout(): Layout {
    return this.maps.counters.layout;
  }

  /** The kernel's id of the map of counters: builds that share their maps have the same. */
  get countersId(): number {
    return this.maps.counters.map.id;
  }

  /** A container's counters, one of each CPU, in countersLayout; undefined where it has none. */
  counters(cgroupId: bigint): Uint8Array[] | undefined {
    const values = this.maps.counters.map.lookupPerCpu(u64Key(cgroupId));
    const ofFiles = this.files?.counts.map.lookup(u64Key(cgroupId));
    return values && [...values, ...(ofFiles ? [ofFiles] : [])];
  }

  /** Takes a container's rules for files from the programs that are attached to no cgroup. */
  forgetFiles(cgroupId: bigint): void {
    this.files?.policies.map.delete(u64Key(cgroupId));
  }

  /** Changes some fields of a container's policy in the kernel. @returns false where it has none */
  changePolicy(cgroupId: bigint, changes: Readonly<Record<string, number>>): boolean {
    const change = ({ map, layout }: LaidOutMap): boolean => {
      const bytes = map.lookup(u64Key(cgroupId));
      if (bytes) map.update(u64Key(cgroupId), encode(layout, { ...decode(layout, bytes), ...changes }));
      return bytes !== undefined;
    };
    if (this.files) change(this.files.policies);
    return change(this.maps.policies);
  }

  close(): void {
    for (const fd of this.programs.values()) libc().close(fd);
    for (const { map } of [...Object.values(this.maps), ...Object.values(this.files ?? {})]) map.close();
  }
}

interface LaidOutMap {
  map: BpfMap;
  layout: Layout;
}

/**
 * Removes an instance's pins. Programs live on where they are attached; the caller holds the instance's lock and
 * knows that no container is left.
 */
export function unpin(instance: string): void {
  removePins(pinRoot(instance));
  try {
    rmdirSync(join(BPFFS, "bpf-isolator"));
  } catch {
    // Other instances have pins in it.
  }
}

/** Whether this build's programs are pinned for an instance. */
export function isPinned(instance: string): boolean {
  return exists(join(pinRoot(instance), buildId()));
}

/** Whether they are for any instance. */
export function isPinnedAnywhere(): boolean {
  return list(join(BPFFS, "bpf-isolator")).some(isPinned);
}

/** What the values of some maps are. Those of connections hold several, and are opened for this build alone. */
const STRUCT_OF = {
  policies: "policy",
  counters: "counters",
  port_owners: "port_owner",
  port_remaps: "port_remap_set",
} as const;

type OwnMap =
  | "connect_totals"
  | "connect_rules"
  | "connect_sets"
  | "connect_shares"
  | "bandwidth_rules"
  | "bandwidths"
  | "owner_classes"
  | "egress_hits"
  | "terminations"
  | "marking_sets"
  | "file_rules"
  | "file_policies"
  | "file_counts"
  | ServiceMapName;

function isOwn(name: keyof typeof STRUCT_OF | OwnMap): name is OwnMap {
  return !(name in STRUCT_OF);
}

/**
 * One map that is pinned for a build of the programs, or undefined where it is not, or has values of another layout than
 * this build's. The caller closes it.
 */
export function openPinnedMap(
  instance: string,
  build: string,
  name: keyof typeof STRUCT_OF | OwnMap,
): BpfMap | undefined {
  const fd = libbpf().objectGet(join(pinRoot(instance), build, `map_${name}`));
  if (fd < 0) return undefined;
  const struct = isOwn(name) ? undefined : STRUCT_OF[name];
  if (
    build !== buildId() &&
    !(struct && isDeepStrictEqual(readMapLayout(fd, struct), layouts.structs[struct]))
  ) {
    libc().close(fd);
    return undefined;
  }
  const map = new BpfMap(name, fd, MAPS[name]);
  if (EPOCH_MAPS.has(name)) map.epoch = pinnedEpoch(instance, build);
  return map;
}

/** That of a build's programs: opened for each write, which are few. A build from before there was one has none. */
function pinnedEpoch(instance: string, build: string): Epoch {
  return new Epoch((value) => {
    const fd = libbpf().objectGet(join(pinRoot(instance), build, "map_egress_epoch"));
    if (fd < 0) return;
    const map = new BpfMap("egress_epoch", fd, MAPS.egress_epoch);
    try {
      map.update(u32Key(0), value);
    } finally {
      map.close();
    }
  });
}

/**
 * Maps that another build has pinned, where some structs of it are as this build's. The caller closes them.
 * @returns undefined where one is missing, or a struct is another
 */
export function openMapsOf<N extends MapName>(
  instance: string,
  build: string,
  names: readonly N[],
  structs: readonly (keyof typeof layouts.structs)[],
): ReadonlyMap<N, BpfMap> | undefined {
  const maps = new Map<N, BpfMap>();
  const close = (): void => {
    for (const map of maps.values()) map.close();
  };
  for (const name of names) {
    const fd = libbpf().objectGet(join(pinRoot(instance), build, `map_${name}`));
    if (fd < 0) {
      close();
      return undefined;
    }
    maps.set(name, new BpfMap(name, fd, MAPS[name]));
  }
  const [first] = maps.values();
  try {
    // Each map is loaded with all types of its object.
    if (
      first &&
      structs.every((name) => isDeepStrictEqual(readMapLayout(first.fd, name), layouts.structs[name]))
    )
      return maps;
  } catch (error) {
    // That build has no such struct.
    if (!(error instanceof IsolatorError)) throw error;
  }
  close();
  return undefined;
}

/** Builds of the programs that are pinned for an instance, other than this one. */
export function otherBuilds(instance: string): string[] {
  const own = buildId();
  return list(pinRoot(instance)).filter((name) => name !== own);
}

/** Removes the pins of one build, or what an interrupted load left. */
export function unpinBuild(instance: string, build: string): void {
  removePins(join(pinRoot(instance), build));
}

/** @throws load-failed */
export function exists(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw new IsolatorError("load-failed", `${path} cannot be read: ${messageOf(error)}`, error);
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}

/** Removes a directory of pins, two levels deep. Missing is fine. */
export function removePins(directory: string): void {
  for (const name of list(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) removePins(path);
    else unlinkSync(path);
  }
  if (exists(directory)) rmdirSync(directory);
}
