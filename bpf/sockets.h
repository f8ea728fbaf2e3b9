/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sockets: kinds that a policy may deny (README.md, "Sockets").
 *
 * Raw IPv4 and IPv6 sockets meet a cgroup hook on every kernel. Other families and sockets that are handed in meet
 * only the hooks of BPF LSM. Unix and netlink sockets are never judged, nor are the kernel's own.
 */
#pragma once

#include "container.h"

static __noinline int refuse_raw(struct bpf_sock *ctx, const struct policy *policy)
{
	struct event event = {.reason = REASON_SOCKET};

	if (denied_below())
		return ALLOW;
	event.family = ctx->family;
	event.protocol = ctx->protocol;
	return refuse(policy, &event);
}

/* socket() of IPv4 or IPv6. Ping sockets are datagram sockets. A policy not written yet is ports_sock_create()'s. */
static __always_inline int sockets_sock_create(struct bpf_sock *ctx, const struct policy *policy)
{
	return ctx->type == SOCK_RAW && policy->flags & POLICY_DENY_RAW ? refuse_raw(ctx, policy) : ALLOW;
}

/* The flag that denies a family; 0: no policy does. An IPv4 socket of type SOCK_PACKET is AF_PACKET by now. */
static __always_inline __u32 flag_of(int family)
{
	switch (family) {
	case AF_PACKET:
		return POLICY_DENY_PACKET;
	case AF_VSOCK:
		return POLICY_DENY_VSOCK;
	case AF_XDP:
		return POLICY_DENY_XDP;
	}
	return 0;
}

/* socket() and socketpair() of every family, before anything is made. Runs for the cgroup of the caller. */
static __always_inline int sockets_socket_create(int family, int protocol, int kern)
{
	__u32 flag = flag_of(family);
	const struct policy *policy;
	struct event event = {.reason = REASON_SOCKET};

	if (!flag || kern)
		return ALLOW;
	policy = container_policy();
	if (policy->enforcement && !(policy->flags & flag))
		return ALLOW;
	if (denied_below())
		return ALLOW;
	event.family = family;
	/* A packet socket's is an EtherType. */
	event.protocol = family == AF_PACKET ? 0 : protocol;
	return refuse(policy, &event);
}

/* Deeper than any tree of control groups that is in use. */
#define MAX_DEPTH 64

/* Whether the cgroup that a socket was created in is the container's node or below it. */
static __always_inline bool made_inside(struct sock *sk, __u64 node)
{
	struct cgroup *cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	void *parent;

	for (int i = 0; i < MAX_DEPTH && cgroup; i++) {
		if (BPF_CORE_READ(cgroup, kn, id) == node)
			return true;
		parent = BPF_CORE_READ(cgroup, self.parent);
		cgroup = parent ? parent - bpf_core_field_offset(struct cgroup, self) : NULL;
	}
	return false;
}

/*
 * A file came in by SCM_RIGHTS or pidfd_getfd(): runs for the cgroup of the receiver. One that stems from inside may
 * come back. What a process inherits from its parent comes by no hook.
 */
static __always_inline int sockets_file_receive(struct file *file)
{
	const struct policy *policy = container_policy();
	struct event event = {.reason = REASON_RECEIVED};
	struct socket *sock;
	struct sock *sk;

	if (policy->enforcement && !(policy->flags & POLICY_DENY_RECEIVED))
		return ALLOW;
	sock = bpf_sock_from_file(file);
	if (!sock)
		return ALLOW;
	sk = BPF_CORE_READ(sock, sk);
	if (!sk)
		return ALLOW;
	event.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (event.family == AF_UNIX || event.family == AF_NETLINK)
		return ALLOW;
	if (denied_below() || made_inside(sk, policy->cgroup_id))
		return ALLOW;
	event.protocol = BPF_CORE_READ(sk, sk_protocol);
	event.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	return refuse(policy, &event);
}
