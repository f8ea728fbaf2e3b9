/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: what a container may do with them (README.md, "Ports").
 *
 * Each function judges for one level of nesting and returns ALLOW or DENY; a deny is EPERM. Addresses play no part:
 * IPv4, IPv6 and v4-mapped are all alike, and TCP, MPTCP (whose subflow, a TCP socket, is what binds), UDP and
 * UDP-Lite share one set of ports as in Mesos's `ports` resource.
 */
#pragma once

#include "container.h"

static __always_inline bool has_bind_hook(__u32 type, __u32 protocol)
{
	/* SOCK_RAW with IPPROTO_UDP is a raw socket: no port. */
	return type != SOCK_RAW &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE);
}

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

/*
 * In audit mode a socket goes on with a port that is not allowed, and every later hook would report it again. The
 * first report leaves a note; true: there was one already. Enforced sockets never get that far.
 */
static __always_inline bool reported_before(const struct policy *policy, struct socket_note *note)
{
	__u8 *reported;

	if (!refuses_nothing(policy) || !note)
		return false;
	reported = &note->reported[policy->level & (LEVELS - 1)];
	if (*reported & REPORTED_PORT)
		return true;
	*reported |= REPORTED_PORT;
	return false;
}

static __always_inline void mark_reported(const struct policy *policy, struct socket_note *note, __u8 what)
{
	/* What is off reports nothing, and hides nothing from its parent. */
	if (note && policy->enforcement != ENFORCE_OFF)
		note->reported[policy->level & (LEVELS - 1)] |= what;
}

static __always_inline bool reported_at_any_level(const struct socket_note *note, __u8 what)
{
	for (int i = 0; i < LEVELS; i++)
		if (note->reported[i] & what)
			return true;
	return false;
}

static __always_inline __u64 note_flags(const struct policy *policy)
{
	return refuses_nothing(policy) ? BPF_SK_STORAGE_GET_F_CREATE : 0;
}

static __always_inline bool may_use_chosen(const struct policy *policy)
{
	return policy->ephemeral == EPHEMERAL_ALLOW || policy->ephemeral == EPHEMERAL_CLIENTS;
}

static __always_inline void copy_address(struct event *event, const struct bpf_sock_addr *ctx, __u8 family)
{
	__u32 *address = (__u32 *)event->address;

	/* The verifier lets each hook read its own family's fields only. */
	if (family == AF_INET) {
		address[0] = ctx->user_ip4;
	} else {
		address[0] = ctx->user_ip6[0];
		address[1] = ctx->user_ip6[1];
		address[2] = ctx->user_ip6[2];
		address[3] = ctx->user_ip6[3];
	}
}

static __noinline int refuse_bind(struct bpf_sock_addr *ctx, const struct policy *policy,
                                  const struct port_owner *owner, __u8 family, __u32 asked)
{
	struct event event = {.family = family, .asked_port = asked};

	if (denied_below() || !has_bind_hook(ctx->type, ctx->protocol) || judges_no_port(policy))
		return ALLOW;
	event.port = bpf_ntohs(ctx->user_port);
	if (event.port && is_unjudged(policy, owner, event.port))
		return ALLOW;
	event.protocol = ctx->protocol;
	event.reason = event.port ? REASON_BIND : REASON_BIND_ZERO;
	event.owner = innermost(owner);
	copy_address(&event, ctx, family);
	/* Every bind() is reported; what the socket does later with the port is not reported again. */
	if (ctx->sk)
		reported_before(policy, bpf_sk_storage_get(&socket_notes, ctx->sk, 0, note_flags(policy)));
	return refuse(policy, &event);
}

/*
 * bind(): the port that the caller asks for, or that it is remapped to.
 * @param asked port that it was remapped from, or 0
 */
static __always_inline int ports_bind(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                      __u32 asked)
{
	__u32 port = bpf_ntohs(ctx->user_port);
	const struct port_owner *owner = owner_of(port);

	if (!owner)
		return DENY;
	if (port ? owns(policy, owner) : may_use_chosen(policy))
		return ALLOW;
	return refuse_bind(ctx, policy, owner, family, asked);
}

static __noinline int refuse_chosen(struct bpf_sock *ctx, const struct policy *policy, const struct port_owner *owner,
                                    __u8 family)
{
	struct event event = {.family = family, .reason = REASON_CHOSEN_PORT};

	if (denied_below() || !has_bind_hook(ctx->type, ctx->protocol) || judges_no_port(policy))
		return ALLOW;
	if (reported_before(policy, bpf_sk_storage_get(&socket_notes, ctx, 0, note_flags(policy))))
		return ALLOW;
	event.port = ctx->src_port;
	event.protocol = ctx->protocol;
	event.owner = innermost(owner);
	return refuse(policy, &event);
}

