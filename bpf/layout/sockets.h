/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is remembered of every socket. See layout.h. */
#pragma once

#include <linux/types.h>

#include "layout/levels.h"

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

_Static_assert(sizeof(struct socket_note) == 20, "socket_note has a hole");
