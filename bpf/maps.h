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

/* One entry, 0. It widens before a port gets its owner, and is made exact when a daemon starts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_bounds);
} port_bounds SEC(".maps");

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

/* Connections of a container over all destinations. Made and removed by user space. */
struct connection_totals {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct connection_count counts[CONNECTION_TOTALS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct connection_totals);
} connect_totals SEC(".maps");

/*
 * A hash table that never moves or frees an entry: a place whose count is 0 is as good as free. So a program that was
 * interrupted between finding a place and locking it can see by what is in the place whether it still is the one.
 */
struct connection_set {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct connection_count places[CONNECTION_PLACES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CONNECTION_SETS);
	__type(key, __u32);
	__type(value, struct connection_set);
} connect_sets SEC(".maps");

struct connection_rules {
	struct connection_rule rules[CONNECTION_RULES];
	__u32 max_ports; /* of POLICY_COUNT_PORTS */
	__u32 reserved;
};

/* By cgroup id. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct connection_rules);
} connect_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_connections);
} sock_connects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SOCKET_HOLDS);
	__type(key, __u32);
	__type(value, struct socket_hold);
} socket_holds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection_shares);
} connect_shares SEC(".maps");

/* Connections in timewait whose ends are known. One that finds it full lapses by time alone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CLOSED_CONNECTIONS);
	__type(key, struct connection_ends);
	__type(value, struct closed_connection);
} closed_connects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection_pass);
} connect_pass SEC(".maps");

/* Ports of containers with mappings. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REMAP_SETS);
	__type(key, __u32);
	__type(value, struct port_remap_set);
} port_remaps SEC(".maps");

/* Accepted sockets have their listener's (BPF_F_CLONE). */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct remap_note);
} remap_notes SEC(".maps");
/*
 * enum file_verdict by file_set and inode, of what rules name: containers with the same rules share them. Made and
 * removed by user space (isolator/containers/files.ts).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct file_key);
	__type(value, __u32);
} file_rules SEC(".maps");

/*
 * The policies of containers that have file rules, by cgroup id: a copy for the programs that are attached to no
 * cgroup, and have no storage of one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct policy);
} file_policies SEC(".maps");

/* What those containers were refused of files, likewise. Added to their counters by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct counters);
} file_counts SEC(".maps");

/* Verdicts that were found before (file_cache.h). User space makes them void by writing all anew. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct file_cache);
} file_cache SEC(".maps");

/* The instance's node: who is not below it is none of its containers. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} file_root SEC(".maps");

/*
 * Endpoints of the cluster by slot (endpoint_state): a whole set comes into use by one write. User space makes the
 * inner maps as large as they have to be.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, ENDPOINT_SLOTS);
	__type(key, __u32);
	__array(
	    values, struct {
		    __uint(type, BPF_MAP_TYPE_HASH);
		    __uint(map_flags, BPF_F_NO_PREALLOC);
		    __uint(max_entries, 1);
		    __uint(key_size, sizeof(struct endpoint_key));
		    __uint(value_size, sizeof(struct class_set));
	    });
} endpoint_sets SEC(".maps");

/* Blocks of addresses, likewise. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, ENDPOINT_SLOTS);
	__type(key, __u32);
	__array(
	    values, struct {
		    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
		    __uint(map_flags, BPF_F_NO_PREALLOC);
		    __uint(max_entries, 1);
		    __uint(key_size, sizeof(struct address_block));
		    __uint(value_size, sizeof(struct class_set));
	    });
} endpoint_blocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct endpoint_state);
} endpoint_states SEC(".maps");

/* Classes of the containers of this host, by cgroup id; one that is in none has no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct class_set);
} owner_classes SEC(".maps");

/* Addresses of this host but for loopback. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct address_block);
	__type(value, __u32);
} host_addresses SEC(".maps");

/* Rules for blocks of addresses, by set of rules: what the longest block that holds an address says goes for all. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct egress_block);
	__type(value, struct egress_ranges);
} egress_blocks SEC(".maps");

/* Rules for classes, by set of rules. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct egress_class);
	__type(value, struct egress_ranges);
} egress_classes SEC(".maps");

struct egress_recents {
	struct egress_recent places[EGRESS_RECENTS];
};

/* Of each CPU. Programs' own. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct egress_recents);
} egress_recent SEC(".maps");

/* For which it holds. Written by user space only; 0: nothing is remembered. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} egress_epoch SEC(".maps");

/* How often a rule has refused, or reported. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct egress_hit);
	__type(value, __u64);
} egress_hits SEC(".maps");

/* By cgroup id. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct marking_set);
} marking_sets SEC(".maps");

/* Markings of the rules of a set, by number. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct marking_rule);
	__type(value, struct marking);
} marking_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct marking_note);
} marking_notes SEC(".maps");

/* By cgroup id. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct bandwidth_rule);
} bandwidth_rules SEC(".maps");

/* By cgroup id. Made and removed by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct bandwidth);
} bandwidths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_bandwidth);
} sock_bandwidth SEC(".maps");

/* By cgroup id, of the containers that user space wants to know it of. Made and removed by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct socket_tally);
} socket_tallies SEC(".maps");

/* Which container a timewait socket was of, until a pass does not find it any more. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TIMEWAITS);
	__type(key, __u64);
	__type(value, struct timewait);
} timewaits SEC(".maps");

/* Containers whose rules end what they deny. Written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct termination);
} terminations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct listening_ports);
} listening SEC(".maps");

struct service_entry {
	struct service service;
	struct service_slot slots[SERVICE_AT_HAND];
};

/* Virtual addresses by set: a daemon's, and that of each `run`. All of these are written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct service_key);
	__type(value, struct service_entry);
} services SEC(".maps");

struct service_block {
	struct service_slot slots[SERVICE_BLOCK];
};

/* Slots by table: one that a service names never changes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct service_slot_key);
	__type(value, struct service_block);
} service_slots SEC(".maps");

/* By place. So that user space may map it, it begins with a page: each value is a line of the cache then. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SERVICE_PLACES);
	__type(key, __u32);
	__type(value, struct service_backend);
} service_backends SEC(".maps");

/* Place of a backend by set and address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SERVICE_PLACES);
	__type(key, struct service_key);
	__type(value, __u32);
} service_ends SEC(".maps");

/* Whose a place is: taken by who adds an entry. Not read by programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SERVICE_PLACES);
	__type(key, __u32);
	__type(value, struct service_key);
} service_places SEC(".maps");

/* Cookies are given out one after another, so that those of new sockets are side by side. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SERVICE_SOCKETS);
	__type(key, __u32);
	__type(value, struct service_socket);
} service_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SERVICE_STATES);
	__type(key, enum service_state);
	__type(value, __u64);
} service_states SEC(".maps");

/* How often there was no backend for a virtual address. Made by programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct service_key);
	__type(value, __u64);
} service_misses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct service_note);
} service_notes SEC(".maps");
