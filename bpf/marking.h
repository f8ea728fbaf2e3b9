/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Marking: DSCP, mark and priority of what a container sends (README.md, "Marking"): of its sockets here, of options
 * that the task sets in marking_options.h, of packets in marking_packets.h.
 *
 * The socket gets them as early as the kernel lets a program set them: mark and priority when it is made, DSCP when
 * it connects, listens, accepts or sends. setsockopt() is kept from changing them. What gets round that (32-bit
 * calls, control messages, headers that the task writes) is corrected on the packet, mark and priority, or counted,
 * DSCP: a program at cgroup egress cannot write bytes of a packet, one on the device can.
 *
 * Where a rule names destinations, a socket has the marking of the one that it last went to.
 *
 * With nesting the child's program runs first: it notes on the socket whose marking that has, and its parents' leave
 * it.
 */
#pragma once

#include "egress.h"

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

static __noinline void mark_new(struct bpf_sock *ctx, const struct policy *policy)
{
	struct socket_note *note = bpf_sk_storage_get(&socket_notes, ctx, 0, marking_note_flags(policy));
	const struct marking *marking = plain_marking(policy);

	if (marked_below(policy, note))
		return;
	note_marking(policy, note, marking);
	if (marking->parts & MARKING_MARK)
		ctx->mark = marked(marking, ctx->mark);
	if (marking->parts & MARKING_PRIORITY)
		ctx->priority = marking->priority;
}

/* socket() of IPv4 or IPv6, of every type. The DSCP cannot be set here. */
static __always_inline void marking_sock_create(struct bpf_sock *ctx, const struct policy *policy)
{
	if (marks(policy))
		mark_new(ctx, policy);
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

static __noinline void mark_address(struct bpf_sock_addr *ctx, const struct policy *policy, bool late)
{
	const struct marking *marking;
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;
	bool before;

	if (!sk)
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, late ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (marked_below(policy, note))
		return;
	marking = marking_of(policy, sk);
	if (!(marking->parts & MARKING_DSCP))
		return;
	before = was_set(marking, note);
	if (note)
		note->tos = marking->tos + 1;
	if (!has_wrong_dscp(sk, marking))
		return;
	if (late && !before)
		excuse_dscp(sk, policy, DSCP_LATE);
	set_dscp(ctx, sk, policy, marking);
}

/* bind(): before anything is sent. */
static __always_inline void marking_address(struct bpf_sock_addr *ctx, const struct policy *policy)
{
	if (policy->flags & POLICY_SET_DSCP)
		mark_address(ctx, policy, false);
}

/*
 * What the rules say of a destination. `service`: class of the service that it was reached by, or 0. `to` and
 * `marking` are not the same memory.
 */
static __noinline int find_marking(const struct policy *policy, const struct destination *to, __u32 service,
                                   struct marking *marking)
{
	struct endpoint_key key = {.port = to->port, .protocol = to->protocol};
	struct egress_verdict verdict = {};
	const struct marking_set *set;
	const struct marking *found;
	struct marking_rule rule = {};
	__u64 id = policy->cgroup_id;

	*marking = *plain_marking(policy);
	set = bpf_map_lookup_elem(&marking_sets, &id);
	if (!set)
		return 0;
	__builtin_memcpy(key.address, to->address, sizeof(key.address));
	judge_destination(set->set, &key, set->by_class, service, &verdict);
	rule.set = set->set;
	rule.rule = verdict.rule >> EGRESS_ACTION_BITS;
	found = bpf_map_lookup_elem(&marking_rules, &rule);
	if (found)
		*marking = *found;
	return 0;
}

static __always_inline bool goes_to(const struct marking_note *note, const struct policy *policy,
                                    const struct destination *to)
{
	const __u64 *a = (const void *)note->to.address, *b = (const void *)to->address;

	return note->to.cgroup_id == policy->cgroup_id && a[0] == b[0] && a[1] == b[1] && note->to.port == to->port;
}

/*
 * The socket's marking is that of a destination from now on. Apart from what then sets it: together they take more
 * stack than connect() has left (512 bytes with all that it calls, before Linux 6.5).
 * @returns whether it is another destination than before
 */
static __noinline int turn_to(struct bpf_sock *sk, const struct policy *policy, const struct destination *to,
                              __u32 service)
{
	struct marking_note *note = bpf_sk_storage_get(&marking_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	const struct marking *before;
	struct socket_note *whose;

	if (!note || goes_to(note, policy, to))
		return 0;
	whose = bpf_sk_storage_get(&socket_notes, sk, 0, marking_note_flags(policy));
	if (marked_below(policy, whose))
		return 0;
	before = note->to.cgroup_id == policy->cgroup_id ? &note->marking : plain_marking(policy);
	note->before_mask = before->mark_mask;
	note->before_parts = before->parts;
	find_marking(policy, to, service, &note->marking);
	note->to = *to;
	note->to.cgroup_id = policy->cgroup_id;
	note_marking(policy, whose, &note->marking);
	return 1;
}

/* After turn_to(). */
static __noinline void mark_turned(struct bpf_sock_addr *ctx, const struct policy *policy, bool late)
{
	struct bpf_sock *sk = ctx->sk;
	struct marking_note *note;
	__u8 parts;

	if (!sk)
		return;
	note = bpf_sk_storage_get(&marking_notes, sk, 0, 0);
	if (!note)
		return;
	parts = note->marking.parts | note->before_parts;
	set_mark_and_priority(ctx, sk, &note->marking, parts, note->marking.mark_mask | note->before_mask);
	if (!(parts & MARKING_DSCP))
		return;
	if (late && has_wrong_dscp(sk, &note->marking))
		excuse_dscp(sk, policy, DSCP_LATE);
	set_dscp(ctx, sk, policy, &note->marking);
}

static __always_inline void mark_destination(struct bpf_sock_addr *ctx, const struct policy *policy,
                                             const struct destination *to, __u32 service, bool late)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk && turn_to(sk, policy, to, service))
		mark_turned(ctx, policy, late);
}

