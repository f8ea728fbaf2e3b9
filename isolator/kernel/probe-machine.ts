/** Probes for what does not ask for a trial: rights, mounts, files. */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { systemCode } from "../errors.js";
import { BPFFS, hasBpffs, requireCgroup2 } from "./mounts.js";
import { libbpf } from "./native.js";
import { Failure, requireRoot, type Detail, type Probe } from "./probe.js";

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

export const MACHINE_PROBES: readonly Probe[] = [
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
