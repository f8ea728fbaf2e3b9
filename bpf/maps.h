/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every map. All are made once for an instance, pinned, and shared by all of its containers. */
#pragma once

#include "kernel.h"
#include "layout.h"

/* Containers with a ring of events at one time. */
#define MAX_RINGS 8192

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
 * cgroup id -> ring of events. A ring has one reader, so each reading process brings its own, and a container's
 * events go to the process that looks after it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_RINGS);
	__type(key, __u64);
	__array(
	    values, struct {
		    __uint(type, BPF_MAP_TYPE_RINGBUF);
		    __uint(max_entries, 65536);
	    });
} event_rings SEC(".maps");
