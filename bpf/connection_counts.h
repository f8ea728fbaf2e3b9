/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: one count (README.md, "Connections"). There is one for each place of a container and destination
 * (connection_places.h), and some for each container in all (connection_totals.h).
 *
 * `live` changes by atomic instructions alone, so that a connection takes no lock: one more is counted where the sum
 * is below the limit, before the same one is counted anywhere less. All else of a count changes under the lock of its
 * map value.
 */
#pragma once

#include "container.h"

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
