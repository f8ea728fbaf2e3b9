/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bandwidth of TCP: each connection is paced to the level (bandwidth_level.h), by SO_MAX_PACING_RATE, which the
 * kernel's TCP keeps by itself where no qdisc does. It is set when a connection begins, and with each measurement of
 * its round trip, which is nearly every ACK.
 */
#pragma once

#include "bandwidth.h"

/* SO_MAX_PACING_RATE has 32 bits for programs, and all of them mean none. */
#define MAX_PACING       0xfffffffeULL
#define NO_PACING        0xffffffffU
#define NO_WINDOW        0x7fffffff
#define TCP_WINDOW_CLAMP 10
#define CALLBACKS        (BPF_SOCK_OPS_RTT_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)
/* Not in older uapi headers. */
#define CB_FLAGS_OPTION 1008

/* The kernel's own view of a socket: the verifier allows no arithmetic on a pointer that it knows to be one. */
static __always_inline struct sock *plain_sock(void *sk)
{
	void *volatile known = sk;
	struct sock *plain = NULL;

	bpf_probe_read_kernel(&plain, sizeof(plain), (const void *)&known);
	return plain;
}

static __always_inline bool goes_by_loopback(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_dst_cache, dev, ifindex) == LOOPBACK_IFINDEX;
}

/* What a level of nesting allows a connection, plus 1; 0: anything. */
static __always_inline __u64 allowed_to(struct sock *sk, const struct bandwidth_rule *rule,
                                        const struct bandwidth_state *state)
{
	if (!state->rate || rule->flags & BANDWIDTH_AUDIT)
		return 0;
	if (!(rule->flags & BANDWIDTH_LOOPBACK) && goes_by_loopback(sk))
		return 0;
	if (rule->flags & BANDWIDTH_EDT && has_departures(BPF_CORE_READ(sk, sk_dst_cache, dev)))
		return 0;
	return (state->level < MAX_PACING ? state->level : MAX_PACING) + 1;
}

static __always_inline __u64 least_of(const struct socket_bandwidth *note)
{
	__u64 least = note->own;

	for (int i = 0; i < LEVELS; i++)
		if (note->levels[i] && note->levels[i] - 1 < least)
			least = note->levels[i] - 1;
	return least;
}

/* Takes a rate that the task has set since for its own. @returns the rate that the socket has */
static __always_inline __u64 read_pacing(struct sock *sk, struct socket_bandwidth *note)
{
	__u64 current = BPF_CORE_READ(sk, sk_max_pacing_rate);

	if (!note->set || current != note->set)
		note->own = current;
	return current;
}

/*
 * The congestion window that the rate can use, as a bound: two trains and twice what is on its way, so that no train
 * is longer. Only of slow connections, on short ways; on long ones the kernel makes no long trains.
 */
static __always_inline __u32 window_of(__u64 rate, __u32 srtt_us)
{
	__u64 train = train_of(rate), packets;

	if (rate > MAX_PACING || train >= 65536)
		return 0;
	packets = 2 * (train + rate * srtt_us / 1000000) / 1448;
	return clamp64(packets, 4, NO_WINDOW);
}

static __always_inline void bound_window(struct bpf_sock_ops *ctx, struct socket_bandwidth *note, __u64 rate)
{
	__u32 window = window_of(rate, ctx->srtt_us >> 3), before = note->window;
	int value = window ? (int)window : NO_WINDOW;

	/* It sets the threshold of slow start too: not for nothing. */
	if (before == window || (before && window && window < before + before / 2 && window > before - before / 3))
		return;
	if (!bpf_setsockopt(ctx, IPPROTO_TCP, TCP_BPF_SNDCWND_CLAMP, &value, sizeof(value)))
		note->window = window;
}

