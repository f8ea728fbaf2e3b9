/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether an address is one of the machine's own: a loopback address, or one of an interface. */
#pragma once

#include "container.h"

/* A machine with more has too many to be looked through: what comes after is taken for somebody else's. */
#define MAX_DEVICES          1024
#define MAX_DEVICE_ADDRESSES 64

/* Network byte order. IPv4 as v4-mapped. */
struct ip_address {
	__u32 words[4];
};

/* The address that a hook was given; `family` must be a constant: the verifier lets each hook read its own's only. */
static __always_inline void read_given_address(const struct bpf_sock_addr *ctx, __u8 family,
                                               struct ip_address *address)
{
	if (family == AF_INET) {
		address->words[2] = bpf_htonl(0xffff);
		address->words[3] = ctx->user_ip4;
	} else {
		address->words[0] = ctx->user_ip6[0];
		address->words[1] = ctx->user_ip6[1];
		address->words[2] = ctx->user_ip6[2];
		address->words[3] = ctx->user_ip6[3];
	}
}

static __always_inline bool is_ipv4(const struct ip_address *address)
{
	return !(address->words[0] | address->words[1]) && address->words[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8 and ::1; and 0.0.0.0 and ::, for which a connect() goes there. */
static __always_inline bool is_loopback_address(const struct ip_address *address)
{
	__u32 last = bpf_ntohl(address->words[3]);

	if (is_ipv4(address))
		return last >> 24 == 127 || !last;
	return !(address->words[0] | address->words[1] | address->words[2]) && last <= 1;
}

/*
 * The kernel's own socket, whose fields can be read by probing. Through memory: the verifier lets nobody do
 * arithmetic on the pointer that a program has.
 */
static __always_inline struct sock *probed(struct bpf_sock *sk)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	return (struct sock *)address;
}

struct address_search {
	struct ip_address address;
	struct list_head *next; /* dev_list of the next device */
	struct list_head *end;
	__u64 found;
};

static __always_inline bool has_ipv4(struct net_device *device, __u32 address)
{
	struct in_ifaddr *entry = BPF_CORE_READ(device, ip_ptr, ifa_list);

	for (int i = 0; i < MAX_DEVICE_ADDRESSES && entry; i++) {
		if (BPF_CORE_READ(entry, ifa_local) == address)
			return true;
		entry = BPF_CORE_READ(entry, ifa_next);
	}
	return false;
}

static __always_inline bool has_ipv6(struct net_device *device, const struct ip_address *address)
{
	struct inet6_dev *of = BPF_CORE_READ(device, ip6_ptr);
	void *end = (void *)of + bpf_core_field_offset(struct inet6_dev, addr_list);
	void *next = of ? BPF_CORE_READ(of, addr_list.next) : NULL;
	const __u64 *wanted = (const void *)address->words;

	for (int i = 0; i < MAX_DEVICE_ADDRESSES && next && next != end; i++) {
		struct inet6_ifaddr *entry = next - bpf_core_field_offset(struct inet6_ifaddr, if_list);
		__u64 is[2] = {};

		bpf_core_read(is, sizeof(is), &entry->addr);
		if (is[0] == wanted[0] && is[1] == wanted[1])
			return true;
		next = BPF_CORE_READ(entry, if_list.next);
	}
	return false;
}

static long look_at_device(__u32 index, struct address_search *search)
{
	struct net_device *device = (void *)search->next - bpf_core_field_offset(struct net_device, dev_list);

	if (!search->next || search->next == search->end)
		return 1;
	search->found = is_ipv4(&search->address) ? has_ipv4(device, search->address.words[3])
	                                          : has_ipv6(device, &search->address);
	search->next = BPF_CORE_READ(device, dev_list.next);
	return search->found;
}

/* In the network namespace of the socket. Some ten ns for each device. */
static __noinline bool is_own_address(struct bpf_sock *sk, const struct ip_address *address)
{
	struct address_search search = {.address = *address};
	struct net *net;

	if (is_loopback_address(address))
		return true;
	if (!sk)
		return false;
	net = BPF_CORE_READ(probed(sk), __sk_common.skc_net.net);
	search.end = (void *)net + bpf_core_field_offset(struct net, dev_base_head);
	search.next = BPF_CORE_READ(net, dev_base_head.next);
	bpf_loop(MAX_DEVICES, look_at_device, &search, 0);
	return search.found;
}
