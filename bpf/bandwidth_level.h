/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bandwidth: the level, which is what a connection may have in a second so that all of them together have the rate.
 * It is found in steps: what was sent, or received, in a step is measured, and the level is moved by what was wanted
 * over that. What is ahead of the rate is a debt of time, what is behind it a credit.
 */
#pragma once

#include "accounting.h"
#include "container.h"

#define NS_PER_SEC 1000000000ULL
#define NS_PER_MS  1000000ULL
#define FAR_AWAY   (~0ULL)
/* In which debt is repaid, at least. */
#define REPAY (250 * NS_PER_MS)
/* TCP packets are dropped beyond this only: pacing has failed, or could not begin. */
#define MAX_TCP_DEBT NS_PER_SEC
/* Departure times further away than this are none. */
#define MAX_DELAY (2 * NS_PER_SEC)
/* What is beyond is forgiven: more than what is dropped for, else nothing ever were. */
#define MAX_DEBT  (MAX_DELAY + NS_PER_SEC / 2)
#define MIN_LEVEL 2000

static __always_inline __u64 clamp64(__u64 value, __u64 least, __u64 most)
{
	return value < least ? least : value > most ? most : value;
}

/*
 * At most 64 KiB of GSO go at once: less is no measure. What is received is held back by those who send, which takes
 * longer.
 */
static __always_inline __u64 default_burst(__u64 rate, __u32 side)
{
	__u64 bytes = rate / (side == BANDWIDTH_INGRESS ? 10 : 50),
	      least = side == BANDWIDTH_INGRESS ? 131072 : 65536;

	return bytes < least ? least : bytes;
}

static __always_inline __u64 ns_of(__u64 bytes, __u64 rate)
{
	return bytes * NS_PER_SEC / rate;
}

/* Positive: ahead of now. */
static __always_inline __s64 debt_of(const struct bandwidth_state *state, __u64 now)
{
	return state->clock - now;
}

/* Lets the clock go on by so many bytes; credit does not grow over the burst. */
static __always_inline void charge(struct bandwidth_state *state, __u64 bytes, __u64 now)
{
	__u64 clock = state->clock, earliest = now - state->credit, rate = state->rate;

	if (!rate)
		return;
	if ((__s64)(clock - earliest) < 0)
		__sync_val_compare_and_swap(&state->clock, clock, earliest);
	count(&state->clock, ns_of(bytes, rate));
}

/* What a container, or the host, may send in a second now. */
static __noinline __u64 rate_in_force(const struct bandwidth_rule *rule, __u32 side)
{
	__u64 rate = rule->rate[side & 1], host_id = 0, share, most;
	struct bandwidth *host;

	if (!rule->weight)
		return rate;
	host = bpf_map_lookup_elem(&bandwidths, &host_id);
	if (!host || !host->sides[side & 1].rate)
		return rate;
	most = host->sides[side & 1].rate;
	share = host->sides[side & 1].level * rule->weight;
	if (share > most)
		share = most;
	return rate && rate < share ? rate : share;
}

/*
 * What a connection may send at once. Where the round trip is short, the kernel makes packets of 64 KiB whatever the
 * pacing rate is (tcp_tso_autosize()), and then waits the longer: too long for a slow one to keep pace with the
 * level.
 */
static __always_inline __u64 train_of(__u64 level)
{
	return clamp64(level / 128, 3000, 65536);
}

static __always_inline __u64 train_time(const struct bandwidth_state *state)
{
	return ns_of(train_of(state->level), state->level);
}

/* A step is long enough for several packets of each connection. */
static __always_inline void begin(struct bandwidth_state *state, enum bandwidth_phase phase, __u64 now, __u64 span)
{
	state->phase = phase;
	state->begun = now;
	state->bytes = 0;
	state->other = 0;
	state->passed = state->passed_bytes;
	state->budget = state->rate ? state->rate * (span / 1000) / 800000 + 65536 : FAR_AWAY;
	__sync_lock_test_and_set(&state->due, now + span);
}

