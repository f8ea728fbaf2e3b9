/** Probes for the kinds of maps that the programs use. */
import { u64Key } from "./codec.js";
import { HOOKS, type Hook } from "./hooks.js";
import { BpfMap } from "./maps.js";
import { withAttached, withMap, withProgram, type MapSpec } from "./probe-programs.js";
import { Failure, type Probe } from "./probe.js";

function mapProbe(name: string, since: string, create: (use: (map: number) => void) => void): Probe {
  return {
    name: `map_${name}`,
    since,
    run: () => {
      create(() => undefined);
      return undefined;
    },
  };
}

const MAP_OF_MAPS = 13;
const CGROUP_STORAGE = 19;
const PERCPU_CGROUP_STORAGE = 21;
const SK_STORAGE = 24;
const RINGBUF = 27;
const BPF_F_NO_PREALLOC = 1;
const RING_SIZE = 65536;

const SOCKET_STORAGE: MapSpec = {
  type: SK_STORAGE,
  keySize: 4,
  valueSize: 4,
  maxEntries: 0,
  flags: BPF_F_NO_PREALLOC,
  btf: true,
};

/** One value a cgroup, whichever hook asks: before 5.9 each attach type had its own and a map served one program. */
function storageProbe(name: string, type: number): Probe {
  const hooks = HOOKS.filter((hook) => hook.name === "bind4" || hook.name === "egress");
  return {
    name: `map_${name}`,
    since: "5.9",
    run: (site) => {
      withMap({ type, keySize: 8, valueSize: 8, maxEntries: 0 }, (storage) => {
        const nest = ([hook, ...rest]: Hook[], then: () => void): void => {
          if (!hook) {
            then();
            return;
          }
          withProgram({ ...hook, storage }, (program) => {
            withAttached(program, site.node().fd, hook.attachType, () => {
              nest(rest, then);
            });
          });
        };
        nest(hooks, () => {
          const map = new BpfMap(name, storage, 8);
          const key = u64Key(site.node().id);
          const value = type === CGROUP_STORAGE ? map.lookup(key) : map.lookupPerCpu(key);
          if (!value) throw new Failure("no-storage", "the cgroup's storage is not found by its id");
        });
      });
      return undefined;
    },
  };
}

export const MAP_PROBES: readonly Probe[] = [
  storageProbe("cgroup_storage", CGROUP_STORAGE),
  storageProbe("percpu_cgroup_storage", PERCPU_CGROUP_STORAGE),
  mapProbe("sk_storage", "5.2", (use) => {
    withMap(SOCKET_STORAGE, use);
  }),
  mapProbe("rings_by_cgroup", "5.8", (use) => {
    withMap({ type: RINGBUF, keySize: 0, valueSize: 0, maxEntries: RING_SIZE }, (inner) => {
      withMap({ type: MAP_OF_MAPS, keySize: 8, valueSize: 4, maxEntries: 16, inner }, use);
    });
  }),
];
