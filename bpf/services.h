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

#include "destination.h"
#include "local.h"
#include "terminate.h"

static __always_inline bool uses_services(const struct policy *policy)
{
	return policy->flags & POLICY_SERVICES;
}

/* Whose services it uses. */
static __always_inline __u64 service_set(const struct policy *policy)
{
	return policy->services_own ? policy->cgroup_id : SERVICES_SHARED;
}

/* Of a connection of a nested container, the programs of the containers around it are told too: one counts. */
static __always_inline bool counts_backends(const struct policy *policy)
{
	return uses_services(policy) && !policy->level;
}

/* All but the set. `family` must be a constant. */
static __always_inline void read_given(const struct bpf_sock_addr *ctx, __u8 family, struct service_key *key)
{
	read_given_address(ctx, family, (struct ip_address *)key->address);
	key->port = bpf_ntohs(ctx->user_port);
	key->protocol = ctx->protocol;
}

static __always_inline void write_given(struct bpf_sock_addr *ctx, __u8 family, const __u8 address[16], __u16 port)
{
	const __u32 *word = (const void *)address;

	if (family == AF_INET) {
		ctx->user_ip4 = word[3];
	} else {
		ctx->user_ip6[0] = word[0];
		ctx->user_ip6[1] = word[1];
		ctx->user_ip6[2] = word[2];
		ctx->user_ip6[3] = word[3];
	}
	ctx->user_port = bpf_htons(port);
}

static __always_inline bool is_same_place(const __u8 a[16], __u16 a_port, const __u8 b[16], __u16 b_port)
{
	const __u32 *x = (const void *)a, *y = (const void *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (a_port ^ b_port));
}

/* Looking for a backend. */
struct service_search {
	struct service_key backend; /* that is looked at */
	__u8 chosen[16];
	__u64 load; /* of the one chosen: connections by weight */
	__u64 table;
	__u64 client; /* 0: by chance */
	__u32 begin;
	__u32 count;
	__u32 start;
	__u16 chosen_port;
	__u8 found;
	__u8 wanted; /* so many are compared */
};

/* A number below `count`, all as likely. */
static __always_inline __u32 draw(__u32 count)
{
	return (__u64)bpf_get_prandom_u32() * count >> 32;
}

/* The same for a client each time. */
static __always_inline __u32 draw_for(__u64 client, __u32 attempt, __u32 count)
{
	__u64 hash = (client + attempt) * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ULL;
	return (hash >> 32) * count >> 32;
}

/*
 * Whether it may be tried. When its time is over, one connection tries it: the others avoid it until that has
 * succeeded.
 * @returns 1, or 2 where this one is to try it
 */
static __always_inline int is_usable(struct service_backend *backend)
{
	__u64 until = backend->avoided_until, now;

	if (!until)
		return 1;
	now = bpf_ktime_get_ns();
	if (now < until)
		return 0;
	return __sync_val_compare_and_swap(&backend->avoided_until, until, now + backend->avoid) == until ? 2 : 0;
}

static long look_at_slot(__u32 index, struct service_search *search)
{
	struct service_slot_key key = {.table = search->table};
	struct service_backend *backend;
	const struct service_slot *slot;
	bool other = false;
	__u64 load = 0;
	__u32 weight;
	int usable;

	if (search->client)
		key.slot = draw_for(search->client, index, search->count);
	else if (index < SERVICE_DRAWS)
		key.slot = draw(search->count);
	else
		key.slot = (search->start + index) % search->count;
	key.slot += search->begin;
	slot = bpf_map_lookup_elem(&service_slots, &key);
	/* User space has made another table meanwhile, and removed this one: a second later, so never. */
	if (!slot)
		return 1;
	if (index < SERVICE_DRAWS && slot->first != 0xffffffff)
		other = bpf_get_prandom_u32() >= slot->first;
	__builtin_memcpy(search->backend.address, other ? slot->other : slot->address, 16);
	search->backend.port = other ? slot->other_port : slot->port;
	weight = other ? slot->other_weight : slot->weight;
	backend = bpf_map_lookup_elem(&service_backends, &search->backend);
	usable = backend ? is_usable(backend) : 0;
	if (!usable)
		return 0;
	if (search->wanted > 1)
		load = ((__u64)backend->live << 16) / (weight ?: 1);
	if (!search->found || load < search->load || usable == 2) {
		__builtin_memcpy(search->chosen, search->backend.address, 16);
		search->chosen_port = search->backend.port;
		search->load = load;
	}
	return ++search->found >= search->wanted || usable == 2;
}

