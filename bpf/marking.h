/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Marking: DSCP, mark and priority of what a container sends (README.md, "Marking"). Here are the calls and callbacks
 * at which a socket gets them; how it does is in marking_sockets.h and marking_destinations.h, options that the task
 * sets are in marking_options.h, packets in marking_packets.h.
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

#include "marking_destinations.h"
#include "marking_sockets.h"

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