/* @param slow not paced here: the host's budget, whose containers have steps of their own, and what is received */
static __always_inline void begin_step(struct bandwidth_state *state, __u64 now, bool slow)
{
	__u64 span = slow ? 50 * NS_PER_MS : 10 * NS_PER_MS, trains, buffer;

	if (state->rate) {
		buffer = ns_of(65536, state->rate);
		trains = slow ? 0 : train_time(state) * 2;
		span = clamp64(buffer > trains ? buffer : trains, span, 300 * NS_PER_MS);
	}
	begin(state, BANDWIDTH_MEASURING, now, span);
}

/* Senders learn of a new level with their next ACK. */
static __always_inline void settle(struct bandwidth_state *state, enum bandwidth_phase phase, __u64 now, bool slow)
{
	__u64 span = slow ? 50 * NS_PER_MS : clamp64(train_time(state) * 2, 3 * NS_PER_MS, 300 * NS_PER_MS);

	if (phase == BANDWIDTH_CHANGING && span < 20 * NS_PER_MS)
		span = 20 * NS_PER_MS;
	begin(state, phase, now, span);
}

/* Senders whose packets are lost are away for 200 ms. */
static __always_inline void turn_generation(struct bandwidth_state *state, __u64 now, bool slow)
{
	__u64 span = slow ? 300 * NS_PER_MS : clamp64(train_time(state) * 2, 50 * NS_PER_MS, 400 * NS_PER_MS);

	if (now < state->generation_due)
		return;
	state->senders_before = now - state->generation_due < NS_PER_SEC ? state->senders : 0;
	state->senders = 0;
	state->generation++;
	state->generation_due = now + span;
}

/* What TCP is to send in a second, so that with all else it comes to the rate, and debt is repaid. */
static __always_inline __u64 target_of(const struct bandwidth_state *state, __u32 side, __u64 now, __u64 elapsed)
{
	/* The slower a connection, the longer it takes to learn of anything; and those whose packets are lost. */
	__u64 rate = state->rate, target, other,
	      repay = side == BANDWIDTH_INGRESS ? REPAY * 4 : REPAY + 8 * train_time(state);
	/* Half of the burst is left to what comes at once; all of it where senders may be away for as long as it
	 * takes. */
	__s64 debt = debt_of(state, now) + (side == BANDWIDTH_INGRESS ? 0 : (__s64)(state->credit / 2));

	if (debt > 0)
		target = (__u64)debt > repay ? 0 : rate - rate * ((__u64)debt / 1000) / (repay / 1000);
	else
		target = rate + rate * ((__u64)-debt / 1000) / (repay / 1000);
	target = clamp64(target, rate / 4, rate + rate / 16);
	other = state->other * NS_PER_SEC / elapsed;
	if (other > rate / 2)
		other = rate / 2;
	return target > other + rate / 16 ? target - other : rate / 16;
}

/* Connections that have sent, or got something, lately. */
static __always_inline __u64 senders_of(const struct bandwidth_state *state)
{
	return state->senders > state->senders_before ? state->senders : state->senders_before;
}

/* Whether all of the rate was used. */
static __always_inline bool is_used_up(const struct bandwidth_state *state, __u64 elapsed)
{
	return (state->bytes + state->other) * NS_PER_SEC / elapsed >= state->rate - state->rate / 16;
}

/*
 * The level moves by what was wanted over what was measured, and is never below what all senders could have alike.
 * @returns whether by so much that it must settle
 */
