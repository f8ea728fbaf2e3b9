/** Names of instances and containers. They become file names, so they are strictly checked. */
import { IsolatorError } from "../errors.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
/** bpffs keeps names with a dot for itself. */
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
/** Files of the kernel in every node. */
const RESERVED = /^(cgroup|cpu|cpuset|memory|io|pids|hugetlb|rdma|misc|irq|dmem)\./;
const MAX_INSTANCE = 64;
const MAX_CONTAINER = 128;

/** A container's names from its root down; one name for a root container. */
export type ContainerId = readonly [string, ...string[]];

function check(what: string, name: string, max: number, allowed: RegExp, characters: string): string {
  const fits = name.length > 0 && name.length <= max;
  if (fits && allowed.test(name) && !RESERVED.test(name)) return name;
  const shown = JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}...` : name);
  throw new IsolatorError(
    "bad-argument",
    `bad ${what} ${shown}: give 1 to ${max} ${characters}, beginning with a letter or digit, and not like a file of cgroup v2`,
  );
}

/** @throws bad-argument */
export function checkInstanceName(name: string): string {
  return check("instance name", name, MAX_INSTANCE, INSTANCE, "letters, digits, '_' and '-'");
}

/** @throws bad-argument */
export function checkContainerId(id: ContainerId): ContainerId {
  for (const name of id)
    check("container name", name, MAX_CONTAINER, NAME, "letters, digits, '_', '.' and '-'");
  return id;
}

/** "root.child", as Mesos writes it. */
export function formatId(id: ContainerId): string {
  return id.join(".");
}
