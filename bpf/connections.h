/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: how many a container holds to each destination and in all (README.md, "Connections").
 *
 * connect() takes a hold at each level of nesting that counts, or none at any. The socket remembers what it holds, so
 * that every way for it to end gives back just that: the state callback for TCP, also of an MPTCP subflow and of a
 * socket that nobody has open any more; sock_release() for UDP, and for TCP that never came to send its SYN.
 */
#pragma once

#include "connection_closed.h"
#include "connection_holds.h"
#include "connection_limits.h"
#include "connection_ports.h"
#include "connection_sockets.h"

/* Two that differ in the counting container only are one to the task. */
static __always_inline bool refused_before(const struct socket_connections *connections, const struct destination *to)
{
	const __u64 *a = (const void *)&connections->refused, *b = (const void *)to;

	return !((a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

__noinline int refuse_connect(const struct policy *policy, struct socket_connections *connections,
                              const struct destination *to, int why)
{
	struct event event = {};

	if (!policy || !to)
		return DENY;
	event.reason = why == REFUSED_BY_TOTAL   ? REASON_CONNECTIONS_TOTAL
	               : why == REFUSED_BY_PORTS ? REASON_CONNECTIONS_PORTS
	                                         : REASON_CONNECTIONS;
	report_destination(&event, to);
	if (connections) {
		if (refused_before(connections, to))
			return refuses_nothing(policy) ? ALLOW : DENY;
		connections->refused = *to;
	}
	return refuse(policy, &event);
}

/* What is taken for a connect() that is not to be. */
__noinline int take_nothing(struct socket_connections *connections, bool tcp)
{
	if (!connections)
		return 0;
	if (tcp)
		give_all_back(connections->now);
	give_all_back(connections->next);
	return 0;
}

/* Refused at this level for another reason, or below: what inner levels have taken is given back. */
static __noinline void connections_refused(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_connections *connections = sk ? bpf_sk_storage_get(&sock_connects, sk, 0, 0) : NULL;

	if (connections)
		take_nothing(connections, ctx->protocol == IPPROTO_TCP);
}

/* What was taken holds from now on; a UDP socket leaves its peer for another. */
__noinline int settle_next(struct hold *now, struct hold *next, __u32 span)
{
	if (!now || !next || !next->cgroup_id)
		return 0;
	give_back_here(now, span);
	*now = *next;
	next->cgroup_id = 0;
	return 0;
}

/* Done all the same, where the policy only audits. */
static __always_inline void take_in_any_case(struct hold *hold, const struct destination *to,
                                             const struct connection_limits *limits)
{
	struct connection_limits none = {
	    .each = NO_LIMIT, .total = NO_LIMIT, .lapses = limits->lapses, .span = limits->span};

	if (limits->ports)
		none.ports = NO_LIMIT;

	take(hold, to, &none);
}

/* For a TCP socket of a root container that no inner level counts: without memory of its own unless it is refused. */
static __noinline int take_simply(struct bpf_sock_addr *ctx, const struct policy *policy, struct socket_hold *holder,
                                  const struct destination *to, const struct connection_limits *limits)
{
	struct bpf_sock *sk = ctx->sk;
	int why;

	/* Left by one that failed before its SYN was sent, which no hook tells. */
	give_back(&holder->hold, limits->span);
	why = take(&holder->hold, to, limits);
	if (!why)
		return ALLOW;
	if (refuses_nothing(policy))
		take_in_any_case(&holder->hold, to, limits);
	else
		leave_hold(holder, limits->span);
	if (!sk)
		return DENY;
	return refuse_connect(policy, bpf_sk_storage_get(&sock_connects, sk, 0, BPF_SK_STORAGE_GET_F_CREATE), to,
	                      why);
}

/* For any other socket. */
static __noinline int take_noted(struct bpf_sock_addr *ctx, const struct policy *policy, const struct destination *to,
                                 const struct connection_limits *limits)
{
	__u32 level = policy->level & (LEVELS - 1), span = limits->span;
	struct socket_connections *connections;
	bool tcp = ctx->protocol == IPPROTO_TCP;
	int why, verdict = ALLOW;
	struct bpf_sock *sk = ctx->sk;
	struct socket_hold *holder;
	struct hold *hold;

	if (!sk)
		return DENY;
	/* An inner level counts it since the last connect(), which failed. */
	holder = tcp ? hold_of(bpf_get_socket_cookie(ctx)) : NULL;
	if (holder)
		leave_hold(holder, span);
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	/* The task has used up what the kernel gives a socket (net.core.optmem_max): not a way round. */
	if (!connections)
		return refuse_connect(policy, NULL, to, REFUSED_BY_TOTAL);
	settle_next(&connections->now[level], &connections->next[level], span);
	if (tcp) {
		give_back(&connections->now[level], span);
		hold = &connections->now[level];
	} else {
		if (!limits->each) {
			give_back(&connections->now[level], span);
			return ALLOW;
		}
		if (connections->now[level].cgroup_id && holds_already(&connections->now[level], to))
			return ALLOW;
		hold = &connections->next[level];
	}
	why = take(hold, to, limits);
	if (why) {
		verdict = refuse_connect(policy, connections, to, why);
		if (verdict == ALLOW)
			take_in_any_case(hold, to, limits);
	} else if (connections->refused.cgroup_id == to->cgroup_id) {
		connections->refused.protocol = 0;
	}
	if (verdict == DENY)
		take_nothing(connections, tcp);
	else if (!level)
		for (int i = 0; i < LEVELS; i++)
			settle_next(&connections->now[i], &connections->next[i], span);
	return verdict;
}

/* Of a TCP socket that may be bound already: what its port counts under. */
static __noinline __u32 port_limit(struct bpf_sock *sk, const struct policy *policy)
{
	struct socket_connections *connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
	struct sock *kernel = kernel_sock(sk);

	if (kernel && BPF_CORE_READ_BITFIELD(kernel, sk_userlocks) & SOCK_BINDPORT_LOCK)
		return 0;
	return connections && connections->ports[policy->level & (LEVELS - 1)] ? 0 : max_ports(policy);
}

/* Read anew each time: what it comes to has no room in the stack (give_back_here()). */
static __always_inline bool connects_tcp(const struct bpf_sock_addr *ctx)
{
	return *(const volatile __u32 *)&ctx->protocol == IPPROTO_TCP;
}

/* A function that the verifier walks through once, whatever came before. */
__noinline int count_connect(struct bpf_sock_addr *ctx, const struct policy *policy, struct destination *to,
                             __u32 service)
{
	struct connection_limits limits = {.span = this_span()};
	struct socket_hold *holder = NULL;
	struct bpf_sock *sk = ctx->sk;
	int verdict;

	if (!sk || !policy || !to)
		return DENY;
	if (denied_below()) {
		connections_refused(ctx);
		return ALLOW;
	}
	to->cgroup_id = policy->cgroup_id;
	limits.each = limit_for(policy, to, service);
	if (!limits.each && connects_tcp(ctx))
		return ALLOW;
	limits.total = policy->max_connections_total ? policy->max_connections_total : NO_LIMIT;
	if (connects_tcp(ctx)) {
		if (counts_ports(policy))
			limits.ports = port_limit(sk, policy);
		/* The kernel's own (an MPTCP subflow) is never released: until its SYN is sent it holds for a while
		 * only. */
		if (is_kernels(sk))
			limits.lapses = limits.span + 2;
		else if (!policy->level && !bpf_sk_storage_get(&sock_connects, sk, 0, 0))
			holder = claim_hold(bpf_get_socket_cookie(ctx));
	}
	verdict = holder ? take_simply(ctx, policy, holder, to, &limits) : take_noted(ctx, policy, to, &limits);
	if (verdict == DENY)
		bpf_set_retval(-(int)policy->connections_errno);
	return verdict;
}

static __always_inline bool counts_connections(const struct policy *policy)
{
	return policy->flags & POLICY_COUNT_CONNECTIONS;
}

/*
 * Most connect() there are: TCP of a root container, to a destination that is counted already, below all limits, of a
 * socket that nothing is remembered of.
 */
static __always_inline bool takes_quickly(struct bpf_sock_addr *ctx, const struct policy *policy,
                                          struct destination *to, __u32 service)
{
	struct bpf_sock *sk = ctx->sk;
	struct sock *kernel;
	__u32 each;

	if (!sk || ctx->protocol != IPPROTO_TCP || policy->level || counts_ports(policy))
		return false;
	kernel = kernel_sock(sk);
	if (!kernel || kernel->sk_bpf_storage || BPF_CORE_READ_BITFIELD(kernel, sk_kern_sock) || denied_below())
		return false;
	to->cgroup_id = policy->cgroup_id;
	each = limit_for(policy, to, service);
	return each && takes(bpf_get_socket_cookie(ctx), to, each,
	                     policy->max_connections_total ? policy->max_connections_total : NO_LIMIT);
}

/* connect(), of TCP before it chooses a port. Asked last: what is refused for another reason holds nothing. */
static __always_inline int connections_connect(struct bpf_sock_addr *ctx, const struct policy *policy,
                                               struct destination *to, __u32 service)
{
	if (!counts_connections(policy) || takes_quickly(ctx, policy, to, service))
		return ALLOW;
	return count_connect(ctx, policy, to, service) != ALLOW ? DENY : ALLOW;
}

static __noinline void watch(struct socket_connections *connections)
{
	for (int i = 0; i < LEVELS; i++) {
		struct hold *hold = &connections->now[i];

		/* From now on the port that bind(0) has got is the connection's: the kernel keeps it as long. */
		if (hold->cgroup_id && connections->ports[i] == hold->cgroup_id) {
			hold->place |= CONNECTION_PORT;
			connections->ports[i] = 0;
		}
		if (hold->cgroup_id && hold->lapses) {
			change_hold(hold, 1, -1, hold->lapses, this_span());
			hold->lapses = 0;
		}
	}
	connections->watched = 1;
}

/*
 * The SYN is about to be sent. Whichever level counts first does it for all. Statistics, which every container has,
 * asks for the state callback.
 */
static __always_inline void connections_connecting(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct socket_connections *connections;
	struct bpf_sock *sk = ctx->sk;
	struct socket_hold *holder;

	if (!counts_connections(policy) || !sk)
		return;
	holder = hold_of(bpf_get_socket_cookie(ctx));
	if (holder) {
		holder->watched = 1;
	} else {
		connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
		if (!connections || connections->watched)
			return;
		watch(connections);
	}
}

/* listen() has happened, of a socket that was never bound: counted, whatever the limit. */
static __noinline void hold_listener(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	__u32 level = policy->level & (LEVELS - 1);
	struct socket_connections *connections;
	struct bpf_sock *sk = ctx->sk;
	struct sock *kernel = sk ? kernel_sock(sk) : NULL;

	if (!sk || !kernel || is_kernels(sk) || BPF_CORE_READ_BITFIELD(kernel, sk_userlocks) & SOCK_BINDPORT_LOCK)
		return;
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connections || connections->ports[level] || take_port(policy->cgroup_id, NO_LIMIT))
		return;
	connections->ports[level] = policy->cgroup_id;
}

static __always_inline void connections_listen(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (counts_ports(policy))
		hold_listener(ctx, policy);
}

/* @returns whether there is something to give back: in `holds`, and not on the socket any more */
static __always_inline bool part_with_holds(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct hold holds[LEVELS])
{
	struct socket_hold *holder = hold_of(bpf_get_socket_cookie(ctx));
	struct socket_connections *connections;

	if (holder) {
		holds[0] = holder->hold;
		holder->hold.cgroup_id = 0;
		free_holder(holder);
		return true;
	}
	connections = bpf_sk_storage_get(&sock_connects, sk, 0, 0);
	if (!connections || !connections->watched)
		return false;
	connections->watched = 0;
	for (int i = 0; i < LEVELS; i++) {
		holds[i] = connections->now[i];
		connections->now[i].cgroup_id = 0;
	}
	return true;
}

/* The socket leaves the connection; for a while the kernel may keep its port without it. */
static __noinline void end_connection(struct bpf_sock_ops *ctx)
{
	struct hold holds[LEVELS] = {};
	__u32 from = ctx->args[0];
	bool closes = from == BPF_TCP_FIN_WAIT2 || from == BPF_TCP_CLOSING;
	struct bpf_sock *ended = ctx->sk;
	struct sock *sk;

	if (!ended || !part_with_holds(ctx, ended, holds))
		return;
	sk = closes ? kernel_sock(ended) : NULL;
	if (sk && !BPF_CORE_READ(sk, sk_err))
		keep_closed(sk, holds);
	else
		give_all_back(holds);
}

/* A container that has counted once goes on counting: none that does not has a hold to give back. */
static __always_inline void connections_state(struct bpf_sock_ops *ctx)
{
	if (ctx->args[1] == BPF_TCP_CLOSE && counts_connections(container_policy()) && !ends_quickly(ctx))
		end_connection(ctx);
}

/* The last file descriptor is closed. A watched TCP socket may live on: its state callback ends it. */
static __always_inline void connections_release(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	struct socket_connections *connections;
	struct socket_hold *holder;

	if (!counts_connections(policy))
		return;
	holder = hold_of(bpf_get_socket_cookie(ctx));
	if (holder) {
		if (!holder->watched)
			leave_hold(holder, this_span());
		return;
	}
	connections = bpf_sk_storage_get(&sock_connects, ctx, 0, 0);
	if (!connections)
		return;
	if (counts_ports(policy))
		give_ports(connections);
	if (connections->watched)
		return;
	give_all_back(connections->now);
	give_all_back(connections->next);
}
