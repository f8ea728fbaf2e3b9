// SPDX-License-Identifier: Apache-2.0
/* Attempts to change files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"

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

const struct attempt changes[] = {
    {"write", try_write},
    {"append", try_append},
    {"open-truncate", try_open_truncate},
    {"create", try_create},
    {"unnamed", try_unnamed},
    {"path-fd-write", try_path_fd_write},
    {"truncate", try_truncate},
    {"link-out", try_link_out},
    {"link-in", try_link_in},
    {"link-path-fd", try_link_path_fd},
    {"symlink", try_symlink},
    {"unlink", try_unlink},
    {"rmdir", try_rmdir},
    {"rename-out", try_rename_out},
    {"rename-in", try_rename_in},
    {"rename-over", try_rename_over},
    {"exchange", try_exchange},
    {"mkdir", try_mkdir},
    {"fifo", try_fifo},
    {"unix-socket", try_unix_socket},
    {"chmod", try_chmod},
    {"chown", try_chown},
    {"utimes", try_utimes},
    {"xattr", try_xattr},
    {"remove-xattr", try_remove_xattr},
    {"acl", try_acl},
    {"set-flags", try_set_flags},
    {"set-flags-32", try_set_flags_32},
    {"set-version", try_set_version},
    {"ring-unlink", try_ring_unlink},
    {"chroot-mkdir", try_chroot_mkdir},
    {},
};
