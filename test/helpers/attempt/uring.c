// SPDX-License-Identifier: Apache-2.0
/* Attempts through io_uring: the same sockets, by other ways into the kernel. Raw system calls, no liburing. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attempt.h"

/* Not in the headers of Linux 6.1. */
#define OP_SOCKET 45
#define OP_BIND   56 /* Linux 6.11 */
#define OP_LISTEN 57 /* Linux 6.11 */

#define PROBE_OPS 256

struct ring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static bool ring_disabled(void)
{
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "r");
	int value = 0;

	if (file) {
		if (fscanf(file, "%d", &value) != 1)
			value = 0;
		fclose(file);
	}
	return value;
}

static void ring_open(struct ring *r)
{
	struct io_uring_params p = {.flags = opt.sqpoll ? IORING_SETUP_SQPOLL : 0, .sq_thread_idle = 1000};
	char *sq, *cq;

	r->fd = syscall(SYS_io_uring_setup, 4, &p);
	if (r->fd < 0) {
		if (errno == ENOSYS || (errno == EPERM && ring_disabled()))
			cannot("io_uring_setup", errno, "this kernel has no io_uring for us");
		stopped(-1, "io_uring_setup", errno, "");
	}
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
	          IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
	          MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
	               IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || r->sqes == MAP_FAILED)
		stopped(-1, "io_uring_setup", errno, "mmap");
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
}

static void ring_need(struct ring *r, int op, const char *name)
{
	struct io_uring_probe *probe = calloc(1, sizeof(*probe) + PROBE_OPS * sizeof(probe->ops[0]));

	if (!probe || syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_PROBE, probe, PROBE_OPS))
		cannot("io_uring_probe", errno, name);
	if (op > probe->last_op || !(probe->ops[op].flags & IO_URING_OP_SUPPORTED))
		cannot("io_uring_probe", EOPNOTSUPP, name);
	free(probe);
}

/* Submits one entry and waits for it; its result, or a negative errno. */
static int ring_do(struct ring *r, struct io_uring_sqe sqe)
{
	struct __kernel_timespec limit = {.tv_sec = 2};
	struct io_uring_getevents_arg arg = {.ts = (unsigned long)&limit};
	unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | (opt.sqpoll ? IORING_ENTER_SQ_WAKEUP : 0);
	unsigned tail = *r->sq_tail, head;
	int result;

	if (opt.async)
		sqe.flags |= IOSQE_ASYNC;
	r->sqes[tail & *r->sq_mask] = sqe;
	r->sq_array[tail & *r->sq_mask] = tail & *r->sq_mask;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_SEQ_CST);
	if (syscall(SYS_io_uring_enter, r->fd, opt.sqpoll ? 0 : 1, 1, flags, &arg, sizeof(arg)) < 0 && errno != ETIME)
		return -errno;
	head = *r->cq_head;
	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return -ETIMEDOUT;
	result = r->cqes[head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

static int ring_socket(struct ring *r)
{
	int fd;

	ring_open(r);
	ring_need(r, OP_SOCKET, "IORING_OP_SOCKET");
	fd = ring_do(r, (struct io_uring_sqe){
	                    .opcode = OP_SOCKET, .fd = socket_domain(), .off = socket_type(), .len = socket_proto()});
	if (fd < 0)
		failed(-1, "socket", -fd);
	prepare_socket(fd);
	return fd;
}

/* One call by io_uring that gives a file descriptor; -1 with errno. */
static int ring_call(struct io_uring_sqe sqe, const char *name)
{
	struct ring r;
	int result;

	ring_open(&r);
	ring_need(&r, sqe.opcode, name);
	result = ring_do(&r, sqe);
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

int ring_make_socket(int domain, int type, int proto)
{
	return ring_call((struct io_uring_sqe){.opcode = OP_SOCKET, .fd = domain, .off = type, .len = proto},
	                 "IORING_OP_SOCKET");
}

int ring_open_file(const char *path, int flags)
{
	return ring_call((struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
	                                       .fd = -100, /* AT_FDCWD */
	                                       .addr = (unsigned long)path,
	                                       .open_flags = flags},
	                 "IORING_OP_OPENAT");
}

int ring_receive_message(int channel, struct msghdr *msg)
{
	return ring_call((struct io_uring_sqe){.opcode = IORING_OP_RECVMSG,
	                                       .fd = channel,
	                                       .addr = (unsigned long)msg,
	                                       .len = 1,
	                                       .msg_flags = MSG_CMSG_CLOEXEC},
	                 "IORING_OP_RECVMSG");
}

static void ring_address(struct ring *r, int op, int fd, struct address *a, const char *step)
{
	int result =
	    ring_do(r, (struct io_uring_sqe){.opcode = op, .fd = fd, .addr = (unsigned long)&a->sa, .off = a->len});

	if (result < 0)
		failed(fd, step, -result);
}

static noreturn void ring_serve(struct ring *r, int fd)
{
	int result;

	if (!is_datagram()) {
		result = ring_do(r, (struct io_uring_sqe){.opcode = OP_LISTEN, .fd = fd, .len = 8});
		if (result < 0)
			failed(fd, "listen", -result);
	}
	reached(fd);
}

void try_io_uring_bind(void)
{
	int port = need_port(), fd;
	struct address a;
	struct ring r;

	fd = ring_socket(&r);
	ring_need(&r, OP_BIND, "IORING_OP_BIND");
	local_address(&a, port);
	ring_address(&r, OP_BIND, fd, &a, "bind");
	ring_serve(&r, fd);
}

void try_io_uring_listen_unbound(void)
{
	struct ring r;
	int fd;

	if (is_datagram())
		usage("%s is for protocols that listen", opt.name);
	fd = ring_socket(&r);
	ring_need(&r, OP_LISTEN, "IORING_OP_LISTEN");
	ring_serve(&r, fd);
}

void try_io_uring_sendmsg(void)
{
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int helper, fd, dest, result;
	struct address a;
	struct ring r;

	if (!is_datagram())
		usage("%s is for UDP", opt.name);
	dest = dest_port(true, &helper);
	fd = ring_socket(&r);
	dest_address(&a, dest);
	msg.msg_name = &a.sa;
	msg.msg_namelen = a.len;
	result = ring_do(
	    &r, (struct io_uring_sqe){.opcode = IORING_OP_SENDMSG, .fd = fd, .addr = (unsigned long)&msg, .len = 1});
	if (result < 0)
		failed(fd, "sendmsg", -result);
	reached(fd);
}

void try_io_uring_connect(void)
{
	int helper, fd, dest = dest_port(true, &helper);
	struct linger linger = {.l_onoff = 1};
	struct address a;
	struct ring r;

	fd = ring_socket(&r);
	if (!is_datagram())
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (opt.local_port >= 0)
		do_bind(fd, opt.local_port);
	dest_address(&a, dest);
	ring_address(&r, IORING_OP_CONNECT, fd, &a, "connect");
	through(fd, "connect", "");
}
