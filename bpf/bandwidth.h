/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bandwidth: what a container may send and receive in a second (README.md, "Bandwidth"). Here is the measuring and
 * the verdict on packets; what is done to TCP sockets is in bandwidth_sockets.h.
 *
 * Its programs are their own and are attached only where there is a limit. They run after those that count, on the
 * same packet. With nesting each level has its limit, and the child's program runs first.
 */
#pragma once

#include "accounting.h"
#include "container.h"

#define NS_PER_SEC         1000000000ULL
#define NS_PER_MS          1000000ULL
#define FAR_AWAY           (~0ULL)
#define LOOPBACK_IFINDEX   1
#define CGROUP_SKB_CN_DROP 2 /* as a full queue: no EPERM */
#define CGROUP_SKB_CN      3 /* passes, and TCP makes its congestion window smaller */
/* Never held back: what keeps a connection alive (SYN, ACK, FIN) is not longer. */
#define SMALL_PACKET 120
/* In which debt is repaid, at least. */
#define REPAY (250 * NS_PER_MS)
/* TCP packets are dropped beyond this only: pacing has failed, or could not begin. */
#define MAX_TCP_DEBT NS_PER_SEC
/* Credit of a connection that receives: what it may have at once after a pause. */
#define PART_MS 250LL
#define PART    (PART_MS * (__s64)NS_PER_MS)
#define MANY    16
/* What it has had too much, and is remembered: of many slow ones, what comes at once is more than a second's part. */
#define MAX_PART_DEBT (16 * PART)
/* Departure times further away than this are none. */
#define MAX_DELAY (2 * NS_PER_SEC)
/* What is beyond is forgiven: more than what is dropped for, else nothing ever were. */
#define MAX_DEBT     (MAX_DELAY + NS_PER_SEC / 2)
#define MIN_LEVEL    2000
#define REPORT_EVERY (10 * NS_PER_SEC)
/* What a child's program writes into a packet that it drops, so that its parents do not count it. */
#define DROPPED_BELOW 0x6277647264726f70ULL

static __always_inline __u64 clamp64(__u64 value, __u64 least, __u64 most)
{
	return value < least ? least : value > most ? most : value;
}

/*
 * At most 64 KiB of GSO go at once: less is no measure. What is received is held back by those who send, which takes
 * longer.
 */
static __always_inline __u64 default_burst(__u64 rate, __u32 side)
{
	__u64 bytes = rate / (side == BANDWIDTH_INGRESS ? 10 : 50),
	      least = side == BANDWIDTH_INGRESS ? 131072 : 65536;

	return bytes < least ? least : bytes;
}

static __always_inline __u64 ns_of(__u64 bytes, __u64 rate)
{
	return bytes * NS_PER_SEC / rate;
}

/* Positive: ahead of now. */
static __always_inline __s64 debt_of(const struct bandwidth_state *state, __u64 now)
{
	return state->clock - now;
}

/* Lets the clock go on by so many bytes; credit does not grow over the burst. */
static __always_inline void charge(struct bandwidth_state *state, __u64 bytes, __u64 now)
{
	__u64 clock = state->clock, earliest = now - state->credit, rate = state->rate;

	if (!rate)
		return;
	if ((__s64)(clock - earliest) < 0)
		__sync_val_compare_and_swap(&state->clock, clock, earliest);
	count(&state->clock, ns_of(bytes, rate));
}

/* What a container, or the host, may send in a second now. */
static __noinline __u64 rate_in_force(const struct bandwidth_rule *rule, __u32 side)
{
	__u64 rate = rule->rate[side & 1], host_id = 0, share, most;
	struct bandwidth *host;

	if (!rule->weight)
		return rate;
	host = bpf_map_lookup_elem(&bandwidths, &host_id);
	if (!host || !host->sides[side & 1].rate)
		return rate;
	most = host->sides[side & 1].rate;
	share = host->sides[side & 1].level * rule->weight;
	if (share > most)
		share = most;
	return rate && rate < share ? rate : share;
}

/*
 * What a connection may send at once. Where the round trip is short, the kernel makes packets of 64 KiB whatever the
 * pacing rate is (tcp_tso_autosize()), and then waits the longer: too long for a slow one to keep pace with the
 * level.
 */
static __always_inline __u64 train_of(__u64 level)
{
	return clamp64(level / 128, 3000, 65536);
}

static __always_inline __u64 train_time(const struct bandwidth_state *state)
{
	return ns_of(train_of(state->level), state->level);
}

/* A step is long enough for several packets of each connection. */
static __always_inline void begin(struct bandwidth_state *state, enum bandwidth_phase phase, __u64 now, __u64 span)
{
	state->phase = phase;
	state->begun = now;
	state->bytes = 0;
	state->other = 0;
	state->passed = state->passed_bytes;
	state->budget = state->rate ? state->rate * (span / 1000) / 800000 + 65536 : FAR_AWAY;
	__sync_lock_test_and_set(&state->due, now + span);
}

