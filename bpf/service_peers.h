/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services: where a socket went instead of to a virtual address, in the socket's own storage, so that its task is
 * told of whom it has asked (recvmsg(), getpeername()). All of UDP has it; of TCP, what is to be told the virtual
 * address.
 */
#pragma once

#include "service_choice.h"

/* The note of the socket that the task has, whose names it asks for: for a subflow of MPTCP not that one. */
static __always_inline struct service_note *service_note(struct bpf_sock *sk, __u64 flags)
{
	struct mptcp_sock *mptcp;

	if (bpf_core_type_exists(struct mptcp_sock)) {
		mptcp = bpf_skc_to_mptcp_sock(sk);
		if (mptcp)
			return bpf_sk_storage_get(&service_notes, mptcp, 0, flags);
	}
	return bpf_sk_storage_get(&service_notes, sk, 0, flags);
}

/* A socket goes to a place that is no virtual address: what comes from there comes from there. */
__noinline int forget_peers(struct bpf_sock_addr *ctx, const struct policy *policy, const struct service_key *to,
                            bool connects)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;
	__u32 connected = 0;

	/* What a nested container's services have made of it stays. */
	if (!policy || !to || !note || note->level > policy->level)
		return 0;
	if (connects)
		note->connected = 0;
	/* The kernel has this hook run for a connected IPv6 socket whose peer is v4-mapped too. */
	else if (sk->state == BPF_TCP_ESTABLISHED)
		connected = note->connected;
	for (__u32 i = 0; i < SERVICE_PEERS; i++) {
		__u64 differs =
		    place_differs(note->peers[i].backend, note->peers[i].backend_port, to->address, to->port);

		/* The one that it is connected to, without a branch: the verifier walks both ways of each. */
		differs |= ((__u64)(connected ^ (i + 1)) - 1) >> 63;
		barrier_var(differs);
		if (!differs)
			note->peers[i].table = 0;
	}
	return 0;
}

/* Where this socket went for the virtual address since the service has these backends. */
static __always_inline struct service_peer *known_peer(struct service_note *note, __u64 table,
                                                       const struct service_key *vip)
{
	for (int i = 0; i < SERVICE_PEERS; i++)
		if (note->peers[i].table == table &&
		    is_same_place(note->peers[i].vip, note->peers[i].vip_port, vip->address, vip->port))
			return &note->peers[i];
	return NULL;
}

/* @returns where the next peer is noted: in the place of one for the same address and backend, or of the oldest */
static __always_inline __u32 place_for(struct service_note *note, const struct service_key *vip,
                                       const struct service_key *to)
{
	for (int i = 0; i < SERVICE_PEERS; i++)
		if (is_same_place(note->peers[i].backend, note->peers[i].backend_port, to->address, to->port))
			return i;
	return note->next++;
}

/* @returns 0 where there is no memory for it; else one more than its place */
__noinline int note_peer(struct bpf_sock_addr *ctx, const struct policy *policy, const struct service *service,
                         const struct service_key *vip, const struct service_key *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	struct service_peer *peer;
	__u32 place;

	if (!policy || !service || !vip || !to || !note)
		return 0;
	place = place_for(note, vip, to) & (SERVICE_PEERS - 1);
	peer = &note->peers[place];
	__builtin_memcpy(peer->vip, vip->address, 16);
	__builtin_memcpy(peer->backend, to->address, 16);
	peer->vip_port = vip->port;
	peer->backend_port = to->port;
	peer->class = service->class;
	peer->table = service->table;
	note->set = service_set(policy);
	note->level = policy->level;
	return place + 1;
}

/*
 * Who has sent, as the task knows it: also one whose service has other backends by now.
 * @param from becomes the virtual address
 */
__noinline int tell_sender(struct bpf_sock_addr *ctx, struct service_key *from)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;

	for (int i = 0; from && note && i < SERVICE_PEERS; i++) {
		struct service_peer *peer = &note->peers[i];

		if (peer->table && is_same_place(peer->backend, peer->backend_port, from->address, from->port)) {
			__builtin_memcpy(from->address, peer->vip, 16);
			from->port = peer->vip_port;
			return true;
		}
	}
	return false;
}

/* recvmsg() of UDP. */
static __always_inline void services_recvmsg(struct bpf_sock_addr *ctx, __u8 family)
{
	struct service_key from = {};

	if (!uses_services(container_policy()))
		return;
	read_given(ctx, family, &from);
	if (tell_sender(ctx, &from))
		write_given(ctx, family, from.address, from.port);
}

/* @param to becomes the virtual address */
__noinline int tell_peer(struct bpf_sock_addr *ctx, struct service_key *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;
	struct service_peer *peer;

	if (!to || !note || !note->connected)
		return false;
	peer = &note->peers[(note->connected - 1) & (SERVICE_PEERS - 1)];
	if (!peer->table || !is_same_place(peer->backend, peer->backend_port, to->address, to->port))
		return false;
	__builtin_memcpy(to->address, peer->vip, 16);
	to->port = peer->vip_port;
	return true;
}

static __always_inline void services_getpeername(struct bpf_sock_addr *ctx, __u8 family)
{
	struct service_key to = {};

	if (!uses_services(container_policy()))
		return;
	read_given(ctx, family, &to);
	if (tell_peer(ctx, &to))
		write_given(ctx, family, to.address, to.port);
}
