/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Virtual addresses and their backends. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/classes.h"

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

_Static_assert(sizeof(struct service_key) == 32, "service_key has a hole");
_Static_assert(sizeof(struct service_slot) == 16, "service_slot has a hole");
_Static_assert(sizeof(struct service_backend) == 64, "service_backend is one line");
_Static_assert(sizeof(struct service_socket) == 16, "service_socket has a hole");
_Static_assert(sizeof(struct service_note) == 24 + 48 * SERVICE_PEERS, "service_note has a hole");
