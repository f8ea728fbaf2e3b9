/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connections that are counted and limited. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/classes.h"
#include "layout/destination.h"
#include "layout/levels.h"

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

_Static_assert(sizeof(struct connection_count) == 112, "connection_count has a hole");
_Static_assert(sizeof(struct connection_rule) == 48, "connection_rule has a hole");
_Static_assert(sizeof(struct connection_share) == 24, "connection_share has a hole");
_Static_assert(sizeof(struct connection_ends) == 48, "connection_ends has a hole");
