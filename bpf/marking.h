/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Marking: DSCP, mark and priority of what a container sends (README.md, "Marking").
 *
 * The socket gets them as early as the kernel lets a program set them: mark and priority when it is made, DSCP when
 * it connects, listens, accepts or sends. setsockopt() is kept from changing them. What gets round that (32-bit
 * calls, control messages, headers that the task writes) is corrected on the packet, mark and priority, or counted,
 * DSCP: a program at cgroup egress cannot write bytes of a packet.
 *
 * With nesting the child's program runs first: it notes on the socket whose marking that has, and its parents' leave
 * it.
 */
#pragma once

#include "container.h"

#define MARKING_FLAGS (POLICY_SET_DSCP | POLICY_SET_MARK | POLICY_SET_PRIORITY)
/* Of the traffic class; the other two are ECN's, which are the task's and the network's. */
#define DSCP_BITS 0xfc
#define ECN_BITS  3
/* What the kernel hands to setsockopt and getsockopt programs at most, on every architecture. */
#define SOCKOPT_PAGE 4096

static __always_inline bool marks(const struct policy *policy)
{
	return policy->flags & MARKING_FLAGS;
}

static __always_inline bool marked_below(const struct policy *policy, const struct socket_note *note)
{
	return note && note->marked_by > policy->level + 1;
}

static __always_inline void note_marking(const struct policy *policy, struct socket_note *note)
{
	if (note && policy->level)
		note->marked_by = policy->level + 1;
}

/* No note needed where nobody is above. */
static __always_inline __u64 marking_note_flags(const struct policy *policy)
{
	return policy->level ? BPF_SK_STORAGE_GET_F_CREATE : 0;
}

static __always_inline __u32 marked(const struct policy *policy, __u32 mark)
{
	return (mark & ~policy->mark_mask) | policy->mark;
}

static __noinline void mark_new(struct bpf_sock *ctx, const struct policy *policy)
{
	struct socket_note *note = bpf_sk_storage_get(&socket_notes, ctx, 0, marking_note_flags(policy));

	if (marked_below(policy, note))
		return;
	note_marking(policy, note);
	if (policy->flags & POLICY_SET_MARK)
		ctx->mark = marked(policy, ctx->mark);
	if (policy->flags & POLICY_SET_PRIORITY)
		ctx->priority = policy->priority;
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

/* What is wrong with the traffic class that a socket sends over IPv4, and over IPv6. */
static __always_inline __u8 wrong_tos(struct inet_sock *inet, const struct policy *policy)
{
	return (BPF_CORE_READ(inet, tos) ^ policy->tos) & DSCP_BITS;
}

static __always_inline __u8 wrong_tclass(struct inet_sock *inet, const struct policy *policy)
{
	return (BPF_CORE_READ(inet, pinet6, tclass) ^ policy->tos) & DSCP_BITS;
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
static __always_inline void set_dscp(void *ctx, struct bpf_sock *sk, const struct policy *policy)
{
	int family = sk->family, priority = policy->priority, value;
	struct inet_sock *inet = inet_of(sk);

	if (wrong_tos(inet, policy)) {
		value = policy->tos | (BPF_CORE_READ(inet, tos) & ECN_BITS);
		if (bpf_setsockopt(ctx, IPPROTO_IP, IP_TOS, &value, sizeof(value)))
			excuse_dscp(sk, policy, DSCP_NEVER);
		else if (policy->flags & POLICY_SET_PRIORITY)
			bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
	}
	if (family == AF_INET6 && wrong_tclass(inet, policy)) {
		value = policy->tos | (BPF_CORE_READ(inet, pinet6, tclass) & ECN_BITS);
		bpf_setsockopt(ctx, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
	}
}

static __always_inline bool has_wrong_dscp(struct bpf_sock *sk, const struct policy *policy)
{
	struct inet_sock *inet = inet_of(sk);

	return wrong_tos(inet, policy) || (sk->family == AF_INET6 && wrong_tclass(inet, policy));
}

static __always_inline bool was_set(const struct policy *policy, const struct socket_note *note)
{
	return note && note->tos == policy->tos + 1;
}

static __noinline void mark_address(struct bpf_sock_addr *ctx, const struct policy *policy, bool late)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;

	if (!sk)
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, late ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (marked_below(policy, note))
		return;
	if (note)
		note->tos = policy->tos + 1;
	if (!has_wrong_dscp(sk, policy))
		return;
	if (late)
		excuse_dscp(sk, policy, DSCP_LATE);
	set_dscp(ctx, sk, policy);
}

/* bind() and connect(): before anything is sent. */
static __always_inline void marking_address(struct bpf_sock_addr *ctx, const struct policy *policy)
{
	if (policy->flags & POLICY_SET_DSCP)
		mark_address(ctx, policy, false);
}

/*
 * A send of an unconnected UDP socket, set once: a look at its note costs a third of a look at the socket itself.
 * From Linux 6.15 on (IPv6: 6.11) the kernel has taken the traffic class from the socket by now, so that this
 * datagram goes without.
 */
static __always_inline void marking_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy)
{
	struct bpf_sock *sk = ctx->sk;

	if (policy->flags & POLICY_SET_DSCP && sk && !was_set(policy, bpf_sk_storage_get(&socket_notes, sk, 0, 0)))
		mark_address(ctx, policy, true);
}

static __noinline void mark_tcp(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;
	int value;

	if (!sk)
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, marking_note_flags(policy));
	if (marked_below(policy, note))
		return;
	note_marking(policy, note);
	if (policy->flags & POLICY_SET_DSCP)
		set_dscp(ctx, sk, policy);
	/* Subflows of MPTCP are made by the kernel, past socket(). */
	if (policy->flags & POLICY_SET_MARK && (sk->mark ^ policy->mark) & policy->mark_mask) {
		value = marked(policy, sk->mark);
		bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &value, sizeof(value));
	}
	if (policy->flags & POLICY_SET_PRIORITY && sk->priority != policy->priority) {
		value = policy->priority;
		bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &value, sizeof(value));
	}
}

