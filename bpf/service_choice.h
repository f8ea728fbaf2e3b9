/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services: which backend a connect() or a send gets. By chance, it is one number of chance, one line of slots and
 * the backend's own line, in one function: a call of another costs as much as all of that (connection_sockets.h).
 */
#pragma once

#include "destination.h"
#include "local.h"

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

/* 0: they are the same. */
static __always_inline __u32 place_differs(const __u8 a[16], __u16 a_port, const __u8 b[16], __u16 b_port)
{
	const __u32 *x = (const void *)a, *y = (const void *)b;

	return (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (a_port ^ b_port);
}

static __always_inline bool is_same_place(const __u8 a[16], __u16 a_port, const __u8 b[16], __u16 b_port)
{
	return !place_differs(a, a_port, b, b_port);
}

#define NO_PLACE SERVICE_PLACES

static __always_inline struct service_backend *backend_in(__u32 place)
{
	return bpf_map_lookup_elem(&service_backends, &place);
}

static __always_inline __u64 *service_state(enum service_state which)
{
	return bpf_map_lookup_elem(&service_states, &which);
}

/* ns that a connection takes at most to be there: seven SYNs (net.ipv4.tcp_syn_retries). */
#define LONGEST_ATTEMPT 130000000000ULL

/* From now on connections that succeed are looked at (service_health.h): a backend is avoided. */
static __always_inline void watch_backends(__u64 now)
{
	__u64 *watched = service_state(SERVICE_WATCHED);

	if (watched)
		*watched = now + LONGEST_ATTEMPT;
}

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

/* NULL: user space has made another table meanwhile, and removed this one: a second later, so never. */
static __always_inline const struct service_slot *slot_of(const struct service_entry *entry, __u32 number)
{
	struct service_slot_key key = {.table = entry->service.table};
	const struct service_block *block;

	if (number < SERVICE_AT_HAND)
		return &entry->slots[number & (SERVICE_AT_HAND - 1)];
	number -= SERVICE_AT_HAND;
	key.block = number / SERVICE_BLOCK;
	block = bpf_map_lookup_elem(&service_slots, &key);
	return block ? &block->slots[number & (SERVICE_BLOCK - 1)] : NULL;
}

/* Whether of a slot's two it is the other's turn. */
static __always_inline bool is_others(const struct service_slot *slot)
{
	return slot->first != 0xffffffff && bpf_get_prandom_u32() >= slot->first;
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
	if (now < until || __sync_val_compare_and_swap(&backend->avoided_until, until, now + backend->avoid) != until)
		return 0;
	watch_backends(now);
	return 2;
}

/* Looking for a backend. */
struct service_search {
	__u64 load;   /* of the one chosen: connections by weight */
	__u64 client; /* 0: by chance */
	__u32 begin;
	__u32 count;
	__u32 start;
	__u32 chosen; /* its place */
	__u32 found;
	__u32 wanted; /* so many are compared */
};

struct service_look {
	const struct service_entry *entry;
	struct service_search *search;
};

static long look_at_slot(__u32 index, struct service_look *look)
{
	struct service_search *search = look->search;
	const struct service_slot *slot;
	struct service_backend *backend;
	__u32 number, place, weight;
	bool other = false;
	__u64 load = 0;
	int usable;

	if (search->client)
		number = draw_for(search->client, index, search->count);
	else if (index < SERVICE_DRAWS)
		number = draw(search->count);
	else
		number = (search->start + index) % search->count;
	slot = slot_of(look->entry, search->begin + number);
	if (!slot)
		return 1;
	if (index < SERVICE_DRAWS)
		other = is_others(slot);
	place = other ? slot->other : slot->place;
	weight = other ? slot->other_weight : slot->weight;
	backend = backend_in(place);
	usable = backend ? is_usable(backend) : 0;
	if (!usable)
		return 0;
	if (search->wanted > 1)
		load = ((__u64)backend->live << 16) / (weight ?: 1);
	if (!search->found || load < search->load || usable == 2) {
		search->chosen = place;
		search->load = load;
	}
	return ++search->found >= search->wanted || usable == 2;
}

/*
 * As all functions that are not static, one that the verifier walks through once, whatever came before; and it knows
 * nothing of what is in `search`, so that one round of the loop is as good as another.
 */
__noinline int search_backend(const struct service_entry *entry, struct service_search *search)
{
	struct service_look look = {.entry = entry, .search = search};
	__u32 tries;

	if (!entry || !search)
		return 0;
	tries = search->count < SERVICE_LOOK ? search->count : SERVICE_LOOK;
	search->start = draw(search->count);
	bpf_loop(SERVICE_DRAWS + tries, look_at_slot, &look, 0);
	return search->found;
}

/* Where all are avoided, one of them is tried all the same: it may be this host that is to blame. */
static __noinline int choose_anyway(const struct service_entry *entry, struct service_search *search)
{
	__u32 number = search->client ? draw_for(search->client, 0, search->count) : draw(search->count);
	const struct service_slot *slot = slot_of(entry, search->begin + number);

	if (!slot)
		return 0;
	watch_backends(bpf_ktime_get_ns());
	search->chosen = slot->place;
	return 1;
}

/* All that is not by chance alone, and where chance has come to one that is avoided. @returns a place, or NO_PLACE */
__noinline int choose_with_care(const struct policy *policy, const struct service_entry *entry)
{
	struct service_search search = {};
	const struct service *service;

	if (!policy || !entry)
		return NO_PLACE;
	service = &entry->service;
	search.wanted = service->flags & SERVICE_LEAST ? 2 : 1;
	if (service->flags & SERVICE_AFFINITY)
		search.client = policy->cgroup_id;
	if (service->near) {
		search.begin = service->count;
		search.count = service->near;
		search_backend(entry, &search);
	}
	if (!search.found) {
		search.begin = 0;
		search.count = service->count;
		if (!search.count || (!search_backend(entry, &search) && !choose_anyway(entry, &search)))
			return NO_PLACE;
	}
	return search.chosen;
}

static __always_inline __u32 choose_by_chance(const struct service_entry *entry)
{
	const struct service *service = &entry->service;
	__u32 count = service->count, place;
	const struct service_slot *slot;
	struct service_backend *backend;

	if (service->flags & (SERVICE_LEAST | SERVICE_AFFINITY) || service->near || !count)
		return NO_PLACE;
	slot = slot_of(entry, count > 1 ? draw(count) : 0);
	if (!slot)
		return NO_PLACE;
	place = is_others(slot) ? slot->other : slot->place;
	backend = backend_in(place);
	return backend && !backend->avoided_until ? place : NO_PLACE;
}

/* @param to becomes the backend's address @returns its place, or NO_PLACE where there is none */
static __always_inline __u32 choose_backend(const struct policy *policy, const struct service_entry *entry,
                                            struct service_key *to)
{
	__u32 place = choose_by_chance(entry);
	struct service_backend *backend;

	if (place == NO_PLACE)
		place = choose_with_care(policy, entry);
	backend = backend_in(place);
	if (!backend)
		return NO_PLACE;
	count(&backend->connects, 1);
	__builtin_memcpy(to->address, backend->address, 16);
	to->port = backend->port;
	return place;
}
