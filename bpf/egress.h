/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Egress: where a container may connect and send to (README.md, "Egress").
 *
 * The first rule holds that fits a destination: the lowest of what the rules for its address and those for its
 * classes come to. Judged once, at connect() and at a send with an address; connections that exist are not looked at,
 * so that a change never cuts one. Packets are judged for raw, ping and UDP-Lite sockets alone, which have no such
 * call or no hook there.
 */
#pragma once

#include "destination.h"
#include "egress_verdicts.h"
#include "endpoints.h"

#define EGRESS_PREFIX (96 + 128)
#define EGRESS_ACTION ((1 << EGRESS_ACTION_BITS) - 1)

static __always_inline enum egress_kind egress_kind_of(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
		return EGRESS_TCP;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return EGRESS_UDP;
	}
	return EGRESS_OTHER;
}

/* The first rule for a port, by halving: with no branch, of which the verifier would walk every way through all. */
static __noinline __u32 first_rule(const struct egress_ranges *ranges, __u32 port)
{
	__s64 left, above;
	__u32 at = 0, next;

	if (!ranges)
		return 0;
	for (__u32 step = EGRESS_RANGES / 2; step; step /= 2) {
		/* The compiler knows that it is below, the verifier of Linux 6.1 does not. */
		barrier_var(at);
		next = (at + step) & (EGRESS_RANGES - 1);
		left = (__s64)ranges->count - 1 - next;
		above = (__s64)port - ranges->begin[next];
		barrier_var(left);
		at += step & ~(__u32)((left | above) >> 63);
	}
	barrier_var(at);
	return ranges->first[at & (EGRESS_RANGES - 1)];
}

static __noinline __u32 rule_for_block(const struct egress_block *block, __u32 port)
{
	return block ? first_rule(bpf_map_lookup_elem(&egress_blocks, block), port) : 0;
}

static __noinline __u32 rule_for_class(const struct egress_class *class, __u32 port)
{
	return class ? first_rule(bpf_map_lookup_elem(&egress_classes, class), port) : 0;
}

/*
 * What the rules of a set say of a destination. `service`: class of the service that it was reached by, or 0.
 * `verdict` is zeroes before.
 */
__noinline int judge_destination(__u64 set, const struct endpoint_key *to, bool by_class, __u32 service,
                                 struct egress_verdict *verdict)
{
	struct egress_block block = {.prefix = EGRESS_PREFIX};
	struct endpoint_found endpoint = {};
	struct egress_class class = {};
	__u32 rule;

	if (!to || !verdict)
		return 0;
	block.set[0] = (__u32)set;
	block.set[1] = set >> 32;
	block.kind = egress_kind_of(to->protocol);
	__builtin_memcpy(block.address, to->address, sizeof(block.address));
	verdict->by_block = verdict->rule = rule_for_block(&block, to->port);
	if (!by_class)
		return 0;
	find_endpoint(to, &endpoint);
	class.set = set;
	class.kind = block.kind;
	/* The service after the classes of the endpoint. */
	for (int i = 0; i <= ENDPOINT_CLASSES; i++) {
		class.class = i < ENDPOINT_CLASSES ? endpoint.ids[i & (ENDPOINT_CLASSES - 1)] : service;
		if (!class.class)
			continue;
		rule = rule_for_class(&class, to->port);
		if (!rule || (verdict->by_class && rule >= verdict->by_class))
			continue;
		verdict->by_class = rule;
		verdict->class = class.class;
	}
	if (verdict->by_class && (!verdict->rule || verdict->by_class < verdict->rule))
		verdict->rule = verdict->by_class;
	return 0;
}

/* A container always reaches its own ports. */
static __always_inline bool is_own(const struct policy *policy, const struct endpoint_key *to)
{
	const struct port_owner *owner;

	if (!to->port)
		return false;
	owner = owner_of(to->port);
	return owner && owns(policy, owner) && is_local(to->address);
}

static __always_inline void count_hit(const struct policy *policy, __u32 rule, enum egress_action action)
{
	struct egress_hit hit = {.cgroup_id = policy->cgroup_id, .rule = rule, .action = action};
	__u64 *hits = bpf_map_lookup_elem(&egress_hits, &hit), one = 0;

	if (!hits) {
		bpf_map_update_elem(&egress_hits, &hit, &one, BPF_NOEXIST);
		hits = bpf_map_lookup_elem(&egress_hits, &hit);
	}
	if (hits)
		count(hits, 1);
}

/* A rule that only reports does so as if the container were audited. */
static __noinline int egress_refuse(const struct policy *policy, __u32 rule, struct event *event)
{
	bool audit = (rule & EGRESS_ACTION) == EGRESS_AUDIT;
	int verdict;

	event->reason = REASON_EGRESS;
	event->rule = rule >> EGRESS_ACTION_BITS;
	if (audit) {
		event->audited = 1;
		count(&container_counters()->audited[REASON_EGRESS], 1);
		if (policy->enforcement != ENFORCE_OFF)
			emit(policy, container_counters(), event);
		verdict = ALLOW;
	} else {
		verdict = refuse(policy, event);
	}
	count_hit(policy, event->rule, verdict == DENY ? EGRESS_DENY : EGRESS_AUDIT);
	return verdict;
}

