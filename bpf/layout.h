/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the programs and user space both read or write: the one source of these layouts. isolator/kernel/gen/layout.ts
 * is generated from the BTF of the compiled object (npm run generate), and the BTF is compared with it at every load.
 *
 * No implicit padding: every hole is a named field, so that user space never writes bytes that mean nothing.
 */
#pragma once

#include <linux/types.h>

/* Nested containers deeper than this are refused at prepare. Mesos itself makes at most three levels. */
#define LEVELS 4

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

/*
 * Value of port_owners: who may use a port, as the cgroup ids from the root container (level 0) down to the owner.
 * The rest is 0; all 0: nobody owns it. A level may use a port when its own id stands at its own level, so that a
 * parent may use what its children own and not the other way round.
 */
struct port_owner {
	__u64 chain[LEVELS];
};

/*
 * Value of port_bounds: no port outside has an owner. Both 0: none has. Most ports that the kernel chooses lie
 * outside, and a look here is cheaper than one into port_owners, which is too large for a processor's caches.
 */
struct port_bounds {
	__u32 first;
	__u32 last;
};

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

/* What is remembered of a socket, for each level of nesting. */
struct socket_note {
	__u8 listener[LEVELS]; /* enum listener_verdict, of the last listen() */
	__u8 reported[LEVELS]; /* enum reported: one report of a kind is enough */
	__u16 listener_port;   /* that the verdicts are for; host byte order */
	__u8 marked_by;        /* 1 + the deepest level below the root container whose marking it has; 0: none */
	__u8 dscp_excuse;      /* enum dscp_excuse */
	__u8 tos;              /* traffic class that was set on it, plus 1; 0: none */
	__u8 rewrite;          /* traffic class that packets get at the device, plus 1; 0: none */
	__u8 reserved[2];
	__u32 rewrite_at; /* jiffies when that was said: it holds for a moment */
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

enum reported {
	REPORTED_PORT = 1,   /* the port that it holds */
	REPORTED_SOURCE = 2, /* the source port of its connect() */
};

enum listener_verdict {
	LISTENER_UNKNOWN = 0,
	LISTENER_ALLOWED = 1,
	LISTENER_FORBIDDEN = 2,
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

enum connection_sizes {
	CONNECTION_RULES = 16, /* of a container */
	/* Destinations that are counted at a time, of all containers: sets that a hash chooses, with places in them.
	 */
	CONNECTION_SETS = 4096,
	CONNECTION_PLACES = 8,
	CONNECTION_NO_PLACE = 0xffffff, /* hold.place of one that found its set full */
	CONNECTION_PORT = 0x1000000, /* or'ed to hold.place of one whose port the kernel chose, where that counts */
	CONNECTION_SHARES = 8,       /* destinations with a share of their own */
	CLOSED_CONNECTIONS = 32768,
	SOCKET_HOLDS = 262144, /* sockets whose hold needs no memory of their own */
	/* Time is counted in spans of 2^33 ns, about 8.6 s. */
	CONNECTION_SPAN_SHIFT = 33,
	CONNECTION_SPANS = 16,
	CONNECTION_CLAIMED = 0x40000000,
};

/* Whom connections are counted for, and where they go: what is the same in all of it shares a count. */
struct destination {
	__u64 cgroup_id;
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u16 protocol;   /* IPPROTO_*; MPTCP is TCP */
	__u32 reserved;
};

/* What is remembered of a socket whose policy has markings by destination. */
struct marking_note {
	struct destination to; /* of the last connect() or send; cgroup_id 0: none */
	struct marking marking;
	__u32 before_mask; /* mark_mask and parts of the marking before that */
	__u32 before_parts;
};

/*
 * Connections that are held. Those that are closed, whose port the kernel keeps for a while (timewait), lapse by
 * themselves; user space that reads must leave out what has lapsed since `span`. Begins as struct destination does.
 */
struct connection_count {
	__u64 cgroup_id;
	__u8 address[16];
	__u16 port;
	__u16 protocol;
	__u32 reserved;
	__u32 live; /* with CONNECTION_CLAIMED while the place changes hands */
	__u32 closed;
	__u32 span; /* up to and with this one, what lapsed is taken out of `closed` */
	__u32 reserved2;
	__u32 lapsing[CONNECTION_SPANS]; /* how many of `closed` lapse at the start of a span, by its lowest bits */
};

/* What of a container's connections is counted over all destinations. */
enum connection_total {
	IN_ALL = 0,
	WITHOUT_PLACE = 1, /* to destinations that found their set full */
	PORTS_HELD = 2,    /* ports that the kernel has chosen, and sockets to which it may give one unasked */
	CONNECTION_TOTALS = 4,
};

/* Part of a class id: a hash of the class's name below it (isolator/features/classes.ts). */
enum class_bit {
	CLASS_CLAIMED = 0x40000000, /* by nothing but what whoever runs the task has written */
};

/* Part of the value of connect_rules: the first that fits the destination holds. */
struct connection_rule {
	__u8 address[16]; /* IPv4 as v4-mapped */
	__u8 mask[16];
	__u16 begin; /* ports, both included, host byte order */
	__u16 end;
	__u16 protocol;
	__u16 protocol_mask;    /* bits of the protocol that must be the same; 0: any */
	__u32 limit;            /* 0: not counted at all */
	enum class_bit service; /* only where it was reached by the service with this class; 0: however */
};

/* Of what a host has for a destination, how much a container may have. */
struct connection_share {
	__u8 address[16]; /* IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u16 protocol;
	__u32 limit;
};

/* One line, of POLICY_FAIR. Written by user space only. */
struct connection_shares {
	__u32 other; /* limit for a destination that is not among them; 0: none yet */
	__u32 count;
	struct connection_share shares[CONNECTION_SHARES];
};

/* One line: what user space tells a pass over the sockets, and what that found of closed connections. */
struct connection_pass {
	__u64 netns;   /* cookie of the network namespace that is looked through */
	__u64 started; /* CLOCK_MONOTONIC, ns */
	__u32 number;
	__u32 released; /* given back since their timewait socket is gone */
	__u32 kept;
	__u32 reserved;
};

/* A connection that a socket holds, at one level of nesting. */
struct hold {
	__u64 cgroup_id; /* 0: none */
	enum connection_sizes
	    place;    /* set * CONNECTION_PLACES + place in it, or CONNECTION_NO_PLACE; CONNECTION_PORT */
	__u32 lapses; /* 0: live; else the span at whose start it lapses */
};

/*
 * What a socket of a root container holds, for TCP: value of socket_holds, at one of two places that its cookie says.
 * One that finds others at both has a struct socket_connections.
 */
struct socket_hold {
	__u64 cookie; /* 0: nobody's */
	struct hold hold;
	__u32 watched; /* its state callback will say when it is closed */
	__u32 spilled; /* sockets for which this is the first place and that have their second */
};

/* Value of closed_connects. */
struct closed_connection {
	struct hold holds[LEVELS];
	__u64 closed_at; /* CLOCK_MONOTONIC, ns */
	__u32 seen;      /* number of the last pass that met its timewait socket */
	__u32 reserved;
};

/* By which a timewait socket is known again. Addresses in network byte order, IPv4 as v4-mapped. */
struct connection_ends {
	__u64 netns;
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u32 reserved;
};

/*
 * What is remembered of any other socket that connects, by level. The kernel takes a microsecond to make one and to
 * free it, a fiftieth of a connection.
 */
struct socket_connections {
	struct hold now[LEVELS];
	struct hold next[LEVELS];   /* UDP: of a connect() that an outer level may still refuse */
	struct destination refused; /* the last that was: asked for again and again (io_uring), it counts once */
	/* Of POLICY_COUNT_PORTS, for a port that no hold of `now` is counted with: cgroup id of the container, or 0.
	 */
	__u64 ports[LEVELS];
	__u8 watched;   /* its state callback will say when it is closed */
	__u8 by_number; /* bind() was last asked for a port, not for any */
	__u8 reserved[6];
};

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

/* Key of file_rules: a directory, with all below it, or a file. */
struct file_key {
	__u64 set;
	__u64 ino;
	__u32 dev;        /* as the kernel has it: super_block.s_dev */
	__u32 generation; /* inode.i_generation: file systems use a number again, with another one of these */
};

/* Value of file_rules, and what became of a look for one. The nearest on the way up from the file holds. */
enum file_verdict {
	FILE_NO_RULE = 0,
	FILE_ALLOW = 1,
	FILE_READONLY = 2,
	/* From here on all is refused. */
	FILE_DENY = 3,
	FILE_DISCONNECTED = 4, /* found by its handle: nobody knows where it is */
	FILE_TOO_DEEP = 5,     /* deeper than FILE_ANCESTORS */
	FILE_PIN = 6,          /* of the isolator's in bpffs */
	FILE_SUBVOLUME = 7,    /* of btrfs, to be removed: nobody knows which */
};

enum file_operation {
	FILE_OPEN = 0,
	FILE_OPEN_WRITE = 1,
	FILE_EXEC = 2,
	FILE_CREATE = 3,
	FILE_MKDIR = 4,
	FILE_MKNOD = 5,
	FILE_SYMLINK = 6,
	FILE_LINK = 7,
	FILE_UNLINK = 8,
	FILE_RMDIR = 9,
	FILE_RENAME = 10,
	FILE_ATTRIBUTES = 11, /* chmod, chown, utimes, truncate, and what ioctl() sets of them */
	FILE_XATTR = 12,      /* extended attributes and ACLs */
	FILE_UMOUNT = 13,
};

enum file_sizes {
	FILE_ANCESTORS = 256,     /* that are looked at; a file that has more is refused */
	FILE_NEAR_ANCESTORS = 24, /* of these the nearest, at the least cost */
	FILE_PATH = 384,
	FILE_NAMES = 24,      /* of a path that is made of them, */
	FILE_NAME = 128,      /* shorter than this, */
	FILE_NAMES_END = 256, /* up to here: a power of two, like the one before */
	FILE_IDENTITIES = 16,
	FILE_CACHED = 8192,     /* verdicts in file_cache */
	FILE_CACHED_SHIFT = 51, /* what is left of a hash of 64 bits is the number of one */
};

/* The only value of file_cache (file_cache.h). */
struct file_cache {
	__u64 generation;            /* random and odd: another one makes all verdicts void; 0: none is used */
	__u64 verdicts[FILE_CACHED]; /* each a hash of what it is about, with enum file_verdict in FILE_CACHED_BITS */
};

/* What comes after struct event where the reason is REASON_FILE. */
struct file_detail {
	__u64 ino;
	__u32 dev;
	__u8 operation; /* enum file_operation */
	__u8 verdict;   /* enum file_verdict */
	__u8 seen;  /* 1: the path is as the task sees it; else as its file system has it, where it is long its end */
	__u8 begin; /* of the path */
	__u8 path[FILE_PATH]; /* NUL-terminated; from the task, so never trusted */
};

/* How the kernel knows an open file: asked of files_identify. */
struct file_identity {
	__u64 ino;
	__u32 dev;
	__u32 generation;
	__u32 fd; /* in */
	__u32 reserved;
};

/* Classes that an endpoint or a container is in, as far as programs know them. */
#define ENDPOINT_CLASSES 4
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

/* Class ids; 0: no further one. */
struct class_set {
	enum class_bit ids[ENDPOINT_CLASSES];
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
	__u64 phase;  /* enum bandwidth_phase */
	/*
	 * Connections that sent a packet of some size: in the present generation, which the first counts, and before.
	 * Of the host's budget, weights of containers.
	 */
	__u64 generation;
	__u64 generation_due;
	__u64 senders;
	__u64 senders_before;
	__u64 host_generation;  /* in which the container has been counted */
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

enum service_sizes {
	SERVICE_PEERS = 8,      /* virtual addresses that a UDP socket goes to at a time */
	SERVICE_DRAWS = 3,      /* tries by chance, before all are looked through */
	SERVICE_LOOK = 256,     /* of which so many */
	SERVICES_SHARED = 1,    /* set of those that all containers share: no cgroup id is so low */
	SERVICE_AT_HAND = 8,    /* slots that a service has in itself */
	SERVICE_BLOCK = 64,     /* slots that are found together, of the others: few blocks stay in the cache */
	SERVICE_PLACES = 65536, /* for backends of all services */
	SERVICE_SOCKETS = 65536,
};

/* Key of service_states, whose values are u64. */
enum service_state {
	SERVICE_WATCHED = 0, /* CLOCK_MONOTONIC, ns: until then a connection may show that a backend is well again */
	SERVICE_TELLS = 1,   /* 1: there is, or was, a service with SERVICE_TELL_VIP. Written by user space */
	SERVICE_STATES = 2,
};

enum service_flag {
	SERVICE_LEAST = 1,    /* of two by chance the one with fewer connections; else by chance alone */
	SERVICE_AFFINITY = 2, /* by the client's container */
	SERVICE_TELL_VIP = 4, /* getpeername() of TCP gives the virtual address */
	SERVICE_PASS = 8,     /* without a backend it goes on to the virtual address itself */
};

/* Key of services, of service_ends and of service_misses. */
struct service_key {
	__u64 set;        /* cgroup id of the container whose own it is, or SERVICES_SHARED */
	__u8 address[16]; /* network byte order; IPv4 as v4-mapped */
	__u16 port;       /* host byte order */
	__u16 protocol;   /* IPPROTO_TCP or IPPROTO_UDP; MPTCP is TCP */
	__u32 reserved;
};

/*
 * A virtual address. Written whole by user space, after what it names. The first SERVICE_AT_HAND slots follow it; the
 * others are in service_slots.
 */
struct service {
	__u64 table; /* another number for each list of slots */
	__u32 count; /* slots from 0 on; 0: no backend */
	__u32 near;  /* slots after these, of the backends on this host, which come first */
	enum service_flag flags;
	enum class_bit class; /* by which rules name it */
};

/* Key of service_slots. */
struct service_slot_key {
	__u64 table;
	__u32 block; /* SERVICE_BLOCK slots each, after those at hand */
	__u32 reserved;
};

/*
 * A draw by weight takes two steps (Vose's alias method): a slot, all as likely, then in it the one if a random
 * number is below `first`, else the other. Four slots are a line of the cache, and what they name is one each, so
 * that a choice among thousands takes little longer than among two.
 */
struct service_slot {
	__u32 place; /* key of service_backends */
	__u32 other;
	__u32 first;
	__u16 weight;
	__u16 other_weight;
};

/* What is known of a backend, in one line of the cache: made and removed by user space, written by programs. */
struct service_backend {
	__u64 avoided_until; /* CLOCK_MONOTONIC, ns; 0: not avoided */
	__u64 avoid;         /* ns that it is avoided for */
	__u64 connects;      /* times that it was chosen */
	__u64 refused;       /* connections that it, or its host, refused */
	__u64 unanswered;    /* connections whose first SYN was sent again */
	__u32 live;          /* TCP connections of the containers to it, by whatever address */
	__u16 port;          /* host byte order */
	__u16 reserved;
	__u8 address[16];
};

/*
 * That a TCP socket is connected to a backend, at the place that the socket's cookie says: as much is known by its
 * remote address, but not found as fast. One that finds the place in use goes without.
 */
struct service_socket {
	__u64 cookie; /* 0: nobody's */
	__u16 place;  /* of the backend */
	__u8
	    counted; /* 1: in `live` of the backend, until it ends; 0: it is about to connect, and may be forgotten */
	__u8 level;  /* of the container whose services led it there */
	enum class_bit class; /* of the service */
};

/* Where a socket went instead of to a virtual address. */
struct service_peer {
	__u64 table; /* of struct service at that time; 0: none */
	__u8 vip[16];
	__u8 backend[16];
	__u16 vip_port;
	__u16 backend_port;
	enum class_bit class; /* of the service */
};

/* What is remembered of a UDP socket that goes to virtual addresses, or of one that is to be told of them. */
struct service_note {
	__u64 set;
	__u32 level;             /* of the container whose program has written it */
	enum service_sizes next; /* peer that the next new one takes the place of */
	__u32 connected;         /* 1 + peer that it is connected to; 0: none */
	__u32 reserved;
	struct service_peer peers[SERVICE_PEERS];
};

/* Value of terminations, by cgroup id: a container whose rules for egress hold for connections that exist
 * too. */
struct termination {
	__u64 set; /* as policy.egress_set, and so on */
	__u32 by_class;
	__u32 level;
	__u64 chain[LEVELS]; /* as of struct port_owner */
};

/* Words of struct listening_ports. */
#define LISTENING_WORDS 1024

/* One line: ports that the pass has found listeners on. */
struct listening_ports {
	__u64 ports[LISTENING_WORDS];
};

/* What a pass that ends sockets writes of each. Addresses in network byte order, IPv4 as v4-mapped. */
struct ended_socket {
	__u64 cgroup_id; /* the container whose policy wants it */
	__u64 cookie;    /* 0: nobody has asked for it yet */
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u32 device; /* index of the one that it is bound to, or 0 */
	__u16 family; /* AF_*: IPv4 over an IPv6 socket is AF_INET6 */
	__u16 protocol;
	__u32 ended; /* 1: it is; 0: user space is to do it */
};

_Static_assert(sizeof(struct policy) == 128, "policy has a hole");
_Static_assert(sizeof(struct marking) == 16, "marking has a hole");
_Static_assert(sizeof(struct socket_note) == 20, "socket_note has a hole");
_Static_assert(sizeof(struct service_key) == 32, "service_key has a hole");
_Static_assert(sizeof(struct service_slot) == 16, "service_slot has a hole");
_Static_assert(sizeof(struct service_backend) == 64, "service_backend is one line");
_Static_assert(sizeof(struct service_socket) == 16, "service_socket has a hole");
_Static_assert(sizeof(struct service_note) == 24 + 48 * SERVICE_PEERS, "service_note has a hole");
_Static_assert(sizeof(struct egress_block) == 32, "egress_block has a hole");
_Static_assert(sizeof(struct egress_class) == 16, "egress_class has a hole");
_Static_assert(sizeof(struct egress_recent) == 64, "egress_recent has a hole");
_Static_assert(sizeof(struct ended_socket) == 64, "ended_socket has a hole");
_Static_assert(sizeof(struct port_owner) == 8 * LEVELS, "port_owner has a hole");
_Static_assert(sizeof(struct counters) == 8 * (27 + 2 * REASONS), "counters has a hole");
_Static_assert(sizeof(struct socket_tally) == 32 + 4 * RTT_BUCKETS, "socket_tally has a hole");
_Static_assert(sizeof(struct connection_count) == 112, "connection_count has a hole");
_Static_assert(sizeof(struct connection_rule) == 48, "connection_rule has a hole");
_Static_assert(sizeof(struct connection_share) == 24, "connection_share has a hole");
_Static_assert(sizeof(struct connection_ends) == 48, "connection_ends has a hole");
_Static_assert(sizeof(struct port_remap_set) == 128, "port_remap_set has a hole");
_Static_assert(sizeof(struct file_key) == 24, "file_key has a hole");
_Static_assert(sizeof(struct file_detail) == 16 + FILE_PATH, "file_detail has a hole");
_Static_assert(sizeof(struct file_identity) == 24, "file_identity has a hole");
_Static_assert(sizeof(struct event) == 88, "event has a hole");
_Static_assert(sizeof(struct endpoint_key) == 20, "endpoint_key has a hole");
_Static_assert(sizeof(struct endpoint_found) == 40, "endpoint_found has a hole");
