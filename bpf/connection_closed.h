/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: those that are closed and whose port the kernel keeps for a while (README.md, "Connections"). They are
 * known by their ends until a pass over the kernel's sockets misses them, and lapse by time in any case.
 */
#pragma once

#include "connection_holds.h"

#define SECOND   1000000000ULL
#define TIMEWAIT (60 * SECOND) /* TCP_TIMEWAIT_LEN of the kernel */
#define SPAN     (1ULL << CONNECTION_SPAN_SHIFT)

/* The first span that begins when `ns` have passed. At most 14 spans on, so that no two share a place in `lapsing`.
 */
static __always_inline __u32 span_after(__u64 ns)
{
	return (bpf_ktime_get_coarse_ns() + ns + SPAN - 1) >> CONNECTION_SPAN_SHIFT;
}

static __always_inline void read_ends(struct sock_common *sk, struct connection_ends *ends)
{
	ends->netns = BPF_CORE_READ(sk, skc_net.net, net_cookie);
	ends->local_port = BPF_CORE_READ(sk, skc_num);
	ends->remote_port = bpf_ntohs(BPF_CORE_READ(sk, skc_dport));
	if (BPF_CORE_READ(sk, skc_family) == AF_INET) {
		((__u32 *)ends->local)[2] = ((__u32 *)ends->remote)[2] = V4_MAPPED_WORD;
		((__u32 *)ends->local)[3] = BPF_CORE_READ(sk, skc_rcv_saddr);
		((__u32 *)ends->remote)[3] = BPF_CORE_READ(sk, skc_daddr);
	} else {
		bpf_core_read(ends->local, sizeof(ends->local), &sk->skc_v6_rcv_saddr);
		bpf_core_read(ends->remote, sizeof(ends->remote), &sk->skc_v6_daddr);
	}
}

/*
 * The kernel keeps the port: 60 s from the peer's FIN, which it may still wait for as long (FIN-WAIT-2). What is
 * longer (a peer that sends its FIN again and again) is not known, but each of these is met by the pass while it is.
 */
static __noinline void keep_closed(struct sock *sk, struct hold holds[LEVELS])
{
	bool done = BPF_CORE_READ(sk, __sk_common.skc_flags) >> bpf_core_enum_value(enum sock_flags, SOCK_DONE) & 1;
	struct closed_connection closed = {.closed_at = bpf_ktime_get_ns()}, *before;
	__u32 lapses = span_after(done ? TIMEWAIT : 2 * TIMEWAIT);
	struct connection_ends ends = {};

	for (int i = 0; i < LEVELS; i++) {
		struct hold *hold = &holds[i];

		if (!hold->cgroup_id)
			continue;
		change_hold(hold, -1, 1, lapses, this_span());
		closed.holds[i].cgroup_id = hold->cgroup_id;
		closed.holds[i].place = hold->place;
		closed.holds[i].lapses = lapses;
	}
	read_ends(&sk->__sk_common, &ends);
	/*
	 * One with the same ends that has not lapsed stays as it is, and this one lapses by time: only a pass takes
	 * holds from the map, so that none is given back twice.
	 */
	/* Before Linux 6.4 the upper half of what this helper returns means nothing. */
	if ((int)bpf_map_update_elem(&closed_connects, &ends, &closed, BPF_NOEXIST) != -EEXIST)
		return;
	before = bpf_map_lookup_elem(&closed_connects, &ends);
	if (before && bpf_ktime_get_ns() - before->closed_at > 3 * TIMEWAIT)
		bpf_map_update_elem(&closed_connects, &ends, &closed, BPF_EXIST);
}

/*
 * A pass over the sockets of a network namespace, which user space starts by reading the iterator to its end:
 * timewait sockets are marked in closed_connects; at the end what was closed before the pass and is not marked is
 * given back.
 */
static __always_inline void mark_closed(struct sock_common *sk, __u32 number)
{
	struct connection_ends ends = {};
	struct closed_connection *closed;

	if (BPF_CORE_READ(sk, skc_state) != BPF_TCP_TIME_WAIT)
		return;
	read_ends(sk, &ends);
	closed = bpf_map_lookup_elem(&closed_connects, &ends);
	if (closed)
		closed->seen = number;
}

static long end_closed(struct bpf_map *map, struct connection_ends *ends, struct closed_connection *closed,
                       struct connection_pass *pass)
{
	struct connection_ends key = *ends;

	if (bpf_ktime_get_ns() - closed->closed_at <= 3 * TIMEWAIT &&
	    (ends->netns != pass->netns || closed->closed_at >= pass->started || closed->seen == pass->number)) {
		pass->kept++;
		return 0;
	}
	for (int i = 0; i < LEVELS; i++) {
		struct hold hold = closed->holds[i];

		give_back(&hold, bpf_ktime_get_ns() >> CONNECTION_SPAN_SHIFT);
	}
	pass->released++;
	bpf_map_delete_elem(&closed_connects, &key);
	return 0;
}

static __always_inline void connections_pass(struct sock_common *sk)
{
	__u32 zero = 0;
	struct connection_pass *pass = bpf_map_lookup_elem(&connect_pass, &zero), result;

	if (!pass)
		return;
	if (sk) {
		mark_closed(sk, pass->number);
		return;
	}
	result = *pass;
	result.kept = result.released = 0;
	bpf_for_each_map_elem(&closed_connects, end_closed, &result, 0);
	*pass = result;
}
