/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Limits of bandwidth, and how they are kept. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/levels.h"

/* Index of what there is for each direction. */
enum bandwidth_side {
	BANDWIDTH_EGRESS = 0,
	BANDWIDTH_INGRESS = 1,
	BANDWIDTH_SIDES = 2,
};

enum bandwidth_flags {
	BANDWIDTH_LOOPBACK = 1, /* what goes through the loopback device counts too */
	BANDWIDTH_EPERM = 2,    /* a datagram over the limit is EPERM to its sender */
	BANDWIDTH_EAGAIN = 4,   /* sendmsg() of an unconnected socket is EAGAIN while there is no room */
	BANDWIDTH_AUDIT = 8,    /* over the limit is counted, and nothing is held back */
	BANDWIDTH_EDT = 16,     /* departure times where the device has sch_fq */
};

/*
 * Value of bandwidth_rules, by cgroup id; of 0: the host's budget. Written by user space only. The programs take what
 * has changed at their next step.
 */
struct bandwidth_rule {
	__u64 rate[BANDWIDTH_SIDES];  /* bytes/s of the IP layer; 0: no limit */
	__u64 burst[BANDWIDTH_SIDES]; /* bytes; 0: what 20 ms take, received 100 ms */
	__u32 weight;                 /* share of the host's budget; 0: not of it */
	enum bandwidth_flags flags;   /* any of them */
};

/*
 * One direction of a container, or of the host's budget. Programs write it, user space only reads.
 *
 * `clock` is that of a virtual link of the rate: when all that was sent would have left it. Behind now: credit, up to
 * the burst; ahead: debt. What is not TCP passes while there is no debt. TCP is paced, each connection to `level`,
 * and a step every few ms moves that so that what leaves is the rate and the debt is repaid.
 */
struct bandwidth_state {
	__u64 rate;   /* in force: bytes/s; 0: none */
	__u64 level;  /* of a connection, bytes/s; of the host's budget: of a container of weight 1 */
	__u64 clock;  /* CLOCK_MONOTONIC, ns, as all times here */
	__u64 credit; /* ns: the burst */
	__u64 begun;  /* when the step began */
	__u64 due;    /* when it ends; far away while a CPU is at it */
	__u64 budget; /* bytes that end it early */
	__u64 bytes;  /* of this step that the level is for */
	__u64 other;  /* bytes of this step that it is not for, what was dropped included */
	__u64 passed; /* passed_bytes when the step began */
	__u64 phase;  /* enum bandwidth_phase */
	/*
	 * Connections that sent a packet of some size: in the present generation, which the first counts, and before.
	 * Of the host's budget, weights of containers.
	 */
	__u64 generation;
	__u64 generation_due;
	__u64 senders;
	__u64 senders_before;
	__u64 host_generation; /* in which the container has been counted */
	__u64 passed_packets;
	__u64 passed_bytes;
	__u64 dropped_packets;
	__u64 dropped_bytes;
	__u64 marked;      /* packets that got ECN's "congestion experienced" */
	__u64 throttled;   /* ns in which all of the rate was used */
	__u64 measured;    /* bytes/s in the last step */
	__u64 measured_at; /* end of that step */
	__u64 reported_at; /* the last event */
	__u64 unarmed;     /* connections that no callback comes from, each time one is met */
};

enum bandwidth_phase {
	BANDWIDTH_MEASURING = 0,
	BANDWIDTH_SETTLING = 1, /* the level has changed: senders have yet to learn of it */
	BANDWIDTH_CHANGING = 2, /* so has the rate: what is sent meanwhile is forgiven */
};

/* Value of bandwidths, by cgroup id; of 0: the host's budget. */
struct bandwidth {
	struct bandwidth_state sides[BANDWIDTH_SIDES];
};

/* What is remembered of a TCP socket. */
struct socket_bandwidth {
	__u64 own;                 /* pacing rate that the task has set; all bits: none */
	__u64 set;                 /* what it was set to here; 0: nothing yet */
	__u64 levels[LEVELS];      /* that each level of nesting allows, plus 1; 0: any */
	__u64 generations[LEVELS]; /* in which it has been counted as a sender */
	__u64 receptions[LEVELS];  /* of what is received, in which it has been counted */
	__u64 clocks[LEVELS];      /* of what it receives: as the container's clock, at the level */
	__u32 window;              /* bound of the congestion window, packets; 0: none */
	__u32 receiving;           /* bound of the window that it offers, bytes; 0: none */
	__u32 windows[LEVELS];     /* that each level wants that to be */
};