/* After bind() has chosen: only here is the port of a bind(0) known. One that was asked for is judged already. */
static __always_inline int ports_post_bind(struct bpf_sock *ctx, const struct policy *policy, __u8 family)
{
	const struct port_owner *owner = owner_of(ctx->src_port);

	if (!owner)
		return DENY;
	if (policy->enforcement && !is_foreign(policy, owner))
		return ALLOW;
	return refuse_chosen(ctx, policy, owner, family);
}

static __noinline int refuse_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy,
                                     const struct port_owner *owner, __u8 family)
{
	struct event event = {.family = family, .reason = REASON_SENDMSG};
	struct socket_note *note;
	struct bpf_sock *sk = ctx->sk;

	if (!sk || denied_below() || judges_no_port(policy) || is_unjudged(policy, owner, sk->src_port))
		return ALLOW;
	/* A connected socket receives from its peer only, so no mode forbids it the kernel's choice. */
	if (policy->enforcement && !owner->chain[0] && sk->state == BPF_TCP_ESTABLISHED)
		return ALLOW;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (reported_before(policy, note))
		return ALLOW;
	mark_reported(policy, note, REPORTED_PORT);
	event.port = sk->src_port;
	event.protocol = ctx->protocol;
	event.owner = innermost(owner);
	return refuse(policy, &event);
}

/*
 * Unconnected UDP send: a socket that was never bound has its port by now (inet_autobind), and can receive from
 * anybody on it. Connected sockets come here by sendto() only.
 * @param own becomes whether it is sent from a port of the container's own
 */
static __always_inline int ports_sendmsg(struct bpf_sock_addr *ctx, const struct policy *policy, __u8 family,
                                         bool *own)
{
	struct bpf_sock *sk = ctx->sk;
	const struct port_owner *owner;

	if (!sk)
		return DENY;
	owner = owner_of(sk->src_port);
	if (!owner)
		return DENY;
	*own = owner->chain[0] && owns(policy, owner);
	if (*own || (!owner->chain[0] && may_use_chosen(policy)))
		return ALLOW;
	return refuse_sendmsg(ctx, policy, owner, family);
}

/* Covered by the bind hooks, or without ports. What a kernel may add one day is refused until it is known. */
static __always_inline bool is_known_protocol(__u32 protocol)
{
	switch (protocol) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
	case IPPROTO_L2TP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SMC: /* its inner socket is a TCP one, and that binds */
	case IPPROTO_MPTCP:
		return true;
	}
	return false;
}

static __noinline int refuse_protocol(struct bpf_sock *ctx, const struct policy *policy)
{
	struct event event = {.reason = REASON_PROTOCOL};

	if (denied_below() || policy->flags & POLICY_ANY_PORT)
		return ALLOW;
	if (policy->enforcement) {
		if (is_known_protocol(ctx->protocol))
			return ALLOW;
		if (ctx->protocol == IPPROTO_SCTP && policy->flags & POLICY_ALLOW_SCTP)
			return ALLOW;
		if (ctx->protocol == IPPROTO_DCCP && policy->flags & POLICY_ALLOW_DCCP)
			return ALLOW;
	}
	event.protocol = ctx->protocol;
	event.family = ctx->family;
	return refuse(policy, &event);
}

/* socket(): protocols that have ports of their own but that no bind hook covers. */
static __always_inline int ports_sock_create(struct bpf_sock *ctx, const struct policy *policy)
{
	if (policy->enforcement &&
	    (ctx->type == SOCK_RAW || ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP))
		return ALLOW;
	return refuse_protocol(ctx, policy);
}

/* May a TCP listener have this port, as far as this level is concerned? */
static __always_inline bool may_listen(const struct policy *policy, const struct port_owner *owner, __u32 port)
{
	if (judges_no_port(policy) || owns(policy, owner))
		return true;
	/* In every mode another container's port is kept off; a kernel-chosen one by the mode. */
	return !owner->chain[0] && (policy->ephemeral == EPHEMERAL_ALLOW || is_unjudged(policy, owner, port));
}

/*
 * listen() has happened: no hook can refuse it here, so the verdict is left on the socket for ports_ingress(). It is
 * the verdict of this moment: a listener that runs stays when an update takes its port away.
 */
