/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Remap: bind() to a port of the task's choice gives the port that the container has for it (README.md, "Port
 * mappings").
 *
 * The kernel has copied the address by the time that the hook runs, and binds what is in its copy. The rights that a
 * port below 1024 needs are asked for after it, for the port that is really bound. A socket that has its port by a
 * mapping needs no note of it, so that bind() costs no memory: the one that bound a host port by its number has.
 */
#pragma once

#include "local.h"
#include "port_owners.h"

static __always_inline bool remaps(const struct policy *policy)
{
	return policy->flags & POLICY_REMAP;
}

static __always_inline __u32 in_remap_set(__u32 index, __u64 cgroup_id, __u32 port, bool tcp, enum remap_way way)
{
	const struct port_remap_set *set = bpf_map_lookup_elem(&port_remaps, &index);

	if (!set)
		return 0;
	for (int i = 0; i < REMAP_PLACES; i++)
		if (set->cgroup_id[i] == cgroup_id && set->port[i] == port && set->way[i] == way)
			return tcp ? set->tcp[i] : set->udp[i];
	return 0;
}

/* The same for a container with more mappings than are at hand. */
__noinline int look_up_remap(const struct policy *policy, __u32 port, bool tcp, enum remap_way way)
{
	__u32 hash, first, second, found;

	if (!policy)
		return 0;
	hash = (__u32)policy->cgroup_id * REMAP_ID_FACTOR + (port << 1 | way);
	first = hash * REMAP_FIRST_FACTOR >> REMAP_SETS_SHIFT;
	second = hash * REMAP_SECOND_FACTOR >> REMAP_SETS_SHIFT;
	found = in_remap_set(first, policy->cgroup_id, port, tcp, way);
	return found ? found : in_remap_set(second, policy->cgroup_id, port, tcp, way);
}

/*
 * What a port is by a mapping of this level; 0: there is none.
 */
