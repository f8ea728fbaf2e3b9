/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Files: what of the file systems a container may not open, or not change (README.md, "Files"). All by BPF LSM.
 *
 * A rule is on an inode. A file is judged by its dentry and those that it is in, up to the root of its file system:
 * the nearest that has a rule decides. So no path is looked at, and none leads round it: symlinks, bind mounts,
 * namespaces and renamed directories all end at the same dentries. A symlink to what is ruled is none of it.
 *
 * open() meets its program by the cgroup, as all others do (file_open). What changes directories and attributes meets
 * programs that are attached to no cgroup, since the kernel has room for ten hooks of cgroups only: they leave at
 * once for who is not in the instance's node, and find the policies of the others by the ids of their cgroups. They
 * are attached while a container has file rules.
 */
#pragma once

#include "container.h"

/* Of all control groups, from the root down. */
#define MAX_CGROUPS 64

/* Both are 16 bytes, padded with zeroes. */
static __always_inline bool same_text(const char *text, const char *other)
{
	const __u64 *a = (const void *)text, *b = (const void *)other;

	return a[0] == b[0] && a[1] == b[1];
}

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

static __always_inline enum file_verdict find_rule(const struct policy *policy, __u64 ino, __u32 dev,
                                                   __u32 generation)
{
	struct file_key key = {.set = policy->file_set, .ino = ino, .dev = dev, .generation = generation};
	__u32 *verdict = bpf_map_lookup_elem(&file_rules, &key);

	return verdict ? *verdict : FILE_NO_RULE;
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
	__u64 ino = BPF_CORE_READ(inode, i_ino);

	walk->verdict = FILE_NO_RULE;
	if (may_have_rule(walk->policy, ino, walk->dev))
		walk->verdict = find_rule(walk->policy, ino, walk->dev, BPF_CORE_READ(inode, i_generation));
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
		__u64 ino = inode->i_ino;

		if (may_have_rule(policy, ino, dev)) {
			enum file_verdict verdict = find_rule(policy, ino, dev, inode->i_generation);

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

/* What is asked for: `dentry` is what the event tells, `path` how the task came there, if that is known. */
struct file_request {
	struct dentry *dentry;
	struct path *path;
	enum file_operation operation;
};

/* Keeps the compiler from leaving out what it knows of a number and the verifier does not. */
#define hidden(number) asm volatile("" : "+r"(number))

struct file_names {
	struct file_detail *detail;
	struct dentry *dentry;
	__u64 begin;
};

static long write_name(__u64 i, struct file_names *names)
{
	struct dentry *dentry = names->dentry, *parent = BPF_CORE_READ(dentry, d_parent);
	__u64 length = BPF_CORE_READ(dentry, d_name.len), begin = names->begin;

	if (parent == dentry || length >= FILE_NAME || length >= begin)
		return 1;
	begin -= length;
	hidden(begin);
	hidden(length);
	begin &= FILE_NAMES_END - 1;
	length &= FILE_NAME - 1;
	bpf_probe_read_kernel(names->detail->path + begin, length, BPF_CORE_READ(dentry, d_name.name));
	begin -= 1;
	hidden(begin);
	begin &= FILE_NAMES_END - 1;
	names->detail->path[begin] = '/';
	names->dentry = parent;
	names->begin = begin;
	return 0;
}

/* Writes the names of a dentry and of those that it is in, from FILE_NAMES_END back. */
__noinline int write_names(struct file_detail *detail, const struct file_request *request)
{
	struct file_names names = {.detail = detail, .begin = FILE_NAMES_END};

	if (!detail || !request)
		return 0;
	names.dentry = request->dentry;
	bpf_loop(FILE_NAMES, write_name, &names, 0);
	detail->path[FILE_NAMES_END] = 0;
	detail->begin = names.begin & (FILE_NAMES_END - 1);
	return 0;
}

struct file_event {
	struct event event;
	struct file_detail detail;
};

/* Counts and reports. @returns whether it is to be refused */
static __always_inline bool refuse_file(const struct policy *policy, const struct file_request *request,
                                        enum file_verdict verdict)
{
	__u64 cgroup_id = policy->cgroup_id;
	struct counters *counters = bpf_map_lookup_elem(&file_counts, &cgroup_id);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct dentry *dentry = request->dentry;
	bool audit = refuses_nothing(policy);
	struct file_event *told;
	__u32 slot = policy->ring;
	void *ring;

	if (counters)
		count(&(audit ? counters->audited : counters->denied)[REASON_FILE], 1);
	if (policy->enforcement == ENFORCE_OFF)
		return false;
	ring = bpf_map_lookup_elem(&event_rings, &slot);
	told = ring ? bpf_ringbuf_reserve(ring, sizeof(*told), 0) : NULL;
	if (!told) {
		if (counters)
			count(&counters->events_lost, 1);
		return !audit;
	}
	__builtin_memset(&told->event, 0, sizeof(told->event));
	__builtin_memset(&told->detail, 0, sizeof(told->detail));
	told->event.time = bpf_ktime_get_boot_ns();
	told->event.cgroup_id = cgroup_id;
	told->event.reason = REASON_FILE;
	told->event.audited = audit;
	told->event.pid = BPF_CORE_READ(task, tgid);
	told->event.uid = BPF_CORE_READ(task, cred, uid.val);
	bpf_core_read(told->event.comm, sizeof(told->event.comm), &task->comm);
	told->detail.ino = BPF_CORE_READ(dentry, d_inode, i_ino);
	told->detail.dev = BPF_CORE_READ(dentry, d_sb, s_dev);
	told->detail.operation = request->operation;
	told->detail.verdict = verdict;
	told->detail.seen = request->path && bpf_d_path(request->path, (char *)told->detail.path, FILE_PATH) > 0;
	if (!told->detail.seen)
		write_names(&told->detail, request);
	bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
	return !audit;
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

/* open() of every kind, and exec. What is opened with O_PATH only comes here when it is opened for use. */
static __always_inline int files_file_open(const struct policy *policy, struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;
	enum file_verdict verdict;
	bool write;

	if (!(policy->flags & POLICY_FILES))
		return ALLOW;
	verdict = rule_of(policy, dentry);
	if (!forbids(verdict, true) && dentry->d_inode != file->f_inode)
		verdict = rule_below(policy, file->f_inode);
	if (!forbids(verdict, true))
		return ALLOW;
	write = file->f_mode & FMODE_WRITE && can_be_readonly(file->f_inode);
	return forbids(verdict, write) ? refuse_open(policy, file, verdict, write) : ALLOW;
}

/* Up to four dentries that all must be writable. */
struct file_change {
	__u64 dentries[4];
	enum file_operation operation;
	enum file_verdict verdict; /* whatever the dentries are; FILE_NO_RULE: by them */
};

__noinline int judge_change(const struct policy *policy, const struct file_change *change)
{
	struct file_request request;
	enum file_verdict verdict;

	if (!policy || !change)
		return -EPERM;
	if (!(policy->flags & POLICY_FILES))
		return 0;
	for (int i = 0; i < 4; i++) {
		struct file_address address = {.dentry = change->dentries[i]};

		if (!address.dentry)
			continue;
		verdict = change->verdict ? change->verdict : rule_of_address(policy, &address);
		if (!forbids(verdict, true))
			continue;
		/* What the operation is about, whichever of them is why. */
		request.dentry = (void *)change->dentries[0];
		request.path = NULL;
		request.operation = change->operation;
		return refuse_file(policy, &request, verdict) ? -(int)policy->file_errno : 0;
	}
	return 0;
}

/* Judges a change for each level of nesting that the caller is in, the innermost first. @returns 0, or -errno */
static __noinline int judge_levels(const struct file_change *change)
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
		if (result)
			return result;
	}
	/* Others' rules hang on it, whatever this one's are. */
	return change->verdict == FILE_PIN ? -EPERM : 0;
}

static __always_inline int files_change(const struct file_change *change)
{
	if (bpf_current_task_under_cgroup(&file_root, 0) != 1)
		return 0;
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

	change.dentries[0] = (__u64)dentry;
	change.dentries[1] = (__u64)dentry->d_parent;
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
	struct file_change change = {.operation = operation, .verdict = is_pin(dentry) ? FILE_PIN : FILE_NO_RULE};

	change.dentries[0] = (__u64)dentry;
	change.dentries[1] = (__u64)dentry->d_parent;
	return files_change(&change);
}

static __always_inline int files_rename(struct dentry *old, struct dentry *new)
{
	struct file_change change = {.operation = FILE_RENAME};

	change.dentries[0] = (__u64)old;
	change.dentries[1] = (__u64)old->d_parent;
	change.dentries[2] = (__u64) new;
	change.dentries[3] = (__u64) new->d_parent;
	if (is_pin(old) || is_pin(new))
		change.verdict = FILE_PIN;
	return files_change(&change);
}

/* Another name for what is ruled would be a way round it. */
static __always_inline int files_link(struct dentry *old, struct dentry *new)
{
	struct file_change change = {.operation = FILE_LINK};

	change.dentries[0] = (__u64)old;
	change.dentries[1] = (__u64) new->d_parent;
	return files_change(&change);
}

static __always_inline int files_attributes(enum file_operation operation, struct dentry *dentry)
{
	struct file_change change = {.operation = operation};

	change.dentries[0] = (__u64)dentry;
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
	if (!can_be_readonly(file->f_inode))
		return 0;
	change.dentries[0] = (__u64)file->f_path.dentry;
	return files_change(&change);
}

/* Where bpffs is gone, so are the links that are pinned there. */
static __always_inline int files_umount(struct vfsmount *mount)
{
	struct file_change change = {.operation = FILE_UMOUNT, .verdict = FILE_PIN};

	if (mount->mnt_sb->s_magic != BPF_FS_MAGIC)
		return 0;
	change.dentries[0] = (__u64)mount->mnt_sb->s_root;
	return files_change(&change);
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
