// SPDX-License-Identifier: Apache-2.0
/*
 * A task that connects as it is told, one command a line on stdin, one answer a line on stdout: "ok", "ok NUMBER..."
 * or "error NAME". What it opened stays open until it is told to close it.
 *
 *	socket tcp|udp|mptcp|udplite|ping|raw 4|6	"ok FD"; the last two of ICMP, IPv4
 *	connect FD ADDRESS PORT		"ok" or "error ECONNREFUSED"; v4-mapped where an IPv6 socket gets ::ffff:...
 *	compat FD ADDRESS PORT		the same by a 32-bit system call
 *	ring FD ADDRESS PORT		the same by io_uring
 *	fast FD ADDRESS PORT		by sendto(MSG_FASTOPEN)
 *	send FD ADDRESS PORT		sendto() of an echo request's header
 *	defer FD | nonblock FD		TCP_FASTOPEN_CONNECT; O_NONBLOCK
 *	bind FD ADDRESS PORT | await FD	listen(), of what was not bound
 *	write FD | read FD | close FD | shutdown FD | abort FD | unspec FD
 *	peer FD				getpeername(): "ok PORT 16 BYTES"
 *	from FD				recvfrom() of what comes within 5 s: likewise, whom it is from
 *	patience FD MS			TCP_USER_TIMEOUT
 *	interrupt FD ADDRESS PORT	connect() that a signal ends after 100 ms
 *	dup FD				"ok FD"
 *	flight FD | land | sink		sent by SCM_RIGHTS and closed here; received; never received
 *	fork | reap			a child that has all that is open now; kill it
 *	exec FD				as fork, a child that has become another program and has FD alone
 *	listen ADDRESS [PORT [close]]	"ok PORT"; it accepts and keeps what comes, or closes it
 *	accepted | drop HOW		how many it has; ends them (how=close|reset)
 *	hold N KIND ADDRESS PORT	N sockets: "ok CONNECTED REFUSED OTHER", refused being EAGAIN
 *	race THREADS N KIND ADDRESS PORT	the same, N by each thread at once
 *	cycles THREADS N HOW ADDRESS PORT	open, connect and end, N by each thread; how=close|abort|mptcp|udp|
 *					udplite|unspec (twice)|nonblock (before it is there)|fast (with data)|ring
 *	spray THREADS N ADDRESS PORT	N datagrams by each thread, two to each IPv4 address: 16 times 16 from there
 *					on, by the last bytes. "ok WRONG": EPERM where their sum is even, or another
 *					answer where it is odd
 *	pin				to one CPU from now on
 *	closeall
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connections/connections.h"

#define MAX_FDS 65536

static bool open_fds[MAX_FDS];

int keep(int fd)
{
	if (fd >= 0 && fd < MAX_FDS)
		open_fds[fd] = true;
	return fd;
}

void forget(int fd)
{
	open_fds[fd] = false;
}

static void answer(int result)
{
	if (result < 0)
		printf("error %s\n", strerrorname_np(errno));
	else
		printf("ok %d\n", result);
}

static int pin(void)
{
	cpu_set_t cpus, one;
	int cpu = 0;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	while (!CPU_ISSET(cpu, &cpus))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

static void close_all(void)
{
	for (int fd = 0; fd < MAX_FDS; fd++) {
		if (open_fds[fd])
			close(fd);
		open_fds[fd] = false;
	}
}

static bool accepted_fds[MAX_FDS];
static atomic_int accepted;

static bool parting;

static void *accept_all(void *argument)
{
	int listener = (int)(long)argument, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (parting) {
			close(fd);
			continue;
		}
		accepted_fds[fd] = true;
		accepted++;
	}
	return NULL;
}

static int start_listener(const char *host, int port)
{
	struct target at = target_of(host, port);
	int fd = socket(at.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 name;
	socklen_t length = sizeof(name);
	pthread_t thread;

	if (fd < 0 || bind(fd, (void *)&at.address, at.length) || listen(fd, 4096) ||
	    getsockname(fd, (void *)&name, &length) || pthread_create(&thread, NULL, accept_all, (void *)(long)fd))
		return -1;
	return ntohs(name.sin6_port);
}

static int drop(const char *how)
{
	for (int fd = 0; fd < MAX_FDS; fd++) {
		if (accepted_fds[fd]) {
			accepted_fds[fd] = false;
			accepted--;
			end(fd, strcmp(how, "reset") ? "close" : "abort");
		}
	}
	return 0;
}

/* IPv4 as v4-mapped. */
static void answer_address(int result, const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	unsigned char bytes[16] = {[10] = 0xff, [11] = 0xff};

	if (result < 0) {
		answer(result);
		return;
	}
	if (address->ss_family == AF_INET)
		memcpy(bytes + 12, &v4->sin_addr, 4);
	else
		memcpy(bytes, &v6->sin6_addr, 16);
	printf("ok %d", ntohs(v4->sin_port));
	for (int i = 0; i < 16; i++)
		printf(" %d", bytes[i]);
	printf("\n");
}

