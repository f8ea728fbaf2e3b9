// SPDX-License-Identifier: Apache-2.0
/* What attempts to open and to change files have in common. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

char base[2048], work[2048];

const char *in(const char *directory, const char *name)
{
	static char buffers[8][4096];
	static int next;
	char *buffer = buffers[next++ & 7];

	snprintf(buffer, sizeof(buffers[0]), "%s/%s", directory, name);
	return buffer;
}

int result(long value)
{
	return value < 0 ? errno : 0;
}

void must(long value)
{
	if (value < 0)
		_exit(IMPOSSIBLE);
}

/* No library, since there is but one. */
int by_ring(struct io_uring_sqe *wanted, int worker)
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
