/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: the places of destinations, in a table of sets. A place is searched for without a lock, and looked at
 * again once something is held at it, since then it stays.
 */
#pragma once

#include "connection_counts.h"
#include "destination.h"

static __always_inline bool is_for(const struct connection_count *count, const struct destination *to)
{
	const __u64 *a = (const void *)count, *b = (const void *)to;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline __u32 set_of(const struct destination *to)
{
	const __u64 *word = (const void *)to;
	__u64 hash = word[0] * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 29 ^ word[1]) * 0xbf58476d1ce4e5b9ULL;
	hash = (hash ^ hash >> 32 ^ word[2]) * 0x94d049bb133111ebULL;
	hash = (hash ^ hash >> 29 ^ word[3]) * 0x9e3779b97f4a7c15ULL;
	return (hash ^ hash >> 32) & (CONNECTION_SETS - 1);
}

static __always_inline struct connection_set *set_at(__u32 place)
{
	__u32 key = place / CONNECTION_PLACES;

	return bpf_map_lookup_elem(&connect_sets, &key);
}

static __always_inline struct connection_count *place_in(struct connection_set *set, __u32 place)
{
	return &set->places[place & (CONNECTION_PLACES - 1)];
}

__noinline int advance_place(__u32 place, __u32 span)
{
	struct connection_set *set = set_at(place);

	if (!set)
		return 0;
	bpf_spin_lock(&set->lock);
	advance(place_in(set, place), span);
	bpf_spin_unlock(&set->lock);
	return 0;
}

/* @returns the destination's place, or below 0 where it seems to have none */
__noinline int find_place(const struct destination *to)
{
	struct connection_set *set;
	__u32 first;

	if (!to)
		return SET_IS_FULL;
	first = set_of(to) * CONNECTION_PLACES;
	set = set_at(first);
	for (int i = 0; set && i < CONNECTION_PLACES; i++)
		if (is_for(&set->places[i], to))
			return first + i;
	return SET_IS_FULL;
}

/*
 * Gives a destination a place that nothing is held at.
 * @param live that is left there by a container that is gone; else 0
 * @returns it, or that of whoever was quicker to ask for one
 */
__noinline int claim_place(const struct destination *to, __u32 place, __u32 live)
{
	struct connection_set *set = set_at(place);
	struct connection_count *count;
	int result = PLACE_IS_TAKEN;
	__u32 first = place & ~(CONNECTION_PLACES - 1);

	if (!to || !set)
		return SET_IS_FULL;
	count = place_in(set, place);
	bpf_spin_lock(&set->lock);
	for (int i = 0; i < CONNECTION_PLACES; i++) {
		if (is_for(&set->places[i], to)) {
			result = first + i;
			break;
		}
	}
	if (result < 0 && !count->closed &&
	    __sync_val_compare_and_swap(&count->live, live, CONNECTION_CLAIMED) == live) {
		count->cgroup_id = to->cgroup_id;
		((__u64 *)count->address)[0] = ((const __u64 *)to->address)[0];
		((__u64 *)count->address)[1] = ((const __u64 *)to->address)[1];
		count->port = to->port;
		count->protocol = to->protocol;
		count->reserved = to->reserved;
		__sync_fetch_and_add(&count->live, -CONNECTION_CLAIMED);
		result = place;
	}
	bpf_spin_unlock(&set->lock);
	return result;
}

/*
 * Whether what is held there was of a container that is gone: its sockets have ended with nobody there to see it
 * (`break-glass --detach`), or are in other hands, and then they find that they have nothing to give back.
 */
static __always_inline bool is_forsaken(const struct connection_count *count)
{
	__u64 cgroup_id = count->cgroup_id;

	return !bpf_map_lookup_elem(&connect_totals, &cgroup_id);
}

/* @returns a new place for the destination, or why there is none */
__noinline int make_place(const struct destination *to, __u32 span)
{
	struct connection_set *set;
	__u32 first, live;

	if (!to)
		return SET_IS_FULL;
	first = set_of(to) * CONNECTION_PLACES;
	set = set_at(first);
	for (int i = 0; set && i < CONNECTION_PLACES; i++) {
		live = *(volatile __u32 *)&set->places[i].live;
		if (live && (live & CONNECTION_CLAIMED || !is_forsaken(&set->places[i])))
			continue;
		if (set->places[i].closed && is_behind(&set->places[i], span))
			advance_place(first + i, span);
		if (!set->places[i].closed)
			return claim_place(to, first + i, live);
	}
	return SET_IS_FULL;
}

/* @returns 0, or why not */
__noinline int take_place(const struct destination *to, const struct connection_limits *limits, __u32 place)
{
	struct connection_set *set = set_at(place);
	struct connection_count *count;
	int result;

	if (!to || !limits || !set)
		return SET_IS_FULL;
	count = place_in(set, place);
	if (is_behind(count, limits->span))
		advance_place(place, limits->span);
	result = take_live(count, limits->each);
	if (!result && !is_for(count, to)) {
		give_live(count);
		return PLACE_IS_TAKEN;
	}
	return result;
}
