/**
 * `break-glass`: stops enforcing, or goes back to it, with the daemon alive or dead. What is switched off is written down
 * first (glass.ts), so that it stays off for containers that start and daemons that start; then the kernel is changed. Where
 * it cannot be written down, a daemon that lives is told what it would find there.
 */
import { join } from "node:path";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { encodePolicy, ENFORCEMENT_VALUES, hooksOf, NO_RING } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import { detachAll } from "../kernel/attach.js";
import { buildId } from "../kernel/object.js";
import { detachFromMachine } from "../kernel/links.js";
import { isPinned, otherBuilds, PinnedBuild, pinRoot } from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import { throughGlass, writeGlass, type GlassMode, type GlassWords } from "./glass.js";
import type { Instance } from "./instance.js";
import { formatId, type ContainerId } from "./names.js";
import { buildsOf, recordKey, type ContainerRecord } from "./record.js";
import { DAEMON_SLOT } from "./rings.js";

export interface GlassResult {
  /** Containers that were changed, parents before children. */
  containers: string[];
  /** What could not be done, with the container's name; "": of the daemon. */
  failures: GlassProblem[];
  /** What is done, and does not last since it could not be written down; "": of all to come. */
  unwritten: GlassProblem[];
}

export interface GlassProblem {
  container: string;
  reason: string;
}

/** What could not be written down of a container; of all where there is no id; no mode: back to the policy. */
export interface GlassWord {
  id?: ContainerId;
  mode?: GlassMode;
}

/**
 * Tells the daemon that lives what it cannot find in files. What it was told before is to be forgotten: of a container and
 * all that is nested in it, or of everything.
 * @throws IsolatorError where it does not answer or does not know the call
 */
export type TellDaemon = (id: ContainerId | undefined, words: readonly GlassWord[]) => Promise<void>;

/** What is to be said of it, and to whom. */
interface Order {
  mode: GlassMode | undefined;
  name: string | undefined;
  records: readonly ContainerRecord[];
}

/**
 * @param mode undefined: back to the policy
 * @param name of the container, which is meant with all that is nested in it; undefined: all of the instance, those to
 *   come included
 * @param tell called where a daemon lives
 * @throws no-container, state-failed
 */
export function breakGlass(
  instance: Instance,
  mode: GlassMode | undefined,
  name: string | undefined,
  tell: TellDaemon,
): Promise<GlassResult> {
  return instance.locked(async () => {
    const records = instance.records.list().filter(({ id }) => isMeant(formatId(id), name));
    if (name !== undefined && records.length === 0) {
      throw new IsolatorError(
        "no-container",
        `there is no container ${JSON.stringify(name.slice(0, 80))} in instance ${instance.name}: bpf-isolator list shows those that there are`,
      );
    }
    const result: GlassResult = { containers: [], failures: [], unwritten: [] };
    const order = { mode, name, records };
    const { words, problems } = writeDown(instance, order);
    // For what this process reads of it from here on.
    instance.unwrittenGlass.replace(undefined, words);
    for (const record of records) {
      const container = formatId(record.id);
      try {
        // Back means what holds for all: audit, say.
        apply(instance, record, name === undefined ? mode : (mode ?? instance.glass));
        result.containers.push(container);
      } catch (error) {
        result.failures.push({ container, reason: messageOf(error) });
      }
    }
    if (mode === "detach") detachUnused(instance);
    // After it: the kernel waits for no daemon that hangs, and none changes anything before it has the lock.
    await handOver(instance, order, words, problems, tell, result);
    if (problems.length === 0) tidy(instance);
    return result;
  }, true);
}

/** Where nothing can be removed it waits for the end of the next container. */
function tidy(instance: Instance): void {
  try {
    instance.removeIfUnused();
  } catch (error) {
    if (systemCode(error) !== "EROFS") throw error;
  }
}

/**
 * A container's own word counts before the instance's: back means back, also where one was switched off by itself.
 * @returns what could not be written, and why: the kernel is changed all the same
 */
function writeDown(
  instance: Instance,
  { mode, name, records }: Order,
): { words: GlassWords; problems: GlassProblem[] } {
  const words = new Map<string, GlassMode | undefined>();
  const problems: GlassProblem[] = [];
  const write = (key: string, container: string, directory: string, word: GlassMode | undefined): void => {
    try {
      writeGlass(directory, word);
    } catch (error) {
      words.set(key, word);
      problems.push({ container, reason: messageOf(error) });
    }
  };
  if (name === undefined) write("", "", instance.stateDirectory, mode);
  for (const { id } of records) {
    const key = recordKey(id);
    write(key, formatId(id), instance.records.pathOf(key), name === undefined ? undefined : mode);
  }
  return { words, problems };
}

