/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Accounting: packets and bytes of the IP layer, exactly.
 *
 * The hooks see what the stack hands over, which may stand for several packets on the wire:
 *  - a GSO packet on its way out (up to 64 KiB and more) is cut later, a GRO packet was merged before: every segment
 *    has its own copy of the IP and TCP or UDP headers;
 *  - an IPv4 or IPv6 datagram over the MTU passes once and leaves as fragments; the receiver's hook sees it put
 *    together again.
 *
 * Not seen by any cgroup hook: see "What is not counted" in README.md.
 */
#pragma once

#include "container.h"

/* Below this no link fragments in practice (net.ipv4.route.min_pmtu); it keeps the small packets' path short. */
#define NEVER_FRAGMENTED 552

#define IPV4_HEADER          20
#define IPV6_HEADER          40
#define IPV6_FRAGMENT_HEADER 8
#define UDP_HEADER           8
/* Of a TCP header: the byte with its length. */
#define TCP_DATA_OFFSET 12

struct on_wire {
	__u64 packets;
	__u64 bytes;
};

static __always_inline bool is_ipv6(struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(0x86DD);
}

static __always_inline __u8 socket_protocol(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	return sk ? sk->protocol : 0;
}

/* Length of the headers that each segment has. 0: not known. The slow way, for IPv6 with more headers than its own.
 */
static __noinline __u32 segment_headers_by_kernel(struct __sk_buff *skb)
{
	struct sk_buff *kernel_skb = (void *)skb;
	__u16 network, transport;
	__u8 data_offset;
	__u32 headers;

	bpf_core_read(&network, sizeof(network), &kernel_skb->network_header);
	bpf_core_read(&transport, sizeof(transport), &kernel_skb->transport_header);
	headers = (__u16)(transport - network);
	if (socket_protocol(skb) != IPPROTO_TCP)
		return headers + UDP_HEADER;
	if (bpf_skb_load_bytes(skb, headers + TCP_DATA_OFFSET, &data_offset, 1))
		return 0;
	return headers + (data_offset >> 4 << 2);
}

/* The same from the packet itself, which costs a quarter of asking the kernel. */
static __always_inline __u32 segment_headers(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 headers = IPV6_HEADER;
	__u8 protocol;

	if (data + IPV4_HEADER > end)
		return segment_headers_by_kernel(skb);
	if (data[0] >> 4 == 4) {
		headers = (data[0] & 15) << 2;
		protocol = data[9];
	} else {
		protocol = data[6];
	}
	if (protocol == IPPROTO_UDP)
		return headers + UDP_HEADER;
	data += headers;
	if (protocol != IPPROTO_TCP || data + TCP_DATA_OFFSET + 1 > end)
		return segment_headers_by_kernel(skb);
	return headers + (data[TCP_DATA_OFFSET] >> 4 << 2);
}

/* A GSO or GRO packet as its segments. The kernel's gso_segs is 0 on packets that a hypervisor merged, so count. */
static __noinline void add_segments(struct __sk_buff *skb, struct on_wire *wire)
{
	__u32 headers = segment_headers(skb), segments, size = skb->gso_size;

	if (!headers || !size || skb->len <= headers)
		return;
	segments = (skb->len - headers + size - 1) / size;
	wire->packets = segments;
	wire->bytes += (__u64)(segments - 1) * headers;
}

/* One datagram as fragments of at most `size` bytes each, IP header included. */
static __always_inline void add_fragments(struct __sk_buff *skb, __u32 size, struct on_wire *wire)
{
	__u32 header = IPV4_HEADER, extra = 0, share, last, payload, fragments;
	__u8 version_ihl;

	if (is_ipv6(skb)) {
		header = IPV6_HEADER;
		extra = IPV6_FRAGMENT_HEADER;
	} else if (!bpf_skb_load_bytes(skb, 0, &version_ihl, 1)) {
		header = (version_ihl & 15) << 2;
	}
	if (size <= header + extra || skb->len <= header)
		return;
	/* Every fragment but the last carries a multiple of 8 bytes (RFC 791, RFC 8200). */
	share = (size - header - extra) & ~7u;
	/* The last of IPv4 may be as long as fits; the kernel cuts that of IPv6 like the others. */
	last = extra ? share : size - header;
	payload = skb->len - header;
	if (!share || payload <= last)
		return;
	fragments = 1 + (payload - last + share - 1) / share;
	wire->packets = fragments;
	wire->bytes += (__u64)(fragments - 1) * header + (__u64)fragments * extra;
}

static __always_inline __u32 route_metric_mtu(struct dst_entry *dst)
{
	unsigned long metrics = BPF_CORE_READ(dst, _metrics) & ~3ul;
	__u32 mtu = 0;

	bpf_probe_read_kernel(&mtu, sizeof(mtu), (void *)(metrics + (RTAX_MTU - 1) * sizeof(__u32)));
	return mtu;
}