static __always_inline __u32 remapped(const struct policy *policy, __u32 port, __u32 protocol, enum remap_way way)
{
	const __u16 *from = way == REMAP_TO_HOST ? policy->remap_port : policy->remap_host;
	const __u16 *to = way == REMAP_TO_HOST ? policy->remap_host : policy->remap_port;
	bool tcp = protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
	__u32 valid = tcp ? policy->remap_tcp : policy->remap_udp;

	if (!tcp && protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
		return 0;
	for (int i = 0; i < REMAPS_AT_HAND; i++)
		if (from[i] == port && valid & 1u << i)
			return to[i];
	return policy->remap_more ? look_up_remap(policy, port, tcp, way) : 0;
}

/* The socket that the task has, whose names it asks for: for a subflow of MPTCP not that one. */
static __always_inline struct remap_note *remap_note(struct bpf_sock *sk, __u64 flags)
{
	struct mptcp_sock *mptcp;

	if (bpf_core_type_exists(struct mptcp_sock)) {
		mptcp = bpf_skc_to_mptcp_sock(sk);
		if (mptcp)
			return bpf_sk_storage_get(&remap_notes, mptcp, 0, flags);
	}
	return bpf_sk_storage_get(&remap_notes, sk, 0, flags);
}

/*
 * The port has no mapping. One that is a mapping's host port is to be called by its number where that was asked for.
 * Not where it is a nested container's: that has the mapping too, and its program knows what was asked for. The note
 * of a bind() that fails stays: should the socket then be bound to the same port by a mapping, it is called by its
 * number.
 */
static __noinline void bind_by_number(struct bpf_sock_addr *ctx, const struct policy *policy, __u32 port)
{
	const struct port_owner *owner = owner_of(port);
	__u32 below = policy->level + 1;
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note;

	if (!sk || !owner || (below < LEVELS && owner->chain[below]))
		return;
	note = remap_note(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (note)
		note->by_number = port;
}

/* bind(), before its port is judged. @returns the port that was asked for where another has taken its place, else 0
 */
static __always_inline __u32 remap_bind(struct bpf_sock_addr *ctx, const struct policy *policy)
{
	__u32 port, host;

	if (!remaps(policy))
		return 0;
	port = bpf_ntohs(ctx->user_port);
	host = port ? remapped(policy, port, ctx->protocol, REMAP_TO_HOST) : 0;
	if (host) {
		ctx->user_port = bpf_htons(host);
		return port;
	}
	if (port && remapped(policy, port, ctx->protocol, REMAP_TO_CONTAINER))
		bind_by_number(ctx, policy, port);
	return 0;
}

/* Whether bind() was given the port. Where the kernel chose it, nobody asked for it by another number. */
static __always_inline bool is_asked_for(struct sock *sk)
{
	if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP && bpf_core_field_exists(struct mptcp_sock, first))
		sk = BPF_CORE_READ((struct mptcp_sock *)sk, first);
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;
}

/* listen() or connect() of TCP: accepted sockets know no more how their port came about, but have their listener's
 * note.
 */
static __noinline void note_chosen(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note;
	__u32 port = ctx->local_port;

	if (!sk || !remapped(policy, port, IPPROTO_TCP, REMAP_TO_CONTAINER) || is_asked_for(probed(sk)))
		return;
	note = remap_note(sk, BPF_SK_STORAGE_GET_F_CREATE);
	if (note)
		note->by_number = port;
}

static __always_inline void remap_tcp(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (remaps(policy))
		note_chosen(ctx, policy);
}

/* UDP, or TCP before it has a peer or listens: the socket itself knows whether it was given its port. */
static __always_inline bool knows_itself(const struct bpf_sock_addr *ctx, const struct bpf_sock *sk)
{
	return ctx->protocol == IPPROTO_UDP || ctx->protocol == IPPROTO_UDPLITE || sk->state == BPF_TCP_CLOSE;
}

/* getsockname() */
static __always_inline void remap_getsockname(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 port = bpf_ntohs(ctx->user_port), told;
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note;

	if (!remaps(policy) || !sk)
		return;
	told = remapped(policy, port, ctx->protocol, REMAP_TO_CONTAINER);
	if (!told)
		return;
	note = bpf_sk_storage_get(&remap_notes, sk, 0, 0);
	if (note && note->by_number == port)
		return;
	if (knows_itself(ctx, sk) && !is_asked_for(probed(sk)))
		return;
	ctx->user_port = bpf_htons(told);
}

/*
 * To a local address and a port of a mapping: it goes to the container itself, at the port that it has. Not where
 * that is somebody else's by now.
 * @returns that port, or 0
 */
static __always_inline __u32 own_port(struct bpf_sock_addr *ctx, const struct policy *policy,
                                      const struct ip_address *address)
{
	__u32 host = remapped(policy, bpf_ntohs(ctx->user_port), ctx->protocol, REMAP_TO_HOST);
	const struct port_owner *owner = owner_of(host);

	return host && owner && owns(policy, owner) && is_own_address(ctx->sk, address) ? host : 0;
}

static __always_inline void note_asked_peer(struct remap_note *note, const struct policy *policy, __u32 host,
                                            __u32 asked)
{
	note->peer = host;
	note->peer_asked = asked;
	note->peer_from = policy->level;
}

__noinline int connect_remapped(struct bpf_sock_addr *ctx, const struct policy *policy,
                                const struct ip_address *address)
{
	__u32 port = bpf_ntohs(ctx->user_port), host;
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note;

	if (!policy || !address)
		return 0;
	host = own_port(ctx, policy, address);
	if (host)
		ctx->user_port = bpf_htons(host);
	note = sk ? remap_note(sk, host ? BPF_SK_STORAGE_GET_F_CREATE : 0) : NULL;
	/* What a nested container's mapping has made of it stays. */
	if (note && (host || note->peer_from <= policy->level))
		note_asked_peer(note, policy, host, port);
	return 0;
}

/* connect(), before anything else looks at where it goes. */
static __always_inline void remap_connect(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family)
{
	struct ip_address address = {};

	if (!remaps(policy))
		return;
	read_given_address(ctx, family, &address);
	connect_remapped(ctx, policy, &address);
}

__noinline int send_remapped(struct bpf_sock_addr *ctx, const struct policy *policy, const struct ip_address *address)
{
	__u32 port = bpf_ntohs(ctx->user_port), host;
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note;

	if (!policy || !address)
		return 0;
	host = own_port(ctx, policy, address);
	if (!host || !sk)
		return 0;
	ctx->user_port = bpf_htons(host);
	/* Answers may come after the next datagram went elsewhere: that changes nothing here. */
	note = bpf_sk_storage_get(&remap_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (note)
		note_asked_peer(note, policy, host, port);
	return 0;
}

/* Unconnected UDP send, likewise. */
static __always_inline void remap_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family)
{
	struct ip_address address = {};

	if (!remaps(policy))
		return;
	read_given_address(ctx, family, &address);
	send_remapped(ctx, policy, &address);
}

/* The peer that the task asked for, as far as the port tells. */
static __always_inline __u32 asked_peer(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct remap_note *note = sk ? bpf_sk_storage_get(&remap_notes, sk, 0, 0) : NULL;

	return note && note->peer && note->peer == bpf_ntohs(ctx->user_port) ? note->peer_asked : 0;
}

/* recvmsg() of UDP: the sender. */
static __always_inline void remap_recvmsg(struct bpf_sock_addr *ctx, __u8 family)
{
	__u32 asked = asked_peer(ctx);
	struct ip_address address = {};

	read_given_address(ctx, family, &address);
	if (asked && is_own_address(ctx->sk, &address))
		ctx->user_port = bpf_htons(asked);
}

static __always_inline void remap_getpeername(struct bpf_sock_addr *ctx)
{
	__u32 asked = asked_peer(ctx);

	if (asked)
		ctx->user_port = bpf_htons(asked);
}