/* @param slow not paced here: the host's budget, whose containers have steps of their own, and what is received */
static __always_inline void begin_step(struct bandwidth_state *state, __u64 now, bool slow)
{
	__u64 span = slow ? 50 * NS_PER_MS : 10 * NS_PER_MS, trains, buffer;

	if (state->rate) {
		buffer = ns_of(65536, state->rate);
		trains = slow ? 0 : train_time(state) * 2;
		span = clamp64(buffer > trains ? buffer : trains, span, 300 * NS_PER_MS);
	}
	begin(state, BANDWIDTH_MEASURING, now, span);
}

/* Senders learn of a new level with their next ACK. */
static __always_inline void settle(struct bandwidth_state *state, enum bandwidth_phase phase, __u64 now, bool slow)
{
	__u64 span = slow ? 50 * NS_PER_MS : clamp64(train_time(state) * 2, 3 * NS_PER_MS, 300 * NS_PER_MS);

	if (phase == BANDWIDTH_CHANGING && span < 20 * NS_PER_MS)
		span = 20 * NS_PER_MS;
	begin(state, phase, now, span);
}

/* Senders whose packets are lost are away for 200 ms. */
static __always_inline void turn_generation(struct bandwidth_state *state, __u64 now, bool slow)
{
	__u64 span = slow ? 300 * NS_PER_MS : clamp64(train_time(state) * 2, 50 * NS_PER_MS, 400 * NS_PER_MS);

	if (now < state->generation_due)
		return;
	state->senders_before = now - state->generation_due < NS_PER_SEC ? state->senders : 0;
	state->senders = 0;
	state->generation++;
	state->generation_due = now + span;
}

/* What TCP is to send in a second, so that with all else it comes to the rate, and debt is repaid. */
static __always_inline __u64 target_of(const struct bandwidth_state *state, __u32 side, __u64 now, __u64 elapsed)
{
	/* The slower a connection, the longer it takes to learn of anything; and those whose packets are lost. */
	__u64 rate = state->rate, target, other,
	      repay = side == BANDWIDTH_INGRESS ? REPAY * 4 : REPAY + 8 * train_time(state);
	/* Half of the burst is left to what comes at once; all of it where senders may be away for as long as it
	 * takes. */
	__s64 debt = debt_of(state, now) + (side == BANDWIDTH_INGRESS ? 0 : (__s64)(state->credit / 2));

	if (debt > 0)
		target = (__u64)debt > repay ? 0 : rate - rate * ((__u64)debt / 1000) / (repay / 1000);
	else
		target = rate + rate * ((__u64)-debt / 1000) / (repay / 1000);
	target = clamp64(target, rate / 4, rate + rate / 16);
	other = state->other * NS_PER_SEC / elapsed;
	if (other > rate / 2)
		other = rate / 2;
	return target > other + rate / 16 ? target - other : rate / 16;
}

/* Connections that have sent, or got something, lately. */
static __always_inline __u64 senders_of(const struct bandwidth_state *state)
{
	return state->senders > state->senders_before ? state->senders : state->senders_before;
}

/* Whether all of the rate was used. */
static __always_inline bool is_used_up(const struct bandwidth_state *state, __u64 elapsed)
{
	return (state->bytes + state->other) * NS_PER_SEC / elapsed >= state->rate - state->rate / 16;
}

/*
 * The level moves by what was wanted over what was measured, and is never below what all senders could have alike.
 * @returns whether by so much that it must settle
 */
static __always_inline bool move_level(struct bandwidth_state *state, __u32 side, __u64 now, __u64 elapsed)
{
	__u64 rate = state->rate, most = rate + rate / 4, sent = state->bytes * NS_PER_SEC / elapsed,
	      least = MIN_LEVEL;
	__u64 target = target_of(state, side, now, elapsed), factor = 3 << 15, level = state->level, senders;
	bool settling = state->phase == BANDWIDTH_SETTLING;

	senders = senders_of(state);
	if (senders)
		least = clamp64(target / senders, MIN_LEVEL, most);
	if (target < sent + sent / 2)
		factor = (target << 16) / sent;
	if (settling && factor > 65536)
		factor = 65536;
	if (factor > 58982 && factor < 72090)
		factor = (factor + 65536) / 2;
	state->level = clamp64(level * factor >> 16, least, most);
	return state->level > level + level / 8 || state->level < level - level / 8;
}

