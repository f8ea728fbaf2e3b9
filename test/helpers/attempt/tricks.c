// SPDX-License-Identifier: Apache-2.0
/* Attempts by the 32-bit system calls, by a race on the address in memory, and by sheer number. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "attempt.h"

#define RACE_TRIES   20000
#define RACE_SECONDS 2

#ifdef __x86_64__
/* System calls of i386. */
#define I386_SOCKETCALL 102
#define I386_SOCKET     359
#define I386_BIND       361
#define I386_LISTEN     363
/* The calls of socketcall. */
#define CALL_SOCKET 1
#define CALL_BIND   2
#define CALL_LISTEN 4

static sigjmp_buf no_gate;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(no_gate, 1);
}

static int int80(unsigned number, unsigned a, unsigned b, unsigned c)
{
	long result;

	__asm__ volatile("int $0x80"
	                 : "=a"(result)
	                 : "a"((long)number), "b"((long)a), "c"((long)b), "d"((long)c)
	                 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

/* One of socket, bind and listen; `low` is memory below 4 GB for the arguments. */
static int call32(unsigned *low, bool socketcall, int direct, int call, unsigned a, unsigned b, unsigned c)
{
	if (!socketcall)
		return int80(direct, a, b, c);
	low[0] = a;
	low[1] = b;
	low[2] = c;
	return int80(I386_SOCKETCALL, call, (unsigned)(unsigned long)low, 0);
}

void try_compat32_bind(void)
{
	int port = need_port(), fd, result;
	bool socketcall = !strcmp(how_of("direct"), "socketcall");
	struct address a;
	char *low;

	if (!socketcall && strcmp(how_of("direct"), "direct"))
		usage("unknown how: %s", opt.how);
	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		stopped(-1, "mmap", errno, "");
	signal(SIGSEGV, on_fault);
	signal(SIGILL, on_fault);
	if (sigsetjmp(no_gate, 1))
		cannot("int80", ENOSYS, "this kernel has no 32-bit system calls");
	fd =
	    call32((void *)low, socketcall, I386_SOCKET, CALL_SOCKET, socket_domain(), socket_type(), socket_proto());
	signal(SIGSEGV, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	if (fd < 0)
		failed(-1, "socket", -fd);
	prepare_socket(fd);
	local_address(&a, port);
	memcpy(low + 1024, &a.sa, a.len);
	result =
	    call32((void *)low, socketcall, I386_BIND, CALL_BIND, fd, (unsigned)(unsigned long)(low + 1024), a.len);
	if (result < 0)
		failed(fd, "bind", -result);
	if (!is_datagram()) {
		result = call32((void *)low, socketcall, I386_LISTEN, CALL_LISTEN, fd, 8, 0);
		if (result < 0)
			failed(fd, "listen", -result);
	}
	reached(fd);
}
#else
void try_compat32_bind(void)
{
	cannot("int80", ENOSYS, "this machine is not x86-64");
}
#endif

static struct address racing;
static unsigned short race_ports[2];
static bool race_over;

static void *flip_port(void *unused)
{
	/* IPv4 and IPv6 addresses have the port at the same place. */
	volatile unsigned short *port = &((struct sockaddr_in *)&racing.sa)->sin_port;

	(void)unused;
	while (!__atomic_load_n(&race_over, __ATOMIC_RELAXED)) {
		*port = race_ports[0];
		*port = race_ports[1];
	}
	return NULL;
}

struct tally {
	int tries, held, other_port, eperm, other, last;
};

static void tell(const struct tally *t, char *text, size_t size)
{
	snprintf(text, size, "tries=%d held=%d other-port=%d eperm=%d other=%d%s%s", t->tries, t->held, t->other_port,
	         t->eperm, t->other, t->last ? " last=" : "", t->last ? strerrorname_np(t->last) : "");
}

/* Binds one new socket; the socket, or -1. */
static int tally_bind(struct tally *t, const struct address *a, int port)
{
	int fd = make_socket();

	t->tries++;
	if (bind(fd, (const void *)&a->sa, a->len)) {
		t->last = errno;
		if (errno == EPERM)
			t->eperm++;
		else
			t->other++;
		close(fd);
		return -1;
	}
	if (held_port(fd) == port)
		t->held++;
	else
		t->other_port++;
	return fd;
}

void try_race_bind(void)
{
	int port = need_port(), fd = -1;
	struct tally tally = {0};
	time_t end = time(NULL) + RACE_SECONDS;
	pthread_t thread;
	char text[160];

	if (opt.allowed_port < 0 || opt.allowed_port == port)
		usage("race-bind needs allowed=, another port than port=");
	local_address(&racing, opt.allowed_port);
	race_ports[0] = htons(port);
	race_ports[1] = htons(opt.allowed_port);
	if (pthread_create(&thread, NULL, flip_port, NULL))
		stopped(-1, "thread", EAGAIN, "");
	/* With one CPU the two take turns: on until the address was seen to change. */
	while (!tally.held && time(NULL) <= end && (tally.tries < RACE_TRIES || !tally.other_port || !tally.eperm)) {
		if (fd >= 0)
			close(fd);
		fd = tally_bind(&tally, &racing, port);
		if (tally.tries % 256 == 0)
			sched_yield();
	}
	__atomic_store_n(&race_over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	tell(&tally, text, sizeof(text));
	if (tally.held)
		through(fd, "bind", text);
	stopped(-1, "bind", tally.last, text);
}

void try_flood_bind(void)
{
	int port = need_port(), last_port = 0, fd;
	struct tally tally = {0};
	struct address a;
	char text[160];

	local_address(&a, port);
	while (tally.tries < opt.n) {
		fd = tally_bind(&tally, &a, port);
		if (fd >= 0) {
			last_port = held_port(fd);
			close(fd);
		}
		if (opt.delay_ms)
			usleep(opt.delay_ms * 1000);
	}
	tell(&tally, text, sizeof(text));
	if (tally.held || tally.other_port) {
		report_line(THROUGH, "bind", 0, last_port, text);
		_exit(THROUGH);
	}
	stopped(-1, "bind", tally.last, text);
}
