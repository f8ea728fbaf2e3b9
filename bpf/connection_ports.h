/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: ports that the kernel chooses (README.md, "Connections"), as many as a container may hold.
 *
 * A TCP connection is counted with its port, so that this one too is held for as long as the kernel keeps it. Other
 * sockets are counted from the moment at which the kernel gives them a port: bind(0) or listen() of TCP. Where no
 * hook could refuse that moment (the first send of a UDP socket, whatever the inner socket of an MPTCP one does),
 * they are counted from socket() on, until bind() is asked for a port by its number.
 */
#pragma once

#include "connection_counts.h"
#include "connection_totals.h"

static __always_inline bool counts_ports(const struct policy *policy)
{
	return policy->flags & POLICY_COUNT_PORTS;
}

static __always_inline __u32 max_ports(const struct policy *policy)
{
	__u64 cgroup_id = policy->cgroup_id;
	struct connection_rules *rules = bpf_map_lookup_elem(&connect_rules, &cgroup_id);

	return rules && rules->max_ports ? rules->max_ports : NO_LIMIT;
}

/* The kernel gives it a port at a moment that no hook can refuse. */
static __always_inline bool gets_port_unasked(__u32 protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_MPTCP;
}

/* @returns 0, or why not */
__noinline int take_port(__u64 cgroup_id, __u32 most)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	__u32 span = this_span();

	if (!totals || totals->counts[IN_ALL].cgroup_id != cgroup_id)
		return REFUSED_BY_PORTS;
	if (is_behind(&totals->counts[PORTS_HELD], span))
		advance_total(cgroup_id, PORTS_HELD, span);
	return take_live(&totals->counts[PORTS_HELD], most) ? REFUSED_BY_PORTS : 0;
}

__noinline int give_port(__u64 cgroup_id)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	if (totals && totals->counts[IN_ALL].cgroup_id == cgroup_id)
		give_live(&totals->counts[PORTS_HELD]);
	return 0;
}

/* At every level. */
__noinline int give_ports(struct socket_connections *connections)
{
	if (!connections)
		return 0;
	for (int i = 0; i < LEVELS; i++) {
		if (!connections->ports[i])
			continue;
		give_port(connections->ports[i]);
		connections->ports[i] = 0;
	}
	return 0;
}

/* Counts a socket once at this level. @param connections NULL: there is no memory for it */
static __noinline int hold_port(const struct policy *policy, struct socket_connections *connections,
                                struct event *event)
{
	__u32 level = policy->level & (LEVELS - 1);

	event->reason = REASON_CONNECTIONS_PORTS;
	if (!connections)
		return refuse(policy, event);
	if (connections->ports[level])
		return ALLOW;
	if (take_port(policy->cgroup_id, max_ports(policy))) {
		if (refuse(policy, event) == DENY) {
			give_ports(connections);
			bpf_set_retval(-(int)policy->connections_errno);
			return DENY;
		}
		take_port(policy->cgroup_id, NO_LIMIT);
	}
	connections->ports[level] = policy->cgroup_id;
	return ALLOW;
}

static __noinline int count_socket(struct bpf_sock *ctx, const struct policy *policy)
{
	struct event event = {.family = ctx->family, .protocol = ctx->protocol};

	if (ctx->type == SOCK_RAW || !gets_port_unasked(ctx->protocol))
		return ALLOW;
	if (denied_below()) {
		give_ports(bpf_sk_storage_get(&sock_connects, ctx, 0, 0));
		return ALLOW;
	}
	if (event.protocol == IPPROTO_MPTCP)
		event.protocol = IPPROTO_TCP;
	return hold_port(policy, bpf_sk_storage_get(&sock_connects, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE), &event);
}

/* socket() */
static __always_inline int ports_held_sock_create(struct bpf_sock *ctx, const struct policy *policy)
{
	return counts_ports(policy) ? count_socket(ctx, policy) : ALLOW;
}

static __noinline void note_bind(struct bpf_sock_addr *ctx)
{
	bool any = !ctx->user_port && ctx->protocol == IPPROTO_TCP;
	struct socket_connections *connections;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return;
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, any ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (connections)
		connections->by_number = ctx->user_port != 0;
}

/* bind(), when the port is known that it asks for. */
static __always_inline void ports_held_bind(struct bpf_sock_addr *ctx, const struct policy *policy)
{
	if (counts_ports(policy))
		note_bind(ctx);
}

static __noinline int count_bound(struct bpf_sock *ctx, const struct policy *policy)
{
	struct socket_connections *connections = bpf_sk_storage_get(&sock_connects, ctx, 0, 0);
	struct event event = {.family = ctx->family, .protocol = ctx->protocol};

	if (!connections || denied_below())
		return ALLOW;
	if (connections->by_number) {
		give_ports(connections);
		return ALLOW;
	}
	/* The inner socket of an MPTCP one, which is counted itself; nobody would tell when this one is released. */
	if (BPF_CORE_READ_BITFIELD_PROBED((struct sock *)ctx, sk_kern_sock))
		return ALLOW;
	return hold_port(policy, connections, &event);
}

/* bind() has its port. */
static __always_inline int ports_held_post_bind(struct bpf_sock *ctx, const struct policy *policy)
{
	return counts_ports(policy) ? count_bound(ctx, policy) : ALLOW;
}
