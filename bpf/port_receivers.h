/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: those that the kernel chose where no hook could refuse it, of connect() and of sends. They are found when
 * they are used: reported, and what comes for them is denied.
 */
#pragma once

#include "port_listeners.h"
#include "port_owners.h"
#include "port_reports.h"

/*
 * connect() has chosen its source port: too late to refuse, so another container's is counted and reported. The
 * parent's program runs for the same socket: the first level to report is the only one.
 */
static __always_inline void report_source_port(__u32 port, struct event *event, struct socket_note *note)
{
	const struct policy *policy = container_policy();
	const struct port_owner *owner = owner_of(port);

	if (!owner || !is_foreign(policy, owner) || judges_no_port(policy))
		return;
	if (note && reported_at_any_level(note, REPORTED_SOURCE))
		return;
	mark_reported(policy, note, REPORTED_SOURCE);
	event->reason = REASON_SOURCE_PORT;
	event->port = port;
	event->owner = innermost(owner);
	refuse(policy, event);
}

static __always_inline bool is_owned(__u32 port)
{
	const struct port_bounds *bounds;
	const struct port_owner *owner;
	__u32 key = 0;

	bounds = bpf_map_lookup_elem(&port_bounds, &key);
	if (!bounds || port < bounds->first || port > bounds->last)
		return false;
	owner = owner_of(port);
	return owner && owner->chain[0];
}

static __noinline void report_owned_source(struct bpf_sock_ops *ctx)
{
	struct event event = {.family = ctx->family, .protocol = IPPROTO_TCP};
	struct bpf_sock *sk = ctx->sk;

	if (sk)
		report_source_port(ctx->local_port, &event,
		                   bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE));
}

static __always_inline void ports_connect(struct bpf_sock_ops *ctx)
{
	/* Nobody's port, as nearly all are: no note needed. */
	if (is_owned(ctx->local_port))
		report_owned_source(ctx);
}

/* May an unconnected UDP socket receive on this port, as far as this level is concerned? */
static __always_inline bool may_receive(const struct policy *policy, const struct port_owner *owner, __u32 port)
{
	return (owner->chain[0] ? owns(policy, owner) : may_use_chosen(policy)) || judges_no_port(policy) ||
	       is_unjudged(policy, owner, port);
}

static __noinline void report_udp_port(struct bpf_sock *ctx, __u32 port)
{
	struct event event = {.family = ctx->family, .protocol = ctx->protocol, .reason = REASON_RECEIVE};
	const struct policy *policy = container_policy();
	const struct port_owner *owner = owner_of(port);
	struct socket_note *note;

	if (!owner || may_receive(policy, owner, port))
		return;
	note = bpf_sk_storage_get(&socket_notes, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (ctx->state == BPF_TCP_ESTABLISHED) {
		report_source_port(port, &event, note);
		return;
	}
	if (note && reported_at_any_level(note, REPORTED_PORT))
		return;
	mark_reported(policy, note, REPORTED_PORT);
	event.unreachable = !refuses_nothing(policy);
	event.port = port;
	event.owner = innermost(owner);
	refuse(policy, &event);
}

/*
 * No hook sees the port that the kernel chose for a UDP connect(), or for a send that failed before its hook, until
 * the socket is closed: late, but not silent.
 */
static __always_inline void ports_release(struct bpf_sock *ctx)
{
	__u32 port;

	if (ctx->type == SOCK_RAW || (ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_UDPLITE))
		return;
	port = BPF_CORE_READ((struct sock *)ctx, __sk_common.skc_num);
	if (port)
		report_udp_port(ctx, port);
}

static __noinline int judge_datagram(struct __sk_buff *skb, struct counters *counters, const struct port_owner *owner,
                                     __u32 port)
{
	const struct policy *policy = container_policy();
	struct bpf_sock *sk = skb->sk;

	/* Never changes for as long as the node exists. */
	counters->self = policy->cgroup_id;
	if (may_receive(policy, owner, port) || refuses_nothing(policy) || !sk)
		return ALLOW;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->type == SOCK_RAW || (sk->protocol != IPPROTO_UDP && sk->protocol != IPPROTO_UDPLITE))
		return ALLOW;
	return DENY;
}

/*
 * A datagram for an unconnected UDP socket. Every way to make the kernel choose a port ends here, also those that no
 * hook sees (a send that fails, a connect() that fails): on a port that is not allowed nothing is received. Ping and
 * raw sockets come here too, with a number that is no port: told apart only where the answer would be no.
 */
static __always_inline int ports_receive(struct __sk_buff *skb, struct bpf_sock *sk, struct counters *counters)
{
	const struct port_owner *owner = owner_of(sk->src_port);

	if (!owner)
		return DENY;
	/* A server on a port of its own, in a root container: by far the most. */
	if (owner->chain[0] && owner->chain[0] == counters->self)
		return ALLOW;
	return judge_datagram(skb, counters, owner, sk->src_port);
}

/*
 * A packet for a socket in LISTEN: DENY where any level's verdict on the listener says so. All levels read the same
 * note, so that each of them counts the packet as dropped and none as received.
 */
static __noinline int ports_accept(struct bpf_sock *sk)
{
	struct socket_note *note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	const struct policy *policy = container_policy();
	const struct port_owner *owner;

	if (note && note->listener_port == sk->src_port && note->listener[policy->level & (LEVELS - 1)]) {
		for (int i = 0; i < LEVELS; i++)
			if (note->listener[i] == LISTENER_FORBIDDEN)
				return DENY;
		return ALLOW;
	}
	owner = owner_of(sk->src_port);
	if (refuses_nothing(policy) || (owner && may_listen(policy, owner, sk->src_port)))
		return ALLOW;
	return DENY;
}

static __always_inline int ports_ingress(struct __sk_buff *skb, struct counters *counters)
{
	struct bpf_sock *sk = skb->sk;

	__u32 state;

	if (!sk)
		return ALLOW;
	state = sk->state;
	if (state == BPF_TCP_CLOSE)
		return ports_receive(skb, sk, counters);
	if (state != BPF_TCP_LISTEN)
		return ALLOW;
	sk = bpf_sk_fullsock(sk);
	return sk ? ports_accept(sk) : ALLOW;
}
