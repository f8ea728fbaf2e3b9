/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports: what was reported of a socket already, so that one that goes on with a port that is not allowed is reported
 * once. The note of it is on the socket.
 */
#pragma once

#include "container.h"

/*
 * In audit mode a socket goes on with a port that is not allowed, and every later hook would report it again. The
 * first report leaves a note; true: there was one already. Enforced sockets never get that far.
 */
static __always_inline bool reported_before(const struct policy *policy, struct socket_note *note)
{
	__u8 *reported;

	if (!refuses_nothing(policy) || !note)
		return false;
	reported = &note->reported[policy->level & (LEVELS - 1)];
	if (*reported & REPORTED_PORT)
		return true;
	*reported |= REPORTED_PORT;
	return false;
}

static __always_inline void mark_reported(const struct policy *policy, struct socket_note *note, __u8 what)
{
	/* What is off reports nothing, and hides nothing from its parent. */
	if (note && policy->enforcement != ENFORCE_OFF)
		note->reported[policy->level & (LEVELS - 1)] |= what;
}

static __always_inline bool reported_at_any_level(const struct socket_note *note, __u8 what)
{
	for (int i = 0; i < LEVELS; i++)
		if (note->reported[i] & what)
			return true;
	return false;
}

static __always_inline __u64 note_flags(const struct policy *policy)
{
	return refuses_nothing(policy) ? BPF_SK_STORAGE_GET_F_CREATE : 0;
}
