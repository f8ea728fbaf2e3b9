/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Marking: packets on their way out, of which some have got round what holds for their socket. */
#pragma once

#include "destination.h"
#include "marking_sockets.h"

/* Jiffies that a packet may take from the container's program to the device's: 1 s or more. */
#define REWRITE_SPAN  1000
#define IPV4_CHECK    10 /* offset of the checksum */
#define TC_ACT_UNSPEC (-1)

/* The traffic class of a packet: the second byte of IPv4, the second nibble and the third of IPv6. */
static __always_inline __u8 traffic_class(struct __sk_buff *skb, const struct marking *marking)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	/* Never: both headers are there before the hook. */
	if (data + 2 > end)
		return marking->tos;
	return data[0] >> 4 == 4 ? data[1] : (__u8)(data[0] << 4) | data[1] >> 4;
}

static __noinline int judge_dscp(struct __sk_buff *skb, const struct policy *policy, __u8 class, bool excused)
{
	struct event event = {.reason = REASON_MARKING, .dscp = class >> 2};
	struct bpf_sock *sk = skb->sk;

	if (excused || !(policy->flags & POLICY_DROP_DSCP)) {
		count(&container_counters()->audited[REASON_MARKING], 1);
		return ALLOW;
	}
	report_socket(&event, sk);
	return refuse(policy, &event);
}

/* The device's program gives the packet the right DSCP. */
static __always_inline void ask_for_rewrite(struct socket_note *note, const struct marking *marking)
{
	if (!note)
		return;
	note->rewrite = marking->tos + 1;
	note->rewrite_at = bpf_jiffies64();
}

static __noinline int correct(struct __sk_buff *skb, const struct policy *policy, const struct marking *marking)
{
	__u8 class = traffic_class(skb, marking);
	struct socket_note *note = NULL;
	struct bpf_sock *sk = skb->sk;
	__u64 flags = marking_note_flags(policy);
	__u8 excuse;

	if (policy->flags & POLICY_REWRITE_DSCP)
		flags = BPF_SK_STORAGE_GET_F_CREATE;
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk)
		note = bpf_sk_storage_get(&socket_notes, sk, 0, flags);
	if (marked_below(policy, note))
		return ALLOW;
	note_marking(policy, note, marking);
	if (marking->parts & MARKING_MARK)
		skb->mark = marked(marking, skb->mark);
	if (marking->parts & MARKING_PRIORITY)
		skb->priority = marking->priority;
	if (!(marking->parts & MARKING_DSCP) || !((class ^ marking->tos) & DSCP_BITS))
		return ALLOW;
	if (policy->flags & POLICY_REWRITE_DSCP)
		ask_for_rewrite(note, marking);
	excuse = note ? note->dscp_excuse : 0;
	if (excuse == DSCP_LATE)
		note->dscp_excuse = 0;
	return judge_dscp(skb, policy, class, excuse == DSCP_LATE || (excuse == DSCP_NEVER && class >> 2 == 0));
}

static __always_inline __u32 wrong_parts(struct __sk_buff *skb, const struct marking *marking)
{
	__u32 wrong = (skb->mark ^ marking->mark) & marking->mark_mask;

	if (marking->parts & MARKING_PRIORITY)
		wrong |= skb->priority ^ marking->priority;
	if (marking->parts & MARKING_DSCP)
		wrong |= (traffic_class(skb, marking) ^ marking->tos) & DSCP_BITS;
	return wrong;
}

/* Raw and ping sockets, and connected ones of UDP-Lite, have no hook that says where they go. */
static __always_inline bool goes_anywhere(const struct bpf_sock *sk)
{
	return sk->type == SOCK_RAW || sk->protocol == IPPROTO_ICMP || sk->protocol == IPPROTO_ICMPV6 ||
	       (sk->protocol == IPPROTO_UDPLITE && sk->state == BPF_TCP_ESTABLISHED);
}

static __always_inline bool read_packet(struct __sk_buff *skb, struct bpf_sock *sk, struct destination *to)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 20 > end)
		return false;
	if (data[0] >> 4 == 4) {
		((__u32 *)to->address)[2] = V4_MAPPED_WORD;
		__builtin_memcpy(to->address + 12, data + 16, 4);
	} else {
		if (data + 40 > end)
			return false;
		__builtin_memcpy(to->address, data + 24, 16);
	}
	to->protocol = sk->protocol;
	if (sk->protocol == IPPROTO_UDPLITE)
		to->port = bpf_ntohs(sk->dst_port);
	return true;
}

/*
 * What tells where a packet goes: address and ports, at their places in the headers.
 * @returns whether it is all there is: no options, no extension headers
 */
static __always_inline bool packet_ends(struct __sk_buff *skb, __u64 to[3])
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 24 > end)
		return false;
	if (data[0] == 0x45) {
		to[0] = *(__u64 *)(data + 16);
		to[1] = 0;
		to[2] = 4;
		return true;
	}
	if (data + 44 > end || data[0] >> 4 != 6 || (data[6] != IPPROTO_TCP && data[6] != IPPROTO_UDP))
		return false;
	to[0] = *(__u64 *)(data + 24);
	to[1] = *(__u64 *)(data + 32);
	to[2] = (__u64) * (__u32 *)(data + 40) << 8 | 6;
	return true;
}

