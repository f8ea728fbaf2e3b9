// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Every program: one for a hook, each attached to every container's cgroup node (BPF_F_ALLOW_MULTI). A feature is a
 * header; a hook calls the features in the order in which they must act. Here and only here is that order.
 *
 * A socket is under the programs of the cgroup that created it, whoever uses it later.
 */
#include "accounting.h"
#include "ports.h"

char LICENSE[] SEC("license") = "GPL";

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	return ports_sock_create(ctx);
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	return ports_bind(ctx, AF_INET);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	return ports_bind(ctx, AF_INET6);
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	return ports_post_bind(ctx, AF_INET);
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	return ports_post_bind(ctx, AF_INET6);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return ports_sendmsg(ctx, AF_INET);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return ports_sendmsg(ctx, AF_INET6);
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	ports_release(ctx);
	return ALLOW;
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		ports_listen(ctx);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		ports_connect(ctx);
		break;
	}
	return ALLOW;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	struct counters *counters = container_counters();
	int verdict = ports_ingress(skb, counters);

	if (verdict == DENY)
		counters->rx_dropped += 1;
	else
		account_received(skb, counters);
	return verdict;
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	account_sent(skb, container_counters());
	return ALLOW;
}

/*
 * Not one of the hooks' programs: attached for a moment when programs of another layout take over a container that runs.
 * It makes the kernel give the node its storage of these maps, so that the policy is written before any program reads it.
 */
SEC("cgroup_skb/egress")
int primer(struct __sk_buff *skb)
{
	container_policy();
	container_counters();
	return ALLOW;
}

/* Left out where the kernel has no BPF LSM; ports_listen() is the fallback. */
SEC("lsm_cgroup/socket_listen")
int BPF_PROG(socket_listen, struct socket *sock, int backlog)
{
	return ports_socket_listen(sock);
}