static void tell_address(bool sender, int fd)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage address = {};
	socklen_t length = sizeof(address);
	char byte;
	int result;

	if (!sender) {
		result = getpeername(fd, (void *)&address, &length);
	} else {
		poll(&readable, 1, 5000);
		result = recvfrom(fd, &byte, 1, MSG_DONTWAIT, (void *)&address, &length);
	}
	answer_address(result, &address);
}

static void on_socket(const char *command, int fd)
{
	struct linger linger = {.l_onoff = 1};
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	char byte = 'x';
	int one = 1, result = 0;

	if (!strcmp(command, "close") || !strcmp(command, "abort")) {
		if (*command == 'a')
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		forget(fd);
		result = close(fd);
	} else if (!strcmp(command, "shutdown")) {
		result = shutdown(fd, SHUT_WR);
	} else if (!strcmp(command, "unspec")) {
		result = connect(fd, &none, sizeof(none));
	} else if (!strcmp(command, "write")) {
		result = write(fd, &byte, 1) == 1 ? 0 : -1;
	} else if (!strcmp(command, "read")) {
		result = read(fd, &byte, 1);
	} else if (!strcmp(command, "defer")) {
		result = setsockopt(fd, SOL_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one));
	} else if (!strcmp(command, "await")) {
		result = listen(fd, 1);
	} else if (!strcmp(command, "dup")) {
		result = keep(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	} else if (!strcmp(command, "flight")) {
		result = send_away(fd);
	} else if (!strcmp(command, "nonblock")) {
		result = fcntl(fd, F_SETFL, O_NONBLOCK);
	} else {
		errno = ENOSYS;
		result = -1;
	}
	answer(result);
}

static void obey(char *line)
{
	char command[16] = "", first[64] = "", second[64] = "", third[64] = "", fourth[64] = "", fifth[64] = "";
	int words = sscanf(line, "%15s %63s %63s %63s %63s %63s", command, first, second, third, fourth, fifth);

	if (!strcmp(command, "socket")) {
		answer(keep(make(first, atoi(second) == 6 ? AF_INET6 : AF_INET)));
	} else if (!strcmp(command, "closeall")) {
		close_all();
		answer(0);
	} else if (!strcmp(command, "listen")) {
		parting = !strcmp(third, "close");
		answer(start_listener(first, atoi(second)));
	} else if (!strcmp(command, "accepted")) {
		answer(accepted);
	} else if (!strcmp(command, "drop")) {
		answer(drop(first));
	} else if (!strcmp(command, "fork") || !strcmp(command, "exec")) {
		answer(start_child(*command == 'e' ? atoi(first) : -1));
	} else if (!strcmp(command, "land")) {
		answer(receive());
	} else if (!strcmp(command, "sink")) {
		answer(sink());
	} else if (!strcmp(command, "patience")) {
		int ms = atoi(second);

		answer(setsockopt(atoi(first), SOL_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)));
	} else if (!strcmp(command, "peer") || !strcmp(command, "from")) {
		tell_address(*command == 'f', atoi(first));
	} else if (!strcmp(command, "reap")) {
		answer(reap_child());
	} else if (!strcmp(command, "hold") && words == 5) {
		struct work work = {.count = atoi(first), .kind = second, .to = target_of(third, atoi(fourth))};

		run(1, &work);
	} else if ((!strcmp(command, "race") || !strcmp(command, "cycles")) && words == 6) {
		struct work work = {.count = atoi(second),
		                    .kind = third,
		                    .to = target_of(fourth, atoi(fifth)),
		                    .cycles = *command == 'c'};

		run(atoi(first), &work);
	} else if (!strcmp(command, "pin")) {
		answer(pin());
	} else if (!strcmp(command, "spray") && words == 5) {
		struct target to = target_of(third, atoi(fourth));

		answer(spray_all(atoi(first), atoi(second), &to));
	} else if (words == 4) {
		struct target to = target_of(second, atoi(third));
		int fd = atoi(first);

		if (!strcmp(command, "connect"))
			answer(connect(fd, (void *)&to.address, to.length));
		else if (!strcmp(command, "compat"))
			answer(connect_32(fd, &to));
		else if (!strcmp(command, "interrupt"))
			answer(connect_interrupted(fd, &to));
		else if (!strcmp(command, "bind"))
			answer(bind(fd, (void *)&to.address, to.length));
		else if (!strcmp(command, "ring"))
			answer(ring_connect(fd, &to));
		else if (!strcmp(command, "send"))
			answer(sendto(fd, "\10\0\367\377\0\0\0\0", 8, 0, (void *)&to.address, to.length));
		else
			answer(sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&to.address, to.length));
	} else {
		on_socket(command, atoi(first));
	}
}

int main(void)
{
	struct rlimit limit = {.rlim_cur = MAX_FDS, .rlim_max = MAX_FDS};
	char line[512];

	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &limit);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
