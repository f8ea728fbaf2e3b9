/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the program files share; see ../files.c. */
#ifndef FILES_H
#define FILES_H

#include <linux/io_uring.h>

#define IMPOSSIBLE 254

/* The directories of the attempt that is made. */
extern char base[2048], work[2048];

struct attempt {
	const char *name;
	int (*run)(void); /* 0, an errno, or IMPOSSIBLE */
};

/* Each ends with one that has no name. */
extern const struct attempt reads[], changes[];

/* A path: one of eight buffers, in turn. */
const char *in(const char *directory, const char *name);
/* 0, or errno where the value is below 0. */
int result(long value);
/* Ends this process as IMPOSSIBLE where the value is below 0. */
void must(long value);
/* One operation by io_uring. */
int by_ring(struct io_uring_sqe *wanted, int worker);

#endif
