/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs that see what sockets do: TCP's states, and packets. Part of isolator.bpf.c. */
#pragma once

/* The other side has closed, or has seen that this one did: nothing counts that. */
static __always_inline bool changes_nothing(const struct bpf_sock_ops *ctx)
{
	return ctx->args[1] == BPF_TCP_FIN_WAIT2 || ctx->args[1] == BPF_TCP_CLOSE_WAIT;
}

/*
 * What the kernel tells of a TCP socket.
 * @param full whether the policy may ask for more of a connection than that it is counted; known to the compiler
 */
static __always_inline int tcp_told(struct bpf_sock_ops *ctx, bool full)
{
	const struct policy *policy;

	/* Most calls are for none of these: they do not pay for a look at the policy. */
	switch (ctx->op) {
	case BPF_SOCK_OPS_STATE_CB:
		if (changes_nothing(ctx))
			break;
		if (!full) {
			statistics_state(ctx);
			break;
		}
		connections_state(ctx);
		statistics_state_apart(ctx);
		services_state(ctx);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		statistics_retransmitted(ctx);
		if (full)
			services_retransmitted(ctx);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		policy = container_policy();
		ports_listen(ctx, policy);
		if (!full)
			break;
		connections_listen(ctx, policy);
		remap_tcp(ctx, policy);
		marking_tcp(ctx, policy);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		if (!full) {
			ports_connect(ctx);
			statistics_connecting(ctx);
			break;
		}
		policy = container_policy();
		ports_connect(ctx);
		remap_tcp(ctx, policy);
		connections_connecting(ctx, policy);
		statistics_connecting(ctx);
		services_connecting(ctx, policy);
		marking_tcp(ctx, policy);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		statistics_accepted(ctx);
		if (full)
			marking_tcp(ctx, container_policy());
		break;
	}
	return ALLOW;
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	return tcp_told(ctx, false);
}

/* Instead of the one before, where a policy asks for more of a connection than that it is counted. */
SEC("sockops")
int sock_ops_full(struct bpf_sock_ops *ctx)
{
	return tcp_told(ctx, true);
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

/* Instead of the one before, where a policy asks for more of a packet than that it is counted. */
SEC("cgroup_skb/egress")
int egress_full(struct __sk_buff *skb)
{
	struct counters *counters = container_counters();
	const struct policy *policy;
	int verdict = ALLOW;

	if (!is_marked_right(skb, counters)) {
		policy = container_policy();
		verdict = egress_packet(skb, policy);
		if (verdict == ALLOW)
			verdict = marking_egress(skb, policy, counters);
	}
	if (verdict == DENY)
		count(&counters->tx_dropped, 1);
	else
		account_sent(skb, counters);
	return verdict;
}

/*
 * Bandwidth has programs of its own on hooks that others have one on too: only where there is a limit. They come
 * after those.
 */
SEC("sockops")
int bandwidth_tcp(struct bpf_sock_ops *ctx)
{
	bandwidth_ops(ctx);
	return ALLOW;
}

SEC("cgroup_skb/ingress")
int bandwidth_in(struct __sk_buff *skb)
{
	return bandwidth_ingress(skb);
}

SEC("cgroup_skb/egress")
int bandwidth_out(struct __sk_buff *skb)
{
	return bandwidth_egress(skb);
}

SEC("cgroup/sendmsg4")
int bandwidth_send4(struct bpf_sock_addr *ctx)
{
	return bandwidth_sendmsg(ctx, false);
}

SEC("cgroup/sendmsg6")
int bandwidth_send6(struct bpf_sock_addr *ctx)
{
	return bandwidth_sendmsg(ctx, true);
}
