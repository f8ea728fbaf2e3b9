// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Programs that do nothing but allow, one for each cgroup hook: the kernel's own price of a hook. The benchmarks
 * attach those whose hooks the isolator uses and compare. 1 is "allow" everywhere, and on sockops it is ignored.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

/* clang-format off */
#define EMPTY(name, section) SEC(section) int name(void *ctx) { return 1; }
/* clang-format on */

EMPTY(ingress, "cgroup_skb/ingress")
EMPTY(egress, "cgroup_skb/egress")
EMPTY(sock_create, "cgroup/sock_create")
EMPTY(sock_release, "cgroup/sock_release")
EMPTY(sock_ops, "sockops")
EMPTY(device, "cgroup/dev")
EMPTY(bind4, "cgroup/bind4")
EMPTY(bind6, "cgroup/bind6")
EMPTY(post_bind4, "cgroup/post_bind4")
EMPTY(post_bind6, "cgroup/post_bind6")
EMPTY(connect4, "cgroup/connect4")
EMPTY(connect6, "cgroup/connect6")
EMPTY(sendmsg4, "cgroup/sendmsg4")
EMPTY(sendmsg6, "cgroup/sendmsg6")
EMPTY(recvmsg4, "cgroup/recvmsg4")
EMPTY(recvmsg6, "cgroup/recvmsg6")
EMPTY(getpeername4, "cgroup/getpeername4")
EMPTY(getpeername6, "cgroup/getpeername6")
EMPTY(getsockname4, "cgroup/getsockname4")
EMPTY(getsockname6, "cgroup/getsockname6")
EMPTY(getsockopt, "cgroup/getsockopt")
EMPTY(setsockopt, "cgroup/setsockopt")
EMPTY(sysctl, "cgroup/sysctl")
