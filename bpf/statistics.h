/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Statistics: TCP as a container's sockets know it (README.md, "Statistics").
 *
 * What begins and ends is counted as it happens, so that it is exact at any instant. What sockets know while they
 * live (round trip times, segments), and which of those that are closed are in timewait, is found by a pass over the
 * sockets of a network namespace, which user space starts by reading the iterator to its end.
 */
#pragma once

#include "container.h"

#define SOCKET_CALLBACKS (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG)

/* A connection that a process of the container asked for, or that one of its listeners got, has begun. */
static __always_inline void statistics_opened(struct bpf_sock_ops *ctx, __u64 *counter)
{
	count(counter, 1);
	if ((ctx->bpf_sock_ops_cb_flags & SOCKET_CALLBACKS) != SOCKET_CALLBACKS)
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | SOCKET_CALLBACKS);
}

static __always_inline void statistics_connecting(struct bpf_sock_ops *ctx)
{
	statistics_opened(ctx, &container_counters()->tcp_active_opens);
}

static __always_inline void statistics_accepted(struct bpf_sock_ops *ctx)
{
	statistics_opened(ctx, &container_counters()->tcp_passive_opens);
}

static __always_inline void statistics_retransmitted(struct bpf_sock_ops *ctx)
{
	count(&container_counters()->tcp_retrans_segs, ctx->args[1]);
}

static __always_inline bool is_established(__u32 state)
{
	return state == BPF_TCP_ESTABLISHED || state == BPF_TCP_CLOSE_WAIT;
}

/*
 * The kernel goes on with a timewait socket, which has no cgroup but the cookie of the socket. The innermost
 * container comes first, and notes it for those that it is nested in.
 */
static __noinline void note_timewait(struct bpf_sock_ops *ctx, struct counters *counters)
{
	struct timewait timewait = {.closed_at = bpf_ktime_get_ns()};
	__u64 cookie = bpf_get_socket_cookie(ctx);
	/* Before Linux 6.4 the upper half of what this helper returns means nothing. */
	int error;

	count(&counters->tcp_timewaits, 1);
	timewait.cgroup_id = container_policy()->cgroup_id;
	error = bpf_map_update_elem(&timewaits, &cookie, &timewait, BPF_NOEXIST);
	if (error && error != -EEXIST)
		count(&counters->tcp_timewaits_lost, 1);
}

static __noinline void count_closed(struct bpf_sock_ops *ctx, struct counters *counters, __u32 from)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *kernel;

	count(&counters->tcp_closed, 1);
	count(&counters->tcp_in_segs, ctx->segs_in);
	count(&counters->tcp_out_segs, ctx->segs_out);
	switch (from) {
	case BPF_TCP_SYN_SENT:
	case BPF_TCP_SYN_RECV:
		count(&counters->tcp_attempt_fails, 1);
		break;
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_CLOSE_WAIT:
		count(&counters->tcp_estab_resets, 1);
		break;
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSING:
		/* With an error (RST) it is gone. */
		kernel = sk ? (struct sock *)bpf_skc_to_tcp_sock(sk) : NULL;
		if (kernel && !BPF_CORE_READ(kernel, sk_err))
			note_timewait(ctx, counters);
		break;
	}
}

/* Of the connections that were counted when they began. */
static __always_inline void statistics_state(struct bpf_sock_ops *ctx)
{
	struct counters *counters = container_counters();
	__u32 from = ctx->args[0], to = ctx->args[1];

	if (is_established(from) != is_established(to))
		count(is_established(to) ? &counters->tcp_established : &counters->tcp_left, 1);
	if (to == BPF_TCP_CLOSE)
		count_closed(ctx, counters, from);
	else if (to == BPF_TCP_FIN_WAIT1)
		/* Made now if it has none: when the state is CLOSE, the timewait socket has its copy already. */
		bpf_get_socket_cookie(ctx);
}

/* Where the calls beside it need all of the stack. */
static __noinline void statistics_state_apart(struct bpf_sock_ops *ctx)
{
	statistics_state(ctx);
}

/* Not static, so that the verifier looks at it once and not in every place where it is called. */
__noinline int begin_tally(struct socket_tally *tally, __u32 pass)
{
	/* Too much for a memset() of the compiler's, which it makes of a loop where it can. */
	volatile __u64 *rtt;

	if (!tally)
		return 0;
	rtt = (void *)tally->rtt;
	tally->pass = pass;
	tally->timewait = 0;
	tally->in_segs = tally->out_segs = 0;
	for (int i = 0; i < RTT_BUCKETS / 2; i++)
		rtt[i] = 0;
	return 0;
}

