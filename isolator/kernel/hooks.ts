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
  /** Needs BPF LSM, which many kernels do not have: left out there. The kernel has room for ten of these hooks. */
  lsm?: true;
}

const CGROUP_SKB = 8;
const CGROUP_SOCK = 9;
const SOCK_OPS = 13;
const CGROUP_SOCK_ADDR = 18;
const LSM = 29;

/** In the order of attaching: what refuses comes before what counts. */
export const HOOKS: readonly Hook[] = [
  {
    name: "sock_create",
    programType: CGROUP_SOCK,
    attachType: 2,
    section: "cgroup/sock_create",
    since: "6.1",
    purpose: "refuses SCTP and DCCP sockets",
  },
  {
    name: "bind4",
    programType: CGROUP_SOCK_ADDR,
    attachType: 8,
    section: "cgroup/bind4",
    since: "6.1",
    purpose: "judges the port of an IPv4 bind()",
  },
  {
    name: "bind6",
    programType: CGROUP_SOCK_ADDR,
    attachType: 9,
    section: "cgroup/bind6",
    since: "6.1",
    purpose: "judges the port of an IPv6 or v4-mapped bind()",
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
    name: "sock_ops",
    programType: SOCK_OPS,
    attachType: 3,
    section: "sockops",
    since: "5.6",
    purpose: "sees listen() and the source port of a TCP connect()",
  },
  {
    name: "sock_release",
    programType: CGROUP_SOCK,
    attachType: 34,
    section: "cgroup/sock_release",
    since: "5.9",
    purpose: "sees the source port of a UDP connect()",
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
    name: "socket_listen",
    programType: LSM,
    attachType: 43,
    section: "lsm_cgroup/socket_listen",
    since: "6.1",
    purpose: "refuses listen() on a port that is not allowed",
    lsm: true,
  },
];
