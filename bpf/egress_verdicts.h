/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Egress: where a container was allowed to go, so that all but the first datagram to a destination are spared the
 * look through rules, endpoints and owners of ports (README.md, "Egress").
 *
 * What is remembered holds for one epoch. User space ends it with every change of anything that a verdict depends on
 * (isolator/kernel/epoch.ts): 0, with which nothing is remembered, before it, and a number that never was after it.
 * Nothing that programs write does a verdict depend on. A verdict that denies or reports is not remembered: it is
 * counted each time.
 *
 * Entries are those of a CPU, so that each program sees the writes of others in their order. But a program of another
 * task may run there between any two steps of one: `turn` is odd while one writes an entry, and another one after it.
 */
#pragma once

#include "destination.h"

static __always_inline __u64 egress_epoch_now(void)
{
	__u32 zero = 0;
	__u64 *epoch = bpf_map_lookup_elem(&egress_epoch, &zero);

	return epoch ? *(volatile __u64 *)epoch : 0;
}

/* Where it is if it is remembered. Who finds numbers that meet in one place takes that from himself and others: time.
 */
static __always_inline struct egress_recent *recent_place(const struct policy *policy, const struct destination *to)
{
	struct egress_recents *all;
	const __u64 *address = (const void *)to->address;
	__u64 hash = (address[1] ^ (address[0] + policy->cgroup_id)) * 0x9e3779b97f4a7c15ULL;
	__u32 zero = 0;

	hash = (hash ^ hash >> 32 ^ to->port) * 0xbf58476d1ce4e5b9ULL;
	all = bpf_map_lookup_elem(&egress_recent, &zero);
	return all ? &all->places[hash >> 56 & (EGRESS_RECENTS - 1)] : NULL;
}

static __always_inline __u64 turn_of(const struct egress_recent *recent)
{
	return *(const volatile __u64 *)&recent->turn;
}

/* Whether it was allowed in this epoch. All of it is compared: a hash of what a task chooses says nothing. */
static __always_inline bool was_allowed(const struct policy *policy, const struct destination *to, __u32 service)
{
	const struct egress_recent *recent = recent_place(policy, to);
	const __u64 *address = (const void *)to->address, *known;
	__u64 turn, differs;

	if (!recent)
		return false;
	known = (const void *)recent->address;
	turn = turn_of(recent);
	barrier();
	differs = (recent->epoch ^ egress_epoch_now()) | (recent->set ^ policy->egress_set) |
	          (recent->cgroup_id ^ policy->cgroup_id) | (known[0] ^ address[0]) | (known[1] ^ address[1]) |
	          (recent->port ^ to->port) | (recent->protocol ^ to->protocol) | (recent->service ^ service);
	barrier();
	return !(differs | (turn & 1) | (turn ^ turn_of(recent)));
}

/*
 * Before anything is looked at that the verdict depends on.
 * @param epoch becomes that of the verdict
 * @returns the place to remember it in, for remember() to be called with; NULL: nowhere
 */
static __always_inline struct egress_recent *begin_verdict(const struct policy *policy, const struct destination *to,
                                                           __u64 *epoch)
{
	struct egress_recent *recent = recent_place(policy, to);
	__u64 turn;

	*epoch = egress_epoch_now();
	if (!recent || !*epoch)
		return NULL;
	turn = turn_of(recent);
	/* A full barrier too: what the verdict depends on is read after the epoch. */
	if (turn & 1 || __sync_val_compare_and_swap(&recent->turn, turn, turn + 1) != turn)
		return NULL;
	return recent;
}

static __always_inline void remember(struct egress_recent *recent, __u64 epoch, const struct policy *policy,
                                     const struct destination *to, __u32 service)
{
	recent->epoch = epoch;
	recent->cgroup_id = policy->cgroup_id;
	recent->set = policy->egress_set;
	__builtin_memcpy(recent->address, to->address, sizeof(recent->address));
	recent->port = to->port;
	recent->protocol = to->protocol;
	recent->service = service;
}

static __always_inline void end_verdict(struct egress_recent *recent)
{
	barrier();
	*(volatile __u64 *)&recent->turn = recent->turn + 1;
}
