/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: how many a container holds to each destination and in all (README.md, "Connections").
 *
 * connect() takes a hold at each level of nesting that counts, or none at any. The socket remembers what it holds, so
 * that every way for it to end gives back just that: the state callback for TCP, also of an MPTCP subflow and of a
 * socket that nobody has open any more; sock_release() for UDP, and for TCP that never came to send its SYN.
 */
#pragma once

#include "container.h"

#define SECOND           1000000000ULL
#define TIMEWAIT         (60 * SECOND) /* TCP_TIMEWAIT_LEN of the kernel */
#define SPAN             (1ULL << CONNECTION_SPAN_SHIFT)
#define V4_MAPPED_WORD   bpf_htonl(0xffff)
#define NO_LIMIT         0xffffffff
#define REFUSED_BY_LIMIT (-1)
#define REFUSED_BY_TOTAL (-2)
#define SET_IS_FULL      (-3)

/* What a connect() may take at one level. */
struct connection_limits {
	__u32 each;
	__u32 total;
	__u32 lapses; /* as in struct hold */
};

static __always_inline __u32 this_span(void)
{
	return bpf_ktime_get_coarse_ns() >> CONNECTION_SPAN_SHIFT;
}

/* The first span that begins when `ns` have passed. At most 14 spans on, so that no two share a place in `lapsing`.
 */
static __always_inline __u32 span_after(__u64 ns)
{
	return (bpf_ktime_get_coarse_ns() + ns + SPAN - 1) >> CONNECTION_SPAN_SHIFT;
}

/* Takes out what has lapsed. Under the lock, as all that follows up to change_hold(). */
static __always_inline void advance(struct connection_count *count, __u32 span)
{
	__u32 *lapsing;

	if ((__s32)(span - count->span) <= 0)
		return;
	if (count->closed) {
		for (int i = 0; i < CONNECTION_SPANS && count->span != span; i++) {
			count->span++;
			lapsing = &count->lapsing[count->span & (CONNECTION_SPANS - 1)];
			count->closed -= *lapsing;
			*lapsing = 0;
		}
	}
	count->span = span;
}

static __always_inline __u32 held(const struct connection_count *count)
{
	return count->live + count->closed;
}

/* A closed one that has lapsed meanwhile is out already: then `closed` changes nothing. Never below 0. */
static __always_inline void change(struct connection_count *count, int live, int closed, __u32 lapses)
{
	__u32 *lapsing = &count->lapsing[lapses & (CONNECTION_SPANS - 1)];

	if (live > 0 || count->live)
		count->live += live;
	if ((__s32)(lapses - count->span) > 0 && (closed > 0 || *lapsing)) {
		*lapsing += closed;
		count->closed += closed;
	}
}

static __always_inline bool is_for(const struct connection_count *count, const struct destination *to)
{
	const __u64 *a = (const void *)count, *b = (const void *)to;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline __u32 set_of(const struct destination *to)
{
	const __u64 *word = (const void *)to;
	__u64 hash = word[0] * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 29 ^ word[1]) * 0xbf58476d1ce4e5b9ULL;
	hash = (hash ^ hash >> 32 ^ word[2]) * 0x94d049bb133111ebULL;
	hash = (hash ^ hash >> 29 ^ word[3]) * 0x9e3779b97f4a7c15ULL;
	return (hash ^ hash >> 32) & (CONNECTION_SETS - 1);
}

/* @param may_add whether a destination without a place may get one; @returns the place, or why not */
__noinline int take_place(const struct destination *to, const struct connection_limits *limits, __u32 key, __u32 span,
                          bool may_add)
{
	struct connection_set *set = bpf_map_lookup_elem(&connect_sets, &key);
	struct connection_count *count;
	__u32 each, lapses;
	int result = SET_IS_FULL;

	if (!to || !limits || !set)
		return SET_IS_FULL;
	each = limits->each;
	lapses = limits->lapses;
	bpf_spin_lock(&set->lock);
	for (int i = 0; i < CONNECTION_PLACES; i++) {
		if (is_for(&set->places[i], to)) {
			result = i;
			break;
		}
	}
	for (int i = 0; result < 0 && may_add && i < CONNECTION_PLACES; i++) {
		count = &set->places[i];
		if (count->live)
			continue;
		advance(count, span);
		if (count->closed)
			continue;
		count->cgroup_id = to->cgroup_id;
		((__u64 *)count->address)[0] = ((const __u64 *)to->address)[0];
		((__u64 *)count->address)[1] = ((const __u64 *)to->address)[1];
		count->port = to->port;
		count->protocol = to->protocol;
		count->reserved = to->reserved;
		result = i;
	}
	if (result >= 0) {
		count = &set->places[result & (CONNECTION_PLACES - 1)];
		advance(count, span);
		if (held(count) >= each)
			result = REFUSED_BY_LIMIT;
		else
			change(count, !lapses, !!lapses, lapses);
	}
	bpf_spin_unlock(&set->lock);
	return result;
}

