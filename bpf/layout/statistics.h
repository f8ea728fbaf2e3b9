/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What passes over the sockets find. See layout.h. */
#pragma once

#include <linux/types.h>

enum statistics_sizes {
	/* Of round trip times in µs: below 32 one each, then 16 for each power of two. */
	RTT_BUCKETS = 512,
	TIMEWAITS = 131072,
};

/* What a pass over the sockets of a network namespace finds of a container and what is nested in it. */
struct socket_tally {
	__u64 parent;   /* cgroup id of the container that it is nested in, or 0; written by user space */
	__u32 pass;     /* number of the pass that the rest is of */
	__u32 timewait; /* sockets */
	__u64 in_segs;  /* of those that live */
	__u64 out_segs;
	__u32 rtt[RTT_BUCKETS]; /* smoothed round trip times: how many sockets have one of a bucket */
};

/* Value of timewaits, by the cookie of the socket that is closed, which its timewait socket keeps. */
struct timewait {
	__u64 cgroup_id; /* the innermost container */
	__u64 closed_at; /* CLOCK_MONOTONIC, ns */
	__u32 seen;      /* number of the last pass that met it */
	__u32 reserved;
};

_Static_assert(sizeof(struct socket_tally) == 32 + 4 * RTT_BUCKETS, "socket_tally has a hole");
