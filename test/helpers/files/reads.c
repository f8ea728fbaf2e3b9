// SPDX-License-Identifier: Apache-2.0
/* Attempts to open files, to read them and to execute them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

/* Opens and reads a byte. */
static int read_it(int directory, const char *path)
{
	char byte;
	int fd = openat(directory, path, O_RDONLY);

	return fd < 0 ? errno : result(read(fd, &byte, 1));
}

static int try_open(void)
{
	return read_it(AT_FDCWD, in(base, "f"));
}

static int try_directory(void)
{
	return result(open(in(base, "d"), O_RDONLY | O_DIRECTORY));
}

static int try_exec(void)
{
	execl(in(base, "x"), "x", NULL);
	return errno;
}

static int try_exec_path_fd(void)
{
	static char *const none[] = {NULL};
	int fd = open(in(base, "x"), O_PATH);

	must(fd);
	syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
	return errno;
}

static int try_path_fd(void)
{
	char path[64];
	int fd = open(in(base, "f"), O_PATH);

	must(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return read_it(AT_FDCWD, path);
}

static int try_directory_fd(void)
{
	int fd = open(base, O_PATH | O_DIRECTORY);

	must(fd);
	return read_it(fd, "f");
}

static int try_working_directory(void)
{
	must(chdir(in(base, "d")));
	return read_it(AT_FDCWD, "../f");
}

static int try_openat2(void)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	int fd = open(base, O_PATH | O_DIRECTORY);

	must(fd);
	return result(syscall(SYS_openat2, fd, "f", &how, sizeof(how)));
}

static int try_symlink_to(void)
{
	must(symlink(in(base, "f"), in(work, "link")));
	return read_it(AT_FDCWD, in(work, "link"));
}

static int try_bind_mount(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mount(base, work, NULL, MS_BIND, NULL));
	return read_it(AT_FDCWD, in(work, "f"));
}

/* A mount of the file alone: nothing of its directories is in the path. */
static int try_bind_file(void)
{
	must(unshare(CLONE_NEWNS));
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mknod(in(work, "m"), S_IFREG | 0600, 0));
	must(mount(in(base, "f"), in(work, "m"), NULL, MS_BIND, NULL));
	return read_it(AT_FDCWD, in(work, "m"));
}

static int try_chroot(void)
{
	must(chroot(base));
	return read_it(AT_FDCWD, "/f");
}

static int try_proc_root(void)
{
	return read_it(AT_FDCWD, in("/proc/1/root", in(base, "f") + 1));
}

static int try_user_namespace(void)
{
	must(unshare(CLONE_NEWUSER | CLONE_NEWNS));
	return read_it(AT_FDCWD, in(base, "f"));
}

/* The directory above what the rule names is renamed: BASE is DIRECTORY/ruled/NAME. */
static int try_renamed_parent(void)
{
	char top[2048], moved[2048], *slash, inside[4096];

	strcpy(top, base);
	slash = strrchr(top, '/');
	*slash = 0;
	slash = strrchr(top, '/');
	snprintf(inside, sizeof(inside), "%s", base + (slash - top));
	*slash = 0;
	snprintf(moved, sizeof(moved), "%.2000s.moved", top);
	must(rename(top, moved));
	int got = read_it(AT_FDCWD, in(in(moved, inside + 1), "f"));
	must(rename(moved, top));
	return got;
}

static void *open_in_thread(void *got)
{
	*(int *)got = read_it(AT_FDCWD, in(base, "f"));
	return NULL;
}

static int try_thread(void)
{
	pthread_t thread;
	int got;

	must(-pthread_create(&thread, NULL, open_in_thread, &got));
	pthread_join(thread, NULL);
	return got;
}

static int by_handle(const char *path, int cold)
{
	struct {
		struct file_handle handle;
		char bytes[MAX_HANDLE_SZ];
	} found = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int id, fd, mount = open(work, O_RDONLY | O_DIRECTORY);
	char byte;

	must(mount);
	must(name_to_handle_at(AT_FDCWD, path, &found.handle, &id, 0));
	if (cold) {
		/* So that the kernel has to find it by its number alone. */
		sync();
		fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
		must(fd);
		must(write(fd, "2", 1));
	}
	fd = open_by_handle_at(mount, &found.handle, O_RDONLY);
	if (fd < 0)
		return errno;
	return result(read(fd, &byte, 1));
}

static int try_handle(void)
{
	return by_handle(in(base, "f"), 0);
}

static int try_cold_handle(void)
{
	return by_handle(in(base, "f"), 1);
}

static int try_overlay(void)
{
	char options[8192];

	must(unshare(CLONE_NEWNS));
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mkdir(in(work, "m"), 0755));
	must(mkdir(in(work, "other"), 0755));
	snprintf(options, sizeof(options), "lowerdir=%s:%s", base, in(work, "other"));
	must(mount("overlay", in(work, "m"), "overlay", 0, options));
	return read_it(AT_FDCWD, in(work, "m/f"));
}

static int ring_open(int worker)
{
	struct io_uring_sqe entry = {
	    .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)in(base, "f"), .open_flags = O_RDONLY};

	return by_ring(&entry, worker);
}

static int try_ring(void)
{
	return ring_open(0);
}

static int try_ring_worker(void)
{
	return ring_open(1);
}

const struct attempt reads[] = {
    {"open", try_open},
    {"directory", try_directory},
    {"exec", try_exec},
    {"exec-path-fd", try_exec_path_fd},
    {"path-fd", try_path_fd},
    {"directory-fd", try_directory_fd},
    {"working-directory", try_working_directory},
    {"openat2", try_openat2},
    {"symlink-to", try_symlink_to},
    {"bind-mount", try_bind_mount},
    {"bind-file", try_bind_file},
    {"chroot", try_chroot},
    {"proc-root", try_proc_root},
    {"user-namespace", try_user_namespace},
    {"renamed-parent", try_renamed_parent},
    {"thread", try_thread},
    {"handle", try_handle},
    {"cold-handle", try_cold_handle},
    {"overlay", try_overlay},
    {"ring", try_ring},
    {"ring-worker", try_ring_worker},
    {},
};
