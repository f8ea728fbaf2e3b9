/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Marking: that of the destination that a socket goes to, where a rule names destinations. */
#pragma once

#include "egress.h"
#include "marking_sockets.h"

/*
 * What the rules say of a destination. `service`: class of the service that it was reached by, or 0. `to` and
 * `marking` are not the same memory.
 */
static __noinline int find_marking(const struct policy *policy, const struct destination *to, __u32 service,
                                   struct marking *marking)
{
	struct endpoint_key key = {.port = to->port, .protocol = to->protocol};
	struct egress_verdict verdict = {};
	const struct marking_set *set;
	const struct marking *found;
	struct marking_rule rule = {};
	__u64 id = policy->cgroup_id;

	*marking = *plain_marking(policy);
	set = bpf_map_lookup_elem(&marking_sets, &id);
	if (!set)
		return 0;
	__builtin_memcpy(key.address, to->address, sizeof(key.address));
	judge_destination(set->set, &key, set->by_class, service, &verdict);
	rule.set = set->set;
	rule.rule = verdict.rule >> EGRESS_ACTION_BITS;
	found = bpf_map_lookup_elem(&marking_rules, &rule);
	if (found)
		*marking = *found;
	return 0;
}

static __always_inline bool goes_to(const struct marking_note *note, const struct policy *policy,
                                    const struct destination *to)
{
	const __u64 *a = (const void *)note->to.address, *b = (const void *)to->address;

	return note->to.cgroup_id == policy->cgroup_id && a[0] == b[0] && a[1] == b[1] && note->to.port == to->port;
}

/*
 * The socket's marking is that of a destination from now on. Apart from what then sets it: together they take more
 * stack than connect() has left (512 bytes with all that it calls, before Linux 6.5).
 * @returns whether it is another destination than before
 */
static __noinline int turn_to(struct bpf_sock *sk, const struct policy *policy, const struct destination *to,
                              __u32 service)
{
	struct marking_note *note = bpf_sk_storage_get(&marking_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	const struct marking *before;
	struct socket_note *whose;

	if (!note || goes_to(note, policy, to))
		return 0;
	whose = bpf_sk_storage_get(&socket_notes, sk, 0, marking_note_flags(policy));
	if (marked_below(policy, whose))
		return 0;
	before = note->to.cgroup_id == policy->cgroup_id ? &note->marking : plain_marking(policy);
	note->before_mask = before->mark_mask;
	note->before_parts = before->parts;
	find_marking(policy, to, service, &note->marking);
	note->to = *to;
	note->to.cgroup_id = policy->cgroup_id;
	note_marking(policy, whose, &note->marking);
	return 1;
}

/* After turn_to(). */
static __noinline void mark_turned(struct bpf_sock_addr *ctx, const struct policy *policy, bool late)
{
	struct bpf_sock *sk = ctx->sk;
	struct marking_note *note;
	__u8 parts;

	if (!sk)
		return;
	note = bpf_sk_storage_get(&marking_notes, sk, 0, 0);
	if (!note)
		return;
	parts = note->marking.parts | note->before_parts;
	set_mark_and_priority(ctx, sk, &note->marking, parts, note->marking.mark_mask | note->before_mask);
	if (!(parts & MARKING_DSCP))
		return;
	if (late && has_wrong_dscp(sk, &note->marking))
		excuse_dscp(sk, policy, DSCP_LATE);
	set_dscp(ctx, sk, policy, &note->marking);
}

static __always_inline void mark_destination(struct bpf_sock_addr *ctx, const struct policy *policy,
                                             const struct destination *to, __u32 service, bool late)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk && turn_to(sk, policy, to, service))
		mark_turned(ctx, policy, late);
}
