/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which app is where in the cluster. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/classes.h"

/* Sets of endpoints: one is in use, the other is being filled or empty. */
#define ENDPOINT_SLOTS 2

/* Bits of endpoint_state.current. */
enum endpoint_current {
	ENDPOINTS_SLOT = 1,    /* which slot is in use */
	ENDPOINTS_EXACT = 2,   /* it has entries with protocol and port */
	ENDPOINTS_PORT = 4,    /* ... with a port, for every protocol */
	ENDPOINTS_ADDRESS = 8, /* ... for a whole address */
	ENDPOINTS_BLOCKS = 16, /* ... for blocks of addresses */
	ENDPOINTS_HOST = 32,   /* endpoint_state.host is known */
};

/* Key of a set of endpoints. Protocol 0: every one; port 0: the whole address. */
struct endpoint_key {
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u8 protocol;    /* IPPROTO_*; MPTCP is TCP */
	__u8 reserved;
};

/* Key of an LPM trie of addresses. */
struct address_block {
	__u32 prefix; /* bits of the 128 */
	__u8 address[16];
};

/* `current` is one byte, so that a program never sees half of a change. */
struct endpoint_state {
	__u8 current; /* of enum endpoint_current */
	__u8 reserved[3];
	__u8 host[16]; /* the address by which the cluster knows this host */
};

/* Where the classes of a destination come from. */
enum endpoint_origin {
	ORIGIN_NONE = 0,
	ORIGIN_OWNER = 1,   /* the container of this host that owns the port */
	ORIGIN_PORT = 2,    /* an endpoint of the cluster */
	ORIGIN_ADDRESS = 3, /* a whole address of the cluster */
	ORIGIN_BLOCK = 4,   /* a block of addresses */
};

/* What is known of a destination. */
struct endpoint_found {
	enum class_bit ids[ENDPOINT_CLASSES];
	__u64 owner; /* cgroup id of the container that owns the port, where it is local; 0: none */
	enum endpoint_origin origin;
	enum endpoint_current current; /* as it was */
	__u32 local;                   /* 1: an address of this host */
	__u32 reserved;
};

_Static_assert(sizeof(struct endpoint_key) == 20, "endpoint_key has a hole");
_Static_assert(sizeof(struct endpoint_found) == 40, "endpoint_found has a hole");
