/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a connection or a packet goes. See layout.h. */
#pragma once

#include <linux/types.h>

/* Whom connections are counted for, and where they go: what is the same in all of it shares a count. */
struct destination {
	__u64 cgroup_id;
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u16 protocol;   /* IPPROTO_*; MPTCP is TCP */
	__u32 reserved;
};
