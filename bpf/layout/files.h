/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Files that are kept from a container, or from being changed by it. See layout.h. */
#pragma once

#include <linux/types.h>

/* Key of file_rules: a directory, with all below it, or a file. */
struct file_key {
	__u64 set;
	__u64 ino;
	__u32 dev;        /* as the kernel has it: super_block.s_dev */
	__u32 generation; /* inode.i_generation: file systems use a number again, with another one of these */
};

/* Value of file_rules, and what became of a look for one. The nearest on the way up from the file holds. */
enum file_verdict {
	FILE_NO_RULE = 0,
	FILE_ALLOW = 1,
	FILE_READONLY = 2,
	/* From here on all is refused. */
	FILE_DENY = 3,
	FILE_DISCONNECTED = 4, /* found by its handle: nobody knows where it is */
	FILE_TOO_DEEP = 5,     /* deeper than FILE_ANCESTORS */
	FILE_PIN = 6,          /* of the isolator's in bpffs */
	FILE_SUBVOLUME = 7,    /* of btrfs, to be removed: nobody knows which */
};

enum file_operation {
	FILE_OPEN = 0,
	FILE_OPEN_WRITE = 1,
	FILE_EXEC = 2,
	FILE_CREATE = 3,
	FILE_MKDIR = 4,
	FILE_MKNOD = 5,
	FILE_SYMLINK = 6,
	FILE_LINK = 7,
	FILE_UNLINK = 8,
	FILE_RMDIR = 9,
	FILE_RENAME = 10,
	FILE_ATTRIBUTES = 11, /* chmod, chown, utimes, truncate, and what ioctl() sets of them */
	FILE_XATTR = 12,      /* extended attributes and ACLs */
	FILE_UMOUNT = 13,
};

enum file_sizes {
	FILE_ANCESTORS = 256,     /* that are looked at; a file that has more is refused */
	FILE_NEAR_ANCESTORS = 24, /* of these the nearest, at the least cost */
	FILE_PATH = 384,
	FILE_NAMES = 24,      /* of a path that is made of them, */
	FILE_NAME = 128,      /* shorter than this, */
	FILE_NAMES_END = 256, /* up to here: a power of two, like the one before */
	FILE_IDENTITIES = 16,
	FILE_CACHED = 8192,     /* verdicts in file_cache */
	FILE_CACHED_SHIFT = 51, /* what is left of a hash of 64 bits is the number of one */
};

/* The only value of file_cache (file_cache.h). */
struct file_cache {
	__u64 generation;            /* random and odd: another one makes all verdicts void; 0: none is used */
	__u64 verdicts[FILE_CACHED]; /* each a hash of what it is about, with enum file_verdict in FILE_CACHED_BITS */
};

/* What comes after struct event where the reason is REASON_FILE. */
struct file_detail {
	__u64 ino;
	__u32 dev;
	__u8 operation; /* enum file_operation */
	__u8 verdict;   /* enum file_verdict */
	__u8 seen;  /* 1: the path is as the task sees it; else as its file system has it, where it is long its end */
	__u8 begin; /* of the path */
	__u8 path[FILE_PATH]; /* NUL-terminated; from the task, so never trusted */
};

/* How the kernel knows an open file: asked of files_identify. */
struct file_identity {
	__u64 ino;
	__u32 dev;
	__u32 generation;
	__u32 fd; /* in */
	__u32 reserved;
};

_Static_assert(sizeof(struct file_key) == 24, "file_key has a hole");
_Static_assert(sizeof(struct file_detail) == 16 + FILE_PATH, "file_detail has a hole");
_Static_assert(sizeof(struct file_identity) == 24, "file_identity has a hole");
