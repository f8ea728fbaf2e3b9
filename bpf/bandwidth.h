/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bandwidth: what a container may send and receive in a second (README.md, "Bandwidth"). Here is the verdict on
 * packets; how the level is found is in bandwidth_level.h, what is done to TCP sockets in bandwidth_sockets.h, and
 * what is remembered of those that receive in bandwidth_receivers.h.
 *
 * Its programs are their own and are attached only where there is a limit. They run after those that count, on the
 * same packet. With nesting each level has its limit, and the child's program runs first.
 */
#pragma once

#include "bandwidth_level.h"
#include "bandwidth_receivers.h"

#define LOOPBACK_IFINDEX   1
#define CGROUP_SKB_CN_DROP 2 /* as a full queue: no EPERM */
#define CGROUP_SKB_CN      3 /* passes, and TCP makes its congestion window smaller */
/* Never held back: what keeps a connection alive (SYN, ACK, FIN) is not longer. */
#define SMALL_PACKET 120
#define REPORT_EVERY (10 * NS_PER_SEC)
/* What a child's program writes into a packet that it drops, so that its parents do not count it. */
#define DROPPED_BELOW 0x6277647264726f70ULL

/* What the packet is on the wire, as accounting.h counts it. */
static __always_inline void measure(struct __sk_buff *skb, struct on_wire *wire, bool sent)
{
	wire->packets = 1;
	wire->bytes = skb->len;
	if (skb->gso_size)
		add_segments(skb, wire);
	else if (skb->len > NEVER_FRAGMENTED && sent)
		add_sent_fragments(skb, wire);
	else if (skb->len > NEVER_FRAGMENTED)
		add_received_fragments(skb, wire);
}

/* Raw sockets may send what they call TCP; the kernel's replies without a socket of their own are TCP's. */
static __always_inline bool is_tcp(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	return !sk || (sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP);
}

static __always_inline bool spares_loopback(struct __sk_buff *skb, const struct bandwidth_rule *rule)
{
	return skb->ifindex == LOOPBACK_IFINDEX && !(rule->flags & BANDWIDTH_LOOPBACK);
}

/* The program that counts packets ran before, and took it for sent, or received. */
static __always_inline void uncount(const struct on_wire *wire, bool sent)
{
	struct counters *counters = container_counters();

	count(sent ? &counters->tx_packets : &counters->rx_packets, -wire->packets);
	count(sent ? &counters->tx_bytes : &counters->rx_bytes, -wire->bytes);
}

static __noinline void report_over(const struct policy *policy, struct bandwidth_state *state, struct __sk_buff *skb,
                                   bool audited)
{
	struct event event = {.reason = REASON_BANDWIDTH, .audited = audited};
	__u64 now = bpf_ktime_get_ns(), before = state->reported_at;
	struct bpf_sock *sk = skb->sk;

	if ((before && now - before < REPORT_EVERY) || policy->enforcement == ENFORCE_OFF ||
	    __sync_val_compare_and_swap(&state->reported_at, before, now) != before)
		return;
	report_socket(&event, sk);
	emit(policy, container_counters(), &event);
}

/* Counts what is over the limit. */
static __noinline int over_limit(struct __sk_buff *skb, struct bandwidth_state *state,
                                 const struct bandwidth_rule *rule, const struct on_wire *wire, bool sent)
{
	const struct policy *policy = container_policy();
	struct counters *counters = container_counters();
	bool audit = rule->flags & BANDWIDTH_AUDIT;

	report_over(policy, state, skb, audit);
	if (audit) {
		count(&counters->audited[REASON_BANDWIDTH], wire->packets);
		return ALLOW;
	}
	count(&state->other, sent ? wire->bytes : 0);
	count(&state->dropped_packets, wire->packets);
	count(&state->dropped_bytes, wire->bytes);
	uncount(wire, sent);
	count(sent ? &counters->tx_dropped : &counters->rx_dropped, wire->packets);
	if (!(rule->flags & BANDWIDTH_EPERM) || !sent)
		return sent ? CGROUP_SKB_CN_DROP : DENY;
	count(&counters->denied[REASON_BANDWIDTH], wire->packets);
	return DENY;
}

