/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sockets that are ended since rules have come to deny what they do. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/levels.h"

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

_Static_assert(sizeof(struct ended_socket) == 64, "ended_socket has a hole");
