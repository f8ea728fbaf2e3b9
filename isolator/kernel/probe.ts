/**
 * Probes as data: each has a name, the first kernel that has what it looks for, and a function that tries it. What it
 * found is kept for the life of the process. The list is in probes.ts.
 */
import { constants, release } from "node:os";
import { IsolatorError } from "../errors.js";
import { isInitialUserNamespace, kernelIsAtLeast, missingCapabilities } from "./machine.js";
import { readMounts, requireCgroup2, type Mount } from "./mounts.js";
import { errnoName } from "./native.js";
import { ProbeNode } from "./probe-node.js";
import { Refused } from "./probe-programs.js";
import { Programs } from "./programs.js";
import { tryTask, type Trial } from "./trial.js";

export interface Detail {
  /** For scripts: an errno's name ("EPERM"), or a stable name as IsolatorError has them ("no-cgroup2"). */
  code: string;
  /** For people: why, and what to do about it where something can be done. */
  reason: string;
}

export interface ProbeResult {
  name: string;
  ok: boolean;
  /** First kernel that has it, or null where that is no matter of the kernel's version. */
  since: string | null;
  /** Always there when it failed; with ok, something worth knowing. */
  detail: Detail | null;
}

export interface Probe {
  name: string;
  since: string | null;
  /** Returns when it works, maybe with a remark. @throws Failure, Refused, IsolatorError when it does not */
  run: (site: ProbeSite) => Detail | undefined;
}

/** What a probe throws when it knows the reason itself. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    reason: string,
  ) {
    super(reason);
  }
}

/** What a process must be to load programs. @throws Failure */
export function requireRoot(): void {
  const missing = missingCapabilities();
  if (process.geteuid?.() !== 0) {
    throw new Failure(
      "not-root",
      "this process is not root, so nothing can be tried: run this with sudo for the rest",
    );
  }
  if (!isInitialUserNamespace()) {
    throw new Failure(
      "user-namespace",
      "this process is root of a user namespace only, not of the machine: run this outside of it",
    );
  }
  if (missing.length > 0) {
    throw new Failure(
      "no-capability",
      `this process is root but lacks ${missing.join(", ")}: give it those (in a container: --privileged or --cap-add)`,
    );
  }
}

/** What probes share for one round: made when first asked for, gone when the round is over. */
export class ProbeSite {
  readonly mounts: Mount[] = readMounts();
  private madeNode: ProbeNode | undefined;
  private loaded: Programs | undefined;
  private trial: Trial | undefined;

  /** A cgroup node to attach to. @throws Failure, no-cgroup2, cgroup2-read-only, cgroup-failed */
  node(): ProbeNode {
    if (this.madeNode) return this.madeNode;
    requireRoot();
    return (this.madeNode = ProbeNode.create(requireCgroup2(this.mounts)));
  }

  /** The real programs and maps, not pinned. @throws what Programs.trial() throws */
  programs(): Programs {
    if (this.loaded) return this.loaded;
    requireRoot();
    return (this.loaded = Programs.trial());
  }

  /** What a task meets under the real programs. In a node of its own, which takes the programs with it. */
  policedTask(): Trial {
    if (this.trial) return this.trial;
    const programs = this.programs();
    const node = ProbeNode.create(requireCgroup2(this.mounts));
    try {
      return (this.trial = tryTask(node, programs));
    } finally {
      node.remove();
    }
  }

  close(): void {
    this.loaded?.close();
    this.madeNode?.remove();
    this.loaded = this.madeNode = this.trial = undefined;
  }
}

const { EPERM, EINVAL, ENOENT, EOPNOTSUPP } = constants.errno;
/** The kernel's own, with no name in libc. */
const ENOTSUPP = 524;
const UNKNOWN_TO_KERNEL = [EINVAL, ENOENT, EOPNOTSUPP, ENOTSUPP];

/** Why the kernel refused, as far as that can be known. */
function explain({ step, errno }: Refused, since: string | null): Detail {
  const code = errno === ENOTSUPP ? "ENOTSUPP" : errnoName(errno);
  const why = (): string => {
    if (since !== null && !kernelIsAtLeast(since)) {
      return `kernel ${since} is the first that has it, and this is ${release()}`;
    }
    // Only hooks of BPF LSM load and then have no room.
    if (errno === EINVAL && step === "attach")
      return "ten security hooks have programs of cgroups already, and the kernel has room for no more (bpftool prog shows them)";
    if (UNKNOWN_TO_KERNEL.includes(errno)) {
      return `this kernel does not have it${since === null ? "" : `, though ${since} and newer can be built with it`}`;
    }
    if (errno !== EPERM) return "the kernel gives no other reason";
    return step === "attach"
      ? "a program attached to a parent cgroup without BPF_F_ALLOW_MULTI lets no others in (bpftool cgroup tree shows it)"
      : "a policy of this machine forbids it (lockdown, seccomp, or a security module)";
  };
  return { code, reason: `${code} at ${step}: ${why()}` };
}

function detailOf(thrown: unknown, since: string | null): Detail {
  if (thrown instanceof Refused) {
    try {
      if (thrown.errno === EPERM) requireRoot();
    } catch (failure) {
      return detailOf(failure, since);
    }
    return explain(thrown, since);
  }
  if (thrown instanceof Failure || thrown instanceof IsolatorError) {
    return { code: thrown.code, reason: thrown.message };
  }
  throw thrown;
}

function tryProbe(probe: Probe, site: ProbeSite): ProbeResult {
  const { name, since } = probe;
  try {
    return { name, ok: true, since, detail: probe.run(site) ?? null };
  } catch (error) {
    return { name, ok: false, since, detail: detailOf(error, since) };
  }
}

const known = new WeakMap<Probe, ProbeResult>();

/**
 * Tries what has not been tried before in this process. Nothing is left behind.
 * @throws cgroup-failed when the node of the probes cannot be removed
 */
export function runProbes(probes: readonly Probe[]): ProbeResult[] {
  const site = new ProbeSite();
  try {
    return probes.map((probe) => {
      const result = known.get(probe) ?? tryProbe(probe, site);
      known.set(probe, result);
      return result;
    });
  } finally {
    site.close();
  }
}
