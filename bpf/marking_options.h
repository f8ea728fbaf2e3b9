/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Marking: what a task may set of it by setsockopt(), and what it is told by getsockopt(). */
#pragma once

#include "marking_sockets.h"

/* What the kernel hands to setsockopt and getsockopt programs at most, on every architecture. */
#define SOCKOPT_PAGE 4096

/* The part of a marking that an option sets; 0: none. */
static __always_inline __u32 part_of_option(int level, int option)
{
	switch (level) {
	case SOL_SOCKET:
		return option == SO_MARK ? MARKING_MARK : option == SO_PRIORITY ? MARKING_PRIORITY : 0;
	case IPPROTO_IP:
		return option == IP_TOS ? MARKING_DSCP : 0;
	case IPPROTO_IPV6:
		return option == IPV6_TCLASS ? MARKING_DSCP : 0;
	}
	return 0;
}

/* Whether setsockopt() of this option must be looked at. */
static __always_inline bool is_marking_option(const struct policy *policy, int level, int option)
{
	return policy->flags >> MARKING_SHIFT & part_of_option(level, option);
}

/* The value that the option may have, given the one that is asked for. */
static __always_inline int permitted(const struct marking *marking, int option, int value)
{
	switch (option) {
	case SO_MARK:
		return marked(marking, value);
	case SO_PRIORITY:
		return marking->priority;
	default:
		/* -1 of IPV6_TCLASS: the default, which is 0. */
		return marking->tos | (value < 0 ? 0 : value & ECN_BITS);
	}
}

static __noinline int refuse_change(struct bpf_sockopt *ctx, const struct policy *policy)
{
	struct event event = {.reason = REASON_MARKING, .option = ctx->optname};
	struct bpf_sock *sk = ctx->sk;

	if (sk) {
		event.family = sk->family;
		event.protocol = sk->protocol;
		event.port = sk->src_port;
	}
	return refuse(policy, &event);
}

static __noinline int hold_option(struct bpf_sockopt *ctx, const struct policy *policy)
{
	void *optval = ctx->optval, *end = ctx->optval_end;
	int option = ctx->optname, asked, allowed;
	bool whole = optval + sizeof(int) <= end && ctx->optlen >= (int)sizeof(int);
	const struct marking *marking;
	struct bpf_sock *sk = ctx->sk;

	if (!sk || marked_below(policy, bpf_sk_storage_get(&socket_notes, sk, 0, 0)))
		return ALLOW;
	marking = marking_of(policy, sk);
	if (!(marking->parts & part_of_option(ctx->level, option)))
		return ALLOW;
	/* Of all four, only IP_TOS may be one byte; the kernel refuses the others. */
	if (whole)
		asked = *(int *)optval;
	else if (option == IP_TOS && ctx->optlen > 0 && optval + 1 <= end)
		asked = *(__u8 *)optval;
	else
		return ALLOW;
	allowed = permitted(marking, option, asked);
	/* The kernel takes the lower byte of IP_TOS, and refuses what is no traffic class. */
	if (option == IPV6_TCLASS && (asked < -1 || asked > 255))
		return ALLOW;
	if (asked != allowed && policy->flags & POLICY_DENY_MARKING && refuse_change(ctx, policy) == DENY)
		return DENY;
	/*
	 * Priorities over 6 ask for rights that the task need not have: done, as far as it can tell. So are options
	 * of an MPTCP socket, which would change those of its subflows, that know where they go.
	 */
	if (option == SO_PRIORITY || (sk->protocol == IPPROTO_MPTCP && policy->flags & POLICY_MARK_DESTINATIONS))
		ctx->optlen = -1;
	else if (whole)
		*(int *)optval = allowed;
	else
		*(__u8 *)optval = allowed;
	return ALLOW;
}

/* Of UDP, whose first datagram else goes without: most programs set some option of a socket before they use it. */
static __noinline void mark_early(struct bpf_sockopt *ctx, const struct policy *policy)
{
	const struct marking *marking;
	struct bpf_sock *sk = ctx->sk;

	if (!sk || (sk->family != AF_INET && sk->family != AF_INET6))
		return;
	marking = marking_of(policy, sk);
	if (!(marking->parts & MARKING_DSCP) || !has_wrong_dscp(sk, marking))
		return;
	if (!marked_below(policy, bpf_sk_storage_get(&socket_notes, sk, 0, 0)))
		set_dscp(sk, sk, policy, marking);
}

static __always_inline bool is_datagrams(struct bpf_sock *sk)
{
	return sk && (sk->protocol == IPPROTO_UDP || sk->protocol == IPPROTO_UDPLITE);
}

/* setsockopt(), before the kernel acts: with the value that it may have instead of the one that was asked for. */
static __always_inline int marking_setsockopt(struct bpf_sockopt *ctx)
{
	const struct policy *policy = container_policy();

	/* A child's program has had its way: done, or refused. */
	if (ctx->optlen < 0 || denied_below())
		return ALLOW;
	if (is_marking_option(policy, ctx->level, ctx->optname))
		return hold_option(ctx, policy);
	if (policy->flags & POLICY_SET_DSCP && is_datagrams(ctx->sk))
		mark_early(ctx, policy);
	/* Longer than what programs see: the kernel goes on with the task's own memory. */
	if (ctx->optlen > SOCKOPT_PAGE)
		ctx->optlen = 0;
	return ALLOW;
}

/*
 * Whether the DSCP of a socket is set before it sends anything more: then that is the truth, whatever it is now. One
 * that was changed behind setsockopt's back later on shows what it has.
 */
static __always_inline bool is_still_to_set(const struct marking *marking, struct bpf_sock *sk,
                                            const struct socket_note *note)
{
	/* Of MPTCP the subflows send, and each is set at its own connect. */
	if (sk->protocol == IPPROTO_MPTCP)
		return true;
	if (sk->state != BPF_TCP_CLOSE || sk->type == SOCK_RAW || was_set(marking, note))
		return false;
	switch (sk->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return true;
	}
	return false;
}

static __noinline void tell_option(struct bpf_sockopt *ctx, const struct policy *policy)
{
	void *optval = ctx->optval, *end = ctx->optval_end;
	int option = ctx->optname;
	const struct marking *marking;
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;

	if (ctx->retval || !sk || (sk->family != AF_INET && sk->family != AF_INET6))
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	if (marked_below(policy, note))
		return;
	marking = marking_of(policy, sk);
	if (!(marking->parts & part_of_option(ctx->level, option)))
		return;
	if ((option == IP_TOS || option == IPV6_TCLASS) && !is_still_to_set(marking, sk, note))
		return;
	if (optval + sizeof(int) <= end && ctx->optlen >= (int)sizeof(int))
		*(int *)optval = permitted(marking, option, *(int *)optval);
	else if (option == IP_TOS && optval + 1 <= end && ctx->optlen > 0)
		*(__u8 *)optval = permitted(marking, option, *(__u8 *)optval);
}

/* getsockopt(), after the kernel has answered: with what packets will have. */
static __always_inline void marking_getsockopt(struct bpf_sockopt *ctx)
{
	const struct policy *policy = container_policy();

	if (is_marking_option(policy, ctx->level, ctx->optname))
		tell_option(ctx, policy);
	else if (ctx->optlen > SOCKOPT_PAGE)
		ctx->optlen = 0;
}
