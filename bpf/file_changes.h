/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Rules for files: what changes directories and attributes (files.h). These programs are attached to no cgroup, since
 * the kernel has room for ten hooks of cgroups only: they leave at once for who is not in the instance's node, and
 * find the policies of the others by the ids of their cgroups. They are attached while a container has file rules.
 */
#pragma once

#include "file_events.h"

/* Of all control groups, from the root down. */
#define MAX_CGROUPS 64

/* Both are 16 bytes, padded with zeroes. */
static __always_inline bool same_text(const char *text, const char *other)
{
	const __u64 *a = (const void *)text, *b = (const void *)other;

	return a[0] == b[0] && a[1] == b[1];
}

/* What is changed. All that programs know of dentries is here in numbers, so that functions can be given it. */
struct file_place {
	__u64 dentry; /* 0: none */
	__u64 sb;
	__u64 directory;          /* dentry that it is in */
	struct file_inode itself; /* of what is not there yet: 0 */
	struct file_inode in;     /* of the directory */
	__u64 both;               /* 1: what is changed is the directory too */
};

struct file_change {
	struct file_place places[2];
	enum file_operation operation;
	enum file_verdict verdict; /* wherever it is; FILE_NO_RULE: by the place */
	__u64 may_walk;            /* 1: directories further up may be looked at */
	__u64 generation;          /* for which is remembered what a walk found; 0: for none */
};

/* What judge_change() gives where it needs a walk and may do none. */
#define FILE_UNKNOWN 1

static __always_inline struct file_place where_is(struct dentry *dentry, bool both)
{
	struct dentry *directory = dentry->d_parent;
	/* The verifier takes it for a pointer that is never NULL, as it is where nothing is there yet: not so read.
	 */
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	struct file_place place = {
	    .dentry = (__u64)dentry,
	    .sb = (__u64)dentry->d_sb,
	    .directory = (__u64)directory,
	    .in = inode_of(directory),
	    .both = both,
	};

	place.itself.dev = place.in.dev;
	if (inode) {
		place.itself.ino = BPF_CORE_READ(inode, i_ino);
		place.itself.generation = BPF_CORE_READ(inode, i_generation);
	}
	return place;
}

/* @returns the verdict that forbids it, FILE_NO_RULE where none does; -1 where that takes a walk that may not be done
 */
static __always_inline int judge_place(const struct policy *policy, const struct file_change *change,
                                       const struct file_place *place)
{
	struct file_cache *cache = verdict_cache();
	enum file_verdict verdict = FILE_NO_RULE;
	struct file_address address;
	__u32 known;

	if (place->itself.ino && may_have_rule(policy, place->itself.ino, place->itself.dev))
		verdict = find_rule(policy, &place->itself);
	if (forbids(verdict, true) || (verdict && !place->both))
		return forbids(verdict, true) ? verdict : FILE_NO_RULE;
	if (!cache)
		return FILE_DENY;
	known =
	    cache->generation ? recall(cache, verdict_hash(cache->generation, policy, FILE_IN_IT, &place->in)) : 0;
	if (known)
		return forbids(known - 1, true) ? known - 1 : FILE_NO_RULE;
	if (!change->may_walk)
		return -1;
	address.dentry = place->directory;
	verdict = rule_of_address(policy, &address);
	if (change->generation)
		remember_file(cache, verdict_hash(change->generation, policy, FILE_IN_IT, &place->in), verdict);
	return forbids(verdict, true) ? verdict : FILE_NO_RULE;
}

/* @returns 0, -errno or FILE_UNKNOWN */
__noinline int judge_change(const struct policy *policy, const struct file_change *change)
{
	struct file_request request = {};

	if (!policy || !change)
		return -EPERM;
	if (!(policy->flags & POLICY_FILES))
		return 0;
	for (int i = 0; i < 2; i++) {
		int verdict = change->verdict;

		if (!change->places[i].dentry)
			continue;
		if (!verdict)
			verdict = judge_place(policy, change, &change->places[i]);
		if (verdict == FILE_NO_RULE)
			continue;
		if (verdict < 0)
			return FILE_UNKNOWN;
		/* What the operation is about, whichever of them is why. */
		request.dentry = (void *)change->places[0].dentry;
		request.operation = change->operation;
		return refuse_file(policy, &request, verdict) ? -(int)policy->file_errno : 0;
	}
	return 0;
}

/* Finds out by walks. A policy that was looked up before begin_file_verdict() may be older than what that gave. */
static __always_inline int judge_by_walk(__u64 cgroup_id, struct file_change *change)
{
	struct file_cache *cache = verdict_cache();
	const struct policy *policy;

	/* Both places are on one file system. */
	change->generation = cache ? begin_file_verdict(cache, (void *)change->places[0].sb) : 0;
	change->may_walk = 1;
	policy = bpf_map_lookup_elem(&file_policies, &cgroup_id);
	return policy ? judge_change(policy, change) : 0;
}

