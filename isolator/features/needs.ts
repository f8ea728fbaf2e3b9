/**
 * What each feature needs of the machine, by names of probes (kernel/probes.ts). Another feature is another entry.
 */
import type { ProbeResult } from "../kernel/probe.js";

export interface FeatureNeeds {
  feature: string;
  /** Part of what `run` promises: `check` fails without it. */
  main: boolean;
  /** Without any of these it does not work. */
  requires: readonly string[];
  /** Without any of these it works, with a gap. */
  prefers: readonly { probe: string; without: string }[];
}

/** A container at all: a node, and programs in it that outlive this process. */
const CONTAINER = [
  "root",
  "libbpf",
  "cgroup2",
  "cgroup2_writable",
  "cgroup_kill",
  "bpffs",
  "btf",
  "map_cgroup_storage",
  "map_percpu_cgroup_storage",
  "programs",
] as const;

/** Where one of these failed, all that needs a node fails with the same words, and the words say it all. */
const CONTAINER_PLACE = new Set(["root", "libbpf", "cgroup2", "cgroup2_writable"]);

const hooks = (...names: string[]): string[] => names.map((name) => `hook_${name}`);

export const NEEDS: readonly FeatureNeeds[] = [
  {
    feature: "ports",
    main: true,
    requires: [
      ...CONTAINER,
      ...hooks("sock_create", "bind4", "bind6", "post_bind4", "post_bind6", "sendmsg4", "sendmsg6"),
      ...hooks("sock_ops", "sock_release", "ingress"),
      "map_sk_storage",
      "map_rings_by_cgroup",
      "enforcement",
    ],
    prefers: [
      {
        probe: "lsm_socket_listen",
        without:
          "listen() itself succeeds where --ephemeral clients or deny forbids it: " +
          "the listener is unreachable and reported instead of EPERM",
      },
    ],
  },
  {
    feature: "connections",
    main: false,
    requires: [...CONTAINER, ...hooks("connect4", "connect6", "sock_ops", "sock_release"), "map_sk_storage"],
    prefers: [],
  },
  {
    feature: "sockets",
    main: false,
    requires: [...CONTAINER, ...hooks("sock_create")],
    prefers: [
      { probe: "lsm_socket_create", without: "packet, vsock and XDP sockets cannot be refused" },
      {
        probe: "lsm_file_receive",
        without: "sockets that come from outside of the container cannot be refused",
      },
    ],
  },
  {
    feature: "escape",
    main: false,
    requires: CONTAINER,
    prefers: [
      {
        probe: "lsm_file_open",
        without:
          "a task that may write cgroup.procs outside of its node can leave it: that is reported where it is found",
      },
      { probe: "lsm_task_alloc", without: "so it can by CLONE_INTO_CGROUP" },
      { probe: "lsm_sb_set_mnt_opts", without: "a task with the rights can mount cgroup2 and bpffs" },
      { probe: "lsm_bpf_map", without: "a task with the rights can change the isolator's maps" },
      {
        probe: "lsm_bpf_prog",
        without: "a task with the rights can detach the isolator's programs, or undo what they refuse",
      },
    ],
  },
  {
    feature: "files",
    main: false,
    requires: [...CONTAINER, "lsm_file_open", "lsm_files"],
    prefers: [],
  },
  {
    feature: "marking",
    main: false,
    requires: [
      ...CONTAINER,
      ...hooks("sock_create", "connect4", "connect6", "sendmsg4", "sendmsg6", "sock_ops", "egress"),
      ...hooks("setsockopt", "getsockopt"),
      "map_sk_storage",
    ],
    prefers: [],
  },
  {
    feature: "bandwidth",
    main: false,
    requires: [
      ...CONTAINER,
      ...hooks("bandwidth_tcp", "bandwidth_in", "bandwidth_out", "bandwidth_send4", "bandwidth_send6"),
      "map_sk_storage",
    ],
    prefers: [],
  },
  {
    feature: "remap",
    main: false,
    requires: [
      ...CONTAINER,
      ...hooks("bind4", "bind6", "connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"),
      ...hooks("getsockname4", "getsockname6", "getpeername4", "getpeername6", "sock_ops"),
      "map_sk_storage",
    ],
    prefers: [],
  },
  {
    feature: "services",
    main: false,
    requires: [
      ...CONTAINER,
      ...hooks("connect4", "connect6", "sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"),
      ...hooks("getpeername4", "getpeername6", "sock_ops"),
      "map_sk_storage",
    ],
    prefers: [
      {
        probe: "end_connections",
        without: "connected UDP sockets whose backend is gone are not ended, and send to nobody",
      },
    ],
  },
  {
    feature: "egress",
    main: false,
    requires: [
      ...CONTAINER,
      ...hooks("connect4", "connect6", "sendmsg4", "sendmsg6", "egress"),
      "map_sk_storage",
    ],
    prefers: [
      { probe: "lsm_socket_create", without: "packet and XDP sockets send where no rule is asked" },
      {
        probe: "lsm_file_receive",
        without: "so do sockets that come from outside of the container",
      },
      { probe: "end_connections", without: "egress_existing: terminate ends nothing" },
    ],
  },
  {
    feature: "accounting",
    main: true,
    requires: [...CONTAINER, ...hooks("ingress", "egress"), "counting"],
    prefers: [],
  },
];

export interface Assessment {
  feature: string;
  main: boolean;
  status: "works" | "limited" | "fails";
  /** Probes that failed, of those that matter here. */
  missing: string[];
  /** What does not work, or what stays open, and why: one sentence each, none twice. */
  reasons: string[];
}

/**
 * What the probes' results mean for a feature.
 * @param results of at least the probes that it names
 */
export function assess(needs: FeatureNeeds, results: readonly ProbeResult[]): Assessment {
  const failed = (name: string): ProbeResult | undefined => {
    const result = results.find((candidate) => candidate.name === name);
    if (!result) throw new Error(`no probe ${name}`);
    return result.ok ? undefined : result;
  };
  const { feature, main } = needs;
  const missing = needs.requires.flatMap((name) => failed(name) ?? []);
  if (missing.length > 0) {
    const reasons = [...new Set(missing.map(reasonOf))].map((reason) => {
      const names = missing.filter((result) => reasonOf(result) === reason).map(({ name }) => name);
      return names.some((name) => CONTAINER_PLACE.has(name)) ? reason : `${names.join(", ")}: ${reason}`;
    });
    return { feature, main, status: "fails", missing: missing.map(({ name }) => name), reasons };
  }
  const gaps = needs.prefers.filter(({ probe }) => failed(probe));
  return {
    feature,
    main,
    status: gaps.length > 0 ? "limited" : "works",
    missing: gaps.map(({ probe }) => probe),
    reasons: gaps.map(({ without }) => without),
  };
}

function reasonOf({ detail }: ProbeResult): string {
  return detail?.reason ?? "it does not work";
}
