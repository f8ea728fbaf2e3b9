// SPDX-License-Identifier: Apache-2.0
/* One socket, and the ways to connect it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "connections.h"

/* __NR_connect of i386. */
#define I386_CONNECT 362
#define MPTCP        262
#define UDPLITE      136

struct target target_of(const char *host, int port)
{
	struct target target = {.family = strchr(host, ':') ? AF_INET6 : AF_INET};

	if (target.family == AF_INET6) {
		struct sockaddr_in6 *in6 = (void *)&target.address;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		inet_pton(AF_INET6, host, &in6->sin6_addr);
		target.length = sizeof(*in6);
	} else {
		struct sockaddr_in *in = (void *)&target.address;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		inet_pton(AF_INET, host, &in->sin_addr);
		target.length = sizeof(*in);
	}
	return target;
}

int make(const char *kind, int family)
{
	if (!strcmp(kind, "udp"))
		return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (!strcmp(kind, "udplite"))
		return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, UDPLITE);
	if (!strcmp(kind, "ping"))
		return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
	if (!strcmp(kind, "raw"))
		return socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC, strcmp(kind, "mptcp") ? 0 : MPTCP);
}

int connect_to(int fd, const struct target *to)
{
	return connect(fd, (const void *)&to->address, to->length);
}

/* connect() by the 32-bit system calls of x86: of others there are none, and it is the usual one. */
int connect_32(int fd, const struct target *to)
{
#ifdef __x86_64__
	long result;
	void *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (low == MAP_FAILED)
		return -1;
	memcpy(low, &to->address, to->length);
	__asm__ volatile("int $0x80"
	                 : "=a"(result)
	                 : "a"(I386_CONNECT), "b"(fd), "c"(low), "d"(to->length)
	                 : "memory", "r8", "r9", "r10", "r11");
	munmap(low, 4096);
	errno = result < 0 ? -result : 0;
	return result < 0 ? -1 : 0;
#else
	return connect(fd, (void *)&to->address, to->length);
#endif
}

/* One connect by a ring of its own. */
int ring_connect(int fd, const struct target *to)
{
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 2, &params);
	struct io_uring_sqe *sqe;
	unsigned *sq, *cq;
	int result;

	if (ring < 0)
		return -1;
	sq = mmap(NULL, params.sq_off.array + 2 * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
	          IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + 4 * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
	          ring, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, 2 * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_CONNECT;
	sqe->fd = fd;
	sqe->addr = (unsigned long)&to->address;
	sqe->off = to->length;
	sq[params.sq_off.array / 4] = 0;
	atomic_store((_Atomic unsigned *)&sq[params.sq_off.tail / 4], 1);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
		close(ring);
		return -1;
	}
	result = ((struct io_uring_cqe *)((char *)cq + params.cq_off.cqes))->res;
	munmap(sq, params.sq_off.array + 2 * sizeof(unsigned));
	munmap(cq, params.cq_off.cqes + 4 * sizeof(struct io_uring_cqe));
	munmap(sqe, 2 * sizeof(*sqe));
	close(ring);
	errno = -result;
	return result < 0 ? -1 : result;
}

static void on_alarm(int signal)
{
	(void)signal;
}

int connect_interrupted(int fd, const struct target *to)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval soon = {.it_value = {.tv_usec = 100000}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	return connect_to(fd, to);
}

void end(int fd, const char *how)
{
	if (strcmp(how, "close")) {
		struct linger linger = {.l_onoff = 1};

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	close(fd);
}