/* Judges a change for each level of nesting that the caller is in, the innermost first. @returns 0, or -errno */
static __noinline int judge_levels(struct file_change *change)
{
	struct task_struct *task = bpf_get_current_task_btf();
	int level, result;

	level = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);
	/* Deeper than any tree of control groups that is in use: nobody hides there. */
	if (level > MAX_CGROUPS)
		return -EPERM;
	for (int i = 0; i < MAX_CGROUPS; i++, level--) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		const struct policy *policy;

		if (!id)
			break;
		policy = bpf_map_lookup_elem(&file_policies, &id);
		if (!policy)
			continue;
		result = judge_change(policy, change);
		if (result == FILE_UNKNOWN)
			result = judge_by_walk(id, change);
		if (result)
			return result;
	}
	/* Others' rules hang on it, whatever this one's are. */
	return change->verdict == FILE_PIN ? -EPERM : 0;
}

/* Whether the caller is in a container; all others are to leave at once. */
static __always_inline bool in_instance(void)
{
	return bpf_current_task_under_cgroup(&file_root, 0) == 1;
}

static __always_inline int files_change(struct file_change *change)
{
	/* The verifier is to see what comes out. */
	switch (judge_levels(change)) {
	case 0:
		return 0;
	case -EACCES:
		return -EACCES;
	default:
		return -EPERM;
	}
}

/* Something new in a directory. */
static __always_inline int files_new(enum file_operation operation, struct dentry *dentry)
{
	struct file_change change = {.operation = operation};

	if (!in_instance())
		return 0;
	change.places[0] = where_is(dentry, true);
	return files_change(&change);
}

/* A link of the isolator's that is pinned: removed, it would detach a program. */
static __always_inline bool is_pin(struct dentry *dentry)
{
	char ours[16] = "bpf-isolator";

	if (dentry->d_sb->s_magic != BPF_FS_MAGIC)
		return false;
	for (int i = 0; i < 6; i++) {
		char name[16] = {};

		bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(dentry, d_name.name));
		if (same_text(name, ours))
			return true;
		dentry = BPF_CORE_READ(dentry, d_parent);
	}
	return false;
}

/* Something that goes out of its directory. */
static __always_inline int files_gone(enum file_operation operation, struct dentry *dentry)
{
	struct file_change change = {.operation = operation};

	if (!in_instance())
		return 0;
	change.verdict = is_pin(dentry) ? FILE_PIN : FILE_NO_RULE;
	change.places[0] = where_is(dentry, true);
	return files_change(&change);
}

static __always_inline int files_rename(struct dentry *old, struct dentry *new)
{
	struct file_change change = {.operation = FILE_RENAME};

	forget_verdicts(old, new);
	if (!in_instance())
		return 0;
	change.places[0] = where_is(old, true);
	change.places[1] = where_is(new, true);
	if (is_pin(old) || is_pin(new))
		change.verdict = FILE_PIN;
	return files_change(&change);
}

/* Another name for what is ruled would be a way round it. */
static __always_inline int files_link(struct dentry *old, struct dentry *new)
{
	struct file_change change = {.operation = FILE_LINK};

	if (!in_instance())
		return 0;
	change.places[0] = where_is(old, false);
	change.places[1] = where_is(new, true);
	return files_change(&change);
}

static __always_inline int files_attributes(enum file_operation operation, struct dentry *dentry)
{
	struct file_change change = {.operation = operation};

	if (!in_instance())
		return 0;
	change.places[0] = where_is(dentry, false);
	return files_change(&change);
}

/*
 * By the type and number of the ioctl()s that change attributes, or make and remove what no other hook sees. Sizes
 * and directions are not compared: 32-bit processes have others.
 */
static __always_inline int files_command(struct file *file, unsigned int command)
{
	struct file_change change = {.operation = FILE_ATTRIBUTES};

	switch (command & 0xffff) {
	case 0x940f: /* BTRFS_IOC_SNAP_DESTROY */
	case 0x943f: /* BTRFS_IOC_SNAP_DESTROY_V2 */
		change.operation = FILE_RMDIR;
		change.verdict = FILE_SUBVOLUME;
		break;
	case 0x9401: /* BTRFS_IOC_SNAP_CREATE */
	case 0x940e: /* BTRFS_IOC_SUBVOL_CREATE */
	case 0x9417: /* BTRFS_IOC_SNAP_CREATE_V2 */
	case 0x9418: /* BTRFS_IOC_SUBVOL_CREATE_V2 */
		change.operation = FILE_MKDIR;
		break;
	case 0x941a: /* BTRFS_IOC_SUBVOL_SETFLAGS */
	case 0x6602: /* FS_IOC_SETFLAGS */
	case 0x6604: /* EXT4_IOC_SETVERSION: i_generation */
	case 0x7602: /* FS_IOC_SETVERSION */
	case 0x6613: /* FS_IOC_SET_ENCRYPTION_POLICY */
	case 0x6685: /* FS_IOC_ENABLE_VERITY */
	case 0x5820: /* FS_IOC_FSSETXATTR */
		break;
	default:
		return 0;
	}
	if (!can_be_readonly(file->f_inode) || !in_instance())
		return 0;
	change.places[0] = where_is(file->f_path.dentry, false);
	return files_change(&change);
}

/* Where bpffs is gone, so are the links that are pinned there. */
static __always_inline int files_umount(struct vfsmount *mount)
{
	struct file_change change = {.operation = FILE_UMOUNT, .verdict = FILE_PIN};

	if (mount->mnt_sb->s_magic != BPF_FS_MAGIC || !in_instance())
		return 0;
	change.places[0].dentry = (__u64)mount->mnt_sb->s_root;
	return files_change(&change);
}
