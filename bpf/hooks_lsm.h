/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Programs of BPF LSM: left out where the kernel has none. ports_listen() is the fallback of the first; the others
 * have none, and are attached only where a policy asks for what they do (isolator/features/policy.ts). Part of
 * isolator.bpf.c.
 */
#pragma once

SEC("lsm_cgroup/socket_listen")
int BPF_PROG(socket_listen, struct socket *sock, int backlog)
{
	return ports_socket_listen(sock);
}

SEC("lsm_cgroup/socket_create")
int BPF_PROG(socket_create, int family, int type, int protocol, int kern)
{
	return sockets_socket_create(family, protocol, kern);
}

SEC("lsm_cgroup/file_receive")
int BPF_PROG(file_receive, struct file *file)
{
	return sockets_file_receive(file);
}

SEC("lsm_cgroup/file_open")
int BPF_PROG(file_open, struct file *file)
{
	const struct policy *policy = container_policy();
	int verdict = escape_file_open(policy, file);

	return verdict == ALLOW ? files_file_open(policy, file) : verdict;
}

SEC("lsm_cgroup/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags)
{
	return escape_task_alloc(clone_flags);
}

SEC("lsm_cgroup/sb_set_mnt_opts")
int BPF_PROG(sb_set_mnt_opts, struct super_block *sb)
{
	return escape_sb_set_mnt_opts(sb);
}

SEC("lsm_cgroup/bpf_map")
int BPF_PROG(bpf_map, struct bpf_map *map, unsigned int mode)
{
	return escape_bpf_map(map);
}

SEC("lsm_cgroup/bpf_prog")
int BPF_PROG(bpf_prog, struct bpf_prog *program)
{
	return escape_bpf_prog(program);
}

/*
 * Attached to no cgroup (file_changes.h), so that they return what the system call gives: 0 or -errno. The name of
 * each is that of its hook, with "files_" for "inode_" or "file_".
 */
SEC("lsm/inode_create")
int BPF_PROG(files_create, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_CREATE, dentry);
}

SEC("lsm/inode_mkdir")
int BPF_PROG(files_mkdir, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_MKDIR, dentry);
}

SEC("lsm/inode_mknod")
int BPF_PROG(files_mknod, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_MKNOD, dentry);
}

SEC("lsm/inode_symlink")
int BPF_PROG(files_symlink, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_SYMLINK, dentry);
}

SEC("lsm/inode_link")
int BPF_PROG(files_hard_link, struct dentry *old, struct inode *directory, struct dentry *new)
{
	return files_link(old, new);
}

SEC("lsm/inode_unlink")
int BPF_PROG(files_unlink, struct inode *directory, struct dentry *dentry)
{
	return files_gone(FILE_UNLINK, dentry);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(files_rmdir, struct inode *directory, struct dentry *dentry)
{
	return files_gone(FILE_RMDIR, dentry);
}

SEC("lsm/inode_rename")
int BPF_PROG(files_move, struct inode *old_directory, struct dentry *old, struct inode *directory, struct dentry *new)
{
	return files_rename(old, new);
}

/* Since 6.9 the mount's id mapping comes first. */
SEC("lsm/inode_setattr")
int files_setattr(__u64 *arguments)
{
	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 9, 0))
		return files_attributes(FILE_ATTRIBUTES, (struct dentry *)arguments[1]);
	return files_attributes(FILE_ATTRIBUTES, (struct dentry *)arguments[0]);
}

SEC("lsm/inode_setxattr")
int BPF_PROG(files_setxattr, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/inode_removexattr")
int BPF_PROG(files_removexattr, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

/* From here on 6.2; before, ACLs are extended attributes. */
SEC("lsm/inode_set_acl")
int BPF_PROG(files_set_acl, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(files_remove_acl, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/file_ioctl")
int BPF_PROG(files_ioctl, struct file *file, unsigned int command)
{
	return files_command(file, command);
}

/* From here on 6.8, and in later versions of older kernels; before, the one above sees those of 32-bit processes too.
 */
SEC("lsm/file_ioctl_compat")
int BPF_PROG(files_ioctl_compat, struct file *file, unsigned int command)
{
	return files_command(file, command);
}

SEC("lsm/sb_umount")
int BPF_PROG(files_sb_umount, struct vfsmount *mount)
{
	return files_umount(mount);
}
