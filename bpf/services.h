/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services: connect() and UDP sends to a virtual address go to one of its backends (README.md, "Services").
 *
 * The address is changed on the kernel's copy before anything else looks at it, so that rules, limits, getpeername()
 * and every tool see the backend, and no packet has to be changed. TCP sockets remember nothing, unless their task is
 * to be told the virtual address: which backend a connection is to, its remote address says. UDP sockets remember
 * where they went, so that answers come from whom the task has asked.
 */
#pragma once

#include "service_health.h"
#include "service_peers.h"
#include "terminate.h"

/* Static: Linux 6.1 takes no key of a map that a function was given unless it sees where that is. */
static __noinline int refuse_service(const struct policy *policy, const struct service_key *vip)
{
	struct event event = {.reason = REASON_SERVICE, .protocol = vip->protocol, .port = vip->port};
	__u64 *misses = bpf_map_lookup_elem(&service_misses, vip), one = 1;
	int verdict;

	if (misses)
		count(misses, 1);
	else
		bpf_map_update_elem(&service_misses, vip, &one, BPF_NOEXIST);
	if (is_v4_mapped(vip->address)) {
		event.family = AF_INET;
		__builtin_memcpy(event.address, vip->address + 12, 4);
	} else {
		event.family = AF_INET6;
		__builtin_memcpy(event.address, vip->address, sizeof(event.address));
	}
	verdict = refuse(policy, &event);
	if (verdict == DENY)
		bpf_set_retval(-ECONNREFUSED);
	return verdict;
}

/* The task has used up what the kernel gives a socket (net.core.optmem_max). */
static __always_inline int refuse_note(void)
{
	bpf_set_retval(-ENOBUFS);
	return DENY;
}

/* Besides a verdict: allowed, and it goes elsewhere. */
#define TRANSLATED 2

__noinline int note_connect(struct bpf_sock_addr *ctx, const struct policy *policy, const struct service_key *vip,
                            const struct service_key *to, const struct service *service)
{
	__u32 place = note_peer(ctx, policy, service, vip, to);
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = place && sk ? service_note(sk, 0) : NULL;

	if (!note)
		return refuse_note();
	note->connected = place;
	return TRANSLATED;
}

/* A TCP socket that has a note is one that was to be told a virtual address: most often there are none. */
static __always_inline bool may_have_note(const struct bpf_sock_addr *ctx)
{
	__u64 *tells;

	if (ctx->protocol != IPPROTO_TCP)
		return true;
	tells = service_state(SERVICE_TELLS);
	return tells && *tells;
}

/* @param class of the service, by which rules name it */
static __always_inline int connect_service(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                           __u32 *class)
{
	struct service_key vip = {.set = service_set(policy)}, to = {};
	const struct service_entry *entry;
	bool remembered = may_have_note(ctx);
	__u32 place;
	int verdict;

	read_given(ctx, family, &vip);
	entry = bpf_map_lookup_elem(&services, &vip);
	if (!entry) {
		if (remembered)
			forget_peers(ctx, policy, &vip, true);
		return ALLOW;
	}
	if (denied_below())
		return ALLOW;
	*class = entry->service.class;
	place = choose_backend(policy, entry, &to);
	if (place == NO_PLACE)
		return entry->service.flags & SERVICE_PASS ? ALLOW : refuse_service(policy, &vip);
	if (ctx->protocol == IPPROTO_UDP || entry->service.flags & SERVICE_TELL_VIP) {
		verdict = note_connect(ctx, policy, &vip, &to, &entry->service);
		if (verdict != TRANSLATED)
			return verdict;
	} else if (remembered) {
		forget_peers(ctx, policy, &to, true);
	}
	if (ctx->protocol == IPPROTO_TCP)
		announce_backend(ctx, policy, place, *class);
	write_given(ctx, family, to.address, to.port);
	return ALLOW;
}

__noinline int connect_service4(struct bpf_sock_addr *ctx, const struct policy *policy, __u32 *class)
{
	return policy && class ? connect_service(ctx, policy, AF_INET, class) : DENY;
}

