/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Escape: the ways out of a container's node, and into the programs and maps that police it, for a task that has the
 * rights to go them (README.md, "Escape"). All by BPF LSM; every hook here runs for the cgroup of the caller.
 */
#pragma once

#include "marking_sockets.h"
#include "sockets.h"

/* Whether this level's policy lets the caller do all of it. */
static __always_inline bool may_escape(const struct policy *policy)
{
	return policy->enforcement && !(policy->flags & POLICY_DENY_ESCAPE);
}

static __noinline int refuse_escape(const struct policy *policy, enum reason reason, __u64 node)
{
	struct event event = {.reason = reason, .owner = node};

	return denied_below() ? ALLOW : refuse(policy, &event);
}

/* Both are 16 bytes, padded with zeroes. */
static __always_inline bool same_name(const char *name, const char *other)
{
	const __u64 *a = (const void *)name, *b = (const void *)other;

	return a[0] == b[0] && a[1] == b[1];
}

/* "cgroup.procs" or "cgroup.threads" */
static __always_inline bool moves_processes(struct dentry *dentry)
{
	const unsigned char *text = BPF_CORE_READ(dentry, d_name.name);
	char procs[16] = "cgroup.procs", threads[16] = "cgroup.threads", name[16] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), text);
	return same_name(name, procs) || same_name(name, threads);
}

/* Whether a directory of cgroup2 is the container's node or below it: inode numbers are cgroup ids. */
static __always_inline bool is_inside(struct dentry *directory, __u64 node)
{
	for (int i = 0; i < MAX_DEPTH; i++) {
		struct dentry *parent = BPF_CORE_READ(directory, d_parent);

		if (BPF_CORE_READ(directory, d_inode, i_ino) == node)
			return true;
		if (parent == directory)
			break;
		directory = parent;
	}
	return false;
}

/* No hook sees the write itself, so it is the open(): whoever opened such a file outside can hand it in. */
static __always_inline int escape_file_open(const struct policy *policy, struct file *file)
{
	struct dentry *directory, *dentry;

	if (!(file->f_mode & FMODE_WRITE) || file->f_inode->i_sb->s_magic != CGROUP2_SUPER_MAGIC)
		return ALLOW;
	if (may_escape(policy))
		return ALLOW;
	dentry = BPF_CORE_READ(file, f_path.dentry);
	directory = BPF_CORE_READ(dentry, d_parent);
	if (!moves_processes(dentry) || is_inside(directory, policy->cgroup_id))
		return ALLOW;
	return refuse_escape(policy, REASON_CGROUP, BPF_CORE_READ(directory, d_inode, i_ino));
}

/*
 * clone3() with CLONE_INTO_CGROUP, wherever to: the destination is behind a file descriptor in the caller's memory,
 * which another thread may change after the kernel has read it. Those who use it (systemd) go on without.
 */
static __always_inline int escape_task_alloc(unsigned long clone_flags)
{
	const struct policy *policy;

	if (!(clone_flags & CLONE_INTO_CGROUP))
		return ALLOW;
	policy = container_policy();
	return may_escape(policy) ? ALLOW : refuse_escape(policy, REASON_CLONE, 0);
}

/* A file system is about to be mounted, by mount() or by fsconfig(FSCONFIG_CMD_CREATE). Bind mounts do not come here.
 */
static __always_inline int escape_sb_set_mnt_opts(struct super_block *sb)
{
	unsigned long magic = BPF_CORE_READ(sb, s_magic);
	const struct policy *policy;

	if (magic != CGROUP2_SUPER_MAGIC && magic != BPF_FS_MAGIC)
		return ALLOW;
	policy = container_policy();
	return may_escape(policy) ? ALLOW : refuse_escape(policy, REASON_MOUNT, 0);
}

/*
 * A map of the isolator's, of any instance and build: known by type and name. Every map of maps.h is here, and the
 * rings that user space makes.
 */
