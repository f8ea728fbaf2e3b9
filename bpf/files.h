/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Files: what of the file systems a container may not open, or not change (README.md, "Files"). All by BPF LSM.
 *
 * A rule is on an inode. A file is judged by its dentry and those that it is in, up to the root of its file system:
 * the nearest that has a rule decides. So no path is looked at, and none leads round it: symlinks, bind mounts,
 * namespaces and renamed directories all end at the same dentries. A symlink to what is ruled is none of it.
 *
 * open() meets its program by the cgroup, as all others do (file_open). What changes directories and attributes has
 * programs for the whole machine (file_changes.h).
 */
#pragma once

#include "file_changes.h"

static __noinline int refuse_open(const struct policy *policy, struct file *file, enum file_verdict verdict,
                                  bool write)
{
	struct file_request request = {
	    .dentry = file->f_path.dentry,
	    .path = &file->f_path,
	    .operation = write ? FILE_OPEN_WRITE : FILE_OPEN,
	};

	if (denied_below())
		return ALLOW;
	if (file->f_flags & FMODE_EXEC)
		request.operation = FILE_EXEC;
	if (!refuse_file(policy, &request, verdict))
		return ALLOW;
	bpf_set_retval(-(int)policy->file_errno);
	return DENY;
}

/* By the way up its directories, which is remembered where that can be. */
static __noinline enum file_verdict walk_from_open(struct file *file)
{
	struct file_cache *cache = verdict_cache();
	struct dentry *dentry = file->f_path.dentry, *parent = dentry->d_parent;
	__u64 generation = cache ? begin_file_verdict(cache, dentry->d_sb) : 0;
	/* Once more: the caller's may be older than the generation. */
	const struct policy *policy = container_policy();
	struct file_inode itself = inode_of(dentry);
	enum file_verdict verdict;

	if (may_have_rule(policy, itself.ino, itself.dev)) {
		verdict = find_rule(policy, &itself);
		if (verdict)
			return verdict;
		if (generation && cache)
			remember_file(cache, verdict_hash(generation, policy, FILE_ITSELF, &itself), FILE_NO_RULE);
	}
	verdict = rule_of(policy, parent);
	if (generation && cache) {
		struct file_inode directory = inode_of(parent);

		remember_file(cache, verdict_hash(generation, policy, FILE_IN_IT, &directory), verdict);
	}
	return verdict;
}

/* @returns what is known of a file that is opened; 0: nothing; else one more than the verdict */
static __always_inline __u32 recall_open(const struct policy *policy, struct dentry *dentry, struct inode *inode)
{
	struct file_inode file = {
	    .ino = inode->i_ino,
	    .dev = inode->i_sb->s_dev,
	};
	struct file_cache *cache = verdict_cache();
	struct dentry *parent = dentry->d_parent;
	struct file_inode directory = {.dev = file.dev};
	__u64 generation;

	if (!cache || !cache->generation || parent == dentry)
		return 0;
	generation = cache->generation;
	if (may_have_rule(policy, file.ino, file.dev)) {
		file.generation = inode->i_generation;
		if (!recall(cache, verdict_hash(generation, policy, FILE_ITSELF, &file)))
			return 0;
	}
	directory.ino = parent->d_inode->i_ino;
	directory.generation = parent->d_inode->i_generation;
	return recall(cache, verdict_hash(generation, policy, FILE_IN_IT, &directory));
}

/* open() of every kind, and exec. What is opened with O_PATH only comes here when it is opened for use. */
static __always_inline int files_file_open(const struct policy *policy, struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;
	struct inode *inode = file->f_inode;
	enum file_verdict verdict;
	__u32 known = 0;
	bool write;

	if (!(policy->flags & POLICY_FILES))
		return ALLOW;
	if (dentry->d_inode == inode)
		known = recall_open(policy, dentry, inode);
	verdict = known ? known - 1 : walk_from_open(file);
	if (!forbids(verdict, true) && dentry->d_inode != inode)
		verdict = rule_below(policy, inode);
	if (!forbids(verdict, true))
		return ALLOW;
	write = file->f_mode & FMODE_WRITE && can_be_readonly(inode);
	return forbids(verdict, write) ? refuse_open(policy, file, verdict, write) : ALLOW;
}

static __always_inline __u32 open_file(const struct files_struct *files, __u32 fd, struct file **file)
{
	struct fdtable *table = BPF_CORE_READ(files, fdt);

	if (fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	return !bpf_probe_read_kernel(file, sizeof(*file), BPF_CORE_READ(table, fd) + fd) && *file;
}

/* Says how the kernel knows a file that the caller has open. */
static __always_inline void files_identify_one(struct file_identity *identity)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct dentry *dentry;
	struct file *file;

	identity->ino = 0;
	identity->dev = 0;
	identity->generation = 0;
	if (!open_file(BPF_CORE_READ(task, files), identity->fd, &file))
		return;
	dentry = BPF_CORE_READ(file, f_path.dentry);
	identity->ino = BPF_CORE_READ(dentry, d_inode, i_ino);
	identity->dev = BPF_CORE_READ(dentry, d_sb, s_dev);
	identity->generation = BPF_CORE_READ(dentry, d_inode, i_generation);
}
