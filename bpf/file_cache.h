/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Verdicts on files that were found before, so that most need no walk up their directories (file_walk.h): one of a
 * set of rules on a directory, which holds for all in it that no rule names, and that no rule names a file.
 *
 * A verdict is one word, so that no program sees half of one: a hash of the inode, of the set and of the generation,
 * with the verdict in its lowest bits. The generation is a random number that no task knows, so nobody can make two
 * such hashes meet. It changes, and all verdicts are void,
 *
 * - when a directory is about to be moved to another one (inode_rename): what is in it has other directories above.
 *   Until it is moved, s_vfs_rename_mutex of its file system is held, and nothing is remembered;
 * - when user space writes the map anew, after it changed entries of file_rules (isolator/containers/files.ts).
 *
 * Only on file systems where inodes are told apart by number and generation, and where nobody moves directories
 * behind the kernel's back: on btrfs two subvolumes have the same numbers, an overlay may be made of those, and
 * directories of network file systems move on other machines.
 */
#pragma once

#include "container.h"

#define EXT4_SUPER_MAGIC 0xef53
#define XFS_SUPER_MAGIC  0x58465342
#define TMPFS_MAGIC      0x01021994

/* Of a word of file_cache: one more than the verdict, since 0 is an empty one. */
#define FILE_CACHED_BITS 7

static __always_inline struct file_cache *verdict_cache(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&file_cache, &zero);
}

/* Which file, or directory, on file systems that can_remember(). */
struct file_inode {
	__u64 ino;
	__u32 dev;
	__u32 generation;
};

/* Verdicts on what is in a directory, and on a file itself, are told apart by this. */
enum file_question { FILE_IN_IT = 0, FILE_ITSELF = 1 };

/* Of what an answer is about. Each step mixes all that went before. */
static __always_inline __u64 verdict_hash(__u64 generation, const struct policy *policy, enum file_question question,
                                          const struct file_inode *inode)
{
	__u64 hash = inode->ino * generation;

	hash ^= hash >> 32;
	hash = (hash + ((__u64)inode->generation << 32 | inode->dev)) * generation;
	hash ^= hash >> 32;
	return (hash + policy->file_set + question) * generation;
}

/* @returns one more than the verdict; 0 where none is known */
static __always_inline __u32 recall(const struct file_cache *cache, __u64 hash)
{
	__u64 found = cache->verdicts[hash >> FILE_CACHED_SHIFT] ^ hash;

	return found > FILE_CACHED_BITS ? 0 : (found ^ hash) & FILE_CACHED_BITS;
}

static __always_inline void remember_file(struct file_cache *cache, __u64 hash, enum file_verdict verdict)
{
	/* Of the others the reason may be gone the next time. */
	if (verdict <= FILE_DENY)
		cache->verdicts[hash >> FILE_CACHED_SHIFT] = (hash & ~(__u64)FILE_CACHED_BITS) | (verdict + 1);
}

static __always_inline bool can_remember(const struct super_block *sb)
{
	__u64 magic = BPF_CORE_READ(sb, s_magic);

	return magic == EXT4_SUPER_MAGIC || magic == XFS_SUPER_MAGIC || magic == TMPFS_MAGIC;
}

/* Also a barrier: what is read after it is no older. */
static __always_inline __u64 read_generation(struct file_cache *cache)
{
	return __sync_fetch_and_add(&cache->generation, 0);
}

/*
 * To be called before what a verdict is made of is read: the policy first. A directory that is moved after this
 * changes the generation; one that is being moved has changed it and holds the mutex, so that is looked at in
 * between.
 * @returns the generation that the verdict is for; 0: it cannot be remembered
 */
static __always_inline __u64 begin_file_verdict(struct file_cache *cache, struct super_block *sb)
{
	__u64 generation;

	if (!can_remember(sb) || !bpf_core_field_exists(sb->s_vfs_rename_mutex.owner.counter))
		return 0;
	generation = read_generation(cache);
	if (BPF_CORE_READ(sb, s_vfs_rename_mutex.owner.counter))
		return 0;
	return read_generation(cache) == generation ? generation : 0;
}

/* A directory is about to be moved, by whomever. Within its directory, nothing above anything changes. */
static __always_inline void forget_verdicts(struct dentry *old, struct dentry *new)
{
	struct file_cache *cache = verdict_cache();

	if (!cache || old->d_parent == new->d_parent || (BPF_CORE_READ(old, d_inode, i_mode) & S_IFMT) != S_IFDIR)
		return;
	__sync_lock_test_and_set(&cache->generation, (__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32() | 1);
}