/* @param other whether the destination found its set full; @returns 0, or why not */
__noinline int take_total(__u64 cgroup_id, const struct connection_limits *limits, __u32 span, bool other)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	__u32 each, total, lapses;
	int result = 0;

	if (!totals || !limits)
		return REFUSED_BY_TOTAL;
	each = limits->each;
	total = limits->total;
	lapses = limits->lapses;
	bpf_spin_lock(&totals->lock);
	advance(&totals->all, span);
	advance(&totals->others, span);
	if (totals->all.cgroup_id != cgroup_id || held(&totals->all) >= total) {
		result = REFUSED_BY_TOTAL;
	} else if (other && held(&totals->others) >= each) {
		result = REFUSED_BY_LIMIT;
	} else {
		change(&totals->all, !lapses, !!lapses, lapses);
		if (other)
			change(&totals->others, !lapses, !!lapses, lapses);
	}
	bpf_spin_unlock(&totals->lock);
	return result;
}

__noinline int change_place(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	struct connection_count *count;
	struct connection_set *set;
	__u64 cgroup_id;
	__u32 key;

	if (!hold)
		return 0;
	key = hold->place / CONNECTION_PLACES;
	set = bpf_map_lookup_elem(&connect_sets, &key);
	if (!set)
		return 0;
	count = &set->places[hold->place & (CONNECTION_PLACES - 1)];
	cgroup_id = hold->cgroup_id;
	bpf_spin_lock(&set->lock);
	if (count->cgroup_id == cgroup_id) {
		advance(count, span);
		change(count, live, closed, lapses);
	}
	bpf_spin_unlock(&set->lock);
	return 0;
}

__noinline int change_total(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	struct connection_totals *totals;
	__u64 cgroup_id;
	bool other;

	if (!hold)
		return 0;
	cgroup_id = hold->cgroup_id;
	other = hold->place == CONNECTION_NO_PLACE;
	totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	/* A container that is gone, whose socket somebody else still has. */
	if (!totals)
		return 0;
	bpf_spin_lock(&totals->lock);
	if (totals->all.cgroup_id == cgroup_id) {
		advance(&totals->all, span);
		change(&totals->all, live, closed, lapses);
		if (other) {
			advance(&totals->others, span);
			change(&totals->others, live, closed, lapses);
		}
	}
	bpf_spin_unlock(&totals->lock);
	return 0;
}

/* Everywhere that a hold is counted. */
static __always_inline void change_hold(const struct hold *hold, int live, int closed, __u32 lapses, __u32 span)
{
	if (hold->place != CONNECTION_NO_PLACE)
		change_place(hold, live, closed, lapses, span);
	change_total(hold, live, closed, lapses, span);
}

__noinline int give_back(struct hold *hold, __u32 span)
{
	if (!hold || !hold->cgroup_id)
		return 0;
	if (hold->lapses)
		change_hold(hold, 0, -1, hold->lapses, span);
	else
		change_hold(hold, -1, 0, 0, span);
	hold->cgroup_id = 0;
	return 0;
}

static __always_inline void give_all_back(struct hold holds[LEVELS])
{
	__u32 span = this_span();

	for (int i = 0; i < LEVELS; i++)
		give_back(&holds[i], span);
}

