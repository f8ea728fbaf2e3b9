/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ports that a task asks for, and ports that it gets. See layout.h. */
#pragma once

#include <linux/types.h>

/* Mappings that a policy has in itself. */
#define REMAPS_AT_HAND 4

enum remap_sizes {
	REMAP_SETS = 16384,
	REMAP_PLACES = 8,      /* of a set */
	REMAP_SETS_SHIFT = 18, /* what is left of a hash of 32 bits is a number of a set */
	/* Of which two sets a port of a container may be in (remap.h, isolator/features/remap.ts): multipliers. */
	REMAP_ID_FACTOR = 0x2545f491,
	REMAP_FIRST_FACTOR = 0x3504f335,
	REMAP_SECOND_FACTOR = 0x61c88647,
};

enum remap_way {
	REMAP_TO_HOST = 0,      /* what a task asks for -> what it gets */
	REMAP_TO_CONTAINER = 1, /* what a socket has -> what the task is told */
};

/*
 * Value of port_remaps, an array that user space fills as a hash table: a look into one of the kernel's takes four
 * times as long. Place i is what port[i] of the container cgroup_id[i] is by its mappings; id 0: the place is free.
 * Ports in host byte order.
 */
struct port_remap_set {
	__u64 cgroup_id[REMAP_PLACES];
	__u16 port[REMAP_PLACES];
	__u16 tcp[REMAP_PLACES]; /* MPTCP too; 0: none */
	__u16 udp[REMAP_PLACES]; /* UDP-Lite too; 0: none */
	__u8 way[REMAP_PLACES];  /* enum remap_way */
	__u8 reserved[REMAP_PLACES];
};

/* What is remembered of a socket of a container with mappings. Ports in host byte order; 0: none. */
struct remap_note {
	__u16 by_number;  /* it is bound to this host port without a mapping: no other is told */
	__u16 peer;       /* it last went to this port, */
	__u16 peer_asked; /* where this one was asked for, */
	__u16 peer_from;  /* by a mapping of this level */
};

_Static_assert(sizeof(struct port_remap_set) == 128, "port_remap_set has a hole");