/* What a new connection sends before its first ACK, which the kernel does not pace. */
static __always_inline void bound_first_window(struct bpf_sock_ops *ctx, const struct bandwidth_state *state)
{
	int packets;

	if (!state->rate || !state->senders)
		return;
	packets = clamp64(state->rate / state->senders / 50 / 1448, 4, 10);
	if (packets < 10)
		bpf_setsockopt(ctx, IPPROTO_TCP, TCP_BPF_IW, &packets, sizeof(packets));
}

static __noinline void pace(struct bpf_sock_ops *ctx, bool begins)
{
	const struct policy *policy = container_policy();
	__u64 id = policy->cgroup_id, allowed, current, rate;
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	struct socket_bandwidth *note;
	struct bpf_sock *sk = ctx->sk;
	struct sock *plain;
	__u32 value;

	if (!sk || !rule || !bandwidth)
		return;
	note = bpf_sk_storage_get(&sock_bandwidth, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!note)
		return;
	plain = plain_sock(sk);
	current = read_pacing(plain, note);
	allowed = allowed_to(plain, rule, &bandwidth->sides[BANDWIDTH_EGRESS]);
	note->levels[policy->level & (LEVELS - 1)] = allowed;
	rate = least_of(note);
	if (begins && allowed) {
		note->generations[policy->level & (LEVELS - 1)] = bandwidth->sides[BANDWIDTH_EGRESS].generation;
		count(&bandwidth->sides[BANDWIDTH_EGRESS].senders, 1);
		bound_first_window(ctx, &bandwidth->sides[BANDWIDTH_EGRESS]);
	}
	if (allowed || note->window)
		bound_window(ctx, note, rate);
	if (rate == current)
		return;
	value = rate > MAX_PACING ? NO_PACING : rate;
	if (!bpf_setsockopt(ctx, SOL_SOCKET, SO_PACING, &value, sizeof(value)))
		note->set = value == NO_PACING ? ~0ULL : value;
}

/*
 * The window that a connection may offer: its part of the credit, in powers of two, the least where it has had more
 * than its part; 0: any.
 */
static __always_inline __u32 receiving_of(const struct bandwidth_rule *rule, const struct bandwidth_state *state,
                                          const struct socket_bandwidth *note, __u32 level)
{
	__u64 senders = senders_of(state), part, now = bpf_ktime_get_ns();
	__s64 credit = -debt_of(state, now);
	__u32 window = 4096;

	if (!state->rate || rule->flags & BANDWIDTH_AUDIT || credit >= (__s64)(state->credit / 2))
		return 0;
	if (credit < 0 || (senders > 1 && part_debt(note, level, now) > 0))
		return 4096;
	part = (__u64)(credit / 1000) * (state->rate / 1000) / 1000 / (senders + 1);
	for (int i = 0; i < 12 && window < part; i++)
		window <<= 1;
	return window;
}

/*
 * Called for every packet that leaves, where the kernel asks how long its options are, which is before it writes the
 * window. Not set again to the same: kernels before 6.8 take that for a reason not to let the window grow.
 */
static __noinline void bound_receiving(struct bpf_sock_ops *ctx)
{
	const struct policy *policy = container_policy();
	__u64 id = policy->cgroup_id;
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	struct socket_bandwidth *note;
	struct bpf_sock *sk = ctx->sk;
	__u32 window;
	int value;

	if (!sk || !rule || !bandwidth)
		return;
	note = bpf_sk_storage_get(&sock_bandwidth, sk, 0, 0);
	if (!note)
		return;
	window = receiving_of(rule, &bandwidth->sides[BANDWIDTH_INGRESS], note, policy->level);
	if (window && !(rule->flags & BANDWIDTH_LOOPBACK) && goes_by_loopback(plain_sock(sk)))
		window = 0;
	note->windows[policy->level & (LEVELS - 1)] = window;
	for (int i = 0; i < LEVELS; i++)
		if (note->windows[i] && (!window || note->windows[i] < window))
			window = note->windows[i];
	if (window == note->receiving)
		return;
	value = window ? (int)window : NO_WINDOW;
	if (!bpf_setsockopt(ctx, IPPROTO_TCP, TCP_WINDOW_CLAMP, &value, sizeof(value)))
		note->receiving = window;
}

