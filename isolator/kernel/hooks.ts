/** The hooks that programs attach to. Numbers are the kernel's (include/uapi/linux/bpf.h) and never change. */

export interface Hook {
  /** The program's name in bpf/isolator.bpf.c, and of its pin. */
  name: string;
  /** enum bpf_prog_type */
  programType: number;
  /** enum bpf_attach_type */
  attachType: number;
  /** The kernel's name for it, as in the documentation of libbpf. */
  section: string;
  /** First kernel that has all that the program on it uses. */
  since: string;
  /** What does not work without it. */
  purpose: string;
  /** Needs BPF LSM, which many kernels do not have: left out there. */
  lsm?: true;
  /** A program on it is for some policies only, as on all hooks of BPF LSM: attached where a policy has a use for it. */
  optional?: true;
  /**
   * Name of the plain program of the same hook: this one does that one's work and more, and is attached instead of it
   * where a policy has a use for it. So a packet of all others does not pay for a look at their policy.
   */
  fullOf?: string;
}

/*
 * The kernel has room for ten distinct hooks of lsm_cgroup, for all programs of the machine together (CGROUP_LSM_NUM in
 * include/linux/bpf-cgroup-defs.h). The budget: socket_listen in every container; socket_create and file_receive where
 * `sockets` asks for them; file_open, task_alloc, sb_set_mnt_opts, bpf_map and bpf_prog where `escape` is deny. That is
 * eight, and two are left, for others' software. `files` shares file_open; what else it must see takes thirteen to sixteen
 * hooks more, so those are MACHINE_HOOKS.
 */

const CGROUP_SKB = 8;
const CGROUP_SOCK = 9;
const SOCK_OPS = 13;
const CGROUP_SOCK_ADDR = 18;
const CGROUP_SOCKOPT = 25;
const LSM = 29;

function lsm(name: string, purpose: string): Hook {
  return {
    name,
    programType: LSM,
    attachType: 43,
    section: `lsm_cgroup/${name}`,
    since: "6.1",
    purpose,
    lsm: true,
  };
}

