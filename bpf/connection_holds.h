/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: holds. A hold is one connection, counted at the place of its destination and in all of its container;
 * it is taken at both or at neither.
 */
#pragma once

#include "connection_places.h"
#include "connection_totals.h"

static __always_inline __u32 place_of(const struct hold *hold)
{
	return hold->place & CONNECTION_NO_PLACE;
}

static __always_inline bool has_place(const struct hold *hold)
{
	return place_of(hold) != CONNECTION_NO_PLACE;
}

/* One more is counted before one less, so that no connection is counted nowhere for a moment. */
__noinline int change_place(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	struct connection_count *count;
	struct connection_set *set;

	if (!hold)
		return 0;
	set = set_at(place_of(hold));
	if (!set)
		return 0;
	count = place_in(set, place_of(hold));
	if (count->cgroup_id != hold->cgroup_id)
		return 0;
	if (live > 0)
		__sync_fetch_and_add(&count->live, 1);
	if (closed) {
		if (closed > 0 && is_behind(count, span))
			advance_place(place_of(hold), span);
		bpf_spin_lock(&set->lock);
		change_closed(count, closed, lapses);
		bpf_spin_unlock(&set->lock);
	}
	if (live < 0)
		give_live(count);
	return 0;
}

__noinline int change_total(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	struct connection_totals *totals;
	__u64 cgroup_id;
	bool other, port;

	if (!hold)
		return 0;
	cgroup_id = hold->cgroup_id;
	other = !has_place(hold);
	port = hold->place & CONNECTION_PORT;
	totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	/* A container that is gone, whose socket somebody else still has. */
	if (!totals || totals->counts[IN_ALL].cgroup_id != cgroup_id)
		return 0;
	if (live > 0) {
		__sync_fetch_and_add(&totals->counts[IN_ALL].live, 1);
		if (other)
			__sync_fetch_and_add(&totals->counts[WITHOUT_PLACE].live, 1);
		if (port)
			__sync_fetch_and_add(&totals->counts[PORTS_HELD].live, 1);
	}
	if (closed) {
		if (closed > 0)
			advance_totals(cgroup_id, totals, port, span);
		bpf_spin_lock(&totals->lock);
		change_closed(&totals->counts[IN_ALL], closed, lapses);
		if (other)
			change_closed(&totals->counts[WITHOUT_PLACE], closed, lapses);
		if (port)
			change_closed(&totals->counts[PORTS_HELD], closed, lapses);
		bpf_spin_unlock(&totals->lock);
	}
	if (live < 0) {
		give_live(&totals->counts[IN_ALL]);
		if (other)
			give_live(&totals->counts[WITHOUT_PLACE]);
		if (port)
			give_live(&totals->counts[PORTS_HELD]);
	}
	return 0;
}

/* Everywhere that a hold is counted. */
__noinline int change_hold(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	if (!hold)
		return 0;
	if (has_place(hold))
		change_place(hold, live, closed, lapses, span);
	return change_total(hold, live, closed, lapses, span);
}

/* In the frame of what calls it: Linux before 6.5 lets a program and all that it calls have 512 bytes of stack, in
 * parts of 32. */
static __always_inline int give_back_here(struct hold *hold, __u32 span)
{
	if (!hold || !hold->cgroup_id)
		return 0;
	change_hold(hold, hold->lapses ? 0 : -1, hold->lapses ? -1 : 0, hold->lapses, span);
	hold->cgroup_id = 0;
	return 0;
}

__noinline int give_back(struct hold *hold, __u32 span)
{
	return give_back_here(hold, span);
}

static __always_inline void give_all_back(struct hold holds[LEVELS])
{
	__u32 span = this_span();

	for (int i = 0; i < LEVELS; i++)
		give_back(&holds[i], span);
}

/* None gets a place while others without one are held: a destination is never counted at two places. */
static __always_inline bool may_have_new_place(__u64 cgroup_id)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	return totals && !held(&totals->counts[WITHOUT_PLACE]);
}

/* @returns the place where one more is counted, or why not */
__noinline int take_any_place(const struct destination *to, const struct connection_limits *limits)
{
	int place, result;

	if (!to || !limits)
		return SET_IS_FULL;
	for (int i = 0; i < TRIES; i++) {
		place = find_place(to);
		if (place < 0 && may_have_new_place(to->cgroup_id))
			place = make_place(to, limits->span);
		if (place == SET_IS_FULL)
			return place;
		if (place < 0)
			continue;
		result = take_place(to, limits, place);
		if (!result)
			return place;
		if (result != PLACE_IS_TAKEN)
			return result;
	}
	return SET_IS_FULL;
}

/* @returns 0 and fills in the hold, or why not */
__noinline int take(struct hold *hold, const struct destination *to, const struct connection_limits *limits)
{
	struct hold taken = {};
	int place, result;

	if (!hold || !to || !limits)
		return REFUSED_BY_TOTAL;
	taken.cgroup_id = to->cgroup_id;
	place = take_any_place(to, limits);
	if (place == REFUSED_BY_LIMIT)
		return place;
	taken.place = place < 0 ? CONNECTION_NO_PLACE : place;
	result = take_total(taken.cgroup_id, limits, place < 0);
	if (result) {
		if (place >= 0)
			change_place(&taken, -1, 0, 0, limits->span);
		return result;
	}
	if (limits->ports)
		taken.place |= CONNECTION_PORT;
	if (limits->lapses) {
		change_hold(&taken, -1, 1, limits->lapses, limits->span);
		taken.lapses = limits->lapses;
	}
	*hold = taken;
	return 0;
}

/* Whether it is for this destination. */
static __noinline bool holds_already(const struct hold *hold, const struct destination *to)
{
	struct connection_set *set = set_at(place_of(hold));

	return set && has_place(hold) && is_for(place_in(set, place_of(hold)), to);
}