static __noinline int search_backend(struct service_search *search)
{
	__u32 tries = search->count < SERVICE_LOOK ? search->count : SERVICE_LOOK;

	search->start = draw(search->count);
	bpf_loop(SERVICE_DRAWS + tries, look_at_slot, search, 0);
	return search->found;
}

/* Where all are avoided, one of them is tried all the same: it may be this host that is to blame. */
static __noinline int choose_anyway(struct service_search *search)
{
	struct service_slot_key key = {.table = search->table};
	const struct service_slot *slot;

	key.slot =
	    search->begin + (search->client ? draw_for(search->client, 0, search->count) : draw(search->count));
	slot = bpf_map_lookup_elem(&service_slots, &key);
	if (!slot)
		return 0;
	__builtin_memcpy(search->chosen, slot->address, 16);
	search->chosen_port = slot->port;
	return 1;
}

/* @param to the virtual address; becomes the backend's @returns whether there is one */
static __noinline int choose_backend(const struct policy *policy, const struct service *service,
                                     struct service_key *to)
{
	struct service_search search = {.backend = *to, .table = service->table};
	struct service_backend *backend;

	search.wanted = service->flags & SERVICE_LEAST ? 2 : 1;
	if (service->flags & SERVICE_AFFINITY)
		search.client = policy->cgroup_id;
	if (service->near) {
		search.begin = service->count;
		search.count = service->near;
		search_backend(&search);
	}
	if (!search.found) {
		search.begin = 0;
		search.count = service->count;
		if (!search.count || (!search_backend(&search) && !choose_anyway(&search)))
			return 0;
	}
	__builtin_memcpy(to->address, search.chosen, 16);
	to->port = search.chosen_port;
	backend = bpf_map_lookup_elem(&service_backends, to);
	if (backend)
		count(&backend->connects, 1);
	return 1;
}

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
static __noinline void forget_peers(struct bpf_sock_addr *ctx, const struct policy *policy,
                                    const struct service_key *to, bool connects)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;
	__u32 connected = 0;

	/* What a nested container's services have made of it stays. */
	if (!note || note->level > policy->level)
		return;
	if (connects)
		note->connected = 0;
	/* The kernel has this hook run for a connected IPv6 socket whose peer is v4-mapped too. */
	else if (sk->state == BPF_TCP_ESTABLISHED)
		connected = note->connected;
	for (__u32 i = 0; i < SERVICE_PEERS; i++)
		if (i + 1 != connected &&
		    is_same_place(note->peers[i].backend, note->peers[i].backend_port, to->address, to->port))
			note->peers[i].table = 0;
}

