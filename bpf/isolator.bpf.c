// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Every program: one for a hook, each attached to every container's cgroup node (BPF_F_ALLOW_MULTI). A feature is a
 * header; a hook calls the features in the order in which they must act. Here and in the headers at the end, and only
 * there, is that order. Here are the hooks of a task's own calls.
 *
 * A socket is under the programs of the cgroup that created it, whoever uses it later.
 */
#include "accounting.h"
#include "bandwidth.h"
#include "bandwidth_sockets.h"
#include "connections.h"
#include "egress.h"
#include "endpoints.h"
#include "escape.h"
#include "files.h"
#include "marking.h"
#include "marking_options.h"
#include "marking_packets.h"
#include "port_listeners.h"
#include "port_receivers.h"
#include "ports.h"
#include "remap.h"
#include "services.h"
#include "sockets.h"
#include "statistics.h"
#include "terminate.h"

char LICENSE[] SEC("license") = "GPL";

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_sock_create(ctx, policy);

	if (verdict == ALLOW)
		verdict = sockets_sock_create(ctx, policy);
	if (verdict == ALLOW)
		verdict = ports_held_sock_create(ctx, policy);
	if (verdict == ALLOW)
		marking_sock_create(ctx, policy);
	return verdict;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 asked = remap_bind(ctx, policy);
	int verdict = ports_bind(ctx, policy, AF_INET, asked);

	if (verdict == ALLOW) {
		ports_held_bind(ctx, policy);
		marking_address(ctx, policy);
	}
	return verdict;
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 asked = remap_bind(ctx, policy);
	int verdict = ports_bind(ctx, policy, AF_INET6, asked);

	if (verdict == ALLOW) {
		ports_held_bind(ctx, policy);
		marking_address(ctx, policy);
	}
	return verdict;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_post_bind(ctx, policy, AF_INET);

	return verdict == ALLOW ? ports_held_post_bind(ctx, policy) : verdict;
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_post_bind(ctx, policy, AF_INET6);

	return verdict == ALLOW ? ports_held_post_bind(ctx, policy) : verdict;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 service = 0;
	bool own = false;
	int verdict;

	remap_sendmsg(ctx, policy, AF_INET);
	verdict = services_sendmsg(ctx, policy, AF_INET, &service);
	if (verdict == ALLOW)
		verdict = ports_sendmsg(ctx, policy, AF_INET, &own);
	if (verdict == ALLOW)
		verdict = egress_sendmsg(ctx, policy, AF_INET, service, own);
	if (verdict == ALLOW)
		marking_sendmsg(ctx, policy, AF_INET, service);
	return verdict;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 service = 0;
	bool own = false;
	int verdict;

	remap_sendmsg(ctx, policy, AF_INET6);
	verdict = services_sendmsg(ctx, policy, AF_INET6, &service);
	if (verdict == ALLOW)
		verdict = ports_sendmsg(ctx, policy, AF_INET6, &own);
	if (verdict == ALLOW)
		verdict = egress_sendmsg(ctx, policy, AF_INET6, service, own);
	if (verdict == ALLOW)
		marking_sendmsg(ctx, policy, AF_INET6, service);
	return verdict;
}

/*
 * connect(), of TCP before it chooses a port. Where it goes is judged first, then counted, so that only what is
 * allowed takes a place; it is marked last.
 */
static __always_inline int connecting(struct bpf_sock_addr *ctx, __u8 family)
{
	const struct policy *policy = container_policy();
	struct destination to = {};
	__u32 service = 0;
	int verdict;

	if (!policy->enforcement)
		return DENY;
	remap_connect(ctx, policy, family);
	verdict = services_connect(ctx, policy, family, &service);
	if (verdict == ALLOW && policy->flags & DESTINATION_FLAGS && has_destination(ctx->protocol)) {
		read_destination(ctx, family, &to);
		verdict = egress_connect(policy, &to, service);
		if (verdict == ALLOW)
			verdict = connections_connect(ctx, policy, &to, service);
		else
			connections_refused(ctx);
	}
	if (verdict == ALLOW)
		marking_connect(ctx, policy, &to, service);
	return verdict;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return connecting(ctx, AF_INET);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return connecting(ctx, AF_INET6);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	services_recvmsg(ctx, AF_INET);
	remap_recvmsg(ctx, AF_INET);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	services_recvmsg(ctx, AF_INET6);
	remap_recvmsg(ctx, AF_INET6);
	return ALLOW;
}

SEC("cgroup/getsockname4")
int getsockname4(struct bpf_sock_addr *ctx)
{
	remap_getsockname(ctx);
	return ALLOW;
}

SEC("cgroup/getsockname6")
int getsockname6(struct bpf_sock_addr *ctx)
{
	remap_getsockname(ctx);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	services_getpeername(ctx, AF_INET);
	remap_getpeername(ctx);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	services_getpeername(ctx, AF_INET6);
	remap_getpeername(ctx);
	return ALLOW;
}

SEC("cgroup/setsockopt")
int setsockopt(struct bpf_sockopt *ctx)
{
	return marking_setsockopt(ctx);
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	marking_getsockopt(ctx);
	return ALLOW;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	ports_release(ctx);
	return ALLOW;
}

/* Instead of the one before, where a policy counts connections. */
SEC("cgroup/sock_release")
int release_full(struct bpf_sock *ctx)
{
	ports_release(ctx);
	connections_release(ctx);
	return ALLOW;
}

/* Programs are in the object in this order. */
#include "hooks_traffic.h"
#include "passes.h"
#include "hooks_lsm.h"
