/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: who may listen on which. Where no hook can refuse listen(), a packet for the listener is denied instead
 * (port_receivers.h).
 */
#pragma once

#include "port_owners.h"
#include "port_reports.h"

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
