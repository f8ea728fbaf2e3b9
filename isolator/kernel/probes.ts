/** Everything that a feature may need of the machine, each as a probe. features/needs.ts says who needs what. */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { systemCode } from "../errors.js";
import { u64Key } from "./codec.js";
import { HOOKS, type Hook } from "./hooks.js";
import { LSM_MAC, MACHINE_HOOKS } from "./machine-hooks.js";
import { loadMachine } from "./load.js";
import { activeSecurityModules, kernelOption } from "./machine.js";
import { BpfMap } from "./maps.js";
import { BPFFS, hasBpffs, requireCgroup2 } from "./mounts.js";
import { libbpf } from "./native.js";
import { withAttached, withLsmProgram, withMap, withProgram, type MapSpec } from "./probe-programs.js";
import { Failure, requireRoot, type Detail, type Probe, type ProbeSite } from "./probe.js";
import { endingWay, type EndingWay } from "./terminate.js";
import { runTask } from "./trial.js";

/** Hooks whose programs ask what an earlier program decided: bpf_get_retval(), since 6.1 in these. */
const WITH_RETVAL = /^cgroup\/(bind|connect|sendmsg|post_bind|sock_)/;

/** A program of the hook's own type loads, and attaches to a cgroup. */
export function hookProbe(hook: Hook): Probe {
  const retval = WITH_RETVAL.test(hook.section);
  return {
    name: `hook_${hook.name}`,
    since: hook.since,
    run: (site) => {
      withProgram({ ...hook, retval }, (program) => {
        withAttached(program, site.node().fd, hook.attachType, () => undefined);
      });
      return undefined;
    },
  };
}

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