/* A TCP socket listens, is about to send its SYN, or was accepted. */
static __always_inline void marking_tcp(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (marks(policy))
		mark_tcp(ctx, policy);
}

/* Whether setsockopt() of this option must be looked at. */
static __always_inline bool is_marking_option(const struct policy *policy, int level, int option)
{
	switch (level) {
	case SOL_SOCKET:
		return (option == SO_MARK && policy->flags & POLICY_SET_MARK) ||
		       (option == SO_PRIORITY && policy->flags & POLICY_SET_PRIORITY);
	case IPPROTO_IP:
		return option == IP_TOS && policy->flags & POLICY_SET_DSCP;
	case IPPROTO_IPV6:
		return option == IPV6_TCLASS && policy->flags & POLICY_SET_DSCP;
	}
	return false;
}

/* The value that the option may have, given the one that is asked for. */
static __always_inline int permitted(const struct policy *policy, int option, int value)
{
	switch (option) {
	case SO_MARK:
		return marked(policy, value);
	case SO_PRIORITY:
		return policy->priority;
	default:
		/* -1 of IPV6_TCLASS: the default, which is 0. */
		return policy->tos | (value < 0 ? 0 : value & ECN_BITS);
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

	if (ctx->sk && marked_below(policy, bpf_sk_storage_get(&socket_notes, ctx->sk, 0, 0)))
		return ALLOW;
	/* Of all four, only IP_TOS may be one byte; the kernel refuses the others. */
	if (whole)
		asked = *(int *)optval;
	else if (option == IP_TOS && ctx->optlen > 0 && optval + 1 <= end)
		asked = *(__u8 *)optval;
	else
		return ALLOW;
	allowed = permitted(policy, option, asked);
	/* The kernel takes the lower byte of IP_TOS, and refuses what is no traffic class. */
	if (option == IPV6_TCLASS && (asked < -1 || asked > 255))
		return ALLOW;
	if (asked != allowed && policy->flags & POLICY_DENY_MARKING && refuse_change(ctx, policy) == DENY)
		return DENY;
	/* Priorities over 6 ask for rights that the task need not have: done, as far as it can tell. */
	if (option == SO_PRIORITY)
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
	struct bpf_sock *sk = ctx->sk;

	if (!sk || (sk->family != AF_INET && sk->family != AF_INET6) || !has_wrong_dscp(sk, policy))
		return;
	if (!marked_below(policy, bpf_sk_storage_get(&socket_notes, sk, 0, 0)))
		set_dscp(sk, sk, policy);
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
static __always_inline bool is_still_to_set(const struct policy *policy, struct bpf_sock *sk,
                                            const struct socket_note *note)
{
	/* Of MPTCP the subflows send, and each is set at its own connect. */
	if (sk->protocol == IPPROTO_MPTCP)
		return true;
	if (sk->state != BPF_TCP_CLOSE || sk->type == SOCK_RAW || was_set(policy, note))
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
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;

	if (ctx->retval || !sk || (sk->family != AF_INET && sk->family != AF_INET6))
		return;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	if (marked_below(policy, note))
		return;
	if ((option == IP_TOS || option == IPV6_TCLASS) && !is_still_to_set(policy, sk, note))
		return;
	if (optval + sizeof(int) <= end && ctx->optlen >= (int)sizeof(int))
		*(int *)optval = permitted(policy, option, *(int *)optval);
	else if (option == IP_TOS && optval + 1 <= end && ctx->optlen > 0)
		*(__u8 *)optval = permitted(policy, option, *(__u8 *)optval);
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

/* The traffic class of a packet: the second byte of IPv4, the second nibble and the third of IPv6. */
static __always_inline __u8 traffic_class(struct __sk_buff *skb, const struct policy *policy)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	/* Never: both headers are there before the hook. */
	if (data + 2 > end)
		return policy->tos;
	return data[0] >> 4 == 4 ? data[1] : (__u8)(data[0] << 4) | data[1] >> 4;
}

static __noinline int judge_dscp(struct __sk_buff *skb, const struct policy *policy, __u8 class, bool excused)
{
	struct event event = {.reason = REASON_MARKING, .dscp = class >> 2};
	struct bpf_sock *sk = skb->sk;

	if (excused || !(policy->flags & POLICY_DROP_DSCP)) {
		count(&container_counters()->audited[REASON_MARKING], 1);
		return ALLOW;
	}
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk) {
		event.family = sk->family;
		event.protocol = sk->protocol;
		event.port = sk->src_port;
	}
	return refuse(policy, &event);
}

static __noinline int correct(struct __sk_buff *skb, const struct policy *policy)
{
	__u8 class = traffic_class(skb, policy);
	struct socket_note *note = NULL;
	struct bpf_sock *sk = skb->sk;
	__u8 excuse;

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk)
		note = bpf_sk_storage_get(&socket_notes, sk, 0, marking_note_flags(policy));
	if (marked_below(policy, note))
		return ALLOW;
	note_marking(policy, note);
	if (policy->flags & POLICY_SET_MARK)
		skb->mark = marked(policy, skb->mark);
	if (policy->flags & POLICY_SET_PRIORITY)
		skb->priority = policy->priority;
	if (!(policy->flags & POLICY_SET_DSCP) || !((class ^ policy->tos) & DSCP_BITS))
		return ALLOW;
	excuse = note ? note->dscp_excuse : 0;
	if (excuse == DSCP_LATE)
		note->dscp_excuse = 0;
	return judge_dscp(skb, policy, class, excuse == DSCP_LATE || (excuse == DSCP_NEVER && class >> 2 == 0));
}

/* Every packet that a socket of the container sends: as it should be, nearly always. */
static __always_inline int marking_egress(struct __sk_buff *skb)
{
	const struct policy *policy = container_policy();
	__u32 flags = policy->flags, wrong;

	if (!(flags & MARKING_FLAGS))
		return ALLOW;
	wrong = (skb->mark ^ policy->mark) & policy->mark_mask;
	if (flags & POLICY_SET_PRIORITY)
		wrong |= skb->priority ^ policy->priority;
	if (flags & POLICY_SET_DSCP)
		wrong |= (traffic_class(skb, policy) ^ policy->tos) & DSCP_BITS;
	return wrong ? correct(skb, policy) : ALLOW;
}
