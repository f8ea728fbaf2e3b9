/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Rules for where a container may connect and send to. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/classes.h"

enum egress_sizes {
	EGRESS_RANGES = 32, /* ranges of ports that rules make of a block or class, for a protocol */
	EGRESS_RULES = 8192,
	EGRESS_ACTION_BITS = 3, /* below the number of the rule */
	EGRESS_RECENTS = 256,   /* destinations that a CPU remembers to have been allowed */
};

enum egress_action {
	EGRESS_ALLOW = 1,
	EGRESS_DENY = 2,
	EGRESS_AUDIT = 3, /* reported, and let through */
};

enum egress_kind {
	EGRESS_TCP = 0,
	EGRESS_UDP = 1,
	EGRESS_OTHER = 2, /* raw and ping sockets: no ports */
};

/* Key of egress_blocks. Its prefix counts from `set` on. */
struct egress_block {
	__u32 prefix;
	__u32 set[2]; /* of policy.egress_set, low half first */
	enum egress_kind kind;
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
};

/* Key of egress_classes. */
struct egress_class {
	__u64 set;
	enum class_bit class;
	enum egress_kind kind;
};

/*
 * Which rule is the first for each port: from begin[i] up to begin[i + 1] it is first[i], number <<
 * EGRESS_ACTION_BITS | action; 0: none.
 */
struct egress_ranges {
	__u16 begin[EGRESS_RANGES]; /* begin[0] is 0; what is not used is 65535 */
	__u16 first[EGRESS_RANGES];
	enum egress_sizes count;
};

/* Key of egress_hits. */
struct egress_hit {
	__u64 cgroup_id;
	__u32 rule;
	enum egress_action action; /* what was done: EGRESS_DENY or EGRESS_AUDIT */
};

/*
 * Where a container was allowed to go (egress_verdicts.h). Programs' own: it is here since builds with the same
 * layouts share the map.
 */
struct egress_recent {
	__u64 turn; /* odd: it is being written */
	__u64 epoch;
	__u64 cgroup_id;
	__u64 set;
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u16 protocol;
	enum class_bit service; /* of the one that it was reached by, or 0 */
	__u64 reserved;         /* to one line of a cache */
};

/* What a destination comes to by a set of rules. */
struct egress_verdict {
	__u32 rule; /* as in struct egress_ranges, action and all */
	__u32 by_block;
	__u32 by_class;
	enum class_bit class; /* of by_class */
};

_Static_assert(sizeof(struct egress_block) == 32, "egress_block has a hole");
_Static_assert(sizeof(struct egress_class) == 16, "egress_class has a hole");
_Static_assert(sizeof(struct egress_recent) == 64, "egress_recent has a hole");