const maps: Probe[] = [
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

/** What does not ask for a trial: rights, mounts, files. */
const machine: Probe[] = [
  {
    name: "root",
    since: null,
    run: () => {
      requireRoot();
      return undefined;
    },
  },
  {
    name: "libbpf",
    since: null,
    run: () => {
      libbpf();
      return undefined;
    },
  },
  {
    name: "cgroup2",
    since: "4.5",
    run: ({ mounts }) => {
      try {
        requireCgroup2(mounts);
      } catch (error) {
        // That it cannot be written is the next probe's.
        if (!(error instanceof Error && "code" in error && error.code === "cgroup2-read-only")) throw error;
      }
      return undefined;
    },
  },
  {
    name: "cgroup2_writable",
    since: null,
    run: (site) => {
      site.node();
      return undefined;
    },
  },
  {
    name: "cgroup_kill",
    since: "5.14",
    run: (site) => {
      if (existsSync(site.node().file("cgroup.kill"))) return undefined;
      throw new Failure("ENOENT", "there is no cgroup.kill: kernel 5.14 is the first that has it");
    },
  },
  { name: "bpffs", since: "4.4", run: ({ mounts }) => bpffs(hasBpffs(mounts)) },
  {
    name: "btf",
    since: "5.4",
    run: () => {
      if (existsSync("/sys/kernel/btf/vmlinux")) return undefined;
      throw new Failure(
        "no-btf",
        "there is no /sys/kernel/btf/vmlinux: this kernel was built without CONFIG_DEBUG_INFO_BTF",
      );
    },
  },
];

function bpffs(mounted: boolean): Detail | undefined {
  if (mounted) {
    try {
      accessSync(BPFFS, constants.W_OK);
    } catch (error) {
      if (systemCode(error) === "EROFS") {
        throw new Failure("bpffs-read-only", `${BPFFS} is read-only: mount -o remount,rw ${BPFFS}`);
      }
    }
    return undefined;
  }
  if (/\tbpf$/m.test(readFileSync("/proc/filesystems", "utf8"))) {
    return {
      code: "not-mounted",
      reason: `no bpffs is mounted at ${BPFFS}: run mounts one when it needs it`,
    };
  }
  throw new Failure("no-bpffs", "this kernel has no bpffs: it was built without CONFIG_BPF_SYSCALL");
}

/** The real thing: everything of the object loads, refuses and counts. */
const whole: Probe[] = [
  {
    name: "programs",
    since: "6.1",
    run: (site) => {
      site.programs();
      return undefined;
    },
  },
  {
    name: "enforcement",
    since: "6.1",
    run: (site) => {
      const { bind } = site.policedTask();
      if (bind === "EPERM") return undefined;
      throw new Failure(
        "not-enforced",
        `a bind() that must be EPERM gave ${bind}: the programs are attached, and the kernel does not run them`,
      );
    },
  },
  {
    name: "counting",
    since: "6.1",
    run: (site) => {
      const { connect, packets } = site.policedTask();
      if (packets > 0n) return undefined;
      if (connect !== "ok" && connect !== "ECONNREFUSED") {
        return {
          code: "not-tried",
          reason: `not tried: connect() over the loopback interface gave ${connect}`,
        };
      }
      throw new Failure(
        "not-counted",
        "a task's packets were not counted: the programs are attached, and the kernel does not run them",
      );
    },
  },
];

/** "bpf" is among the active modules, and the kernel has the hook. @throws Failure */
function requireLsm(hook: Pick<Hook, "name" | "attachType">): void {
  requireRoot();
  const modules = activeSecurityModules();
  if (modules && !modules.includes("bpf")) {
    throw new Failure(
      "lsm-not-active",
      `BPF is not among the active security modules (${modules.join(",")}): ` +
        `boot with lsm=${[...modules.filter((name) => name !== "capability"), "bpf"].join(",")} on the kernel's command line`,
    );
  }
  if (libbpf().vmlinuxBtfId(hook.name, hook.attachType) >= 0) return;
  if (kernelOption("CONFIG_BPF_LSM") !== "y")
    throw new Failure("no-bpf-lsm", "this kernel was built without CONFIG_BPF_LSM");
  throw new Failure("no-lsm-hook", `this kernel has no security hook ${hook.name} in its BTF`);
}

/** A program at the security hook of listen() refuses it to one cgroup only. */
function refuseListen(site: ProbeSite, hook: Hook): void {
  withLsmProgram(hook, 0, (program) => {
    const node = site.node();
    withAttached(program, node.fd, hook.attachType, () => {
      const { listen } = runTask(node, "listen");
      if (listen === "EPERM") return;
      throw new Failure(
        "not-enforced",
        `a listen() that must be EPERM gave ${listen}: add bpf to lsm= on the kernel's command line`,
      );
    });
  });
}

/** A hook of BPF LSM: a program loads and attaches, acts (shown at listen()), and the isolator's own is loaded. */
export function lsmProbe(hook: Hook): Probe {
  return {
    name: `lsm_${hook.name}`,
    since: hook.since,
    run: (site) => {
      requireLsm(hook);
      if (hook.name === "socket_listen") {
        refuseListen(site, hook);
      } else {
        withLsmProgram(hook, 1, (program) => {
          withAttached(program, site.node().fd, hook.attachType, () => undefined);
        });
      }
      if (!site.programs().has(hook.name))
        throw new Failure("not-loaded", `the program for ${hook.section} does not load on this kernel`);
      return undefined;
    },
  };
}

/** Programs on hooks of BPF LSM that are attached to no cgroup: those for files load. */
const filesProbe: Probe = {
  name: "lsm_files",
  since: "6.1",
  run: () => {
    for (const { hook, newer } of MACHINE_HOOKS)
      if (newer !== true) requireLsm({ name: hook, attachType: LSM_MAC });
    if (!loadMachine()) throw new Failure("not-loaded", "the programs for files do not load on this kernel");
    return undefined;
  },
};

const WAYS: Readonly<Record<EndingWay, string>> = {
  bpf_sock_destroy: "by bpf_sock_destroy() in a pass over the sockets",
  SOCK_DESTROY: "by SOCK_DESTROY over netlink: this kernel has no bpf_sock_destroy()",
};

/** What existing connections are ended with (terminate.ts). */
const ending: Probe[] = [
  {
    name: "end_connections",
    since: "4.9",
    run: () => {
      requireRoot();
      const way = endingWay();
      if (way === undefined) {
        throw new Failure(
          "no-sock-destroy",
          "this kernel has neither bpf_sock_destroy() (6.5) nor SOCK_DESTROY over netlink (CONFIG_INET_DIAG_DESTROY, " +
            "modules tcp_diag and udp_diag)",
        );
      }
      return { code: way, reason: WAYS[way] };
    },
  },
];

const LSM_PROBES = HOOKS.filter(({ lsm }) => lsm).map(lsmProbe);

export const PROBES: readonly Probe[] = [
  ...machine,
  ...HOOKS.filter(({ lsm, fullOf }) => !lsm && fullOf === undefined).map(hookProbe),
  ...maps,
  ...whole,
  ...ending,
  ...LSM_PROBES,
  filesProbe,
];
