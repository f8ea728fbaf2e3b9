/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How what a rule for files refuses is counted and told, with a path (files.h). */
#pragma once

#include "file_walk.h"

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

/*
 * Writes the names of a dentry and of those that it is in, from `end` back. Linux before 6.8 looks at one round of
 * the loop only, with what is known when it begins: were that the end is far away, the look at the room that is left
 * would be removed where the compiler has it lead to a place of its own. What a global function is given is not
 * known.
 * @param end FILE_NAMES_END
 */
__noinline int write_names(struct file_detail *detail, const struct file_request *request, __u32 end)
{
	struct file_names names = {.detail = detail, .begin = end};

	if (!detail || !request || end > FILE_NAMES_END)
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
		write_names(&told->detail, request, FILE_NAMES_END);
	bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
	return !audit;
}