static __always_inline void ports_listen(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 level = policy->level & (LEVELS - 1);
	const struct port_owner *owner;
	struct socket_note *note;
	struct event event = {.family = ctx->family, .reason = REASON_LISTEN, .protocol = IPPROTO_TCP};
	bool forbidden_below = false;

	if (!sk)
		return;
	owner = owner_of(ctx->local_port);
	if (!owner)
		return;
	/* Without memory for the note ports_ingress() judges by the policy: reported all the same. */
	note = bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (note)
		for (__u32 i = 0; i < LEVELS; i++)
			if (i > level && note->listener[i] == LISTENER_FORBIDDEN)
				forbidden_below = true;
	if (note)
		note->listener_port = ctx->local_port;
	if (may_listen(policy, owner, ctx->local_port)) {
		if (note)
			note->listener[level] = LISTENER_ALLOWED;
		return;
	}
	if (note)
		note->listener[level] = refuses_nothing(policy) ? LISTENER_ALLOWED : LISTENER_FORBIDDEN;
	if (forbidden_below || reported_before(policy, note))
		return;
	event.unreachable = !refuses_nothing(policy);
	event.port = ctx->local_port;
	event.owner = innermost(owner);
	refuse(policy, &event);
}

/* The port is not chosen yet. Where only a range is judged, ports_listen() does it once there is one. */
static __always_inline bool may_listen_unbound(const struct policy *policy)
{
	return policy->ephemeral == EPHEMERAL_ALLOW || policy->judge_end;
}

/*
 * The port that a socket holds. An MPTCP socket that is disconnected still shows the port of its connection; its
 * first subflow, which will listen, does not.
 */
static __always_inline __u32 held_port(struct sock *sk)
{
	struct sock *first;

	if (sk->sk_protocol != IPPROTO_MPTCP || !bpf_core_field_exists(struct mptcp_sock, first))
		return sk->__sk_common.skc_num;
	first = BPF_CORE_READ((struct mptcp_sock *)sk, first);
	return first ? BPF_CORE_READ(first, __sk_common.skc_num) : 0;
}

/*
 * listen(), before it happens, where the kernel has BPF LSM: EPERM instead of an unreachable listener. A socket that
 * was never bound gets its port only after this, and ports_listen() judges that. Audit is left to that one too: it
 * sees the port, and the subflow of an MPTCP socket.
 */
static __always_inline int ports_socket_listen(struct socket *sock)
{
	const struct policy *policy = container_policy();
	const struct port_owner *owner;
	struct event event = {.reason = REASON_LISTEN, .protocol = IPPROTO_TCP};
	struct sock *sk = sock->sk;

	if (!sk || refuses_nothing(policy) || judges_no_port(policy) || denied_below())
		return ALLOW;
	event.family = sk->__sk_common.skc_family;
	if (event.family != AF_INET && event.family != AF_INET6)
		return ALLOW;
	if (sock->type != SOCK_STREAM || (sk->sk_protocol != IPPROTO_TCP && sk->sk_protocol != IPPROTO_MPTCP))
		return ALLOW;
	/* Only its backlog changes: what listens already stays. */
	if (sk->__sk_common.skc_state == BPF_TCP_LISTEN)
		return ALLOW;
	event.port = held_port(sk);
	owner = owner_of(event.port);
	if (!owner)
		return DENY;
	if (event.port ? may_listen(policy, owner, event.port) : may_listen_unbound(policy))
		return ALLOW;
	event.owner = innermost(owner);
	return refuse(policy, &event);
}

/*
 * connect() has chosen its source port: too late to refuse, so another container's is counted and reported. The
 * parent's program runs for the same socket: the first level to report is the only one.
 */
static __always_inline void report_source_port(__u32 port, struct event *event, struct socket_note *note)
{
	const struct policy *policy = container_policy();
	const struct port_owner *owner = owner_of(port);

	if (!owner || !is_foreign(policy, owner) || judges_no_port(policy))
		return;
	if (note && reported_at_any_level(note, REPORTED_SOURCE))
		return;
	mark_reported(policy, note, REPORTED_SOURCE);
	event->reason = REASON_SOURCE_PORT;
	event->port = port;
	event->owner = innermost(owner);
	refuse(policy, event);
}

static __always_inline bool is_owned(__u32 port)
{
	const struct port_bounds *bounds;
	const struct port_owner *owner;
	__u32 key = 0;

	bounds = bpf_map_lookup_elem(&port_bounds, &key);
	if (!bounds || port < bounds->first || port > bounds->last)
		return false;
	owner = owner_of(port);
	return owner && owner->chain[0];
}

static __noinline void report_owned_source(struct bpf_sock_ops *ctx)
{
	struct event event = {.family = ctx->family, .protocol = IPPROTO_TCP};
	struct bpf_sock *sk = ctx->sk;

	if (sk)
		report_source_port(ctx->local_port, &event,
		                   bpf_sk_storage_get(&socket_notes, sk, 0, BPF_SK_STORAGE_GET_F_CREATE));
}