/* @returns 0 and fills in the hold, or why not */
__noinline int take(struct hold *hold, const struct destination *to, const struct connection_limits *limits,
                    __u32 span)
{
	struct connection_totals *totals;
	struct hold taken = {};
	int place, result;
	__u64 cgroup_id;
	__u32 key;

	if (!hold || !to || !limits)
		return REFUSED_BY_TOTAL;
	cgroup_id = taken.cgroup_id = to->cgroup_id;
	taken.lapses = limits->lapses;
	totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);
	if (!totals)
		return REFUSED_BY_TOTAL;
	key = set_of(to);
	/* None gets a place while others without one are held: a destination is never counted at two places. */
	place = take_place(to, limits, key, span, !held(&totals->others));
	if (place == REFUSED_BY_LIMIT)
		return place;
	taken.place = place < 0 ? CONNECTION_NO_PLACE : key * CONNECTION_PLACES + place;
	result = take_total(cgroup_id, limits, span, place < 0);
	if (!result)
		*hold = taken;
	else if (place >= 0)
		change_place(&taken, taken.lapses ? 0 : -1, taken.lapses ? -1 : 0, taken.lapses, span);
	return result;
}

/*
 * Where a connect() goes. The kernel takes 0.0.0.0 and :: for the socket's own address, or the loopback address where
 * it has none: counted as what they are.
 */
static __always_inline void read_destination(struct bpf_sock_addr *ctx, __u8 family, struct destination *to)
{
	__u32 *address = (__u32 *)to->address;
	struct bpf_sock *sk = ctx->sk;

	if (family == AF_INET) {
		address[2] = V4_MAPPED_WORD;
		address[3] = ctx->user_ip4;
	} else {
		address[0] = ctx->user_ip6[0];
		address[1] = ctx->user_ip6[1];
		address[2] = ctx->user_ip6[2];
		address[3] = ctx->user_ip6[3];
		if (!(address[0] | address[1] | address[2] | address[3])) {
			if (sk && sk->src_ip6[2] == V4_MAPPED_WORD)
				address[2] = V4_MAPPED_WORD;
			else
				address[3] = bpf_htonl(1);
		}
	}
	if (!(address[0] | address[1] | address[3]) && address[2] == V4_MAPPED_WORD) {
		if (sk)
			address[3] = sk->src_ip4;
		if (!address[3])
			address[3] = bpf_htonl(0x7f000001);
	}
	to->port = bpf_ntohs(ctx->user_port);
	to->protocol = ctx->protocol;
}

static __always_inline bool fits(const struct connection_rule *rule, const struct destination *to)
{
	const __u64 *a = (const void *)rule->address, *mask = (const void *)rule->mask,
	            *b = (const void *)to->address;

	return to->port >= rule->begin && to->port <= rule->end &&
	       (!rule->protocol || rule->protocol == to->protocol) &&
	       !(((a[0] ^ b[0]) & mask[0]) | ((a[1] ^ b[1]) & mask[1]));
}

/* The limit for a destination; 0: it is not counted. */
__noinline int limit_for(const struct policy *policy, const struct destination *to)
{
	__u64 cgroup_id;
	struct connection_rules *rules;

	if (!policy || !to)
		return 0;
	cgroup_id = to->cgroup_id;
	if (policy->connection_rules) {
		rules = bpf_map_lookup_elem(&connect_rules, &cgroup_id);
		for (__u32 i = 0; rules && i < CONNECTION_RULES && i < policy->connection_rules; i++)
			if (fits(&rules->rules[i], to))
				return rules->rules[i].limit;
	}
	return policy->max_connections ? policy->max_connections : NO_LIMIT;
}