/* Apart from what judges, whose callees need the stack that the event takes. */
static __noinline int refuse_destination(const struct policy *policy, const struct destination *to, __u32 rule)
{
	struct event event = {};
	int result;

	report_destination(&event, to);
	result = egress_refuse(policy, rule, &event);
	if (result == DENY)
		bpf_set_retval(-(int)policy->egress_errno);
	return result;
}

static __noinline int judge_egress(const struct policy *policy, const struct destination *to, __u32 service)
{
	struct endpoint_key key = {.port = to->port, .protocol = to->protocol};
	struct egress_verdict verdict = {};
	struct egress_recent *recent;
	bool allowed;
	__u64 epoch;

	if (denied_below())
		return ALLOW;
	__builtin_memcpy(key.address, to->address, sizeof(key.address));
	recent = begin_verdict(policy, to, &epoch);
	allowed = is_own(policy, &key);
	if (!allowed) {
		judge_destination(policy->egress_set, &key, policy->egress_classes, service, &verdict);
		allowed = (verdict.rule & EGRESS_ACTION) == EGRESS_ALLOW;
	}
	if (recent) {
		if (allowed)
			remember(recent, epoch, policy, to, service);
		end_verdict(recent);
	}
	return allowed ? ALLOW : refuse_destination(policy, to, verdict.rule);
}

static __always_inline int egress_connect(const struct policy *policy, const struct destination *to, __u32 service)
{
	if (!(policy->flags & POLICY_EGRESS) || was_allowed(policy, to, service))
		return ALLOW;
	return judge_egress(policy, to, service);
}

/*
 * A datagram with an address.
 * @param answers from a port of the container's own: a server answers whoever has asked
 */
static __always_inline int egress_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                          __u32 service, bool answers)
{
	struct destination to = {};

	if (!(policy->flags & POLICY_EGRESS) || answers)
		return ALLOW;
	read_destination(ctx, family, &to);
	if (was_allowed(policy, &to, service))
		return ALLOW;
	return judge_egress(policy, &to, service);
}

static __noinline int judge_packet(struct __sk_buff *skb, const struct policy *policy)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct egress_verdict verdict = {};
	struct event event = {.packet = 1};
	struct bpf_sock *sk = skb->sk;
	const struct port_owner *owner;
	struct destination to = {};
	struct endpoint_key key = {};

	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (!sk)
		return ALLOW;
	/* UDP-Lite has no hook at connect(): one that is connected is judged here, by its peer. */
	if (sk->protocol == IPPROTO_UDPLITE && sk->type != SOCK_RAW) {
		owner = owner_of(sk->src_port);
		if (sk->state != BPF_TCP_ESTABLISHED || (owner && owns(policy, owner)))
			return ALLOW;
		to.port = bpf_ntohs(sk->dst_port);
	} else if (sk->type != SOCK_RAW && sk->protocol != IPPROTO_ICMP && sk->protocol != IPPROTO_ICMPV6) {
		return ALLOW;
	}
	if (data + 20 > end)
		return DENY;
	if (data[0] >> 4 == 4) {
		((__u32 *)to.address)[2] = V4_MAPPED_WORD;
		__builtin_memcpy(to.address + 12, data + 16, 4);
	} else {
		if (data + 40 > end)
			return DENY;
		__builtin_memcpy(to.address, data + 24, 16);
	}
	to.protocol = sk->protocol;
	__builtin_memcpy(key.address, to.address, sizeof(key.address));
	key.port = to.port;
	key.protocol = to.protocol;
	if (is_own(policy, &key))
		return ALLOW;
	judge_destination(policy->egress_set, &key, policy->egress_classes, 0, &verdict);
	if ((verdict.rule & EGRESS_ACTION) == EGRESS_ALLOW)
		return ALLOW;
	report_destination(&event, &to);
	return egress_refuse(policy, verdict.rule, &event);
}

/* A packet on its way out: of raw and ping sockets only. */
static __always_inline int egress_packet(struct __sk_buff *skb, const struct policy *policy)
{
	return policy->flags & POLICY_EGRESS ? judge_packet(skb, policy) : ALLOW;
}

/* A frame of user space's: struct egress_question becomes struct egress_answer. */
struct egress_question {
	struct endpoint_key key;
	__u32 by_class;
	__u64 set;
};

struct egress_answer {
	struct egress_verdict verdict;
	struct endpoint_found endpoint;
};

static __always_inline int egress_answer(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data;
	struct egress_question question;
	struct egress_answer answer = {};

	if (frame + ENDPOINT_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(&question, frame, sizeof(question));
	judge_destination(question.set, &question.key, question.by_class, 0, &answer.verdict);
	find_endpoint(&question.key, &answer.endpoint);
	__builtin_memcpy(frame, &answer, sizeof(answer));
	return XDP_PASS;
}