/* Of a container that the pass looks at; NULL: of no such container. */
static __always_inline struct socket_tally *tally_of(__u64 cgroup_id)
{
	return bpf_map_lookup_elem(&socket_tallies, &cgroup_id);
}

/* Of the container that a cgroup is inside of. */
static __noinline struct socket_tally *tally_above(struct cgroup *cgroup)
{
	struct socket_tally *tally;

	for (int i = 0; cgroup && i < MAX_DEPTH; i++) {
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
		tally = cgroup ? tally_of(BPF_CORE_READ(cgroup, kn, id)) : NULL;
		if (tally)
			return tally;
	}
	return NULL;
}

/*
 * As in a float: the highest bit's place, and the four bits after it, so that values that share a bucket differ by
 * less than 6.25 %.
 */
static __always_inline __u32 rtt_bucket(__u32 microseconds)
{
	__u32 place = 0, value = microseconds;

	if (value >= 1u << 16) {
		value >>= 16;
		place = 16;
	}
	if (value >= 1u << 8) {
		value >>= 8;
		place += 8;
	}
	if (value >= 1u << 4) {
		value >>= 4;
		place += 4;
	}
	if (value >= 1u << 2) {
		value >>= 2;
		place += 2;
	}
	place += value >> 1;
	if (place <= 4)
		return microseconds;
	return (place - 3) * 16 + (microseconds >> (place - 4) & 15);
}

/* A socket that is not in timewait. The iterator holds its lock. */
static __always_inline void tally_socket(struct tcp_sock *tcp, __u32 pass)
{
	struct sock *sk = (struct sock *)tcp;
	struct socket_tally *tally;
	struct cgroup *cgroup;
	__u32 rtt;

	if (sk->__sk_common.skc_state == BPF_TCP_LISTEN)
		return;
	cgroup = sk->sk_cgrp_data.cgroup;
	if (!cgroup)
		return;
	/* Most are of a container's own node, or of none. */
	tally = tally_of(cgroup->kn->id);
	if (!tally)
		tally = tally_above(cgroup);
	rtt = tcp->srtt_us >> 3;
	for (int i = 0; tally && i < LEVELS; i++) {
		if (tally->pass != pass)
			begin_tally(tally, pass);
		tally->in_segs += tcp->segs_in;
		tally->out_segs += tcp->segs_out;
		if (rtt)
			tally->rtt[rtt_bucket(rtt) & (RTT_BUCKETS - 1)] += 1;
		tally = tally->parent ? tally_of(tally->parent) : NULL;
	}
}

static __always_inline void tally_timewait(struct sock_common *sk, __u32 pass)
{
	__u64 cookie = sk->skc_cookie.counter;
	struct timewait *timewait = bpf_map_lookup_elem(&timewaits, &cookie);
	struct socket_tally *tally;

	if (!timewait)
		return;
	timewait->seen = pass;
	tally = tally_of(timewait->cgroup_id);
	for (int i = 0; tally && i < LEVELS; i++) {
		if (tally->pass != pass)
			begin_tally(tally, pass);
		tally->timewait += 1;
		tally = tally->parent ? tally_of(tally->parent) : NULL;
	}
}

static long forget_timewait(struct bpf_map *map, __u64 *cookie, struct timewait *timewait,
                            struct connection_pass *pass)
{
	__u64 key = *cookie;

	if (timewait->seen != pass->number && timewait->closed_at < pass->started)
		bpf_map_delete_elem(&timewaits, &key);
	return 0;
}

/* @param sk NULL: that was the last */
static __always_inline void statistics_pass(struct sock_common *sk)
{
	__u32 zero = 0;
	struct connection_pass *pass = bpf_map_lookup_elem(&connect_pass, &zero), now;
	struct tcp_sock *tcp;

	if (!pass)
		return;
	if (!sk) {
		now = *pass;
		bpf_for_each_map_elem(&timewaits, forget_timewait, &now, 0);
		return;
	}
	if (sk->skc_state == BPF_TCP_TIME_WAIT) {
		tally_timewait(sk, pass->number);
		return;
	}
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp)
		tally_socket(tcp, pass->number);
}