/* Two that differ in the counting container only are one to the task. */
static __always_inline bool refused_before(const struct socket_connections *connections, const struct destination *to)
{
	const __u64 *a = (const void *)&connections->refused, *b = (const void *)to;

	return !((a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __noinline int refuse_connect(const struct policy *policy, struct socket_connections *connections,
                                     const struct destination *to, int why)
{
	const __u32 *address = (const void *)to->address;
	struct event event = {.family = AF_INET6, .protocol = to->protocol, .port = to->port};

	event.reason = why == REFUSED_BY_TOTAL ? REASON_CONNECTIONS_TOTAL : REASON_CONNECTIONS;
	if (!(address[0] | address[1]) && address[2] == V4_MAPPED_WORD) {
		event.family = AF_INET;
		*(__u32 *)event.address = address[3];
	} else {
		__builtin_memcpy(event.address, address, sizeof(event.address));
	}
	if (connections) {
		if (refused_before(connections, to))
			return refuses_nothing(policy) ? ALLOW : DENY;
		connections->refused = *to;
	}
	return refuse(policy, &event);
}

/* An outer level has said no: what inner ones took for this connect() is given back. */
static __noinline void take_nothing(struct bpf_sock_addr *ctx, struct socket_connections *connections)
{
	if (ctx->protocol == IPPROTO_TCP)
		give_all_back(connections->now);
	give_all_back(connections->next);
}

/* Where it is connected to already: connect() to the same peer again changes nothing. */
static __noinline bool holds_already(const struct hold *hold, const struct destination *to)
{
	__u32 key = hold->place / CONNECTION_PLACES;
	struct connection_set *set = bpf_map_lookup_elem(&connect_sets, &key);

	return set && hold->place != CONNECTION_NO_PLACE &&
	       is_for(&set->places[hold->place & (CONNECTION_PLACES - 1)], to);
}

/* What was taken holds from now on; a UDP socket leaves its peer for another. */
__noinline int settle_next(struct hold *now, struct hold *next, __u32 span)
{
	if (!now || !next || !next->cgroup_id)
		return 0;
	give_back(now, span);
	*now = *next;
	next->cgroup_id = 0;
	return 0;
}

/* The kernel's own type, whose fields can be read; NULL for what is no TCP socket. */
static __always_inline struct sock *kernel_sock(struct bpf_sock *sk)
{
	return (struct sock *)bpf_skc_to_tcp_sock(sk);
}

static __always_inline bool is_kernels(struct bpf_sock *sk)
{
	struct sock *kernel = kernel_sock(sk);

	return kernel && BPF_CORE_READ_BITFIELD_PROBED(kernel, sk_kern_sock);
}

static __noinline int count_connect(struct bpf_sock_addr *ctx, const struct policy *policy, struct destination *to)
{
	struct connection_limits limits = {};
	struct socket_connections *connections;
	__u32 level = policy->level & (LEVELS - 1), span = this_span();
	struct bpf_sock *sk = ctx->sk;
	bool tcp = ctx->protocol == IPPROTO_TCP;
	struct hold *hold;
	int why, verdict;

	if (!sk)
		return DENY;
	if (denied_below()) {
		connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
		if (connections)
			take_nothing(ctx, connections);
		return ALLOW;
	}
	to->cgroup_id = policy->cgroup_id;
	limits.each = limit_for(policy, to);
	if (!limits.each && tcp)
		return ALLOW;
	limits.total = policy->max_connections_total ? policy->max_connections_total : NO_LIMIT;
	/* The kernel's own (an MPTCP subflow) is never released: until its SYN is sent it holds for a while only. */
	if (tcp && is_kernels(sk))
		limits.lapses = span + 2;
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connections) {
		/* The task has used up what the kernel gives a socket (net.core.optmem_max): not a way round. */
		verdict = refuse_connect(policy, NULL, to, REFUSED_BY_TOTAL);
		goto out;
	}
	settle_next(&connections->now[level], &connections->next[level], span);
	if (tcp) {
		/* Left by one that failed before its SYN was sent, which no hook tells. */
		give_back(&connections->now[level], span);
		hold = &connections->now[level];
	} else {
		if (!limits.each) {
			give_back(&connections->now[level], span);
			return ALLOW;
		}
		if (connections->now[level].cgroup_id && holds_already(&connections->now[level], to))
			return ALLOW;
		hold = &connections->next[level];
	}
	verdict = ALLOW;
	why = take(hold, to, &limits, span);
	if (why) {
		verdict = refuse_connect(policy, connections, to, why);
		if (verdict == ALLOW) {
			limits.each = limits.total = NO_LIMIT;
			take(hold, to, &limits, span);
		}
	} else if (connections->refused.cgroup_id == to->cgroup_id) {
		connections->refused.protocol = 0;
	}
	if (verdict == DENY)
		take_nothing(ctx, connections);
	else if (!policy->level)
		for (int i = 0; i < LEVELS; i++)
			settle_next(&connections->now[i], &connections->next[i], span);
out:
	if (verdict == DENY)
		bpf_set_retval(-(int)policy->connections_errno);
	return verdict;
}

static __always_inline bool counts_connections(const struct policy *policy)
{
	return policy->flags & POLICY_COUNT_CONNECTIONS;
}

/* connect(), of TCP before it chooses a port. */
static __always_inline int connections_connect(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family)
{
	struct destination to = {};

	if (!counts_connections(policy))
		return policy->enforcement ? ALLOW : DENY;
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_UDPLITE)
		return ALLOW;
	read_destination(ctx, family, &to);
	return count_connect(ctx, policy, &to);
}

static __noinline void watch(struct bpf_sock_ops *ctx, struct socket_connections *connections)
{
	for (int i = 0; i < LEVELS; i++) {
		struct hold *hold = &connections->now[i];

		if (hold->cgroup_id && hold->lapses) {
			change_hold(hold, 1, -1, hold->lapses, this_span());
			hold->lapses = 0;
		}
	}
	connections->watched = 1;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The SYN is about to be sent. Whichever level counts first does it for all. */
static __always_inline void connections_connecting(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct socket_connections *connections;
	struct bpf_sock *sk = ctx->sk;

	if (!counts_connections(policy) || !sk)
		return;
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
	if (connections && !connections->watched)
		watch(ctx, connections);
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
static __noinline void keep_closed(struct sock *sk, struct socket_connections *connections)
{
	bool done = BPF_CORE_READ(sk, __sk_common.skc_flags) >> bpf_core_enum_value(enum sock_flags, SOCK_DONE) & 1;
	struct closed_connection closed = {.closed_at = bpf_ktime_get_ns()}, *before;
	__u32 lapses = span_after(done ? TIMEWAIT : 2 * TIMEWAIT);
	struct connection_ends ends = {};

	for (int i = 0; i < LEVELS; i++) {
		struct hold *hold = &connections->now[i];

		if (!hold->cgroup_id)
			continue;
		change_hold(hold, -1, 1, lapses, this_span());
		closed.holds[i].cgroup_id = hold->cgroup_id;
		closed.holds[i].place = hold->place;
		closed.holds[i].lapses = lapses;
		hold->cgroup_id = 0;
	}
	read_ends(&sk->__sk_common, &ends);
	/*
	 * One with the same ends that has not lapsed stays as it is, and this one lapses by time: only a pass takes
	 * holds from the map, so that none is given back twice.
	 */
	if (bpf_map_update_elem(&closed_connects, &ends, &closed, BPF_NOEXIST) != -EEXIST)
		return;
	before = bpf_map_lookup_elem(&closed_connects, &ends);
	if (before && bpf_ktime_get_ns() - before->closed_at > 3 * TIMEWAIT)
		bpf_map_update_elem(&closed_connects, &ends, &closed, BPF_EXIST);
}

/* The socket leaves the connection; for a while the kernel may keep its port without it. */
static __noinline void end_connection(struct bpf_sock *ended, struct socket_connections *connections, __u32 from)
{
	bool closes = from == BPF_TCP_FIN_WAIT2 || from == BPF_TCP_CLOSING;

	struct sock *sk = kernel_sock(ended);

	connections->watched = 0;
	if (closes && sk && !BPF_CORE_READ(sk, sk_err))
		keep_closed(sk, connections);
	else
		give_all_back(connections->now);
}

static __always_inline void connections_state(struct bpf_sock_ops *ctx)
{
	struct socket_connections *connections;
	struct bpf_sock *sk = ctx->sk;

	if (ctx->args[1] != BPF_TCP_CLOSE || !sk)
		return;
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
	if (connections && connections->watched)
		end_connection(sk, connections, ctx->args[0]);
}

/* The last file descriptor is closed. A watched TCP socket may live on: its state callback ends it. */
static __always_inline void connections_release(struct bpf_sock *ctx)
{
	struct socket_connections *connections;

	if (!counts_connections(container_policy()))
		return;
	connections = bpf_sk_storage_get(&sock_connects, ctx, 0, 0);
	if (!connections || connections->watched)
		return;
	give_all_back(connections->now);
	give_all_back(connections->next);
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
