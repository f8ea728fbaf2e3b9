/**
 * Names of instances and containers. They become names of directories, so they are strictly checked, and those that
 * Mesos allows and a directory does not are written otherwise there.
 */
import { createHash } from "node:crypto";
import { IsolatorError } from "../errors.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
/** bpffs keeps names with a dot for itself. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
/** Files of the kernel in every node. */
const RESERVED = /^(cgroup|cpu|cpuset|memory|io|pids|hugetlb|rdma|misc|irq|dmem)\./;
const MAX_INSTANCE = 64;
const MAX_CONTAINER = 128;
/** Bytes of a directory's name: four of them and their separators are one name too (record.ts). */
const MAX_DIRECTORY = 60;
const HASH_LENGTH = 32;

/**
 * A container's names from its root down; one name for a root container. An agent's are checked where they come in
 * (mesos/ids.ts), and may hold more than a person may give.
 */
export type ContainerId = readonly [string, ...string[]];

/** For a message: an id may be long, and hold anything. */
export function showName(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}...` : name);
}

function check(what: string, name: string, max: number, allowed: RegExp, characters: string): string {
  const fits = name.length > 0 && name.length <= max;
  if (fits && allowed.test(name) && !RESERVED.test(name)) return name;
  throw new IsolatorError(
    "bad-argument",
    `bad ${what} ${showName(name)}: give 1 to ${max} ${characters}, beginning with a letter or digit, and not like a file of cgroup v2`,
  );
}

/** @throws bad-argument */
export function checkInstanceName(name: string): string {
  return check("instance name", name, MAX_INSTANCE, INSTANCE, "letters, digits, '_' and '-'");
}

/** The name of a container that a person gives. @throws bad-argument */
export function checkContainerName(name: string): string {
  return check("container name", name, MAX_CONTAINER, NAME, "letters, digits, '_', '.' and '-'");
}

/** "root.child", as Mesos writes it. */
export function formatId(id: ContainerId): string {
  return id.join(".");
}

/**
 * Name of the directory of one level of an id: the name itself where that is short and plain, else its beginning and a
 * hash, after a '~', which no plain name has.
 */
export function directoryName(name: string): string {
  if (name.length <= MAX_DIRECTORY && NAME.test(name) && !RESERVED.test(name)) return name;
  const plain = name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, MAX_DIRECTORY - HASH_LENGTH - 1);
  return `${plain}~${createHash("sha256").update(name).digest("hex").slice(0, HASH_LENGTH)}`;
}
