/**
 * `break-glass`: stops enforcing, or goes back to it, with the daemon alive or dead. What is switched off is written down
 * first (glass.ts), so that it stays off for containers that start and daemons that start; then the kernel is changed.
 */
import { join } from "node:path";
import { IsolatorError, messageOf } from "../errors.js";
import { encodePolicy, ENFORCEMENT_VALUES, hooksOf, NO_RING } from "../features/policy.js";
import { CgroupNode } from "../kernel/cgroup.js";
import { u64Key } from "../kernel/codec.js";
import { detachAll } from "../kernel/attach.js";
import { buildId } from "../kernel/object.js";
import { detachFromMachine } from "../kernel/links.js";
import { isPinned, otherBuilds, PinnedBuild, pinRoot } from "../kernel/pins.js";
import { Programs } from "../kernel/programs.js";
import { throughGlass, writeGlass, type GlassMode } from "./glass.js";
import type { Instance } from "./instance.js";
import { formatId } from "./names.js";
import { buildsOf, recordKey, type ContainerRecord } from "./records.js";
import { DAEMON_SLOT } from "./rings.js";

export interface GlassResult {
  /** Containers that were changed, parents before children. */
  containers: string[];
  /** What could not be done, with the container's name; "": of all to come. */
  failures: { container: string; reason: string }[];
}

/**
 * @param mode undefined: back to the policy
 * @param name of the container, which is meant with all that is nested in it; undefined: all of the instance, those to
 *   come included
 * @throws no-container, state-failed
 */
export function breakGlass(
  instance: Instance,
  mode: GlassMode | undefined,
  name: string | undefined,
): Promise<GlassResult> {
  return instance.locked(async () => {
    const records = instance.records.list().filter(({ id }) => isMeant(formatId(id), name));
    if (name !== undefined && records.length === 0) {
      throw new IsolatorError(
        "no-container",
        `there is no container ${JSON.stringify(name.slice(0, 80))} in instance ${instance.name}: bpf-isolator list shows those that there are`,
      );
    }
    const result: GlassResult = { containers: [], failures: [] };
    writeDown(instance, mode, name, records, result);
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
    instance.removeIfUnused();
    return Promise.resolve(result);
  });
}

/**
 * A container's own word counts before the instance's: back means back, also where one was switched off by itself. Where
 * there is no room for a word, the kernel is changed all the same, and it is told that this does not last.
 */
function writeDown(
  instance: Instance,
  mode: GlassMode | undefined,
  name: string | undefined,
  records: readonly ContainerRecord[],
  { failures }: GlassResult,
): void {
  const write = (container: string, directory: string, word: GlassMode | undefined): void => {
    try {
      writeGlass(directory, word);
    } catch (error) {
      const reason = `done, but only until its policy is next written (a daemon does within 30 s): ${messageOf(error)}`;
      failures.push({ container, reason });
    }
  };
  if (name === undefined) write("", instance.stateDirectory, mode);
  for (const { id } of records)
    write(formatId(id), instance.records.pathOf(recordKey(id)), name === undefined ? undefined : mode);
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