/* Where this socket went for the virtual address since the service has these backends. */
static __always_inline struct service_peer *known_peer(struct service_note *note, const struct service *service,
                                                       const struct service_key *vip)
{
	for (int i = 0; i < SERVICE_PEERS; i++)
		if (note->peers[i].table == service->table &&
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

static __noinline int note_peer(struct bpf_sock_addr *ctx, const struct policy *policy, const struct service *service,
                                const struct service_key *vip, const struct service_key *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, BPF_SK_STORAGE_GET_F_CREATE) : NULL;
	struct service_peer *peer;
	__u32 place;

	if (!note)
		return 0;
	place = place_for(note, vip, to) & (SERVICE_PEERS - 1);
	peer = &note->peers[place];
	__builtin_memcpy(peer->vip, vip->address, 16);
	__builtin_memcpy(peer->backend, to->address, 16);
	peer->vip_port = vip->port;
	peer->backend_port = to->port;
	peer->table = service->table;
	note->set = service_set(policy);
	note->level = policy->level;
	return place + 1;
}

/* The task has used up what the kernel gives a socket (net.core.optmem_max). */
static __always_inline int refuse_note(void)
{
	bpf_set_retval(-ENOBUFS);
	return DENY;
}

/* Besides a verdict: allowed, and it goes elsewhere. */
#define TRANSLATED 2

/* @param to where it goes; becomes the backend's address @param class of the service, by which rules name it */
static __noinline int connect_service(struct bpf_sock_addr *ctx, const struct policy *policy, struct service_key *to,
                                      __u32 *class)
{
	struct service_key vip = *to;
	const struct service *service = bpf_map_lookup_elem(&services, &vip);
	struct service_note *note;
	struct bpf_sock *sk;
	__u32 place;

	if (!service) {
		forget_peers(ctx, policy, to, true);
		return ALLOW;
	}
	if (denied_below())
		return ALLOW;
	*class = service->class;
	if (!choose_backend(policy, service, to))
		return service->flags & SERVICE_PASS ? ALLOW : refuse_service(policy, &vip);
	if (ctx->protocol == IPPROTO_TCP && !(service->flags & SERVICE_TELL_VIP)) {
		forget_peers(ctx, policy, to, true);
		return TRANSLATED;
	}
	place = note_peer(ctx, policy, service, &vip, to);
	sk = ctx->sk;
	note = place && sk ? service_note(sk, 0) : NULL;
	if (!note)
		return refuse_note();
	note->connected = place;
	return TRANSLATED;
}

/* connect(), before anything but port mappings looks at where it goes. */
static __always_inline int services_connect(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                            __u32 *class)
{
	struct service_key to = {};
	int verdict;

	if (!uses_services(policy) || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP))
		return ALLOW;
	to.set = service_set(policy);
	read_given(ctx, family, &to);
	verdict = connect_service(ctx, policy, &to, class);
	if (verdict != TRANSLATED)
		return verdict;
	write_given(ctx, family, to.address, to.port);
	return ALLOW;
}

/* The same for a datagram. */
static __noinline int send_to_service(struct bpf_sock_addr *ctx, const struct policy *policy, struct service_key *to,
                                      __u32 *class)
{
	struct service_key vip = *to;
	const struct service *service = bpf_map_lookup_elem(&services, &vip);
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note;
	struct service_peer *peer;

	if (!service) {
		forget_peers(ctx, policy, to, false);
		return ALLOW;
	}
	if (denied_below() || !sk)
		return ALLOW;
	*class = service->class;
	note = service_note(sk, 0);
	peer = note ? known_peer(note, service, to) : NULL;
	if (peer) {
		__builtin_memcpy(to->address, peer->backend, 16);
		to->port = peer->backend_port;
		return TRANSLATED;
	}
	if (!choose_backend(policy, service, to))
		return service->flags & SERVICE_PASS ? ALLOW : refuse_service(policy, &vip);
	return note_peer(ctx, policy, service, &vip, to) ? TRANSLATED : refuse_note();
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
		return verdict;
	write_given(ctx, family, to.address, to.port);
	return ALLOW;
}

/*
 * Who has sent, as the task knows it: also one whose service has other backends by now.
 * @param from becomes the virtual address
 */