static __always_inline void ports_connect(struct bpf_sock_ops *ctx)
{
	/* Nobody's port, as nearly all are: no note needed. */
	if (is_owned(ctx->local_port))
		report_owned_source(ctx);
}

/* May an unconnected UDP socket receive on this port, as far as this level is concerned? */
static __always_inline bool may_receive(const struct policy *policy, const struct port_owner *owner, __u32 port)
{
	return (owner->chain[0] ? owns(policy, owner) : may_use_chosen(policy)) || judges_no_port(policy) ||
	       is_unjudged(policy, owner, port);
}

static __noinline void report_udp_port(struct bpf_sock *ctx, __u32 port)
{
	struct event event = {.family = ctx->family, .protocol = ctx->protocol, .reason = REASON_RECEIVE};
	const struct policy *policy = container_policy();
	const struct port_owner *owner = owner_of(port);
	struct socket_note *note;

	if (!owner || may_receive(policy, owner, port))
		return;
	note = bpf_sk_storage_get(&socket_notes, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (ctx->state == BPF_TCP_ESTABLISHED) {
		report_source_port(port, &event, note);
		return;
	}
	if (note && reported_at_any_level(note, REPORTED_PORT))
		return;
	mark_reported(policy, note, REPORTED_PORT);
	event.unreachable = !refuses_nothing(policy);
	event.port = port;
	event.owner = innermost(owner);
	refuse(policy, &event);
}

/*
 * No hook sees the port that the kernel chose for a UDP connect(), or for a send that failed before its hook, until
 * the socket is closed: late, but not silent.
 */
static __always_inline void ports_release(struct bpf_sock *ctx)
{
	__u32 port;

	if (ctx->type == SOCK_RAW || (ctx->protocol != IPPROTO_UDP && ctx->protocol != IPPROTO_UDPLITE))
		return;
	port = BPF_CORE_READ((struct sock *)ctx, __sk_common.skc_num);
	if (port)
		report_udp_port(ctx, port);
}

static __noinline int judge_datagram(struct __sk_buff *skb, struct counters *counters, const struct port_owner *owner,
                                     __u32 port)
{
	const struct policy *policy = container_policy();
	struct bpf_sock *sk = skb->sk;

	/* Never changes for as long as the node exists. */
	counters->self = policy->cgroup_id;
	if (may_receive(policy, owner, port) || refuses_nothing(policy) || !sk)
		return ALLOW;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->type == SOCK_RAW || (sk->protocol != IPPROTO_UDP && sk->protocol != IPPROTO_UDPLITE))
		return ALLOW;
	return DENY;
}

/*
 * A datagram for an unconnected UDP socket. Every way to make the kernel choose a port ends here, also those that no
 * hook sees (a send that fails, a connect() that fails): on a port that is not allowed nothing is received. Ping and
 * raw sockets come here too, with a number that is no port: told apart only where the answer would be no.
 */
static __always_inline int ports_receive(struct __sk_buff *skb, struct bpf_sock *sk, struct counters *counters)
{
	const struct port_owner *owner = owner_of(sk->src_port);

	if (!owner)
		return DENY;
	/* A server on a port of its own, in a root container: by far the most. */
	if (owner->chain[0] && owner->chain[0] == counters->self)
		return ALLOW;
	return judge_datagram(skb, counters, owner, sk->src_port);
}

/*
 * A packet for a socket in LISTEN: DENY where any level's verdict on the listener says so. All levels read the same
 * note, so that each of them counts the packet as dropped and none as received.
 */
static __noinline int ports_accept(struct bpf_sock *sk)
{
	struct socket_note *note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	const struct policy *policy = container_policy();
	const struct port_owner *owner;

	if (note && note->listener_port == sk->src_port && note->listener[policy->level & (LEVELS - 1)]) {
		for (int i = 0; i < LEVELS; i++)
			if (note->listener[i] == LISTENER_FORBIDDEN)
				return DENY;
		return ALLOW;
	}
	owner = owner_of(sk->src_port);
	if (refuses_nothing(policy) || (owner && may_listen(policy, owner, sk->src_port)))
		return ALLOW;
	return DENY;
}

static __always_inline int ports_ingress(struct __sk_buff *skb, struct counters *counters)
{
	struct bpf_sock *sk = skb->sk;

	__u32 state;

	if (!sk)
		return ALLOW;
	state = sk->state;
	if (state == BPF_TCP_CLOSE)
		return ports_receive(skb, sk, counters);
	if (state != BPF_TCP_LISTEN)
		return ALLOW;
	sk = bpf_sk_fullsock(sk);
	return sk ? ports_accept(sk) : ALLOW;
}
