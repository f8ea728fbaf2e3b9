/** Everything that a feature may need of the machine, each as a probe. features/needs.ts says who needs what. */
import { HOOKS, type Hook } from "./hooks.js";
import { LSM_PROBES } from "./probe-lsm.js";
import { MACHINE_PROBES } from "./probe-machine.js";
import { MAP_PROBES } from "./probe-maps.js";
import { withAttached, withProgram } from "./probe-programs.js";
import { Failure, requireRoot, type Probe } from "./probe.js";
import { endingWay, type EndingWay } from "./terminate.js";

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

export const PROBES: readonly Probe[] = [
  ...MACHINE_PROBES,
  ...HOOKS.filter(({ lsm, fullOf }) => !lsm && fullOf === undefined).map(hookProbe),
  ...MAP_PROBES,
  ...whole,
  ...ending,
  ...LSM_PROBES,
];
