/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is counted of a container. See layout.h. */
#pragma once

#include <linux/types.h>

/*
 * Why something was refused, dropped or reported: index of counters.denied and counters.audited, and event.reason.
 */
enum reason {
	REASON_BIND = 0,        /* bind() to a port outside of the container's */
	REASON_BIND_ZERO = 1,   /* bind(0) where ephemeral is deny */
	REASON_CHOSEN_PORT = 2, /* bind(0), and the kernel chose another container's port */
	REASON_SENDMSG = 3,     /* unconnected UDP send from a kernel-chosen port that is not allowed */
	REASON_LISTEN = 4,   /* TCP listener on a port that is not allowed: EPERM, or unreachable without BPF LSM */
	REASON_PROTOCOL = 5, /* socket() of a protocol with ports but no bind hook (SCTP, DCCP) */
	REASON_SOURCE_PORT = 6, /* connect() left from another container's port: reported, cannot be prevented */
	REASON_RECEIVE = 7,     /* UDP socket on a kernel-chosen port that is not allowed: nothing reaches it */
	REASON_SOCKET = 8,      /* socket() of a kind that the policy denies */
	REASON_RECEIVED = 9,    /* a socket that was made outside of the container came in */
	REASON_CGROUP = 10,     /* open for writing of the cgroup.procs or cgroup.threads of a node outside */
	REASON_CLONE = 11,      /* clone3() with CLONE_INTO_CGROUP */
	REASON_MOUNT = 12,      /* mount of cgroup2 or bpffs */
	REASON_BPF = 13,     /* bpf() on the isolator's maps and programs, or with a program that could undo them */
	REASON_MARKING = 14, /* setsockopt() that would change the marking, or a packet with another DSCP */
	REASON_CONNECTIONS = 15,       /* connect() over the limit for the destination */
	REASON_CONNECTIONS_TOTAL = 16, /* connect() over the limit for all destinations together */
	REASON_EGRESS = 17,            /* connect(), send or packet to where a rule denies it */
	REASON_FILE = 18,              /* a file that the policy keeps from the container, or from being changed */
	REASON_BANDWIDTH = 19,         /* a packet or a send over the limit of the bandwidth */
	REASON_SERVICE = 20,           /* connect() or send to a virtual address that has no backend */
	REASON_CONNECTIONS_PORTS = 21, /* over the limit for ports that the kernel chooses */
	REASONS = 32,                  /* a power of two, so that the verifier sees the bound of a masked index */
};

/*
 * One CPU's share of a container's counters: the value of per-CPU cgroup storage. Bytes and packets are those of the
 * IP layer: a GSO or GRO packet counts as the packets that it stands for, a fragmented datagram as its fragments.
 */
struct counters {
	__u64 rx_packets;
	__u64 rx_bytes;
	__u64 tx_packets;
	__u64 tx_bytes;
	__u64 rx_dropped; /* packets to sockets that the policy makes unreachable; not in rx_packets */
	__u64 tx_dropped;
	__u64 denied[REASONS];  /* refused; REASON_SOURCE_PORT: only reported */
	__u64 audited[REASONS]; /* would have been refused */
	__u64 events_lost;      /* events that found no room or no ring */
	/* TCP connections, counted as they happen (statistics.h). Those that are there: opens less closed. */
	__u64 tcp_active_opens;
	__u64 tcp_passive_opens;
	__u64 tcp_closed;
	__u64 tcp_attempt_fails;
	__u64 tcp_estab_resets;
	__u64 tcp_established; /* came into ESTABLISHED or CLOSE-WAIT */
	__u64 tcp_left;        /* and left them */
	__u64 tcp_retrans_segs;
	__u64 tcp_in_segs; /* of those that are closed */
	__u64 tcp_out_segs;
	__u64 tcp_timewaits;      /* closed, and in timewait or FIN-WAIT-2 without a process from then on */
	__u64 tcp_timewaits_lost; /* of these, found no room in `timewaits` */
	/* From here on programs' own, so that a packet needs no look at the policy. */
	__u64 self;       /* the container's cgroup id */
	__u64 marking[2]; /* a struct marking, which holds for the packets of one tick */
	__u64 marking_at; /* of the clock (jiffies) */
	/* Where there are markings by destination: of one socket's packets to one. */
	__u64 marking_sk; /* its address; 0: of all packets */
	__u64 marking_to[3];
};

_Static_assert(sizeof(struct counters) == 8 * (27 + 2 * REASONS), "counters has a hole");
