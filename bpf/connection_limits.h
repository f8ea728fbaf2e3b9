/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: how many a container may hold to a destination, by its rules, and by its part of what the host has for
 * one (README.md, "Connections").
 */
#pragma once

#include "connection_counts.h"
#include "destination.h"

/* Without a branch: the verifier walks each of those once for every rule. */
static __always_inline bool fits(const struct connection_rule *rule, const struct destination *to, __u32 service)
{
	const __u64 *a = (const void *)rule->address, *mask = (const void *)rule->mask,
	            *b = (const void *)to->address;
	__s64 below = (__s64)to->port - rule->begin, above = (__s64)rule->end - to->port;
	__u32 named = rule->service;
	__u64 differs = ((a[0] ^ b[0]) & mask[0]) | ((a[1] ^ b[1]) & mask[1]) |
	                ((rule->protocol ^ to->protocol) & rule->protocol_mask);

	differs |= (named ^ service) & -(__u32) !!named;
	barrier_var(below);
	barrier_var(above);
	return !(differs | ((__u64)(below | above) >> 63));
}

static __always_inline bool shares(const struct connection_share *share, const struct destination *to)
{
	const __u64 *a = (const void *)share->address, *b = (const void *)to->address;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (share->port ^ to->port) | (share->protocol ^ to->protocol));
}

/* What is left for each container of what the host has for a destination. */
__noinline int share_of(const struct destination *to)
{
	__u32 zero = 0;
	struct connection_shares *all = bpf_map_lookup_elem(&connect_shares, &zero);

	if (!to || !all || !all->other)
		return NO_LIMIT;
	for (__u32 i = 0; i < CONNECTION_SHARES && i < all->count; i++)
		if (shares(&all->shares[i], to))
			return all->shares[i].limit;
	return all->other;
}

/* By its rules alone. */
__noinline int limit_by_rules(const struct policy *policy, const struct destination *to, __u32 service)
{
	struct connection_rules *rules;
	__u64 cgroup_id;

	if (!policy || !to)
		return 0;
	cgroup_id = policy->cgroup_id;
	rules = bpf_map_lookup_elem(&connect_rules, &cgroup_id);
	for (__u32 i = 0; rules && i < CONNECTION_RULES && i < policy->connection_rules; i++)
		if (fits(&rules->rules[i], to, service))
			return rules->rules[i].limit;
	return policy->max_connections ? policy->max_connections : NO_LIMIT;
}

/* The limit for a destination; 0: it is not counted. */
static __always_inline __u32 limit_for(const struct policy *policy, const struct destination *to, __u32 service)
{
	__u32 limit = policy->max_connections ? policy->max_connections : NO_LIMIT, share;

	if (policy->connection_rules)
		limit = limit_by_rules(policy, to, service);
	if (limit && policy->flags & POLICY_FAIR) {
		share = share_of(to);
		limit = limit < share ? limit : share;
	}
	return limit;
}
