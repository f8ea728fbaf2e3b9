/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs on no hook: those that user space runs, and what is on devices. Part of isolator.bpf.c. */
#pragma once

/* Not on a hook: user space runs it, by reading from it. */
SEC("iter/tcp")
int connections_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	if (!sk || sk->skc_state == BPF_TCP_TIME_WAIT)
		connections_pass(sk);
	statistics_pass(sk);
	return 0;
}

/* Likewise. */
SEC("iter/tcp")
int bandwidth_arms(struct bpf_iter__tcp *ctx)
{
	bandwidth_arm(ctx->sk_common);
	return 0;
}

/*
 * Likewise, to end what a policy denies that is there already. The first of each kind does it itself, and is loaded
 * where the kernel has bpf_sock_destroy(); the second leaves it to user space, and is loaded elsewhere.
 */
SEC("iter/tcp")
int end_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct ended_socket found = {};

	if (!sk || !must_end(sk, &found, IPPROTO_TCP))
		return 0;
	found.ended = 1;
	if (tell_of(ctx->meta, &found))
		bpf_sock_destroy(sk);
	return 0;
}

SEC("iter/tcp")
int list_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct ended_socket found = {};

	if (sk && must_end(sk, &found, IPPROTO_TCP))
		tell_of(ctx->meta, &found);
	return 0;
}

SEC("iter/udp")
int end_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;
	struct ended_socket found = {};

	if (!sk || !must_end(sk, &found, IPPROTO_UDP))
		return 0;
	found.ended = 1;
	if (tell_of(ctx->meta, &found))
		bpf_sock_destroy(sk);
	return 0;
}

SEC("iter/udp")
int list_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;
	struct ended_socket found = {};

	if (sk && must_end(sk, &found, IPPROTO_UDP))
		tell_of(ctx->meta, &found);
	return 0;
}

/* The same for services: UDP sockets that are connected to a backend which is gone. */
SEC("iter/udp")
int services_udp(struct bpf_iter__udp *ctx)
{
	struct ended_socket found = {.ended = 1};
	struct udp_sock *sk = ctx->udp_sk;

	if (has_lost_backend(sk, &found) && tell_of(ctx->meta, &found))
		bpf_sock_destroy((struct sock_common *)sk);
	return 0;
}

SEC("iter/udp")
int services_list(struct bpf_iter__udp *ctx)
{
	struct ended_socket found = {};

	if (has_lost_backend(ctx->udp_sk, &found))
		tell_of(ctx->meta, &found);
	return 0;
}

/* On no interface: user space runs it (BPF_PROG_TEST_RUN). */
SEC("xdp")
int endpoint_query(struct xdp_md *ctx)
{
	return endpoints_answer(ctx);
}

SEC("xdp")
int egress_query(struct xdp_md *ctx)
{
	return egress_answer(ctx);
}

/* On devices that the configuration names (isolator/containers/marking-devices.ts). */
SEC("tc")
int marking_rewrite(struct __sk_buff *skb)
{
	return marking_device(skb);
}

/*
 * Not one of the hooks' programs: attached for a moment when programs of another layout take over a container that
 * runs. It makes the kernel give the node its storage of these maps, so that the policy is written before any program
 * reads it.
 */
SEC("cgroup_skb/egress")
int primer(struct __sk_buff *skb)
{
	container_policy();
	container_counters();
	return ALLOW;
}

/* Not on a hook: user space calls it with files that it has open. */
SEC("syscall")
int files_identify(struct file_identity *files)
{
#pragma unroll
	for (int i = 0; i < FILE_IDENTITIES; i++)
		files_identify_one(&files[i]);
	return 0;
}
