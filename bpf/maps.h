/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every map. All are made once for an instance, pinned, and shared by all of its containers. */
#pragma once

#include "kernel.h"
#include "layout.h"

/* struct policy by the cgroup a program is attached to: kept and freed by the kernel with the cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct policy);
} policies SEC(".maps");

/* struct counters, likewise. The programs write it, user space only reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct counters);
} counters SEC(".maps");

/* port (host byte order) -> owner, for all of the instance's containers. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct port_owner);
} port_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_note);
} socket_notes SEC(".maps");

/*
 * Rings of events, one for each process that reads them (a ring has one reader): a container's events go to the
 * process that looks after it, by policy.ring. Not by container: the kernel waits about 10 ms (synchronize_rcu) at
 * each change of a map of maps.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, NO_RING);
	__type(key, __u32);
	__array(
	    values, struct {
		    __uint(type, BPF_MAP_TYPE_RINGBUF);
		    __uint(max_entries, 65536);
	    });
} event_rings SEC(".maps");
