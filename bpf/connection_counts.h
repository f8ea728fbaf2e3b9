/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: the counts (README.md, "Connections"), by container and destination, and by container in all.
 *
 * `live` changes by atomic instructions alone, so that a connection takes no lock: one more is counted where the sum
 * is below the limit, before the same one is counted anywhere less. All else of a count changes under the lock of its
 * map value. Places are searched for without it, and looked at again once something is held at them, since then they
 * stay.
 */
#pragma once

#include "destination.h"

#define NO_LIMIT         0xffffffff
#define REFUSED_BY_LIMIT (-1)
#define REFUSED_BY_TOTAL (-2)
#define SET_IS_FULL      (-3)
#define PLACE_IS_TAKEN   (-4)
#define REFUSED_BY_PORTS (-5)
/* How often a place that was just found may be another's when it is locked. */
#define TRIES 4

/* What a connect() may take at one level. */
struct connection_limits {
	__u32 each;
	__u32 total;
	__u32 ports;  /* for one whose port the kernel chooses; 0: that is not counted */
	__u32 lapses; /* as in struct hold */
	__u32 span;   /* now */
};

static __always_inline __u32 this_span(void)
{
	return bpf_ktime_get_coarse_ns() >> CONNECTION_SPAN_SHIFT;
}

/* Something may have lapsed that is still counted. It stays true that it has not: spans only grow. */
static __always_inline bool is_behind(const struct connection_count *count, __u32 span)
{
	return (__s32)(span - count->span) > 0;
}

/* Takes out what has lapsed. Under the lock. */
static __always_inline void advance(struct connection_count *count, __u32 span)
{
	__u32 *lapsing;

	if (!is_behind(count, span))
		return;
	if (count->closed) {
		for (int i = 0; i < CONNECTION_SPANS && count->span != span; i++) {
			count->span++;
			lapsing = &count->lapsing[count->span & (CONNECTION_SPANS - 1)];
			count->closed -= *lapsing;
			*lapsing = 0;
		}
	}
	count->span = span;
}

static __always_inline __u32 held(const struct connection_count *count)
{
	return count->live + count->closed;
}

/*
 * Under the lock, and after advance() where it grows. One that has lapsed meanwhile is out already: then nothing
 * changes. Never below 0.
 */
static __always_inline void change_closed(struct connection_count *count, int closed, __u32 lapses)
{
	__u32 *lapsing = &count->lapsing[lapses & (CONNECTION_SPANS - 1)];

	if ((__s32)(lapses - count->span) > 0 && (closed > 0 || *lapsing)) {
		*lapsing += closed;
		count->closed += closed;
	}
}

/* @returns 0, REFUSED_BY_LIMIT or PLACE_IS_TAKEN */
static __always_inline int take_live(struct connection_count *count, __u32 most)
{
	__u32 live;

	for (int i = 0; i < TRIES; i++) {
		live = *(volatile __u32 *)&count->live;
		if (live & CONNECTION_CLAIMED)
			return PLACE_IS_TAKEN;
		if (live + count->closed >= most)
			return REFUSED_BY_LIMIT;
		if (__sync_val_compare_and_swap(&count->live, live, live + 1) == live)
			return 0;
	}
	/* Others were quicker each time. This way it is in at once, and out again if it was one too many. */
	live = __sync_fetch_and_add(&count->live, 1);
	if (!(live & CONNECTION_CLAIMED) && live + count->closed < most)
		return 0;
	__sync_fetch_and_add(&count->live, -1);
	return live & CONNECTION_CLAIMED ? PLACE_IS_TAKEN : REFUSED_BY_LIMIT;
}

/* Never below 0. */
static __always_inline void give_live(struct connection_count *count)
{
	if (count->live)
		__sync_fetch_and_add(&count->live, -1);
}

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

__noinline int advance_total(__u64 cgroup_id, enum connection_total which, __u32 span)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	if (!totals)
		return 0;
	bpf_spin_lock(&totals->lock);
	advance(&totals->counts[which & (CONNECTION_TOTALS - 1)], span);
	bpf_spin_unlock(&totals->lock);
	return 0;
}

static __always_inline void advance_totals(__u64 cgroup_id, const struct connection_totals *totals, bool ports,
                                           __u32 span)
{
	if (is_behind(&totals->counts[IN_ALL], span))
		advance_total(cgroup_id, IN_ALL, span);
	if (is_behind(&totals->counts[WITHOUT_PLACE], span))
		advance_total(cgroup_id, WITHOUT_PLACE, span);
	if (ports && is_behind(&totals->counts[PORTS_HELD], span))
		advance_total(cgroup_id, PORTS_HELD, span);
}

static __always_inline __u32 place_of(const struct hold *hold)
{
	return hold->place & CONNECTION_NO_PLACE;
}

static __always_inline bool has_place(const struct hold *hold)
{
	return place_of(hold) != CONNECTION_NO_PLACE;
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

/* @param other whether the destination found its set full; @returns 0, or why not */
__noinline int take_total(__u64 cgroup_id, const struct connection_limits *limits, bool other)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	if (!totals || !limits)
		return REFUSED_BY_TOTAL;
	advance_totals(cgroup_id, totals, limits->ports, limits->span);
	if (totals->counts[IN_ALL].cgroup_id != cgroup_id || take_live(&totals->counts[IN_ALL], limits->total))
		return REFUSED_BY_TOTAL;
	if (other && take_live(&totals->counts[WITHOUT_PLACE], limits->each)) {
		give_live(&totals->counts[IN_ALL]);
		return REFUSED_BY_LIMIT;
	}
	if (limits->ports && take_live(&totals->counts[PORTS_HELD], limits->ports)) {
		give_live(&totals->counts[IN_ALL]);
		if (other)
			give_live(&totals->counts[WITHOUT_PLACE]);
		return REFUSED_BY_PORTS;
	}
	return 0;
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
