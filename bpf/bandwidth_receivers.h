/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bandwidth: what a connection has received of late, and with which debt of its container more of it is dropped, so
 * that those with more than their part lose packets before others do.
 */
#pragma once

#include "bandwidth_level.h"

/* Credit of a connection that receives: what it may have at once after a pause. */
#define PART_MS 250LL
#define PART    (PART_MS * (__s64)NS_PER_MS)
#define MANY    16
/* What it has had too much, and is remembered: of many slow ones, what comes at once is more than a second's part. */
#define MAX_PART_DEBT (16 * PART)

/* What is remembered of the connection that a packet is for. */
static __always_inline struct socket_bandwidth *receiver_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	return sk ? bpf_sk_storage_get(&sock_bandwidth, sk, 0, 0) : NULL;
}

/* As debt_of(), of one connection that may receive what the level is. */
static __always_inline __s64 part_debt(const struct socket_bandwidth *note, __u32 level, __u64 now)
{
	__s64 debt = note->clocks[level & (LEVELS - 1)] - now;

	return debt < -PART ? -PART : debt;
}

/* Counts a connection that gets something, once in a generation, and what it gets. */
static __always_inline void count_receiver(struct socket_bandwidth *note, struct bandwidth_state *state, __u32 level,
                                           __u64 bytes, __u64 now)
{
	__u64 *clock = &note->clocks[level & (LEVELS - 1)];
	__s64 debt;

	if (note->receptions[level & (LEVELS - 1)] != state->generation) {
		note->receptions[level & (LEVELS - 1)] = state->generation;
		count(&state->senders, 1);
	}
	if (!state->level)
		return;
	debt = part_debt(note, level, now) + ns_of(bytes, state->level);
	*clock = now + (debt < MAX_PART_DEBT ? debt : MAX_PART_DEBT);
}

/*
 * The debt with which what comes for a connection is dropped: that of a burst for one alone; else the more it has had
 * lately the less, so that those with more than their part lose packets before others do, and those with much more
 * while there is credit yet: from one and a half bursts down to a credit of a fifth, among many of a half. A sender
 * that has lost some waits for 200 ms and more, and may then send what it has left. Among many there are always some
 * that wait: what they leave is not for one that has had its part.
 */
static __always_inline __s64 most_debt(const struct socket_bandwidth *note, const struct bandwidth_state *state,
                                       __u32 level, __u64 now)
{
	__u64 senders = senders_of(state);
	__s64 had, most = senders < MANY ? PART * 9 / 8 : PART * 11 / 8;

	if (!note || senders <= 1)
		return state->credit;
	had = part_debt(note, level, now) + PART;
	if (had > most)
		had = most;
	return state->credit * 3 / 2 - (__u64)had / NS_PER_MS * state->credit * 3 / (PART_MS * 2);
}
