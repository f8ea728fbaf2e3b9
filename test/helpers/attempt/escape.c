// SPDX-License-Identifier: Apache-2.0
/* Attempts to leave the container's cgroup node, and to get a cgroup2 or a bpffs of one's own. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

/* Not in the C library's headers beside those of the kernel. */
#define FSCONFIG_CREATE 6

static const char *need_to(void)
{
	if (!opt.to)
		usage("%s needs to=DIRECTORY", opt.name);
	return opt.to;
}

static void own_mounts(int more)
{
	if (unshare(CLONE_NEWNS | more))
		failed(-1, "unshare", errno);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		stopped(-1, "private", errno, "");
}

/* Root of a new user namespace: without it nobody is anybody there. */
static void become_root(void)
{
	static const char *const files[][2] = {
	    {"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", "0 0 1"}, {"/proc/self/gid_map", "0 0 1"}};

	for (int i = 0; i < 3; i++) {
		int fd = open(files[i][0], O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, files[i][1], strlen(files[i][1])) < 0)
			stopped(-1, "map", errno, files[i][0]);
		close(fd);
	}
}

static int open_by_handle(const char *path)
{
	char memory[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	struct file_handle *handle = (void *)memory;
	int id, fd, directory;

	handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, path, handle, &id, 0))
		failed(-1, "name_to_handle_at", errno);
	directory = open(need_to(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = open_by_handle_at(directory, handle, O_WRONLY | O_CLOEXEC);
	return fd;
}

static int reopen(const char *path)
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", open(path, O_RDONLY | O_CLOEXEC));
	return open(link, O_WRONLY | O_CLOEXEC);
}

static int open_procs(const char *how)
{
	static char path[4200];

	if (!strcmp(how, "bind-mount")) {
		own_mounts(0);
		if (mount(need_to(), "/tmp", NULL, MS_BIND, NULL))
			stopped(-1, "bind mount", errno, "");
		snprintf(path, sizeof(path), "/tmp/cgroup.procs");
	} else {
		snprintf(path, sizeof(path), "%s/cgroup.procs", need_to());
	}
	if (!strcmp(how, "io-uring"))
		return ring_open_file(path, O_WRONLY);
	if (!strcmp(how, "handle"))
		return open_by_handle(path);
	if (!strcmp(how, "reopen"))
		return reopen(path);
	if (!strcmp(how, "rdwr"))
		return open(path, O_RDWR | O_CLOEXEC);
	if (!strcmp(how, "shell"))
		return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	return open(path, O_WRONLY | O_CLOEXEC);
}

/* Whether a process is in the node whose directory is `to`. */
static bool is_there(pid_t pid, const char *to)
{
	char path[64], line[4200] = "";
	const char *name = strrchr(to, '/');
	bool there = false;
	struct stat root;
	FILE *file;

	/* The inode number is the cgroup's id, and the first is that of the root. */
	if (!stat(to, &root) && root.st_ino == 1)
		name = "/";
	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::", 3) || !name)
			continue;
		if (!strcmp(name, "/"))
			there = !strcmp(line + 3, name);
		else if (strlen(line) > strlen(name))
			there = !strcmp(line + strlen(line) - strlen(name), name);
	}
	if (file)
		fclose(file);
	return there;
}

/* how=child moves another process, the others this one. */
void try_leave(void)
{
	const char *how = how_of("write");
	bool child = !strcmp(how, "child");
	char text[16] = "0";
	pid_t pid = getpid();
	int fd;

	if (child) {
		pid = spawn();
		if (!pid)
			pause();
		snprintf(text, sizeof(text), "%d", pid);
	}
	fd = open_procs(how);
	if (fd < 0)
		failed(-1, "open", errno);
	if (write(fd, text, strlen(text)) < 0)
		stopped(-1, "write", errno, "");
	if (!is_there(pid, opt.to))
		stopped(-1, "move", EBADMSG, "the process is not there");
	if (child) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	through(-1, "move", opt.to);
}

void try_clone_into(void)
{
	int directory = open(need_to(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct clone_args args = {
	    .flags = CLONE_INTO_CGROUP | CLONE_VFORK, .exit_signal = SIGCHLD, .cgroup = directory};
	pid_t pid;

	if (directory < 0)
		stopped(-1, "open", errno, "");
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		failed(-1, "clone3", errno);
	if (!pid)
		_exit(is_there(getpid(), opt.to) ? 0 : 1);
	through(-1, "clone3", opt.to);
}

void try_mount_fs(void)
{
	const char *how = how_of("mount");
	bool userns = !strcmp(how, "userns");
	int fs;

	if (!opt.type)
		usage("%s needs type=", opt.name);
	own_mounts(userns ? CLONE_NEWUSER | CLONE_NEWCGROUP : 0);
	if (userns)
		become_root();
	if (strcmp(how, "fsopen")) {
		if (mount("none", "/tmp", opt.type, 0, NULL))
			failed(-1, "mount", errno);
		through(-1, "mount", opt.type);
	}
	fs = syscall(SYS_fsopen, opt.type, FSOPEN_CLOEXEC);
	if (fs < 0)
		failed(-1, "fsopen", errno);
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CREATE, NULL, NULL, 0))
		failed(-1, "mount", errno);
	if (syscall(SYS_fsmount, fs, 0, 0) < 0)
		failed(-1, "fsmount", errno);
	through(-1, "mount", opt.type);
}