/* connect() and sends with an address, where there are rules for destinations: `to` is read. */
static __always_inline void marking_connect(struct bpf_sock_addr *ctx, const struct policy *policy,
                                            const struct destination *to, __u32 service)
{
	if (policy->flags & POLICY_MARK_DESTINATIONS && to->port)
		mark_destination(ctx, policy, to, service, false);
	marking_address(ctx, policy);
}

/*
 * A send of an unconnected UDP socket. From Linux 6.15 on (IPv6: 6.11) the kernel has taken the traffic class from
 * the socket by now, so that what is set goes for the next datagram.
 */
static __always_inline void marking_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                            __u32 service)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	if (policy->flags & POLICY_MARK_DESTINATIONS) {
		const struct marking_note *note = bpf_sk_storage_get(&marking_notes, sk, 0, 0);
		struct destination to = {};

		read_destination(ctx, family, &to);
		if (note && goes_to(note, policy, &to))
			return;
		mark_destination(ctx, policy, &to, service, true);
	}
	if (!(policy->flags & POLICY_SET_DSCP))
		return;
	/* A look at its note costs a third of one at the socket where that takes calls. */
	if (reads_directly() && !(policy->flags & POLICY_MARK_DESTINATIONS)) {
		if (has_wrong_dscp(sk, plain_marking(policy)))
			mark_address(ctx, policy, true);
	} else if (!was_set(marking_of(policy, sk), bpf_sk_storage_get(&socket_notes, sk, 0, 0))) {
		mark_address(ctx, policy, true);
	}
}

/* The other end of a TCP connection. */
static __always_inline void read_peer(struct bpf_sock_ops *ctx, struct destination *to)
{
	__u32 *address = (__u32 *)to->address, last = ctx->remote_ip4, last6 = ctx->remote_ip6[3];

	/* The compiler would make one load of the two, which the verifier does not let through. */
	barrier_var(last);
	if (ctx->family == AF_INET) {
		address[2] = V4_MAPPED_WORD;
		address[3] = last;
	} else {
		address[0] = ctx->remote_ip6[0];
		address[1] = ctx->remote_ip6[1];
		address[2] = ctx->remote_ip6[2];
		address[3] = last6;
	}
	to->port = bpf_ntohl(ctx->remote_port);
	to->protocol = IPPROTO_TCP;
}

static __noinline void mark_tcp(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	const struct marking *marking;
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;
	struct destination to = {};

	if (!sk)
		return;
	/* Accepted, or a subflow that the kernel made: connect() has not met it. */
	if (policy->flags & POLICY_MARK_DESTINATIONS && ctx->op != BPF_SOCK_OPS_TCP_LISTEN_CB) {
		read_peer(ctx, &to);
		turn_to(sk, policy, &to, 0);
	}
	note = bpf_sk_storage_get(&socket_notes, sk, 0, marking_note_flags(policy));
	if (marked_below(policy, note))
		return;
	marking = marking_of(policy, sk);
	note_marking(policy, note, marking);
	if (marking->parts & MARKING_DSCP)
		set_dscp(ctx, sk, policy, marking);
	set_mark_and_priority(ctx, sk, marking, marking->parts, marking->mark_mask);
}

/* A TCP socket listens, is about to send its SYN, or was accepted. */
static __always_inline void marking_tcp(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (marks(policy))
		mark_tcp(ctx, policy);
}
