/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* DSCP, mark and priority of packets. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/destination.h"

/* What is not among the parts is 0. Part of struct policy, from its mark on. */
struct marking {
	__u32 mark;      /* bits of mark_mask */
	__u32 mark_mask; /* 0: none */
	__u32 priority;
	__u8 tos;   /* DSCP in its place in the traffic class: the upper six bits */
	__u8 parts; /* which there are: the bits of policy_flags that say so, from POLICY_SET_DSCP on */
	__u8 reserved[2];
};

/* Value of marking_sets, by cgroup id: the rules of a container that has markings by destination. */
struct marking_set {
	__u64 set;      /* they are in egress_blocks, egress_classes and marking_rules */
	__u32 by_class; /* 1: there are rules that name classes */
	__u32 reserved;
};

/* Key of marking_rules: the number of a rule of a set. */
struct marking_rule {
	__u64 set;
	__u32 rule;
	__u32 reserved;
};

/* Why packets of a socket may have no DSCP where the marking has one, and the task has not changed it. */
enum dscp_excuse {
	DSCP_LATE = 1,  /* it was set when the first datagram had its own already: one packet */
	DSCP_NEVER = 2, /* this kernel sets none for IPv4 of an IPv6 socket (before 6.12) */
};

/* What is remembered of a socket whose policy has markings by destination. */
struct marking_note {
	struct destination to; /* of the last connect() or send; cgroup_id 0: none */
	struct marking marking;
	__u32 before_mask; /* mark_mask and parts of the marking before that */
	__u32 before_parts;
};

_Static_assert(sizeof(struct marking) == 16, "marking has a hole");
