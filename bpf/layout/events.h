/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is told of a refusal. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/accounting.h"

/* One entry of an event ring. */
struct event {
	__u64 time;      /* CLOCK_BOOTTIME, ns */
	__u64 cgroup_id; /* the container whose policy spoke */
	__u64 owner;     /* cgroup id of the container that owns the port, or 0; REASON_CGROUP: of the node outside */
	__u32 pid;       /* thread group id in the initial pid namespace */
	__u32 uid;       /* in the initial user namespace */
	__u16 port;      /* host byte order */
	__u16 protocol;  /* IPPROTO_*; an MPTCP socket shows as TCP, since its subflow binds */
	enum reason reason;
	__u8 family;      /* AF_*; 0 where it is about no socket */
	__u8 audited;     /* 1: reported only */
	__u8 unreachable; /* 1: nothing was refused, but the listener gets no connection */
	/*
	 * Of REASON_MARKING, the option of setsockopt(): IP_TOS, IPV6_TCLASS, SO_MARK or SO_PRIORITY. 0: it is about
	 * a packet, which no process may have sent: pid, uid and comm are 0.
	 */
	__u8 option;
	__u8 dscp;        /* of that packet */
	__u8 packet;      /* 1: of REASON_EGRESS, a raw or ping socket's packet, likewise */
	__u16 rule;       /* of REASON_EGRESS: number of the rule, from 1; 0: none, the default */
	__u16 asked_port; /* of bind(): the port that the caller gave, where a mapping made it `port`; else 0 */
	__u8 reserved[6];
	__u8 comm[16];    /* the process's name: from the task, so never trusted */
	__u8 address[16]; /* the local address asked for, network byte order; IPv4 in the first 4 bytes */
};

_Static_assert(sizeof(struct event) == 88, "event has a hole");
