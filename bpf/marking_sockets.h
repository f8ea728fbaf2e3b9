/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Marking: which one a socket has, and how it is set on the socket. */
#pragma once

#include "container.h"

#define MARKING_FLAGS (POLICY_SET_DSCP | POLICY_SET_MARK | POLICY_SET_PRIORITY | POLICY_MARK_DESTINATIONS)
/* Of marking.parts. */
#define MARKING_SHIFT    16
#define MARKING_DSCP     (POLICY_SET_DSCP >> MARKING_SHIFT)
#define MARKING_MARK     (POLICY_SET_MARK >> MARKING_SHIFT)
#define MARKING_PRIORITY (POLICY_SET_PRIORITY >> MARKING_SHIFT)
/* Of the traffic class; the other two are ECN's, which are the task's and the network's. */
#define DSCP_BITS 0xfc
#define ECN_BITS  3

static __always_inline bool marks(const struct policy *policy)
{
	return policy->flags & MARKING_FLAGS;
}

static __always_inline bool marked_below(const struct policy *policy, const struct socket_note *note)
{
	return note && note->marked_by > policy->level + 1;
}

static __always_inline void note_marking(const struct policy *policy, struct socket_note *note,
                                         const struct marking *marking)
{
	if (note && policy->level)
		note->marked_by = marking->parts ? policy->level + 1 : 0;
}

/* No note needed where nobody is above. */
static __always_inline __u64 marking_note_flags(const struct policy *policy)
{
	return policy->level ? BPF_SK_STORAGE_GET_F_CREATE : 0;
}

_Static_assert(__builtin_offsetof(struct policy, marking_parts) - __builtin_offsetof(struct policy, mark) ==
                   __builtin_offsetof(struct marking, parts),
               "policy has no marking in it");

/* Of what goes to a destination that no rule names, and of sockets that go nowhere yet. */
static __always_inline const struct marking *plain_marking(const struct policy *policy)
{
	return (const void *)&policy->mark;
}

static __always_inline const struct marking *marking_of(const struct policy *policy, struct bpf_sock *sk)
{
	struct marking_note *note;

	if (!(policy->flags & POLICY_MARK_DESTINATIONS))
		return plain_marking(policy);
	note = bpf_sk_storage_get(&marking_notes, sk, 0, 0);
	return note && note->to.cgroup_id == policy->cgroup_id ? &note->marking : plain_marking(policy);
}

static __always_inline __u32 marked(const struct marking *marking, __u32 mark)
{
	return (mark & ~marking->mark_mask) | marking->mark;
}

/* The kernel's own view of a socket: the verifier allows no arithmetic on a pointer that it knows to be one. */
static __always_inline struct inet_sock *inet_of(struct bpf_sock *sk)
{
	struct bpf_sock *volatile known = sk;
	struct inet_sock *inet = NULL;

	bpf_probe_read_kernel(&inet, sizeof(inet), (const void *)&known);
	return inet;
}

/* The traffic class that a socket sends over IPv4, and over IPv6. */
static __always_inline __u8 tos_of(struct bpf_sock *sk)
{
	struct inet_sock *inet;

	if (!reads_directly())
		return BPF_CORE_READ(inet_of(sk), tos);
	inet = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_sock));
	return inet->tos;
}

static __always_inline __u8 tclass_of(struct bpf_sock *sk)
{
	struct inet_sock *inet;

	if (!reads_directly())
		return BPF_CORE_READ(inet_of(sk), pinet6, tclass);
	inet = bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct inet_sock));
	return inet->pinet6->tclass;
}

static __always_inline bool has_wrong_dscp(struct bpf_sock *sk, const struct marking *marking)
{
	return ((tos_of(sk) ^ marking->tos) & DSCP_BITS) ||
	       (sk->family == AF_INET6 && (tclass_of(sk) ^ marking->tos) & DSCP_BITS);
}

/* Packets with a wrong DSCP that are no doing of the task's must not be dropped. */
static __always_inline void excuse_dscp(struct bpf_sock *sk, const struct policy *policy, __u8 excuse)
{
	struct socket_note *note;

	if (!(policy->flags & POLICY_DROP_DSCP))
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (note && note->dscp_excuse != DSCP_NEVER)
		note->dscp_excuse = excuse;
}

/*
 * Sets the DSCP of a socket where it is another. ECN bits stay. An IPv6 socket has two: IPv4 leaves it too, and
 * kernels before 6.12 refuse IP_TOS for it. The kernel changes the priority with IP_TOS.
 */
static __always_inline void set_dscp(void *ctx, struct bpf_sock *sk, const struct policy *policy,
                                     const struct marking *marking)
{
	int family = sk->family, priority = marking->priority, value;
	__u8 tos = tos_of(sk), tclass;

	if ((tos ^ marking->tos) & DSCP_BITS) {
		value = marking->tos | (tos & ECN_BITS);
		if (bpf_setsockopt(ctx, IPPROTO_IP, IP_TOS, &value, sizeof(value)))
			excuse_dscp(sk, policy, DSCP_NEVER);
		else if (marking->parts & MARKING_PRIORITY)
			bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
	}
	if (family != AF_INET6)
		return;
	tclass = tclass_of(sk);
	if ((tclass ^ marking->tos) & DSCP_BITS) {
		value = marking->tos | (tclass & ECN_BITS);
		bpf_setsockopt(ctx, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
	}
}

/* Subflows of MPTCP are made by the kernel, past socket(). @param parts, mask what may be wrong */
static __always_inline void set_mark_and_priority(void *ctx, struct bpf_sock *sk, const struct marking *marking,
                                                  __u8 parts, __u32 mask)
{
	int value;

	if ((sk->mark ^ marking->mark) & mask) {
		value = (sk->mark & ~mask) | marking->mark;
		bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &value, sizeof(value));
	}
	if (parts & MARKING_PRIORITY && sk->priority != marking->priority) {
		value = marking->priority;
		bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &value, sizeof(value));
	}
}

static __always_inline bool was_set(const struct marking *marking, const struct socket_note *note)
{
	return note && note->tos == marking->tos + 1;
}
