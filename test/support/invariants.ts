/** What must be true whenever a daemon has just started: list, nodes, records and the table of ports say the same. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { decode } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { cgroupRoot, CgroupNode, children } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { openPinnedMap } from "../../isolator/kernel/pins.js";
import { bpf_isolator } from "../../isolator/mesos/messages.js";
import type { CrashDaemon, Summary } from "./crash-daemon.js";
import { until } from "./wait.js";

const { State } = bpf_isolator.ContainerSummary;

function nodesBelow(path: string, above: readonly string[] = []): string[] {
  return children(path).flatMap((child) => {
    const name = [...above, child.slice(path.length + 1)];
    return name[0] === ".guards" ? [] : [name.join("."), ...nodesBelow(child, name)];
  });
}

/** Port → cgroup id of its owner, of all that have one. */
function ownersOf(instance: string, build: string): Map<number, bigint> {
  const table = openPinnedMap(instance, build, "port_owners");
  assert(table);
  const { size } = layouts.structs.port_owner;
  const values = table.lookupAll();
  const owners = Array.from({ length: values.length / size }, (_, port) => port).flatMap(
    (port): [number, bigint][] => {
      const id = decode(layouts.structs.port_owner, values.subarray(port * size, (port + 1) * size))
        .chain.filter((each) => each !== 0n)
        .at(-1);
      return id === undefined ? [] : [[port, id]];
    },
  );
  table.close();
  return new Map(owners);
}

function expectedOwners(list: ReadonlyMap<string, Summary>): Map<number, bigint> {
  const owners = new Map<number, bigint>();
  // Parents before children: the innermost has the last word.
  for (const { ports = [], cgroup = "" } of [...list.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const id = CgroupNode.open(cgroup)?.id ?? 0n;
    for (const { begin, end } of ports) {
      for (let port = Number(begin); port <= Number(end); port++) owners.set(port, id);
    }
  }
  return owners;
}

function sorted(owners: ReadonlyMap<number, bigint>): string[] {
  return [...owners].sort(([a], [b]) => a - b).map(([port, id]) => `${port}: ${id}`);
}

/** @param build whose table of ports is in use; none: one of other layouts, which is not read here */
export async function assertConsistent(
  daemon: CrashDaemon,
  instance: string,
  build?: string,
): Promise<Map<string, Summary>> {
  let list = await daemon.list();
  await until(async () => {
    list = await daemon.list();
    return [...list.values()].every(({ state }) => state !== State.CLEANING);
  }, "what was on its way out is gone");
  const names = [...list.keys()].sort();
  assert.deepEqual(nodesBelow(cgroupRoot(requireCgroup2(), instance)).sort(), names, "nodes and list");
  const records = readdirSync(join(STATE_ROOT, instance, "containers"));
  assert.deepEqual(records.map((key) => key.replaceAll(":", ".")).sort(), names, "records and list");
  if (build !== undefined)
    assert.deepEqual(sorted(ownersOf(instance, build)), sorted(expectedOwners(list)), "table of ports");
  return list;
}