/* One CPU takes the step; the others go on. @param id cgroup id; 0: the host's budget */
__noinline int bandwidth_step(__u64 id, __u32 side)
{
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	__u64 now = bpf_ktime_get_ns(), due, rate, burst, elapsed, most;
	struct bandwidth_state *state;
	bool slow = !id || side == BANDWIDTH_INGRESS;

	if (!rule || !bandwidth)
		return 0;
	state = &bandwidth->sides[side & 1];
	due = state->due;
	if (due == FAR_AWAY || __sync_val_compare_and_swap(&state->due, due, FAR_AWAY) != due)
		return 0;
	rate = rate_in_force(rule, side);
	burst = rule->burst[side & 1];
	if (!rate) {
		state->rate = 0;
		state->level = 0;
		begin_step(state, now, slow);
		return 0;
	}
	state->credit = ns_of(burst ? burst : default_burst(rate, side), rate);
	if (!state->rate) {
		state->clock = now - state->credit / 2;
		state->level = rate + rate / 4;
		state->rate = rate;
		turn_generation(state, now, slow);
		begin_step(state, now, slow);
		return 0;
	}
	/* A share of the host's budget moves a little all the time. */
	if (rate > state->rate + state->rate / 4 || rate < state->rate - state->rate / 4) {
		state->level = clamp64(state->level * ((rate << 16) / state->rate) >> 16, MIN_LEVEL, rate + rate / 4);
		state->rate = rate;
		settle(state, BANDWIDTH_CHANGING, now, slow);
		return 0;
	}
	state->rate = rate;
	turn_generation(state, now, slow);
	elapsed = now - state->begun;
	if (elapsed < 1000)
		elapsed = 1000;
	if (state->phase != BANDWIDTH_CHANGING && !(rule->flags & BANDWIDTH_AUDIT) && is_used_up(state, elapsed))
		state->throttled += elapsed;
	/* Only what goes far beyond the budget is of interest while the level settles. */
	if (state->phase != BANDWIDTH_MEASURING &&
	    (state->phase == BANDWIDTH_CHANGING || state->bytes <= state->budget)) {
		if (state->phase == BANDWIDTH_CHANGING)
			state->clock = now - state->credit / 2;
		begin_step(state, now, slow);
		return 0;
	}
	/* Where nothing is held back, debt says little of what is to come. */
	most = rule->flags & BANDWIDTH_AUDIT ? MAX_TCP_DEBT / 2 : MAX_DEBT;
	if (debt_of(state, now) > (__s64)most)
		state->clock = now + most;
	state->measured = (state->passed_bytes - state->passed) * NS_PER_SEC / elapsed;
	state->measured_at = now;
	if (move_level(state, side, now, elapsed))
		settle(state, BANDWIDTH_SETTLING, now, slow);
	else
		begin_step(state, now, slow);
	return 0;
}

static __always_inline void step_if_due(const struct bandwidth_state *state, __u64 id, __u32 side, __u64 now)
{
	if (now >= state->due || state->bytes > state->budget)
		bandwidth_step(id, side);
}

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
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk) {
		event.family = sk->family;
		event.protocol = sk->protocol;
		event.port = sk->src_port;
	}
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

/* What is remembered of the connection that a packet is for. */
static __always_inline struct socket_bandwidth *receiver_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	return sk ? bpf_sk_storage_get(&sock_bandwidth, sk, 0, 0) : NULL;
}

/* As debt_of(), of one connection that may receive what the level is. */
static __always_inline __s64 part_debt(const struct socket_bandwidth *note, __u32 level, __u64 now)
{
	__s64 debt = note->clocks[level & (LEVELS - 1)] - now;

	return debt < -PART ? -PART : debt;
}

/* Counts a connection that gets something, once in a generation, and what it gets. */
static __always_inline void count_receiver(struct socket_bandwidth *note, struct bandwidth_state *state, __u32 level,
                                           __u64 bytes, __u64 now)
{
	__u64 *clock = &note->clocks[level & (LEVELS - 1)];
	__s64 debt;

	if (note->receptions[level & (LEVELS - 1)] != state->generation) {
		note->receptions[level & (LEVELS - 1)] = state->generation;
		count(&state->senders, 1);
	}
	if (!state->level)
		return;
	debt = part_debt(note, level, now) + ns_of(bytes, state->level);
	*clock = now + (debt < MAX_PART_DEBT ? debt : MAX_PART_DEBT);
}

/*
 * The debt with which what comes for a connection is dropped: that of a burst for one alone; else the more it has had
 * lately the less, so that those with more than their part lose packets before others do, and those with much more
 * while there is credit yet: from one and a half bursts down to a credit of a fifth, among many of a half. A sender
 * that has lost some waits for 200 ms and more, and may then send what it has left. Among many there are always some
 * that wait: what they leave is not for one that has had its part.
 */
static __always_inline __s64 most_debt(const struct socket_bandwidth *note, const struct bandwidth_state *state,
                                       __u32 level, __u64 now)
{
	__u64 senders = senders_of(state);
	__s64 had, most = senders < MANY ? PART * 9 / 8 : PART * 11 / 8;

	if (!note || senders <= 1)
		return state->credit;
	had = part_debt(note, level, now) + PART;
	if (had > most)
		had = most;
	return state->credit * 3 / 2 - (__u64)had / NS_PER_MS * state->credit * 3 / (PART_MS * 2);
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