static __always_inline void pass(struct bandwidth_state *state, const struct on_wire *wire, __u64 now, bool tcp)
{
	count(tcp ? &state->bytes : &state->other, wire->bytes);
	count(&state->passed_packets, wire->packets);
	count(&state->passed_bytes, wire->bytes);
	charge(state, wire->bytes, now);
}

/* Counts a connection that sends, once in a generation. */
static __always_inline void count_sender(struct __sk_buff *skb, struct bandwidth_state *state, __u32 level)
{
	struct socket_bandwidth *note;
	struct bpf_sock *sk = skb->sk;

	if (skb->len < 1000 || !sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return;
	note = bpf_sk_storage_get(&sock_bandwidth, sk, 0, 0);
	if (!note || note->generations[level & (LEVELS - 1)] == state->generation)
		return;
	note->generations[level & (LEVELS - 1)] = state->generation;
	count(&state->senders, 1);
}

/* The host's budget, where the container has a share of it: before its own step, which goes by that. */
static __always_inline struct bandwidth_state *host_of(const struct bandwidth_rule *rule, __u32 side, __u64 now)
{
	struct bandwidth *host;
	__u64 id = 0;

	if (!rule->weight)
		return NULL;
	host = bpf_map_lookup_elem(&bandwidths, &id);
	if (!host)
		return NULL;
	step_if_due(&host->sides[side & 1], 0, side, now);
	return &host->sides[side & 1];
}

/* Who is under the budget is paced and dropped by its own rate, which follows from it. */
static __always_inline void pass_host(struct bandwidth_state *host, struct bandwidth_state *state,
                                      const struct bandwidth_rule *rule, const struct on_wire *wire, __u64 now)
{
	if (!host)
		return;
	pass(host, wire, now, true);
	if (state->host_generation == host->generation)
		return;
	state->host_generation = host->generation;
	count(&host->senders, rule->weight);
}

/* Whether the device lets packets depart at their time. */
static __always_inline bool has_departures(struct net_device *device)
{
	const char *name = (const char *)BPF_CORE_READ(device, _tx, qdisc, ops);
	char id[4] = {};

	bpf_probe_read_kernel(id, sizeof(id), name + bpf_core_field_offset(struct Qdisc_ops, id));
	return id[0] == 'f' && id[1] == 'q' && !id[2];
}

/* The packet departs when those before it have. @returns false where that is too far away */
static __always_inline bool depart(struct __sk_buff *skb, const struct bandwidth_state *state, __u64 now)
{
	__u64 clock = state->clock;

	if ((__s64)(clock - now) > (__s64)MAX_DELAY)
		return false;
	if ((__s64)(clock - now) > 0 && clock > skb->tstamp)
		skb->tstamp = clock;
	return true;
}

/* A packet that a socket of the container sends. */
static __always_inline int bandwidth_egress(struct __sk_buff *skb)
{
	const struct policy *policy = container_policy();
	__u64 id = policy->cgroup_id, now;
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	struct bandwidth_state *state, *host;
	struct on_wire wire;
	bool tcp, over;
	int verdict;

	if (!rule || !bandwidth || spares_loopback(skb, rule))
		return ALLOW;
	measure(skb, &wire, true);
	if (skb->tstamp == DROPPED_BELOW) {
		uncount(&wire, true);
		return CGROUP_SKB_CN_DROP;
	}
	state = &bandwidth->sides[BANDWIDTH_EGRESS];
	now = bpf_ktime_get_ns();
	host = host_of(rule, BANDWIDTH_EGRESS, now);
	step_if_due(state, id, BANDWIDTH_EGRESS, now);
	tcp = is_tcp(skb);
	if (state->rate) {
		__s64 debt = debt_of(state, now);

		if (rule->flags & BANDWIDTH_EDT && has_departures(BPF_CORE_READ((struct sk_buff *)skb, dev)))
			over = !depart(skb, state, now);
		else
			over = tcp ? debt > (__s64)MAX_TCP_DEBT && skb->len > SMALL_PACKET : debt > 0;
		if (over) {
			verdict = over_limit(skb, state, rule, &wire, true);
			if (verdict != ALLOW) {
				if (policy->level)
					skb->tstamp = DROPPED_BELOW;
				return tcp ? CGROUP_SKB_CN_DROP : verdict;
			}
		}
	}
	pass(state, &wire, now, tcp);
	if (tcp)
		count_sender(skb, state, policy->level);
	pass_host(host, state, rule, &wire, now);
	if (!tcp || !state->rate || rule->flags & BANDWIDTH_AUDIT)
		return ALLOW;
	return skb->gso_size && skb->len > train_of(state->level) + 200 ? CGROUP_SKB_CN : ALLOW;
}

/*
 * A packet that a socket of the container is about to get. From half of the credit on windows get smaller
 * (bandwidth_sockets.h). Within a burst below the debt with which it would be dropped (most_debt()), ECN tells the
 * sender. What is not TCP is dropped with a debt of half a burst: where it were to have as much as a new connection,
 * it would leave nothing to the others.
 */
static __always_inline int bandwidth_ingress(struct __sk_buff *skb)
{
	const struct policy *policy = container_policy();
	__u64 id = policy->cgroup_id, now;
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	struct bandwidth_state *state, *host;
	struct socket_bandwidth *note;
	struct on_wire wire;
	int verdict;
	__s64 debt, most;
	bool tcp;

	if (!rule || !bandwidth || spares_loopback(skb, rule))
		return ALLOW;
	state = &bandwidth->sides[BANDWIDTH_INGRESS];
	now = bpf_ktime_get_ns();
	host = host_of(rule, BANDWIDTH_INGRESS, now);
	step_if_due(state, id, BANDWIDTH_INGRESS, now);
	measure(skb, &wire, false);
	if (skb->tstamp == DROPPED_BELOW) {
		uncount(&wire, false);
		return DENY;
	}
	tcp = is_tcp(skb);
	note = tcp && skb->len > SMALL_PACKET ? receiver_of(skb) : NULL;
	if (state->rate && !(tcp && skb->len <= SMALL_PACKET)) {
		debt = debt_of(state, now);
		most = tcp ? most_debt(note, state, policy->level, now) : (__s64)(state->credit / 2);
		if (debt > most) {
			verdict = over_limit(skb, state, rule, &wire, false);
			if (verdict != ALLOW) {
				/* When it came is of no use to anybody any more. */
				if (policy->level)
					skb->tstamp = DROPPED_BELOW;
				return verdict;
			}
		} else if (debt > most - (__s64)state->credit && !(rule->flags & BANDWIDTH_AUDIT) &&
		           bpf_skb_ecn_set_ce(skb)) {
			count(&state->marked, wire.packets);
		}
	}
	pass(state, &wire, now, tcp);
	if (note)
		count_receiver(note, state, policy->level, wire.bytes, now);
	pass_host(host, state, rule, &wire, now);
	return ALLOW;
}

/*
 * Whether a datagram goes by the loopback device, as far as its destination tells. No address is the loopback's too.
 * The kernel takes v4-mapped ones to the hook of IPv4.
 */
static __always_inline bool is_for_loopback(struct bpf_sock_addr *ctx, bool six)
{
	if (six)
		return !ctx->user_ip6[0] && !ctx->user_ip6[1] && !ctx->user_ip6[2] &&
		       bpf_ntohl(ctx->user_ip6[3]) <= 1;
	return !ctx->user_ip4 || bpf_ntohl(ctx->user_ip4) >> 24 == 127;
}

/* A send of an unconnected UDP socket, where the policy wants it to be told. @param six the hook of IPv6 */
static __always_inline int bandwidth_sendmsg(struct bpf_sock_addr *ctx, bool six)
{
	const struct policy *policy = container_policy();
	__u64 id = policy->cgroup_id, now;
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	struct bandwidth_state *state;

	if (!rule || !bandwidth || refuses_nothing(policy) || denied_below())
		return ALLOW;
	if (!(rule->flags & BANDWIDTH_LOOPBACK) && is_for_loopback(ctx, six))
		return ALLOW;
	state = &bandwidth->sides[BANDWIDTH_EGRESS];
	now = bpf_ktime_get_ns();
	step_if_due(state, id, BANDWIDTH_EGRESS, now);
	if (!state->rate || debt_of(state, now) <= 0)
		return ALLOW;
	count(&container_counters()->denied[REASON_BANDWIDTH], 1);
	bpf_set_retval(-EAGAIN);
	return DENY;
}
