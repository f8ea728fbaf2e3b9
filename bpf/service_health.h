/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services: what becomes of connections to backends. TCP tells by its states how many there are, and which backend
 * refuses or does not answer; it is known by the connection's remote address, however that came about.
 */
#pragma once

#include "service_choice.h"

static __always_inline struct service_socket *socket_at(__u64 cookie)
{
	__u32 key = cookie & (SERVICE_SOCKETS - 1);

	return bpf_map_lookup_elem(&service_sockets, &key);
}

/* A TCP socket is about to be connected to a backend. */
static __always_inline void announce_backend(struct bpf_sock_addr *ctx, const struct policy *policy, __u32 place,
                                             __u32 class)
{
	__u64 cookie = bpf_get_socket_cookie(ctx), before;
	struct service_socket *socket = socket_at(cookie);

	if (!socket)
		return;
	before = socket->cookie;
	if (before != cookie && (before && socket->counted))
		return;
	if (before != cookie && __sync_val_compare_and_swap(&socket->cookie, before, cookie) != before)
		return;
	socket->place = place;
	socket->level = policy->level;
	socket->class = class;
	socket->counted = 0;
}

static __always_inline void read_remote(struct bpf_sock_ops *ctx, struct service_key *key)
{
	__u32 *address = (__u32 *)key->address, v4 = ctx->remote_ip4;

	/* Not in two branches: of those the compiler makes one with an address that it chooses, which is not allowed.
	 */
	address[0] = ctx->remote_ip6[0];
	address[1] = ctx->remote_ip6[1];
	address[2] = ctx->remote_ip6[2];
	address[3] = ctx->remote_ip6[3];
	barrier_var(v4);
	if (ctx->family == AF_INET) {
		address[0] = address[1] = 0;
		address[2] = V4_MAPPED_WORD;
		address[3] = v4;
	}
	key->port = bpf_ntohl(ctx->remote_port);
}

/* The backend that a TCP socket is connected to, or about to be. */
static __noinline struct service_backend *backend_of(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_key key = {.set = service_set(policy), .protocol = IPPROTO_TCP};
	__u32 *place;

	read_remote(ctx, &key);
	place = bpf_map_lookup_elem(&service_ends, &key);
	return place ? backend_in(*place) : NULL;
}

/* The backend that was announced for a socket, if it goes there; else that is forgotten. */
static __always_inline struct service_backend *announced_backend(struct bpf_sock_ops *ctx,
                                                                 struct service_socket *socket)
{
	struct service_backend *backend = backend_in(socket->place);
	struct service_key to = {};

	read_remote(ctx, &to);
	if (backend && is_same_place(backend->address, backend->port, to.address, to.port))
		return backend;
	socket->counted = 0;
	socket->cookie = 0;
	return NULL;
}

static __noinline void begin_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct service_socket *socket = socket_at(cookie);
	struct service_backend *backend = NULL;

	if (socket && socket->cookie == cookie)
		backend = announced_backend(ctx, socket);
	if (backend)
		socket->counted = 1;
	else
		backend = backend_of(ctx, policy);
	if (backend)
		__sync_fetch_and_add(&backend->live, 1);
}

/* The backend that a socket's connection was counted with. */
static __always_inline struct service_backend *leave_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct service_socket *socket = socket_at(cookie);
	struct service_backend *backend = NULL;

	/* It may be gone, and its place another's. */
	if (socket && socket->cookie == cookie && socket->counted)
		backend = announced_backend(ctx, socket);
	if (!backend)
		return backend_of(ctx, policy);
	socket->counted = 0;
	socket->cookie = 0;
	return backend;
}

/* The SYN is about to be sent. */
static __always_inline void services_connecting(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	if (counts_backends(policy))
		begin_with_backend(ctx, policy);
}

static __always_inline void avoid(struct service_backend *backend)
{
	__u64 now = bpf_ktime_get_ns();

	watch_backends(now);
	backend->avoided_until = now + backend->avoid;
}

/* What says that nobody is there: not that the task has closed its socket. */
static __always_inline bool tells_of_failure(int error)
{
	return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == ETIMEDOUT;
}

static __noinline void end_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = leave_backend(ctx, policy);
	struct bpf_sock *sk = ctx->sk;
	struct sock *kernel;

	if (!backend)
		return;
	/* It may have become a backend after this connection began. */
	if (backend->live)
		__sync_fetch_and_add(&backend->live, -1);
	if (ctx->args[0] != BPF_TCP_SYN_SENT || !sk)
		return;
	kernel = (struct sock *)bpf_skc_to_tcp_sock(sk);
	if (!kernel || !tells_of_failure(BPF_CORE_READ(kernel, sk_err)))
		return;
	count(&backend->refused, 1);
	avoid(backend);
}

static __noinline void succeed_with_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);

	if (backend && backend->avoided_until)
		backend->avoided_until = 0;
}

/* Whether any backend is avoided that a connection of now may be to. Most often none is. */
static __always_inline bool is_watched(void)
{
	__u64 *watched = service_state(SERVICE_WATCHED);

	return watched && *watched && bpf_ktime_get_ns() < *watched;
}

static __always_inline void services_state(struct bpf_sock_ops *ctx)
{
	const struct policy *policy;

	if (ctx->args[1] == BPF_TCP_CLOSE) {
		policy = container_policy();
		if (counts_backends(policy))
			end_with_backend(ctx, policy);
	} else if (ctx->args[0] == BPF_TCP_SYN_SENT && is_watched()) {
		policy = container_policy();
		if (counts_backends(policy))
			succeed_with_backend(ctx, policy);
	}
}

static __noinline void suspect_backend(struct bpf_sock_ops *ctx, const struct policy *policy)
{
	struct service_backend *backend = backend_of(ctx, policy);

	if (!backend)
		return;
	/* Once a connection: it may send its SYN again and again. */
	if (bpf_ktime_get_ns() >= backend->avoided_until)
		count(&backend->unanswered, 1);
	avoid(backend);
}

/* A segment is sent again: if it is the SYN, nobody has answered it for a second. */
static __always_inline void services_retransmitted(struct bpf_sock_ops *ctx)
{
	const struct policy *policy;

	if (ctx->state != BPF_TCP_SYN_SENT)
		return;
	policy = container_policy();
	if (counts_backends(policy))
		suspect_backend(ctx, policy);
}
