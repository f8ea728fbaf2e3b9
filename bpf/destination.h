/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a connect() goes, as every feature that judges one sees it: IPv4 as v4-mapped. */
#pragma once

#include "local.h"

#define V4_MAPPED_WORD bpf_htonl(0xffff)

/* Which policies look at destinations. */
#define DESTINATION_FLAGS (POLICY_COUNT_CONNECTIONS | POLICY_EGRESS | POLICY_MARK_DESTINATIONS)

/* Protocols whose connect() has a destination with a port. */
static __always_inline bool has_destination(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

static __always_inline bool is_v4_mapped(const __u8 address[16])
{
	const __u32 *word = (const void *)address;

	return !(word[0] | word[1]) && word[2] == V4_MAPPED_WORD;
}

/* Fills in what an event tells of it. */
static __always_inline void report_destination(struct event *event, const struct destination *to)
{
	event->protocol = to->protocol;
	event->port = to->port;
	if (is_v4_mapped(to->address)) {
		event->family = AF_INET;
		__builtin_memcpy(event->address, to->address + 12, 4);
	} else {
		event->family = AF_INET6;
		__builtin_memcpy(event->address, to->address, sizeof(event->address));
	}
}

/*
 * All but the container. The kernel takes 0.0.0.0 and :: for the socket's own address, or the loopback address where
 * it has none: counted as what they are.
 */
static __always_inline void read_destination(struct bpf_sock_addr *ctx, __u8 family, struct destination *to)
{
	__u32 *address = (__u32 *)to->address;
	struct bpf_sock *sk = ctx->sk;

	read_given_address(ctx, family, (struct ip_address *)to->address);
	if (family == AF_INET6 && !(address[0] | address[1] | address[2] | address[3])) {
		if (sk && sk->src_ip6[2] == V4_MAPPED_WORD)
			address[2] = V4_MAPPED_WORD;
		else
			address[3] = bpf_htonl(1);
	}
	if (!(address[0] | address[1] | address[3]) && address[2] == V4_MAPPED_WORD) {
		if (sk)
			address[3] = sk->src_ip4;
		if (!address[3])
			address[3] = bpf_htonl(0x7f000001);
	}
	to->port = bpf_ntohs(ctx->user_port);
	to->protocol = ctx->protocol;
}