/* ip_skb_dst_mtu(): a learned path MTU while it is fresh, the route's, the device's. */
static __always_inline __u32 path_mtu4(struct sk_buff *skb, struct dst_entry *dst)
{
	__u32 mtu = BPF_CORE_READ(skb, dev, mtu), metric, learned;
	struct inet_sock *inet = (void *)BPF_CORE_READ(skb, sk);
	unsigned long expires;

	/* IP_PMTUDISC_PROBE, _INTERFACE, _OMIT: the device's alone. */
	if (!dst || BPF_CORE_READ(inet, pmtudisc) >= IP_PMTUDISC_PROBE)
		return mtu;
	metric = route_metric_mtu(dst);
	if (metric && metric < mtu)
		mtu = metric;
	learned = BPF_CORE_READ_BITFIELD_PROBED((struct rtable *)dst, rt_pmtu);
	expires = BPF_CORE_READ(dst, expires);
	if (learned && learned < mtu && (long)(bpf_jiffies64() - expires) < 0)
		mtu = learned;
	return mtu;
}

/* ip6_skb_dst_mtu() and IPV6_MTU: a learned path MTU is a metric here, and the device has an MTU for IPv6 alone. */
static __always_inline __u32 path_mtu6(struct sk_buff *skb, struct dst_entry *dst)
{
	struct inet_sock *inet = (void *)BPF_CORE_READ(skb, sk);
	__u32 mtu = 0, own;

	if (dst)
		mtu = route_metric_mtu(dst);
	if (!mtu && dst)
		mtu = BPF_CORE_READ((struct rt6_info *)dst, rt6i_idev, cnf.mtu6);
	if (!mtu)
		mtu = BPF_CORE_READ(skb, dev, mtu);
	own = BPF_CORE_READ(inet, pinet6, frag_size);
	return own && own < mtu ? own : mtu;
}

static __noinline void add_sent_fragments(struct __sk_buff *skb, struct on_wire *wire)
{
	struct sk_buff *kernel_skb = (void *)skb;
	struct dst_entry *dst;
	__u32 mtu;

	/* TCP cuts to the path's MTU itself. */
	if (socket_protocol(skb) == IPPROTO_TCP)
		return;
	dst = (void *)(BPF_CORE_READ(kernel_skb, _skb_refdst) & ~1ul);
	mtu = is_ipv6(skb) ? path_mtu6(kernel_skb, dst) : path_mtu4(kernel_skb, dst);
	if (skb->len > mtu)
		add_fragments(skb, mtu, wire);
}

/* The stack notes the size of the largest fragment on what it put together; 0 on what came whole. */
static __noinline void add_received_fragments(struct __sk_buff *skb, struct on_wire *wire)
{
	struct sk_buff *kernel_skb = (void *)skb;
	void *cb = (void *)kernel_skb + bpf_core_field_offset(struct sk_buff, cb);
	__u16 largest = 0;

	if (socket_protocol(skb) == IPPROTO_TCP)
		return;
	if (is_ipv6(skb))
		cb += bpf_core_field_offset(struct inet6_skb_parm, frag_max_size);
	else
		cb += bpf_core_field_offset(struct inet_skb_parm, frag_max_size);
	bpf_probe_read_kernel(&largest, sizeof(largest), cb);
	if (largest)
		add_fragments(skb, largest, wire);
}

/* What is one packet on the wire for sure: the way of small packets, kept free of all else. */
static __always_inline bool is_one_packet(struct __sk_buff *skb)
{
	return skb->len <= NEVER_FRAGMENTED && !skb->gso_size;
}

static __noinline void account_many_sent(struct __sk_buff *skb, struct counters *counters)
{
	struct on_wire wire = {1, skb->len};

	if (skb->gso_size)
		add_segments(skb, &wire);
	else
		add_sent_fragments(skb, &wire);
	count(&counters->tx_packets, wire.packets);
	count(&counters->tx_bytes, wire.bytes);
}

static __noinline void account_many_received(struct __sk_buff *skb, struct counters *counters)
{
	struct on_wire wire = {1, skb->len};

	if (skb->gso_size)
		add_segments(skb, &wire);
	else
		add_received_fragments(skb, &wire);
	counters->rx_packets += wire.packets;
	counters->rx_bytes += wire.bytes;
}

/* Sent from process context, where a softirq that sends for the same container can come between: atomics. */
static __always_inline void account_sent(struct __sk_buff *skb, struct counters *counters)
{
	if (!is_one_packet(skb)) {
		account_many_sent(skb, counters);
		return;
	}
	count(&counters->tx_packets, 1);
	count(&counters->tx_bytes, skb->len);
}

/* Received in softirq, which nothing that writes these counters interrupts: no atomic needed. */
static __always_inline void account_received(struct __sk_buff *skb, struct counters *counters)
{
	if (!is_one_packet(skb)) {
		account_many_received(skb, counters);
		return;
	}
	counters->rx_packets += 1;
	counters->rx_bytes += skb->len;
}