static __always_inline bool move_level(struct bandwidth_state *state, __u32 side, __u64 now, __u64 elapsed)
{
	__u64 rate = state->rate, most = rate + rate / 4, sent = state->bytes * NS_PER_SEC / elapsed,
	      least = MIN_LEVEL;
	__u64 target = target_of(state, side, now, elapsed), factor = 3 << 15, level = state->level, senders;
	bool settling = state->phase == BANDWIDTH_SETTLING;

	senders = senders_of(state);
	if (senders)
		least = clamp64(target / senders, MIN_LEVEL, most);
	if (target < sent + sent / 2)
		factor = (target << 16) / sent;
	if (settling && factor > 65536)
		factor = 65536;
	if (factor > 58982 && factor < 72090)
		factor = (factor + 65536) / 2;
	state->level = clamp64(level * factor >> 16, least, most);
	return state->level > level + level / 8 || state->level < level - level / 8;
}

/* One CPU takes the step; the others go on. @param id cgroup id; 0: the host's budget */
__noinline int bandwidth_step(__u64 id, __u32 side)
{
	struct bandwidth_rule *rule = bpf_map_lookup_elem(&bandwidth_rules, &id);
	struct bandwidth *bandwidth = bpf_map_lookup_elem(&bandwidths, &id);
	__u64 now = bpf_ktime_get_ns(), due, rate, burst, elapsed, most;
	struct bandwidth_state *state;
	bool slow = !id || side == BANDWIDTH_INGRESS;

	if (!rule || !bandwidth)
		return 0;
	state = &bandwidth->sides[side & 1];
	due = state->due;
	if (due == FAR_AWAY || __sync_val_compare_and_swap(&state->due, due, FAR_AWAY) != due)
		return 0;
	rate = rate_in_force(rule, side);
	burst = rule->burst[side & 1];
	if (!rate) {
		state->rate = 0;
		state->level = 0;
		begin_step(state, now, slow);
		return 0;
	}
	state->credit = ns_of(burst ? burst : default_burst(rate, side), rate);
	if (!state->rate) {
		state->clock = now - state->credit / 2;
		state->level = rate + rate / 4;
		state->rate = rate;
		turn_generation(state, now, slow);
		begin_step(state, now, slow);
		return 0;
	}
	/* A share of the host's budget moves a little all the time. */
	if (rate > state->rate + state->rate / 4 || rate < state->rate - state->rate / 4) {
		state->level = clamp64(state->level * ((rate << 16) / state->rate) >> 16, MIN_LEVEL, rate + rate / 4);
		state->rate = rate;
		settle(state, BANDWIDTH_CHANGING, now, slow);
		return 0;
	}
	state->rate = rate;
	turn_generation(state, now, slow);
	elapsed = now - state->begun;
	if (elapsed < 1000)
		elapsed = 1000;
	if (state->phase != BANDWIDTH_CHANGING && !(rule->flags & BANDWIDTH_AUDIT) && is_used_up(state, elapsed))
		state->throttled += elapsed;
	/* Only what goes far beyond the budget is of interest while the level settles. */
	if (state->phase != BANDWIDTH_MEASURING &&
	    (state->phase == BANDWIDTH_CHANGING || state->bytes <= state->budget)) {
		if (state->phase == BANDWIDTH_CHANGING)
			state->clock = now - state->credit / 2;
		begin_step(state, now, slow);
		return 0;
	}
	/* Where nothing is held back, debt says little of what is to come. */
	most = rule->flags & BANDWIDTH_AUDIT ? MAX_TCP_DEBT / 2 : MAX_DEBT;
	if (debt_of(state, now) > (__s64)most)
		state->clock = now + most;
	state->measured = (state->passed_bytes - state->passed) * NS_PER_SEC / elapsed;
	state->measured_at = now;
	if (move_level(state, side, now, elapsed))
		settle(state, BANDWIDTH_SETTLING, now, slow);
	else
		begin_step(state, now, slow);
	return 0;
}

static __always_inline void step_if_due(const struct bandwidth_state *state, __u64 id, __u32 side, __u64 now)
{
	if (now >= state->due || state->bytes > state->budget)
		bandwidth_step(id, side);
}