__noinline int connect_service6(struct bpf_sock_addr *ctx, const struct policy *policy, __u32 *class)
{
	return policy && class ? connect_service(ctx, policy, AF_INET6, class) : DENY;
}

/* connect(), before anything but port mappings looks at where it goes. */
static __always_inline int services_connect(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                            __u32 *class)
{
	if (!uses_services(policy) || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP))
		return ALLOW;
	return (family == AF_INET ? connect_service4(ctx, policy, class) : connect_service6(ctx, policy, class)) !=
	               ALLOW
	           ? DENY
	           : ALLOW;
}

/* The same for a datagram. */
__noinline int send_to_service(struct bpf_sock_addr *ctx, const struct policy *policy, struct service_key *to,
                               __u32 *class)
{
	struct bpf_sock *sk = ctx->sk;
	const struct service_entry *entry;
	struct service_note *note;
	struct service_peer *peer;
	struct service_key vip;

	if (!policy || !to || !class)
		return DENY;
	vip = *to;
	entry = bpf_map_lookup_elem(&services, &vip);
	if (!entry) {
		forget_peers(ctx, policy, to, false);
		return ALLOW;
	}
	if (denied_below() || !sk)
		return ALLOW;
	*class = entry->service.class;
	note = service_note(sk, 0);
	peer = note ? known_peer(note, entry->service.table, to) : NULL;
	if (peer) {
		__builtin_memcpy(to->address, peer->backend, 16);
		to->port = peer->backend_port;
		return TRANSLATED;
	}
	if (choose_backend(policy, entry, to) == NO_PLACE)
		return entry->service.flags & SERVICE_PASS ? ALLOW : refuse_service(policy, &vip);
	return note_peer(ctx, policy, &entry->service, &vip, to) ? TRANSLATED : refuse_note();
}

/* A datagram with an address. A socket stays with a backend for as long as the service has the same ones. */
static __always_inline int services_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                            __u32 *class)
{
	struct service_key to = {};
	int verdict;

	if (!uses_services(policy) || ctx->protocol != IPPROTO_UDP)
		return ALLOW;
	to.set = service_set(policy);
	read_given(ctx, family, &to);
	verdict = send_to_service(ctx, policy, &to, class);
	if (verdict != TRANSLATED)
		return verdict != ALLOW ? DENY : ALLOW;
	write_given(ctx, family, to.address, to.port);
	return ALLOW;
}

/* The task may have taken its peer from it (AF_UNSPEC), which no hook tells. */
static __always_inline bool is_connected_to(struct udp_sock *sk, const struct service_key *to)
{
	struct sock_common *common = (struct sock_common *)sk;
	__u32 peer[4] = {};

	if (BPF_CORE_READ(common, skc_family) == AF_INET) {
		peer[2] = V4_MAPPED_WORD;
		peer[3] = BPF_CORE_READ(common, skc_daddr);
	} else {
		bpf_core_read(peer, sizeof(peer), &common->skc_v6_daddr);
	}
	return is_same_place((void *)peer, bpf_ntohs(BPF_CORE_READ(common, skc_dport)), to->address, to->port);
}

/*
 * A UDP socket that is connected to a backend which is gone: send() on it runs no hook, so it is ended, and its task
 * connects again.
 */
static __always_inline bool has_lost_backend(struct udp_sock *sk, struct ended_socket *found)
{
	struct service_note *note = sk ? bpf_sk_storage_get(&service_notes, sk, 0, 0) : NULL;
	struct service_key key = {.protocol = IPPROTO_UDP};
	struct service_peer *peer;

	if (!note || !note->connected)
		return false;
	peer = &note->peers[(note->connected - 1) & (SERVICE_PEERS - 1)];
	key.set = note->set;
	__builtin_memcpy(key.address, peer->backend, 16);
	key.port = peer->backend_port;
	if (!peer->table || !is_connected_to(sk, &key) || bpf_map_lookup_elem(&service_ends, &key))
		return false;
	describe_socket((struct sock_common *)sk, found);
	found->protocol = IPPROTO_UDP;
	return true;
}