static __always_inline bool is_isolators(struct bpf_map *map)
{
	char policies[16] = "policies", counters[16] = "counters", owners[16] = "port_owners",
	     bounds[16] = "port_bounds", notes[16] = "socket_notes", rings[16] = "event_rings",
	     events[16] = "isolator_events", totals[16] = "connect_totals", sets[16] = "connect_sets",
	     rules[16] = "connect_rules", sockets[16] = "sock_connects", closed[16] = "closed_connects",
	     pass[16] = "connect_pass", rates[16] = "bandwidth_rules", bandwidths[16] = "bandwidths",
	     paced[16] = "sock_bandwidth", files[16] = "file_rules", file_policies[16] = "file_policies",
	     file_counts[16] = "file_counts", root[16] = "file_root", remaps[16] = "port_remaps",
	     remap[16] = "remap_notes", endpoints[16] = "endpoint_sets", blocks[16] = "endpoint_blocks",
	     states[16] = "endpoint_states", classes[16] = "owner_classes", addresses[16] = "host_addresses",
	     one_set[16] = "endpoint_set", one_block[16] = "endpoint_block", holds[16] = "socket_holds",
	     egress[16] = "egress_blocks", matrix[16] = "egress_classes", hits[16] = "egress_hits",
	     tallies[16] = "socket_tallies", timewaits[16] = "timewaits", shares[16] = "connect_shares",
	     terminated[16] = "terminations", listeners[16] = "listening", services[16] = "services",
	     slots[16] = "service_slots", backends[16] = "service_backend", misses[16] = "service_misses",
	     peers[16] = "service_notes", markings[16] = "marking_rules", marking_sets[16] = "marking_sets",
	     marked[16] = "marking_notes", ends[16] = "service_ends", places[16] = "service_places",
	     avoided[16] = "service_states", connected[16] = "service_sockets", recent[16] = "egress_recent",
	     epoch[16] = "egress_epoch", verdicts[16] = "file_cache";
	char name[16] = {};

	bpf_core_read(name, sizeof(name), &map->name);
	switch (BPF_CORE_READ(map, map_type)) {
	case BPF_MAP_TYPE_CGROUP_STORAGE:
		return same_name(name, policies);
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		return same_name(name, counters);
	case BPF_MAP_TYPE_ARRAY:
		return same_name(name, owners) || same_name(name, bounds) || same_name(name, sets) ||
		       same_name(name, pass) || same_name(name, states) || same_name(name, holds) ||
		       same_name(name, shares) || same_name(name, listeners) || same_name(name, remaps) ||
		       same_name(name, backends) || same_name(name, avoided) || same_name(name, connected) ||
		       same_name(name, epoch) || same_name(name, verdicts);
	case BPF_MAP_TYPE_SK_STORAGE:
		return same_name(name, notes) || same_name(name, sockets) || same_name(name, remap) ||
		       same_name(name, paced) || same_name(name, peers) || same_name(name, marked);
	case BPF_MAP_TYPE_HASH:
		return same_name(name, totals) || same_name(name, rules) || same_name(name, closed) ||
		       same_name(name, files) || same_name(name, file_policies) || same_name(name, file_counts) ||
		       same_name(name, classes) || same_name(name, one_set) || same_name(name, matrix) ||
		       same_name(name, hits) || same_name(name, tallies) || same_name(name, timewaits) ||
		       same_name(name, rates) || same_name(name, bandwidths) || same_name(name, terminated) ||
		       same_name(name, services) || same_name(name, slots) || same_name(name, misses) ||
		       same_name(name, markings) || same_name(name, marking_sets) || same_name(name, ends) ||
		       same_name(name, places);
	case BPF_MAP_TYPE_CGROUP_ARRAY:
		return same_name(name, root);
	case BPF_MAP_TYPE_LPM_TRIE:
		return same_name(name, addresses) || same_name(name, one_block) || same_name(name, egress);
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return same_name(name, rings) || same_name(name, endpoints) || same_name(name, blocks);
	case BPF_MAP_TYPE_RINGBUF:
		return same_name(name, events);
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return same_name(name, recent);
	default:
		return false;
	}
}

/* A file descriptor of a map is about to be given out: by its id, by its pin, or to who makes one. */
static __always_inline int escape_bpf_map(struct bpf_map *map)
{
	const struct policy *policy = container_policy();

	if (may_escape(policy) || !is_isolators(map))
		return ALLOW;
	return refuse_escape(policy, REASON_BPF, 0);
}

/*
 * A later program on the same node can turn a refusal back by bpf_set_retval(0): all that run where the isolator
 * refuses. Programs for packets and devices can only refuse more; but those that see packets or set socket options
 * can change a marking.
 */
static __always_inline bool could_undo(const struct policy *policy, struct bpf_prog *program)
{
	switch (BPF_CORE_READ(program, type)) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
		return true;
	case BPF_PROG_TYPE_LSM:
		return BPF_CORE_READ(program, expected_attach_type) == BPF_LSM_CGROUP;
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SOCK_OPS:
		return marks(policy);
	default:
		return false;
	}
}

/* A file descriptor of a program, likewise. Without one nothing can be detached, attached, replaced or traced. */
static __always_inline int escape_bpf_prog(struct bpf_prog *program)
{
	const struct policy *policy = container_policy();
	struct bpf_map *shared, *per_cpu;

	if (may_escape(policy))
		return ALLOW;
	if (!could_undo(policy, program)) {
		shared = BPF_CORE_READ(program, aux, cgroup_storage[0]);
		per_cpu = BPF_CORE_READ(program, aux, cgroup_storage[1]);
		if ((!shared || !is_isolators(shared)) && (!per_cpu || !is_isolators(per_cpu)))
			return ALLOW;
	}
	return refuse_escape(policy, REASON_BPF, 0);
}
