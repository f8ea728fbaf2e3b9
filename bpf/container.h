/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The container whose level a program runs for, and how a verdict of its policy is counted and reported. */
#pragma once

#include "maps.h"

/* What a program returns: the same two numbers for every cgroup hook used here. */
#define DENY  0
#define ALLOW 1

/* Storage of the cgroup that the program is attached to: never NULL, zeroed until user space writes it. */
static __always_inline const struct policy *container_policy(void)
{
	return bpf_get_local_storage(&policies, 0);
}

static __always_inline struct counters *container_counters(void)
{
	return bpf_get_local_storage(&counters, 0);
}

/*
 * A child's program runs before its parent's, and also after it denied: then the parent's must neither judge nor
 * count again. Packet, sock_ops, recvmsg and name hooks do not have the helper; there the note on the socket serves.
 */
static __always_inline bool denied_below(void)
{
	return bpf_get_retval() != 0;
}

/* A process-context hook could be preempted by another program on the same CPU, so a plain += could lose one. */
static __always_inline void count(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

/* Sends an event; one that cannot be sent is counted. Fills in everything that is the same for all events. */
static __noinline void emit(const struct policy *policy, struct counters *counters, struct event *event)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 slot = policy->ring;
	void *ring;

	event->time = bpf_ktime_get_boot_ns();
	event->cgroup_id = policy->cgroup_id;
	/* A packet may leave in any process's time. */
	if (event->reason != REASON_BANDWIDTH && (event->reason != REASON_MARKING || event->option) &&
	    !event->packet) {
		event->pid = BPF_CORE_READ(task, tgid);
		event->uid = BPF_CORE_READ(task, cred, uid.val);
		bpf_core_read(event->comm, sizeof(event->comm), &task->comm);
	}
	/* Readers look at their ring by a timer: no wake-up. */
	ring = bpf_map_lookup_elem(&event_rings, &slot);
	if (!ring || bpf_ringbuf_output(ring, event, sizeof(*event), BPF_RB_NO_WAKEUP))
		count(&counters->events_lost, 1);
}

/* Fills in what an event about a packet tells of its socket. @param sk skb->sk */
static __always_inline void report_socket(struct event *event, struct bpf_sock *sk)
{
	if (sk)
		sk = bpf_sk_fullsock(sk);
	if (sk) {
		event->family = sk->family;
		event->protocol = sk->protocol;
		event->port = sk->src_port;
	}
}

/* What is forbidden is done all the same. The two values are told from all others, so that none unknown allows. */
static __always_inline bool refuses_nothing(const struct policy *policy)
{
	return policy->enforcement == ENFORCE_AUDIT || policy->enforcement == ENFORCE_OFF;
}

/*
 * Counts and reports; the verdict, which audit and off turn into ALLOW. `event` has the reason and what goes with it.
 * Kept out of line, like all that is the way of what is not allowed, so that the way of what is allowed stays short.
 */
static __noinline int refuse(const struct policy *policy, struct event *event)
{
	struct counters *counters = container_counters();
	bool audit = refuses_nothing(policy);

	event->audited = audit;
	count(&(audit ? counters->audited : counters->denied)[event->reason & (REASONS - 1)], 1);
	if (policy->enforcement != ENFORCE_OFF)
		emit(policy, counters, event);
	return audit ? ALLOW : DENY;
}
