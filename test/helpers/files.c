// SPDX-License-Identifier: Apache-2.0
/*
 * Attempts to open and to change files, made as a task in a container would make them. Each is made in a process of
 *its own, on files of its own that the test has made: BASE/NAME/{f,x,d/}, a file, a script that can be executed, and
 *an empty directory; and in WORK/NAME, an empty directory that no rule is about.
 *
 *	files BASE WORK KIND [NAME...]	KIND is read or change; prepare makes the files of all attempts, and makes
 *none
 *
 * Prints "NAME RESULT" for each: ok, the number of an errno, or "impossible" where this kernel or these rights cannot
 *do it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define IMPOSSIBLE 254

static char base[2048], work[2048];

static const char *in(const char *directory, const char *name)
{
	static char buffers[8][4096];
	static int next;
	char *buffer = buffers[next++ & 7];

	snprintf(buffer, sizeof(buffers[0]), "%s/%s", directory, name);
	return buffer;
}

static int result(long value)
{
	return value < 0 ? errno : 0;
}

static void must(long value)
{
	if (value < 0)
		_exit(IMPOSSIBLE);
}

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

/* One operation by io_uring: no library, since there is but one. */
static int by_ring(struct io_uring_sqe *wanted, int worker)
{
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 4, &params);
	struct io_uring_sqe *entries;
	struct io_uring_cqe *done;
	unsigned *array;
	char *sq, *cq;

	must(ring);
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
	          IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED,
	          ring, IORING_OFF_CQ_RING);
	entries = mmap(NULL, params.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
	               IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED)
		_exit(IMPOSSIBLE);
	entries[0] = *wanted;
	entries[0].flags = worker ? IOSQE_ASYNC : 0;
	array = (unsigned *)(sq + params.sq_off.array);
	array[0] = 0;
	__atomic_store_n((unsigned *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
	done = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	return done->res < 0 ? -done->res : 0;
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

/* From here on what changes something. */

static int open_flags(const char *name, int flags)
{
	return result(open(in(base, name), flags, 0600));
}

static int try_write(void)
{
	return open_flags("f", O_WRONLY);
}

static int try_append(void)
{
	return open_flags("f", O_RDWR | O_APPEND);
}

static int try_open_truncate(void)
{
	return open_flags("f", O_RDONLY | O_TRUNC);
}

static int try_create(void)
{
	return open_flags("new", O_WRONLY | O_CREAT | O_EXCL);
}

static int try_unnamed(void)
{
	return open_flags("d", O_WRONLY | O_TMPFILE);
}

static int try_path_fd_write(void)
{
	char path[64];
	int fd = open(in(base, "f"), O_PATH);

	must(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return result(open(path, O_WRONLY));
}

static int try_truncate(void)
{
	return result(truncate(in(base, "f"), 0));
}

static int try_link_out(void)
{
	return result(link(in(base, "f"), in(work, "link")));
}

static int try_link_in(void)
{
	must(mknod(in(work, "mine"), S_IFREG | 0600, 0));
	return result(link(in(work, "mine"), in(base, "link")));
}

static int try_link_path_fd(void)
{
	int fd = open(in(base, "f"), O_PATH);

	must(fd);
	return result(linkat(fd, "", AT_FDCWD, in(work, "link"), AT_EMPTY_PATH));
}

static int try_symlink(void)
{
	return result(symlink("/etc", in(base, "link")));
}

static int try_unlink(void)
{
	return result(unlink(in(base, "f")));
}

static int try_rmdir(void)
{
	return result(rmdir(in(base, "d")));
}

static int try_rename_out(void)
{
	return result(rename(in(base, "f"), in(work, "f")));
}

static int try_rename_in(void)
{
	must(mknod(in(work, "mine"), S_IFREG | 0600, 0));
	return result(rename(in(work, "mine"), in(base, "new")));
}

static int try_rename_over(void)
{
	must(mknod(in(work, "mine"), S_IFREG | 0600, 0));
	return result(rename(in(work, "mine"), in(base, "f")));
}

static int try_exchange(void)
{
	must(mknod(in(work, "mine"), S_IFREG | 0600, 0));
	return result(syscall(SYS_renameat2, AT_FDCWD, in(work, "mine"), AT_FDCWD, in(base, "f"), RENAME_EXCHANGE));
}

static int try_mkdir(void)
{
	return result(mkdir(in(base, "new"), 0755));
}

static int try_fifo(void)
{
	return result(mkfifo(in(base, "new"), 0600));
}

static int try_unix_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "new"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	must(fd);
	must(chdir(base));
	return result(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int try_chmod(void)
{
	return result(chmod(in(base, "f"), 0600));
}

/* A file descriptor of O_PATH is enough for it. */
static int try_chown(void)
{
	int fd = open(in(base, "f"), O_PATH);

	must(fd);
	return result(fchownat(fd, "", 1, 1, AT_EMPTY_PATH));
}

static int try_utimes(void)
{
	return result(utimensat(AT_FDCWD, in(base, "f"), NULL, 0));
}

static int try_xattr(void)
{
	return result(setxattr(in(base, "f"), "trusted.test", "1", 1, 0));
}

static int try_remove_xattr(void)
{
	return result(removexattr(in(base, "f"), "trusted.there"));
}

static int try_acl(void)
{
	/* user::rw-, user:1:r--, group::r--, mask::r--, other::--- */
	static const unsigned char acl[] = {2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
	                                    0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
	                                    4, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};

	return result(setxattr(in(base, "f"), "system.posix_acl_access", acl, sizeof(acl), 0));
}

/* Sets an attribute of a file that is only open for reading. */
static int try_set_flags(void)
{
	int flags, fd = open(in(base, "f"), O_RDONLY);

	if (fd < 0)
		return errno;
	must(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags ^= FS_NODUMP_FL;
	return result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

/* The same as a 32-bit process does it. */
static int try_set_flags_32(void)
{
#ifdef __x86_64__
	int *flags = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int fd = open(in(base, "f"), O_RDONLY), got = 54; /* ioctl() */

	if (fd < 0)
		return errno;
	must(ioctl(fd, FS_IOC_GETFLAGS, flags));
	*flags ^= FS_NODUMP_FL;
	asm volatile("int $0x80" : "+a"(got) : "b"(fd), "c"(FS_IOC32_SETFLAGS), "d"(flags) : "memory");
	return got == -ENOSYS ? IMPOSSIBLE : -got;
#else
	return IMPOSSIBLE;
#endif
}

/* With another one a rule would not know the file any more. */
static int try_set_version(void)
{
	int version = 7, fd = open(in(base, "f"), O_RDONLY);

	if (fd < 0)
		return errno;
	if (ioctl(fd, FS_IOC_SETVERSION, &version) == 0)
		return 0;
	return errno == ENOTTY || errno == EOPNOTSUPP ? IMPOSSIBLE : errno;
}

static int try_ring_unlink(void)
{
	struct io_uring_sqe entry = {
	    .opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (unsigned long)in(base, "f")};

	return by_ring(&entry, 0);
}

static int try_chroot_mkdir(void)
{
	must(chroot(base));
	return result(mkdir("/new", 0755));
}

static const struct attempt {
	const char *name;
	int (*run)(void);
	int changes;
} attempts[] = {
    {"open", try_open, 0},
    {"directory", try_directory, 0},
    {"exec", try_exec, 0},
    {"exec-path-fd", try_exec_path_fd, 0},
    {"path-fd", try_path_fd, 0},
    {"directory-fd", try_directory_fd, 0},
    {"working-directory", try_working_directory, 0},
    {"openat2", try_openat2, 0},
    {"symlink-to", try_symlink_to, 0},
    {"bind-mount", try_bind_mount, 0},
    {"bind-file", try_bind_file, 0},
    {"chroot", try_chroot, 0},
    {"proc-root", try_proc_root, 0},
    {"user-namespace", try_user_namespace, 0},
    {"renamed-parent", try_renamed_parent, 0},
    {"thread", try_thread, 0},
    {"handle", try_handle, 0},
    {"cold-handle", try_cold_handle, 0},
    {"overlay", try_overlay, 0},
    {"ring", try_ring, 0},
    {"ring-worker", try_ring_worker, 0},
    {"write", try_write, 1},
    {"append", try_append, 1},
    {"open-truncate", try_open_truncate, 1},
    {"create", try_create, 1},
    {"unnamed", try_unnamed, 1},
    {"path-fd-write", try_path_fd_write, 1},
    {"truncate", try_truncate, 1},
    {"link-out", try_link_out, 1},
    {"link-in", try_link_in, 1},
    {"link-path-fd", try_link_path_fd, 1},
    {"symlink", try_symlink, 1},
    {"unlink", try_unlink, 1},
    {"rmdir", try_rmdir, 1},
    {"rename-out", try_rename_out, 1},
    {"rename-in", try_rename_in, 1},
    {"rename-over", try_rename_over, 1},
    {"exchange", try_exchange, 1},
    {"mkdir", try_mkdir, 1},
    {"fifo", try_fifo, 1},
    {"unix-socket", try_unix_socket, 1},
    {"chmod", try_chmod, 1},
    {"chown", try_chown, 1},
    {"utimes", try_utimes, 1},
    {"xattr", try_xattr, 1},
    {"remove-xattr", try_remove_xattr, 1},
    {"acl", try_acl, 1},
    {"set-flags", try_set_flags, 1},
    {"set-flags-32", try_set_flags_32, 1},
    {"set-version", try_set_version, 1},
    {"ring-unlink", try_ring_unlink, 1},
    {"chroot-mkdir", try_chroot_mkdir, 1},
};

/* The files of one attempt. */
static void prepare(void)
{
	static const char script[] = "#!/bin/sh\nexit 0\n";
	int fd;

	must(mkdir(base, 0777));
	must(chmod(base, 0777));
	must(mkdir(work, 0777));
	must(chmod(work, 0777));
	must(mkdir(in(base, "d"), 0777));
	fd = open(in(base, "f"), O_CREAT | O_WRONLY, 0644);
	must(write(fd, "secret\n", 7));
	close(fd);
	/* Not on every file system. */
	if (setxattr(in(base, "f"), "trusted.there", "1", 1, 0) < 0 && errno != EOPNOTSUPP)
		_exit(IMPOSSIBLE);
	fd = open(in(base, "x"), O_CREAT | O_WRONLY, 0755);
	must(write(fd, script, sizeof(script) - 1));
	close(fd);
}

static int is_wanted(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	int status;

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
			printf("%s %s\n", attempts[i].changes ? "change" : "read", attempts[i].name);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "--exchange"))
		return result(syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE));
	if (argc < 4) {
		fprintf(stderr,
		        "usage: files BASE WORK read|change|prepare [NAME...]; files --list; files --exchange A B\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		const struct attempt *attempt = &attempts[i];

		if (!is_wanted(attempt->name, argv + 4))
			continue;
		snprintf(base, sizeof(base), "%s/%s", argv[1], attempt->name);
		snprintf(work, sizeof(work), "%s/%s", argv[2], attempt->name);
		if (!strcmp(argv[3], "prepare")) {
			prepare();
			continue;
		}
		if (attempt->changes != !strcmp(argv[3], "change"))
			continue;
		if (fork() == 0)
			_exit(attempt->run());
		if (wait(&status) < 0 || !WIFEXITED(status))
			status = IMPOSSIBLE << 8;
		status = WEXITSTATUS(status);
		if (status == 0)
			printf("%s ok\n", attempt->name);
		else if (status == IMPOSSIBLE)
			printf("%s impossible\n", attempt->name);
		else
			printf("%s %d\n", attempt->name, status);
		fflush(stdout);
	}
	return 0;
}
