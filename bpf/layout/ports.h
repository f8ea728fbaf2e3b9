/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose ports are whose. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/levels.h"

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

enum reported {
	REPORTED_PORT = 1,   /* the port that it holds */
	REPORTED_SOURCE = 2, /* the source port of its connect() */
};

enum listener_verdict {
	LISTENER_UNKNOWN = 0,
	LISTENER_ALLOWED = 1,
	LISTENER_FORBIDDEN = 2,
};

_Static_assert(sizeof(struct port_owner) == 8 * LEVELS, "port_owner has a hole");
