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
#define AF_UNIX           1
#define AF_INET           2
#define AF_INET6          10
#define AF_NETLINK        16
#define AF_PACKET         17
#define AF_VSOCK          40
#define AF_XDP            44
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
#define IPPROTO_IP        0
#define IPPROTO_IPV6      41
#define SOL_SOCKET        1
#define SO_PRIORITY       12
#define SO_MARK           36
#define IP_TOS            1
#define IPV6_TCLASS       67
#define CLONE_INTO_CGROUP 0x200000000ULL

/* SO_MAX_PACING_RATE */
#define SO_PACING 47
/* Of sk_userlocks: the port is one that bind() was given. */
#define SOCK_BINDPORT_LOCK 8

/* Of the kernel's own headers. */
#define EPERM               1
#define EAGAIN              11
#define EACCES              13
#define EEXIST              17
#define ENOBUFS             105
#define ETIMEDOUT           110
#define ECONNREFUSED        111
#define EHOSTUNREACH        113
#define ENETUNREACH         101
#define FMODE_WRITE         2
#define FMODE_EXEC          0x20
#define S_IFMT              0170000
#define S_IFDIR             0040000
#define S_IFREG             0100000
#define DCACHE_DISCONNECTED 0x20
#define CGROUP2_SUPER_MAGIC 0x63677270
#define BPF_FS_MAGIC        0xcafe4a11

extern int LINUX_KERNEL_VERSION __kconfig;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct files_struct;

struct kernfs_node {
	__u64 id;
};

struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	int level;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	int tgid;
	const struct cred *cred;
	char comm[16];
	struct files_struct *files;
	struct css_set *cgroups;
};

struct list_head {
	struct list_head *next;
};

struct net {
	__u64 net_cookie;
	struct list_head dev_base_head;
};

typedef struct {
	struct net *net;
} possible_net_t;

typedef struct {
	__s64 counter;
} atomic64_t;

struct in6_addr {
	__u8 s6_addr[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	__u16 skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	atomic64_t skc_cookie;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_common __sk_common;
	unsigned long sk_max_pacing_rate;
	struct dst_entry *sk_dst_cache;
	int sk_err;
	__u8 sk_kern_sock : 1;
	__u8 sk_userlocks : 4;
	__u16 sk_protocol;
	struct sock_cgroup_data sk_cgrp_data;
	void *sk_bpf_storage;
};

struct tcp_sock {
	__u8 bpf_sock_ops_cb_flags;
	__u32 srtt_us; /* in eighths */
	__u32 segs_in;
	__u32 segs_out;
};

enum sock_flags {
	SOCK_DONE = 1, /* only its name counts: the value is the kernel's */
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct udp_sock;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

struct mptcp_sock {
	struct sock *first;
};

struct socket {
	short type;
	struct sock *sk;
};

struct ipv6_pinfo {
	__u16 frag_size;
	__u8 tclass;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	__u8 pmtudisc;
	__u8 tos;
};

struct ipv6_devconf {
	__s32 mtu6;
};

struct inet6_dev {
	struct list_head addr_list;
	struct ipv6_devconf cnf;
};

struct inet6_ifaddr {
	struct in6_addr addr;
	struct list_head if_list;
};

struct in_ifaddr {
	struct in_ifaddr *ifa_next;
	__be32 ifa_local;
};

struct in_device {
	struct in_ifaddr *ifa_list;
};

struct rt6_info {
	struct inet6_dev *rt6i_idev;
};

struct Qdisc_ops {
	char id[16];
};

struct Qdisc {
	const struct Qdisc_ops *ops;
};

struct netdev_queue {
	struct Qdisc *qdisc;
};

struct net_device {
	struct netdev_queue *_tx;
	unsigned int mtu;
	int ifindex;
	struct list_head dev_list;
	struct in_device *ip_ptr;
	struct inet6_dev *ip6_ptr;
};

struct dst_entry {
	struct net_device *dev;
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
	unsigned char *head;
	unsigned char *data;
};

struct inet_skb_parm {
	__u16 frag_max_size;
};

struct inet6_skb_parm {
	__u16 frag_max_size;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct mutex {
	struct {
		long counter;
	} owner; /* 0: nobody holds it. Not there in kernels with PREEMPT_RT */
};

struct super_block {
	unsigned long s_magic;
	__u32 s_dev;
	struct dentry *s_root;
	struct mutex s_vfs_rename_mutex;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	__u32 i_generation;
	struct hlist_head i_dentry;
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct dentry {
	unsigned int d_flags;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct vfsmount {
	struct super_block *mnt_sb;
};

struct path {
	struct dentry *dentry;
};

struct file {
	unsigned int f_mode;
	unsigned int f_flags;
	struct path f_path;
	struct inode *f_inode;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct bpf_map {
	enum bpf_map_type map_type;
	char name[16];
};

/* By enum bpf_cgroup_storage_type: shared, per CPU. */
struct bpf_prog_aux {
	struct bpf_map *cgroup_storage[2];
};

struct bpf_prog {
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_aux *aux;
};

/* Came to the kernel with bpf_rdonly_cast(). */
struct bpf_list_head {
	__u64 first;
};

#pragma clang attribute pop

/* Linux 6.2. Called where its kernel has it alone. */
extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/* Whether a program may read the kernel's fields as its own, at the price of a load; else each costs a call. */
static __always_inline bool reads_directly(void)
{
	return bpf_core_type_exists(struct bpf_list_head);
}