/*
 * Notes what a level allows. A function of its own so that the verifier does not tell one depth from another.
 * @returns what the socket may send
 */
__noinline __u64 allow_at(struct socket_bandwidth *note, __u32 depth, __u64 allowed)
{
	if (!note)
		return ~0ULL;
	note->levels[depth & (LEVELS - 1)] = allowed;
	return least_of(note);
}

/*
 * A connection that is older than the limit: no callback comes from it. Linux 6.12 and newer let an iterator ask for
 * them; on others it gets the level of now, and is met again (isolator/containers/bandwidth.ts).
 */
static __noinline void arm(struct tcp_sock *tcp, __u64 id, __u32 depth)
{
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	int flags = BPF_CORE_READ(tcp, bpf_sock_ops_cb_flags) | CALLBACKS;
	struct socket_bandwidth *note;
	__u64 current, rate;
	__u32 value;

	if (!rule || !bandwidth || !bpf_setsockopt(tcp, IPPROTO_TCP, CB_FLAGS_OPTION, &flags, sizeof(flags)))
		return;
	count(&bandwidth->sides[BANDWIDTH_EGRESS].unarmed, 1);
	note = bpf_sk_storage_get(&sock_bandwidth, tcp, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!note)
		return;
	current = read_pacing((struct sock *)tcp, note);
	rate = allow_at(note, depth, allowed_to((struct sock *)tcp, rule, &bandwidth->sides[BANDWIDTH_EGRESS]));
	if (rate == current)
		return;
	value = rate > MAX_PACING ? NO_PACING : rate;
	if (!bpf_setsockopt(tcp, SOL_SOCKET, SO_PACING, &value, sizeof(value)))
		note->set = value == NO_PACING ? ~0ULL : value;
}

/* A walk from a socket's cgroup to the root. */
struct arming {
	struct tcp_sock *tcp;
	struct cgroup *cgroup;
	__u32 depth; /* containers so far */
};

/* A loop of the verifier's would be looked at for each way that 16 levels can go. */
static long arm_level(__u32 i, struct arming *arming)
{
	struct cgroup *cgroup = arming->cgroup;
	void *parent;
	__u64 id;

	if (!cgroup)
		return 1;
	id = BPF_CORE_READ(cgroup, kn, id);
	if (bpf_map_lookup_elem(&bandwidths, &id))
		arm(arming->tcp, id, arming->depth++);
	parent = BPF_CORE_READ(cgroup, self.parent);
	arming->cgroup = parent ? parent - bpf_core_field_offset(struct cgroup, self) : NULL;
	return 0;
}

/* By an iterator, for each TCP socket of a network namespace. */
static __always_inline void bandwidth_arm(struct sock_common *common)
{
	struct tcp_sock *tcp = common ? bpf_skc_to_tcp_sock(common) : NULL;
	struct arming arming = {.tcp = tcp};
	__u8 state;

	if (!tcp || BPF_CORE_READ(tcp, bpf_sock_ops_cb_flags) & BPF_SOCK_OPS_RTT_CB_FLAG)
		return;
	/* Who has closed only its own way still takes what comes. */
	state = BPF_CORE_READ(common, skc_state);
	if (state != BPF_TCP_ESTABLISHED && state != BPF_TCP_CLOSE_WAIT)
		return;
	arming.cgroup = BPF_CORE_READ((struct sock *)tcp, sk_cgrp_data.cgroup);
	bpf_loop(16, arm_level, &arming, 0);
}

static __always_inline void bandwidth_ops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | CALLBACKS);
		pace(ctx, true);
		break;
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		bound_receiving(ctx);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		pace(ctx, false);
		break;
	}
}
