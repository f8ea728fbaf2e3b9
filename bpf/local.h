/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether an address is one of the machine's own: a loopback address, or one of an interface. */
#pragma once

#include "container.h"

/*
 * Devices and addresses. A machine with more has too many to be looked through: what comes after is taken for
 * somebody else's.
 */
#define MAX_ADDRESSES 65536

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
	void *entry;     /* next address of the device before; NULL: it has no more */
	void *entry_end; /* of IPv6, whose list is a ring */
	__u64 found;
};

/* @returns whether the device has an address more to be looked at */
static __always_inline bool look_at_ipv4(struct address_search *search)
{
	struct in_ifaddr *entry = search->entry;

	if (!entry)
		return false;
	search->found = BPF_CORE_READ(entry, ifa_local) == search->address.words[3];
	search->entry = BPF_CORE_READ(entry, ifa_next);
	return true;
}

static __always_inline bool look_at_ipv6(struct address_search *search)
{
	struct inet6_ifaddr *entry = search->entry - bpf_core_field_offset(struct inet6_ifaddr, if_list);
	const __u64 *wanted = (const void *)search->address.words;
	__u64 is[2] = {};

	if (!search->entry || search->entry == search->entry_end)
		return false;
	bpf_core_read(is, sizeof(is), &entry->addr);
	search->found = !((is[0] ^ wanted[0]) | (is[1] ^ wanted[1]));
	search->entry = BPF_CORE_READ(entry, if_list.next);
	return true;
}

static __always_inline void begin_device(struct address_search *search, bool ipv4)
{
	struct net_device *device = (void *)search->next - bpf_core_field_offset(struct net_device, dev_list);
	struct inet6_dev *of;

	search->next = BPF_CORE_READ(device, dev_list.next);
	if (ipv4) {
		search->entry = BPF_CORE_READ(device, ip_ptr, ifa_list);
		return;
	}
	of = BPF_CORE_READ(device, ip6_ptr);
	search->entry_end = (void *)of + bpf_core_field_offset(struct inet6_dev, addr_list);
	search->entry = of ? BPF_CORE_READ(of, addr_list.next) : NULL;
}

/*
 * An address of a device, or, where it has no more, the next device with its first: one loop, which the verifier
 * walks through once, and not one in another.
 */
static long look_at_address(__u32 index, struct address_search *search)
{
	bool ipv4 = is_ipv4(&search->address);

	if (ipv4 ? look_at_ipv4(search) : look_at_ipv6(search))
		return search->found;
	if (!search->next || search->next == search->end)
		return 1;
	begin_device(search, ipv4);
	return 0;
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
	bpf_loop(MAX_ADDRESSES, look_at_address, &search, 0);
	return search.found;
}
