/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: what a TCP socket of a root container holds, without memory of its own; and the shortest way for it to
 * take a place and to give it back. That way is one function, with as few calls of others as can be: on processors
 * that guard against speculation each costs as much as all else of a look at a map. What it is not made for is left
 * as it is to those that do all.
 */
#pragma once

#include "connection_holds.h"

/* The kernel's own type, whose fields can be read; NULL for what is no TCP socket. */
static __always_inline struct sock *kernel_sock(struct bpf_sock *sk)
{
	return (struct sock *)bpf_skc_to_tcp_sock(sk);
}

static __noinline bool is_kernels(struct bpf_sock *sk)
{
	struct sock *kernel = kernel_sock(sk);

	return kernel && BPF_CORE_READ_BITFIELD(kernel, sk_kern_sock);
}

/* Its first place. Cookies are given out one after another, so that those of new sockets are side by side, in a
 * cache. */
static __always_inline struct socket_hold *hold_at(__u64 cookie)
{
	__u32 key = cookie & (SOCKET_HOLDS - 1);

	return bpf_map_lookup_elem(&socket_holds, &key);
}

/* Its second, likewise, as far as can be from those that have the first. */
static __always_inline struct socket_hold *other_hold_at(__u64 cookie)
{
	return hold_at(cookie ^ SOCKET_HOLDS / 2);
}

/* What the socket with this cookie holds without memory of its own; NULL: nothing. */
static __always_inline struct socket_hold *hold_of(__u64 cookie)
{
	struct socket_hold *holder = hold_at(cookie);

	if (!holder || holder->cookie == cookie)
		return holder;
	if (!holder->spilled)
		return NULL;
	holder = other_hold_at(cookie);
	return holder && holder->cookie == cookie ? holder : NULL;
}

static __always_inline bool is_claimed(struct socket_hold *holder, __u64 cookie)
{
	return holder && !holder->cookie && !__sync_val_compare_and_swap(&holder->cookie, 0, cookie);
}

/* @returns NULL where both places are other sockets' */
static __always_inline struct socket_hold *claim_hold(__u64 cookie)
{
	struct socket_hold *holder = hold_of(cookie), *first;

	if (holder)
		return holder;
	first = hold_at(cookie);
	if (!first || is_claimed(first, cookie))
		return first;
	holder = other_hold_at(cookie);
	/* Before it is there to be found. */
	__sync_fetch_and_add(&first->spilled, 1);
	if (is_claimed(holder, cookie))
		return holder;
	__sync_fetch_and_add(&first->spilled, -1);
	return NULL;
}

/* Its hold is given back, or somebody else's to give back. */
static __always_inline void free_holder(struct socket_hold *holder)
{
	struct socket_hold *first = hold_at(holder->cookie);
	bool spilled = first && first->cookie != holder->cookie;

	holder->watched = 0;
	holder->cookie = 0;
	if (spilled)
		__sync_fetch_and_add(&first->spilled, -1);
}

static __always_inline void leave_hold(struct socket_hold *holder, __u32 span)
{
	give_back(&holder->hold, span);
	free_holder(holder);
}

/* One more, in one go: not where others are at it, or there may be none left. */
static __always_inline bool takes_one(struct connection_count *count, __u32 most)
{
	__u32 live = *(volatile __u32 *)&count->live;

	return !(live & CONNECTION_CLAIMED) && live + count->closed < most &&
	       __sync_val_compare_and_swap(&count->live, live, live + 1) == live;
}

/* Where the destination is counted already; NULL: nowhere. @param place is set to its place */
static __always_inline struct connection_count *count_for(const struct destination *to, __u32 *place)
{
	__u32 first = set_of(to) * CONNECTION_PLACES;
	struct connection_set *set = set_at(first);

	for (int i = 0; set && i < CONNECTION_PLACES; i++) {
		if (is_for(&set->places[i], to)) {
			*place = first + i;
			return &set->places[i];
		}
	}
	return NULL;
}

/* Both counts, or none. */
static __always_inline bool takes_both(struct connection_count *each, __u32 most, const struct destination *to,
                                       struct connection_count *total, __u32 most_in_all)
{
	__u32 span;

	if (each->closed | total->closed) {
		span = this_span();
		if (is_behind(each, span) || is_behind(total, span))
			return false;
	}
	if (!takes_one(each, most))
		return false;
	if (is_for(each, to) && takes_one(total, most_in_all))
		return true;
	give_live(each);
	return false;
}

/* @returns whether it has taken what the connection holds; else it has taken nothing */
static __always_inline bool takes(__u64 cookie, struct destination *to, __u32 most, __u32 most_in_all)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &to->cgroup_id);
	struct socket_hold *holder = hold_at(cookie);
	struct connection_count *each;
	__u32 place;

	if (!totals || totals->counts[IN_ALL].cgroup_id != to->cgroup_id || !holder || holder->spilled ||
	    !is_claimed(holder, cookie))
		return false;
	each = count_for(to, &place);
	if (!each || !takes_both(each, most, to, &totals->counts[IN_ALL], most_in_all)) {
		holder->cookie = 0;
		return false;
	}
	holder->hold.cgroup_id = to->cgroup_id;
	holder->hold.place = place;
	holder->hold.lapses = 0;
	return true;
}

/* A connection that ends with nothing of it left. @returns whether it was given back; else nothing has changed */
static __always_inline bool ends_quickly(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx), cgroup_id;
	struct socket_hold *holder = hold_at(cookie);
	struct connection_totals *totals;
	struct connection_set *set;
	__u32 from = ctx->args[0];

	if (from == BPF_TCP_FIN_WAIT2 || from == BPF_TCP_CLOSING || !holder || holder->cookie != cookie ||
	    holder->hold.place >= CONNECTION_NO_PLACE || holder->hold.lapses)
		return false;
	cgroup_id = holder->hold.cgroup_id;
	totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	set = set_at(holder->hold.place);
	if (!set || !totals || totals->counts[IN_ALL].cgroup_id != cgroup_id ||
	    place_in(set, holder->hold.place)->cgroup_id != cgroup_id)
		return false;
	give_live(place_in(set, holder->hold.place));
	give_live(&totals->counts[IN_ALL]);
	holder->hold.cgroup_id = 0;
	holder->watched = 0;
	holder->cookie = 0;
	return true;
}
