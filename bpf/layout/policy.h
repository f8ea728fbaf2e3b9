/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A container's policy. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/remap.h"

/* Index in event_rings. */
enum ring_slot {
	NO_RING = 1024, /* one past the last: nobody reads the container's events, they count as lost */
};

enum enforcement {
	ENFORCE_UNSET = 0, /* policy not written yet: everything is refused */
	ENFORCE_ON = 1,    /* what the policy forbids is refused */
	ENFORCE_AUDIT = 2, /* what the policy forbids is reported and done */
	ENFORCE_OFF = 3,   /* what the policy forbids is done, and counted as audited */
};

/* What a container may do with ports that the kernel chooses. */
enum ephemeral {
	EPHEMERAL_UNSET = 0,   /* as EPHEMERAL_DENY */
	EPHEMERAL_ALLOW = 1,   /* bind(0), autobind and listening on what the kernel chose work */
	EPHEMERAL_CLIENTS = 2, /* as allow, but a TCP listener on such a port is unreachable */
	EPHEMERAL_DENY = 3,    /* as clients, and bind(0) and unconnected UDP sends from such a port are EPERM */
};

enum policy_flags {
	POLICY_INHERIT_PORTS = 1, /* no ports of its own: the parent's level judges ports */
	POLICY_ALLOW_SCTP = 2,
	POLICY_ALLOW_DCCP = 4,
	POLICY_ANY_PORT = 8, /* this level judges neither ports nor protocols: a network namespace of its own */
	/* Kinds of sockets that are refused. */
	POLICY_DENY_RAW = 16,
	POLICY_DENY_PACKET = 32,
	POLICY_DENY_VSOCK = 64,
	POLICY_DENY_XDP = 128,
	POLICY_DENY_RECEIVED = 256, /* made outside of the container and handed in */
	POLICY_DENY_ESCAPE = 512,   /* ways out of the node, and into the programs and maps */
	POLICY_COUNT_CONNECTIONS = 1024,
	POLICY_REMAP = 2048,    /* it has entries in port_remaps */
	POLICY_EGRESS = 4096,   /* there are rules for where it may connect and send to */
	POLICY_SERVICES = 8192, /* virtual addresses lead to their backends */
	POLICY_FILES = 16384,   /* file_rules has entries for its file_set */
	POLICY_BANDWIDTH = 32768,
	/* Which parts of the marking there are. */
	POLICY_SET_DSCP = 65536,
	POLICY_SET_MARK = 131072,
	POLICY_SET_PRIORITY = 262144,
	POLICY_DENY_MARKING = 524288, /* setsockopt() that would change it is refused, not ignored */
	POLICY_DROP_DSCP = 1048576,   /* a packet with another DSCP is dropped, not only counted */
	/* With POLICY_COUNT_CONNECTIONS. */
	POLICY_COUNT_PORTS =
	    2097152,           /* ports that the kernel chooses are counted, under connection_rules.max_ports */
	POLICY_FAIR = 4194304, /* it gets no more of a destination than connect_shares says */
	/* Of the marking too. */
	POLICY_REWRITE_DSCP = 8388608,       /* a packet with another DSCP gets the right one on the device */
	POLICY_MARK_DESTINATIONS = 16777216, /* it has an entry in marking_sets */
};

/* One container's policy: the value of cgroup storage. User space swaps it whole, programs never write it. */
struct policy {
	__u64 cgroup_id;         /* of the container's own node; 0: not written yet */
	__u32 level;             /* 0 for a root container, 1 for its child, ... */
	enum policy_flags flags; /* any of them */
	enum enforcement enforcement;
	enum ephemeral ephemeral;
	enum ring_slot ring;
	/*
	 * A port outside of these, both included, that nobody owns is as good as owned; 0, 0: every port is judged.
	 * Host byte order.
	 */
	__u16 judge_begin;
	__u16 judge_end;
	/* Of POLICY_COUNT_CONNECTIONS. 0: no limit. */
	__u32 max_connections; /* to a destination that no rule names */
	__u32 max_connections_total;
	__u32 connections_errno; /* what a connect() over a limit gives */
	__u32 connection_rules;  /* of connect_rules */
	/* A struct marking: for what goes to a destination without one of its own. The flags are of them all. */
	__u32 mark;
	__u32 mark_mask;
	__u32 priority;
	__u8 tos;
	__u8 marking_parts;
	__u8 file_errno; /* of POLICY_FILES: what is refused gives it, EACCES or EPERM */
	__u8 reserved;
	/* Of POLICY_REMAP: the first mappings, for bind() to look at nothing else. Ports in host byte order. */
	__u16 remap_port[REMAPS_AT_HAND]; /* what a task asks for */
	__u16 remap_host[REMAPS_AT_HAND]; /* what it gets */
	__u8 remap_tcp;                   /* bit i: mapping i is for TCP */
	__u8 remap_udp;
	__u16 services_own;          /* of POLICY_SERVICES. 1: they are its own; 0: those that all containers share */
	enum remap_sizes remap_more; /* how many others there are, in port_remaps, which has all */
	/* Of POLICY_EGRESS. */
	__u64 egress_set;     /* its rules in egress_blocks and egress_classes */
	__u32 egress_classes; /* 1: there are rules that name classes */
	__u32 egress_errno;   /* what connect() and sendmsg() give */
	/* Of POLICY_FILES. */
	__u64 file_set;       /* whose entries of file_rules hold */
	__u64 file_filter[2]; /* a bit for each of them, by file_bit(): most files meet none */
};

_Static_assert(sizeof(struct policy) == 128, "policy has a hole");
