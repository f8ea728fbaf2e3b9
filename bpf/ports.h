/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: what a container may do with them (README.md, "Ports"). Here are the calls that can be refused; listeners
 * are in port_listeners.h, and what is known of a port only when it is used in port_receivers.h.
 *
 * Each function judges for one level of nesting and returns ALLOW or DENY; a deny is EPERM. Addresses play no part:
 * IPv4, IPv6 and v4-mapped are all alike, and TCP, MPTCP (whose subflow, a TCP socket, is what binds), UDP and
 * UDP-Lite share one set of ports as in Mesos's `ports` resource.
 */
#pragma once

#include "port_owners.h"
#include "port_reports.h"

static __always_inline bool has_bind_hook(__u32 type, __u32 protocol)
{
	/* SOCK_RAW with IPPROTO_UDP is a raw socket: no port. */
	return type != SOCK_RAW &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE);
}

static __always_inline void copy_address(struct event *event, const struct bpf_sock_addr *ctx, __u8 family)
{
	__u32 *address = (__u32 *)event->address;

	/* The verifier lets each hook read its own family's fields only. */
	if (family == AF_INET) {
		address[0] = ctx->user_ip4;
	} else {
		address[0] = ctx->user_ip6[0];
		address[1] = ctx->user_ip6[1];
		address[2] = ctx->user_ip6[2];
		address[3] = ctx->user_ip6[3];
	}
}

static __noinline int refuse_bind(struct bpf_sock_addr *ctx, const struct policy *policy,
                                  const struct port_owner *owner, __u8 family, __u32 asked)
{
	struct event event = {.family = family, .asked_port = asked};

	if (denied_below() || !has_bind_hook(ctx->type, ctx->protocol) || judges_no_port(policy))
		return ALLOW;
	event.port = bpf_ntohs(ctx->user_port);
	if (event.port && is_unjudged(policy, owner, event.port))
		return ALLOW;
	event.protocol = ctx->protocol;
	event.reason = event.port ? REASON_BIND : REASON_BIND_ZERO;
	event.owner = innermost(owner);
	copy_address(&event, ctx, family);
	/* Every bind() is reported; what the socket does later with the port is not reported again. */
	if (ctx->sk)
		reported_before(policy, bpf_sk_storage_get(&socket_notes, ctx->sk, 0, note_flags(policy)));
	return refuse(policy, &event);
}

/*
 * bind(): the port that the caller asks for, or that it is remapped to.
 * @param asked port that it was remapped from, or 0
 */
static __always_inline int ports_bind(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                      __u32 asked)
{
	__u32 port = bpf_ntohs(ctx->user_port);
	const struct port_owner *owner = owner_of(port);

	if (!owner)
		return DENY;
	if (port ? owns(policy, owner) : may_use_chosen(policy))
		return ALLOW;
	return refuse_bind(ctx, policy, owner, family, asked);
}

static __noinline int refuse_chosen(struct bpf_sock *ctx, const struct policy *policy, const struct port_owner *owner,
                                    __u8 family)
{
	struct event event = {.family = family, .reason = REASON_CHOSEN_PORT};

	if (denied_below() || !has_bind_hook(ctx->type, ctx->protocol) || judges_no_port(policy))
		return ALLOW;
	if (reported_before(policy, bpf_sk_storage_get(&socket_notes, ctx, 0, note_flags(policy))))
		return ALLOW;
	event.port = ctx->src_port;
	event.protocol = ctx->protocol;
	event.owner = innermost(owner);
	return refuse(policy, &event);
}

/* After bind() has chosen: only here is the port of a bind(0) known. One that was asked for is judged already. */
static __always_inline int ports_post_bind(struct bpf_sock *ctx, const struct policy *policy, __u8 family)
{
	const struct port_owner *owner = owner_of(ctx->src_port);

	if (!owner)
		return DENY;
	if (policy->enforcement && !is_foreign(policy, owner))
		return ALLOW;
	return refuse_chosen(ctx, policy, owner, family);
}

static __noinline int refuse_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy,
                                     const struct port_owner *owner, __u8 family)
{
	struct event event = {.family = family, .reason = REASON_SENDMSG};
	struct socket_note *note;
	struct bpf_sock *sk = ctx->sk;

	if (!sk || denied_below() || judges_no_port(policy) || is_unjudged(policy, owner, sk->src_port))
		return ALLOW;
	/* A connected socket receives from its peer only, so no mode forbids it the kernel's choice. */
	if (policy->enforcement && !owner->chain[0] && sk->state == BPF_TCP_ESTABLISHED)
		return ALLOW;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (reported_before(policy, note))
		return ALLOW;
	mark_reported(policy, note, REPORTED_PORT);
	event.port = sk->src_port;
	event.protocol = ctx->protocol;
	event.owner = innermost(owner);
	return refuse(policy, &event);
}

/*
 * Unconnected UDP send: a socket that was never bound has its port by now (inet_autobind), and can receive from
 * anybody on it. Connected sockets come here by sendto() only.
 * @param own becomes whether it is sent from a port of the container's own
 */
static __always_inline int ports_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                         bool *own)
{
	struct bpf_sock *sk = ctx->sk;
	const struct port_owner *owner;

	if (!sk)
		return DENY;
	owner = owner_of(sk->src_port);
	if (!owner)
		return DENY;
	*own = owner->chain[0] && owns(policy, owner);
	if (*own || (!owner->chain[0] && may_use_chosen(policy)))
		return ALLOW;
	return refuse_sendmsg(ctx, policy, owner, family);
}

/* Covered by the bind hooks, or without ports. What a kernel may add one day is refused until it is known. */
static __always_inline bool is_known_protocol(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_L2TP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SMC: /* its inner socket is a TCP one, and that binds */
	case IPPROTO_MPTCP:
		return true;
	}
	return false;
}

static __noinline int refuse_protocol(struct bpf_sock *ctx, const struct policy *policy)
{
	struct event event = {.reason = REASON_PROTOCOL};

	if (denied_below() || policy->flags & POLICY_ANY_PORT)
		return ALLOW;
	if (policy->enforcement) {
		if (is_known_protocol(ctx->protocol))
			return ALLOW;
		if (ctx->protocol == IPPROTO_SCTP && policy->flags & POLICY_ALLOW_SCTP)
			return ALLOW;
		if (ctx->protocol == IPPROTO_DCCP && policy->flags & POLICY_ALLOW_DCCP)
			return ALLOW;
	}
	event.protocol = ctx->protocol;
	event.family = ctx->family;
	return refuse(policy, &event);
}

/* socket(): protocols that have ports of their own but that no bind hook covers. */
static __always_inline int ports_sock_create(struct bpf_sock *ctx, const struct policy *policy)
{
	if (policy->enforcement &&
	    (ctx->type == SOCK_RAW || ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP))
		return ALLOW;
	return refuse_protocol(ctx, policy);
}