/** Has a daemon that lives keep to what could not be written down, and says for how long that holds. */
async function handOver(
  instance: Instance,
  { name, records }: Order,
  words: GlassWords,
  problems: readonly GlassProblem[],
  tell: TellDaemon,
  { unwritten, failures }: GlassResult,
): Promise<void> {
  let lasts = "until a daemon starts";
  if (instance.isServed()) {
    const ids = new Map(records.map(({ id }) => [recordKey(id), id] as const));
    const list = [...words].map(([key, mode]) => {
      const id = ids.get(key);
      return { ...(id && { id }), ...(mode && { mode }) };
    });
    // The record of the outer one may be damaged.
    const id = name === undefined ? undefined : records[0]?.id.slice(0, name.split(".").length);
    try {
      await tell(id as ContainerId | undefined, list);
      lasts = "for as long as the daemon lives";
    } catch (error) {
      const why = messageOf(error);
      lasts = `until the daemon looks at itself, which is within 30 s: end it, and do this again, since it could not be told (${why})`;
      // One that does not know the call was never told anything.
      if (words.size === 0 && !(error instanceof IsolatorError && error.code === "unknown-call")) {
        const reason = `the daemon could not be told (${why}): it keeps to what it was told before that could not be written down, if there is such, until it starts again`;
        failures.push({ container: "", reason });
      }
    }
  }
  for (const { container, reason } of problems)
    unwritten.push({ container, reason: `it holds only ${lasts}: ${reason}` });
}

/** The programs that are attached to no cgroup are of use to containers with rules for files only. */
function detachUnused(instance: Instance): void {
  const users = instance.records
    .list()
    .filter(({ id, policy }) => policy.files && instance.glassOf(recordKey(id)) !== "detach");
  const used = new Set(users.flatMap((record) => buildsOf(record)));
  for (const build of [buildId(), ...otherBuilds(instance.name)])
    if (!used.has(build)) detachFromMachine(join(pinRoot(instance.name), build));
}

function isMeant(container: string, name: string | undefined): boolean {
  return name === undefined || container === name || container.startsWith(`${name}.`);
}

/** Makes the kernel do what is written down for one container. */
function apply(instance: Instance, record: ContainerRecord, mode: GlassMode | undefined): void {
  const node = CgroupNode.open(record.cgroup);
  if (!node) return;
  const name = formatId(record.id);
  const pinned: PinnedBuild[] = [];
  try {
    for (const build of buildsOf(record)) pinned.push(PinnedBuild.open(instance.name, build));
    if (mode === "detach") {
      node.withFd((fd) => {
        for (const { programs } of pinned) detachAll(programs, fd, name);
      });
      for (const each of pinned) each.forgetFiles(node.id);
      return;
    }
    const { enforce } = throughGlass(record.policy, mode);
    const [written] = pinned.map((each) =>
      each.changePolicy(node.id, { enforcement: ENFORCEMENT_VALUES[enforce] }),
    );
    // Of another build only what is there already can be changed: its programs are attached, unless it was detached.
    if (buildsOf(record).join() === buildId() && isPinned(instance.name))
      attachAgain(instance, record, node, mode, written ?? false);
  } finally {
    for (const each of pinned) each.close();
  }
}

/** For a container whose programs were taken away. */
function attachAgain(
  instance: Instance,
  record: ContainerRecord,
  node: CgroupNode,
  mode: GlassMode | undefined,
  written: boolean,
): void {
  const programs = Programs.open(instance.name);
  try {
    // From before, and nobody saw what was moved since.
    if (record.policy.files) programs.forgetVerdicts();
    node.withFd((fd) => {
      programs.takeOver(fd, formatId(record.id), hooksOf(record.policy), [], () => {
        if (written) return;
        const slot = record.source === "agent" ? DAEMON_SLOT : NO_RING;
        const policy = throughGlass(record.policy, mode);
        const value = encodePolicy(policy, node.id, record.chain.length - 1, slot);
        programs.map("policies").update(u64Key(node.id), value);
      });
    });
    // Whatever was written there is whole: the programs of the node go by it.
    const value = record.policy.files && programs.map("policies").lookup(u64Key(node.id));
    if (value) programs.map("file_policies").update(u64Key(node.id), value);
    if (value) programs.attachToMachine();
  } finally {
    programs.close();
  }
}
