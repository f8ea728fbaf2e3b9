/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which rule for files a dentry is under: the nearest on its way up to the root of its file system (files.h).
 */
#pragma once

#include "file_cache.h"

/* The same in features/files.ts. */
static __always_inline __u32 file_bit(__u64 ino, __u32 dev)
{
	return (((__u32)ino ^ (__u32)(ino >> 32) ^ dev) * 0x9e3779b1U) >> 25;
}

/* Whether there may be one for the inode: of all others, most are sorted out here. */
static __always_inline bool may_have_rule(const struct policy *policy, __u64 ino, __u32 dev)
{
	__u32 bit = file_bit(ino, dev);

	return policy->file_filter[(bit >> 6) & 1] >> (bit & 63) & 1;
}

static __always_inline enum file_verdict find_rule(const struct policy *policy, const struct file_inode *inode)
{
	struct file_key key = {
	    .set = policy->file_set,
	    .ino = inode->ino,
	    .dev = inode->dev,
	    .generation = inode->generation,
	};
	__u32 *verdict = bpf_map_lookup_elem(&file_rules, &key);

	return verdict ? *verdict : FILE_NO_RULE;
}

/* Of one that is there. */
static __always_inline struct file_inode inode_of(struct dentry *dentry)
{
	struct file_inode found = {.dev = dentry->d_sb->s_dev};
	struct inode *inode = dentry->d_inode;

	/* Some verifiers ask for it. */
	if (!inode)
		return found;
	found.ino = inode->i_ino;
	found.generation = inode->i_generation;
	return found;
}

/* One that was found by its handle may have no way up to the root. Those of pipes and such have none either. */
static __always_inline bool is_disconnected(unsigned int flags)
{
	return flags & DCACHE_DISCONNECTED;
}

/* The way up from a dentry, by its address: what is not gone often. */
struct file_walk {
	const struct policy *policy;
	struct dentry *dentry;
	__u32 dev;
	enum file_verdict verdict;
};

static long walk_one(__u64 i, struct file_walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	struct file_inode known = {.ino = BPF_CORE_READ(inode, i_ino), .dev = walk->dev};

	walk->verdict = FILE_NO_RULE;
	if (may_have_rule(walk->policy, known.ino, known.dev)) {
		known.generation = BPF_CORE_READ(inode, i_generation);
		walk->verdict = find_rule(walk->policy, &known);
	}
	if (walk->verdict)
		return 1;
	walk->dentry = BPF_CORE_READ(dentry, d_parent);
	if (walk->dentry != dentry) {
		walk->verdict = FILE_TOO_DEEP;
		return 0;
	}
	if (is_disconnected(BPF_CORE_READ(dentry, d_flags)))
		walk->verdict = FILE_DISCONNECTED;
	return 1;
}

/* A pointer that the verifier knows the type of is no number, and can be passed only so. */
struct file_address {
	__u64 dentry;
};

/* Verified once, wherever it is called from, and its steps too. */
__noinline __u32 rule_of_address(const struct policy *policy, const struct file_address *address)
{
	struct file_walk walk = {.policy = policy, .verdict = FILE_TOO_DEEP};
	struct dentry *dentry;

	if (!policy || !address)
		return FILE_DENY;
	walk.dentry = dentry = (void *)address->dentry;
	walk.dev = BPF_CORE_READ(dentry, d_sb, s_dev);
	bpf_loop(FILE_ANCESTORS, walk_one, &walk, 0);
	return walk.verdict;
}

static __always_inline enum file_verdict rule_of(const struct policy *policy, struct dentry *dentry)
{
	__u32 dev = dentry->d_sb->s_dev;
	struct file_address address;
	struct dentry *parent;

	for (int i = 0; i < FILE_NEAR_ANCESTORS; i++) {
		struct inode *inode = dentry->d_inode;
		struct file_inode known = {.ino = inode->i_ino, .dev = dev};

		if (may_have_rule(policy, known.ino, dev)) {
			enum file_verdict verdict;

			known.generation = inode->i_generation;
			verdict = find_rule(policy, &known);
			if (verdict)
				return verdict;
		}
		parent = dentry->d_parent;
		if (parent == dentry)
			return is_disconnected(dentry->d_flags) ? FILE_DISCONNECTED : FILE_NO_RULE;
		dentry = parent;
	}
	address.dentry = (__u64)dentry;
	return rule_of_address(policy, &address);
}

static __always_inline bool forbids(enum file_verdict verdict, bool write)
{
	return verdict >= FILE_DENY || (verdict == FILE_READONLY && write);
}

/* An overlay opens what is below it under its own name before kernel 6.7: then the inode is the other's. */
static __always_inline enum file_verdict rule_below(const struct policy *policy, struct inode *inode)
{
	struct hlist_node *alias = BPF_CORE_READ(inode, i_dentry.first);
	struct file_address address;

	if (!alias)
		return FILE_DISCONNECTED;
	address.dentry = (__u64)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	return rule_of_address(policy, &address);
}

/* As on a file system that is mounted read-only, devices, FIFOs and sockets can be written. */
static __always_inline bool can_be_readonly(struct inode *inode)
{
	unsigned short type = inode->i_mode & S_IFMT;

	return type == S_IFREG || type == S_IFDIR;
}
