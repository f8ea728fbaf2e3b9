/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: whose a port is, and which ports a level of nesting judges (README.md, "Ports").
 */
#pragma once

#include "container.h"

static __always_inline const struct port_owner *owner_of(__u32 port)
{
	__u32 key = port & 0xffff;

	return bpf_map_lookup_elem(&port_owners, &key);
}

static __always_inline bool owns(const struct policy *policy, const struct port_owner *owner)
{
	__u64 id = policy->cgroup_id;

	/* A root container's id stands nowhere else: the usual case, and the shortest way. 0: no policy, no owner. */
	if (owner->chain[0] == id)
		return id;
	return owner->chain[policy->level & (LEVELS - 1)] == id;
}

/* Another container's: somebody owns it, and not this level. */
static __always_inline bool is_foreign(const struct policy *policy, const struct port_owner *owner)
{
	return owner->chain[0] && !owns(policy, owner);
}

/* The container itself, not one of its ancestors. */
static __always_inline __u64 innermost(const struct port_owner *owner)
{
	__u64 id = 0;

	for (int i = 0; i < LEVELS; i++)
		if (owner->chain[i])
			id = owner->chain[i];
	return id;
}

/* This level has no say: its parent's has, or nobody's. */
static __always_inline bool judges_no_port(const struct policy *policy)
{
	return policy->flags & (POLICY_INHERIT_PORTS | POLICY_ANY_PORT);
}

/* Nobody's, and outside of the range that this level judges. Asked last: few policies have a range. */
static __always_inline bool is_unjudged(const struct policy *policy, const struct port_owner *owner, __u32 port)
{
	return policy->judge_end && !owner->chain[0] && (port < policy->judge_begin || port > policy->judge_end);
}

/* Ports that the kernel chooses, of sockets that do not listen. */
static __always_inline bool may_use_chosen(const struct policy *policy)
{
	return policy->ephemeral == EPHEMERAL_ALLOW || policy->ephemeral == EPHEMERAL_CLIENTS;
}