static __always_inline bool goes_where_remembered(struct __sk_buff *skb, const struct counters *counters)
{
	__u64 to[3];

	return counters->marking_sk == (__u64)skb->sk && packet_ends(skb, to) && to[0] == counters->marking_to[0] &&
	       to[1] == counters->marking_to[1] && to[2] == counters->marking_to[2];
}

/*
 * Whether nothing more need be looked at: of the marking as it was for a packet a moment ago, which is in what is
 * counted in, since a look at the policy takes longer than all else. Another policy holds from the next tick on.
 */
static __always_inline bool is_marked_right(struct __sk_buff *skb, const struct counters *counters)
{
	__u64 now = bpf_jiffies64();

	/* Read after that, so that no register is kept over what the compiler takes for a call. */
	barrier();
	if (counters->marking_at != now)
		return false;
	if (counters->marking_sk && !goes_where_remembered(skb, counters))
		return false;
	return !wrong_parts(skb, (const void *)counters->marking);
}

/* What comes between is a packet of the same tick. @param sk, to of which packets it is, or 0 */
static __always_inline void remember_marking(struct counters *counters, const struct marking *marking, __u64 sk,
                                             const __u64 to[3])
{
	__u64 now = bpf_jiffies64();

	counters->marking_at = 0;
	barrier();
	*(struct marking *)counters->marking = *marking;
	counters->marking_sk = sk;
	if (to)
		__builtin_memcpy(counters->marking_to, to, sizeof(counters->marking_to));
	barrier();
	counters->marking_at = now;
}

static __noinline int mark_by_destination(struct __sk_buff *skb, const struct policy *policy,
                                          struct counters *counters)
{
	struct marking marking = *plain_marking(policy);
	struct bpf_sock *sk = skb->sk;
	struct destination to = {};
	struct marking_note *note;
	__u64 ends[3];

	if (sk) {
		note = bpf_sk_storage_get(&marking_notes, sk, 0, 0);
		if (note && note->to.cgroup_id == policy->cgroup_id)
			marking = note->marking;
		sk = bpf_sk_fullsock(sk);
	}
	if (sk && goes_anywhere(sk)) {
		marking = *plain_marking(policy);
		if (read_packet(skb, sk, &to))
			find_marking(policy, &to, 0, &marking);
	}
	if (sk && !(policy->flags & POLICY_EGRESS) && packet_ends(skb, ends))
		remember_marking(counters, &marking, (__u64)sk, ends);
	return wrong_parts(skb, &marking) ? correct(skb, policy, &marking) : ALLOW;
}

/* Every packet that a socket of the container sends: as it should be, nearly always. */
static __always_inline int marking_egress(struct __sk_buff *skb, const struct policy *policy,
                                          struct counters *counters)
{
	const struct marking *marking = plain_marking(policy);

	if (!marks(policy))
		return ALLOW;
	if (policy->flags & POLICY_MARK_DESTINATIONS)
		return mark_by_destination(skb, policy, counters);
	/* Rules of egress judge packets too, and know nothing of this. */
	if (!(policy->flags & POLICY_EGRESS))
		remember_marking(counters, marking, 0, NULL);
	return wrong_parts(skb, marking) ? correct(skb, policy, marking) : ALLOW;
}

/* Where the IP header is, from skb->data on: on devices that have headers of their own behind those. */
static __always_inline __u32 network_offset(struct __sk_buff *skb)
{
	struct sk_buff *kernel_skb = (void *)skb;
	void *head, *data;
	__u16 network;

	bpf_core_read(&head, sizeof(head), &kernel_skb->head);
	bpf_core_read(&data, sizeof(data), &kernel_skb->data);
	bpf_core_read(&network, sizeof(network), &kernel_skb->network_header);
	return head + network - data;
}

static __noinline int write_dscp(struct __sk_buff *skb, __u8 tos)
{
	__u32 at = network_offset(skb);
	__u8 bytes[2];
	__u16 before, after;

	if (bpf_skb_load_bytes(skb, at, bytes, sizeof(bytes)))
		return TC_ACT_UNSPEC;
	__builtin_memcpy(&before, bytes, sizeof(before));
	if (bytes[0] >> 4 == 4)
		bytes[1] = tos | (bytes[1] & ECN_BITS);
	else if (bytes[0] >> 4 == 6) {
		bytes[0] = 6 << 4 | tos >> 4;
		bytes[1] = (tos << 4 & 0xc0) | (bytes[1] & 0x3f);
	} else
		return TC_ACT_UNSPEC;
	__builtin_memcpy(&after, bytes, sizeof(after));
	if (before == after)
		return TC_ACT_UNSPEC;
	if (bytes[0] >> 4 == 4)
		bpf_l3_csum_replace(skb, at + IPV4_CHECK, before, after, sizeof(after));
	bpf_skb_store_bytes(skb, at, bytes, sizeof(bytes), 0);
	return TC_ACT_UNSPEC;
}

/* On its way out by a device, also of sockets of no container. Other programs of the device go on with it. */
static __always_inline int marking_device(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct socket_note *note;

	if (!sk)
		return TC_ACT_UNSPEC;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return TC_ACT_UNSPEC;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	if (!note || !note->rewrite || (__u32)bpf_jiffies64() - note->rewrite_at > REWRITE_SPAN)
		return TC_ACT_UNSPEC;
	return write_dscp(skb, note->rewrite - 1);
}