static __noinline bool tell_sender(struct bpf_sock_addr *ctx, struct service_key *from)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;

	for (int i = 0; note && i < SERVICE_PEERS; i++) {
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
static __noinline bool tell_peer(struct bpf_sock_addr *ctx, struct service_key *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct service_note *note = sk ? service_note(sk, 0) : NULL;
	struct service_peer *peer;

	if (!note || !note->connected)
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

/* The backend that a TCP socket is connected to, or about to be. */
static __noinline struct service_backend *backend_of(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_key key = {.set = service_set(policy), .protocol = IPPROTO_TCP};
	__u32 *address = (__u32 *)key.address, v4 = ctx->remote_ip4;

	/* Not in two branches: of those the compiler makes one with an address that it chooses, which is not allowed.
	 */
	address[0] = ctx->remote_ip6[0];
	address[1] = ctx->remote_ip6[1];
	address[2] = ctx->remote_ip6[2];
	address[3] = ctx->remote_ip6[3];
	barrier_var(v4);
	if (ctx->family == AF_INET) {
		address[0] = address[1] = 0;
		address[2] = V4_MAPPED_WORD;
		address[3] = v4;
	}
	key.port = bpf_ntohl(ctx->remote_port);
	return bpf_map_lookup_elem(&service_backends, &key);
}

static __noinline void begin_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);

	if (backend)
		__sync_fetch_and_add(&backend->live, 1);
}

/* The SYN is about to be sent. */
static __always_inline void services_connecting(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (counts_backends(policy))
		begin_with_backend(ctx, policy);
}

static __always_inline void avoid(struct service_backend *backend)
{
	backend->avoided_until = bpf_ktime_get_ns() + backend->avoid;
}

/* What says that nobody is there: not that the task has closed its socket. */
static __always_inline bool tells_of_failure(int error)
{
	return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == ETIMEDOUT;
}

static __noinline void end_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);
	struct bpf_sock *sk = ctx->sk;
	struct sock *kernel;

	if (!backend)
		return;
	/* It may have become a backend after this connection began. */
	if (backend->live)
		__sync_fetch_and_add(&backend->live, -1);
	if (ctx->args[0] != BPF_TCP_SYN_SENT || !sk)
		return;
	kernel = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (!kernel || !tells_of_failure(BPF_CORE_READ(kernel, sk_err)))
		return;
	count(&backend->refused, 1);
	avoid(backend);
}

static __noinline void succeed_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);

	if (backend && backend->avoided_until)
		backend->avoided_until = 0;
}

static __always_inline void services_state(struct bpf_sock_ops *ctx)
{
	const struct policy *policy;

	if (ctx->args[1] != BPF_TCP_CLOSE && ctx->args[0] != BPF_TCP_SYN_SENT)
		return;
	policy = container_policy();
	if (!counts_backends(policy))
		return;
	if (ctx->args[1] == BPF_TCP_CLOSE)
		end_with_backend(ctx, policy);
	else
		succeed_with_backend(ctx, policy);
}

static __noinline void suspect_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);

	if (!backend)
		return;
	/* Once a connection: it may send its SYN again and again. */
	if (bpf_ktime_get_ns() >= backend->avoided_until)
		count(&backend->unanswered, 1);
	avoid(backend);
}

/* A segment is sent again: if it is the SYN, nobody has answered it for a second. */
static __always_inline void services_retransmitted(struct bpf_sock_ops *ctx)
{
	const struct policy *policy;

	if (ctx->state != BPF_TCP_SYN_SENT)
		return;
	policy = container_policy();
	if (counts_backends(policy))
		suspect_backend(ctx, policy);
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
 * A UDP socket that is connected to a backend which is gone: send() on it runs no hook, so it is taken from it, and
 * its task connects again.
 */
static __always_inline void services_pass(struct udp_sock *sk)
{
	struct service_note *note = sk ? bpf_sk_storage_get(&service_notes, sk, 0, 0) : NULL;
	struct service_key key = {.protocol = IPPROTO_UDP};
	struct service_peer *peer;

	if (!note || !note->connected)
		return;
	peer = &note->peers[(note->connected - 1) & (SERVICE_PEERS - 1)];
	key.set = note->set;
	__builtin_memcpy(key.address, peer->backend, 16);
	key.port = peer->backend_port;
	if (!peer->table || !is_connected_to(sk, &key) || bpf_map_lookup_elem(&service_backends, &key))
		return;
	bpf_sock_destroy((struct sock_common *)sk);
}