/** In the order of attaching: what refuses comes before what counts. */
export const HOOKS: readonly Hook[] = [
  {
    name: "sock_create",
    programType: CGROUP_SOCK,
    attachType: 2,
    section: "cgroup/sock_create",
    since: "6.1",
    purpose: "refuses SCTP, DCCP and raw sockets",
  },
  {
    name: "bind4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 8,
    section: "cgroup/bind4",
    since: "6.1",
    purpose: "judges and remaps the port of an IPv4 bind()",
  },
  {
    name: "bind6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 9,
    section: "cgroup/bind6",
    since: "6.1",
    purpose: "judges and remaps the port of an IPv6 or v4-mapped bind()",
  },
  {
    name: "post_bind4",
    programType: CGROUP_SOCK,
    attachType: 12,
    section: "cgroup/post_bind4",
    since: "6.1",
    purpose: "judges the port that the kernel chose for an IPv4 bind(0)",
  },
  {
    name: "post_bind6",
    programType: CGROUP_SOCK,
    attachType: 13,
    section: "cgroup/post_bind6",
    since: "6.1",
    purpose: "judges the port that the kernel chose for an IPv6 bind(0)",
  },
  {
    name: "sendmsg4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 14,
    section: "cgroup/sendmsg4",
    since: "6.1",
    purpose: "judges the port of an IPv4 UDP socket that sends without bind()",
  },
  {
    name: "sendmsg6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 15,
    section: "cgroup/sendmsg6",
    since: "6.1",
    purpose: "judges the port of an IPv6 UDP socket that sends without bind()",
  },
  {
    name: "connect4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 10,
    section: "cgroup/connect4",
    since: "6.1",
    purpose: "translates virtual addresses, counts and limits IPv4 connections, sets their DSCP",
    optional: true,
  },
  {
    name: "connect6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 11,
    section: "cgroup/connect6",
    since: "6.1",
    purpose:
      "translates virtual addresses, counts and limits IPv6 and v4-mapped connections, sets their DSCP",
    optional: true,
  },
  {
    name: "recvmsg4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 19,
    section: "cgroup/recvmsg4",
    since: "5.9",
    purpose: "tells an IPv4 UDP socket the port or virtual address that it asked for",
    optional: true,
  },
  {
    name: "recvmsg6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 20,
    section: "cgroup/recvmsg6",
    since: "5.9",
    purpose: "tells an IPv6 UDP socket the port or virtual address that it asked for",
    optional: true,
  },
  {
    name: "getsockname4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 31,
    section: "cgroup/getsockname4",
    since: "5.9",
    purpose: "tells an IPv4 socket the port that it asked for",
    optional: true,
  },
  {
    name: "getsockname6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 32,
    section: "cgroup/getsockname6",
    since: "5.9",
    purpose: "tells an IPv6 or v4-mapped socket the port that it asked for",
    optional: true,
  },
  {
    name: "getpeername4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 29,
    section: "cgroup/getpeername4",
    since: "5.9",
    purpose: "tells an IPv4 socket the port or virtual address that it asked to connect to",
    optional: true,
  },
  {
    name: "getpeername6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 30,
    section: "cgroup/getpeername6",
    since: "5.9",
    purpose: "tells an IPv6 or v4-mapped socket the port or virtual address that it asked to connect to",
    optional: true,
  },
  {
    name: "setsockopt",
    programType: CGROUP_SOCKOPT,
    attachType: 22,
    section: "cgroup/setsockopt",
    since: "6.1",
    purpose: "keeps DSCP, mark and priority from being changed",
    optional: true,
  },
  {
    name: "getsockopt",
    programType: CGROUP_SOCKOPT,
    attachType: 21,
    section: "cgroup/getsockopt",
    since: "6.1",
    purpose: "tells the DSCP, mark and priority that packets have",
    optional: true,
  },
  {
    name: "sock_ops",
    programType: SOCK_OPS,
    attachType: 3,
    section: "sockops",
    since: "5.6",
    purpose: "sees listen(), the source port and the end of TCP connections",
  },
  {
    name: "sock_ops_full",
    programType: SOCK_OPS,
    attachType: 3,
    section: "sockops",
    since: "5.6",
    purpose: "sees the same, gives places of connections back, sets the DSCP of TCP sockets",
    optional: true,
    fullOf: "sock_ops",
  },
  {
    name: "sock_release",
    programType: CGROUP_SOCK,
    attachType: 34,
    section: "cgroup/sock_release",
    since: "5.9",
    purpose: "sees the source port of a UDP connect(), and its end",
  },
  {
    name: "release_full",
    programType: CGROUP_SOCK,
    attachType: 34,
    section: "cgroup/sock_release",
    since: "5.9",
    purpose: "sees the same, gives places of connections back",
    optional: true,
    fullOf: "sock_release",
  },
  {
    name: "ingress",
    programType: CGROUP_SKB,
    attachType: 0,
    section: "cgroup_skb/ingress",
    since: "5.6",
    purpose: "counts what is received, makes forbidden listeners unreachable",
  },
  {
    name: "egress",
    programType: CGROUP_SKB,
    attachType: 1,
    section: "cgroup_skb/egress",
    since: "5.6",
    purpose: "counts what is sent",
  },
  {
    name: "egress_full",
    programType: CGROUP_SKB,
    attachType: 1,
    section: "cgroup_skb/egress",
    since: "5.6",
    purpose: "counts what is sent, corrects its mark and priority",
    optional: true,
    fullOf: "egress",
  },
  {
    name: "bandwidth_tcp",
    programType: SOCK_OPS,
    attachType: 3,
    section: "sockops",
    since: "6.1",
    purpose: "paces TCP connections to the limit",
    optional: true,
  },
  {
    name: "bandwidth_in",
    programType: CGROUP_SKB,
    attachType: 0,
    section: "cgroup_skb/ingress",
    since: "6.1",
    purpose: "measures what is received, marks and drops what is over the limit",
    optional: true,
  },
  {
    name: "bandwidth_out",
    programType: CGROUP_SKB,
    attachType: 1,
    section: "cgroup_skb/egress",
    since: "6.1",
    purpose: "measures what is sent, drops what is over the limit and not TCP",
    optional: true,
  },
  {
    name: "bandwidth_send4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 14,
    section: "cgroup/sendmsg4",
    since: "6.1",
    purpose: "tells an IPv4 sender that the limit is reached",
    optional: true,
  },
  {
    name: "bandwidth_send6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 15,
    section: "cgroup/sendmsg6",
    since: "6.1",
    purpose: "tells an IPv6 sender that the limit is reached",
    optional: true,
  },
  lsm("socket_listen", "refuses listen() on a port that is not allowed"),
  lsm("socket_create", "refuses packet, vsock and XDP sockets"),
  lsm("file_receive", "refuses sockets that come from outside of the container"),
  lsm("file_open", "refuses cgroup.procs of nodes outside of the container, and files that rules name"),
  lsm("task_alloc", "refuses CLONE_INTO_CGROUP"),
  lsm("sb_set_mnt_opts", "refuses mounting cgroup2 and bpffs"),
  lsm("bpf_map", "refuses the isolator's maps"),
  lsm("bpf_prog", "refuses the isolator's programs, and programs that could undo a refusal"),
];
