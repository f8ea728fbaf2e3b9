/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the programs need of the kernel's own types: only the fields used, found by name at load (CO-RE), so that no
 * machine's vmlinux.h is part of the source.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* From uapi headers that drag in libc or do not exist for -target bpf. */
#define AF_INET           2
#define AF_INET6          10
#define SOCK_RAW          3
#define IPPROTO_TCP       6
#define IPPROTO_UDP       17
#define IPPROTO_DCCP      33
#define IPPROTO_SCTP      132
#define IPPROTO_UDPLITE   136
#define IPPROTO_MPTCP     262
#define SOCK_STREAM       1
#define IPPROTO_ICMP      1
#define IPPROTO_ICMPV6    58
#define IPPROTO_L2TP      115
#define IPPROTO_SMC       256
#define IP_PMTUDISC_PROBE 3
#define RTAX_MTU          2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct task_struct {
	int tgid;
	const struct cred *cred;
	char comm[16];
};

struct sock_common {
	__u16 skc_family;
	__u16 skc_num;
	volatile unsigned char skc_state;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};

struct socket {
	short type;
	struct sock *sk;
};

struct ipv6_pinfo {
	__u16 frag_size;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	__u8 pmtudisc;
};

struct ipv6_devconf {
	__s32 mtu6;
};

struct inet6_dev {
	struct ipv6_devconf cnf;
};

struct rt6_info {
	struct inet6_dev *rt6i_idev;
};

struct net_device {
	unsigned int mtu;
};

struct dst_entry {
	unsigned long _metrics;
	unsigned long expires;
};

struct rtable {
	__u32 rt_pmtu : 31;
};

struct sk_buff {
	struct sock *sk;
	struct net_device *dev;
	unsigned long _skb_refdst;
	__u16 transport_header;
	__u16 network_header;
	char cb[48];
};

struct inet_skb_parm {
	__u16 frag_max_size;
};

struct inet6_skb_parm {
	__u16 frag_max_size;
};

#pragma clang attribute pop
