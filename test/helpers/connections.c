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
#include <linux/io_uring.h>
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
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MPTCP   262
#define UDPLITE 136
#define MAX_FDS 65536
/* __NR_connect of i386. */
#define I386_CONNECT 362

static bool open_fds[MAX_FDS];
static pid_t child;

struct target {
	struct sockaddr_storage address;
	socklen_t length;
	int family;
};

static struct target target_of(const char *host, int port)
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

/* connect() by the 32-bit system calls of x86: of others there are none, and it is the usual one. */
static int connect_32(int fd, const struct target *to)
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

static int make(const char *kind, int family)
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

static int keep(int fd)
{
	if (fd >= 0 && fd < MAX_FDS)
		open_fds[fd] = true;
	return fd;
}

static void answer(int result)
{
	if (result < 0)
		printf("error %s\n", strerrorname_np(errno));
	else
		printf("ok %d\n", result);
}

/* One connect by a ring of its own. */
static int ring_connect(int fd, const struct target *to)
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

static atomic_int connected, refused, others;

struct work {
	int count;
	const char *kind;
	struct target to;
	bool cycles;
};

static void count_result(int result)
{
	if (!result)
		connected++;
	else if (errno == EAGAIN)
		refused++;
	else
		others++;
}

static void end(int fd, const char *how)
{
	if (strcmp(how, "close")) {
		struct linger linger = {.l_onoff = 1};

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	close(fd);
}

static int connect_to(int fd, const struct target *to)
{
	return connect(fd, (const void *)&to->address, to->length);
}

/* The last one of a cycle, as its kind says. */
static int connect_somehow(int fd, const struct work *work)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (!strcmp(work->kind, "fast"))
		return sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&work->to.address, work->to.length) == 1 ? 0 : -1;
	if (!strcmp(work->kind, "ring"))
		return ring_connect(fd, &work->to);
	if (!strcmp(work->kind, "nonblock"))
		return fcntl(fd, F_SETFL, O_NONBLOCK) || (connect_to(fd, &work->to) && errno != EINPROGRESS);
	if (!strcmp(work->kind, "unspec") && (connect_to(fd, &work->to) || connect(fd, &none, sizeof(none))))
		return -1;
	return connect_to(fd, &work->to);
}

static void *work_on(void *argument)
{
	const struct work *work = argument;

	for (int i = 0; i < work->count; i++) {
		int fd = make(work->kind, work->to.family);
		int result = work->cycles ? connect_somehow(fd, work) : connect_to(fd, &work->to);

		count_result(result);
		if (work->cycles || result)
			end(fd, work->kind);
		else
			keep(fd);
	}
	return NULL;
}

static void run(int threads, struct work *work)
{
	pthread_t ids[256];

	connected = refused = others = 0;
	threads = threads > 256 ? 256 : threads;
	for (int i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work_on, work);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("ok %d %d %d\n", connected, refused, others);
}

struct spray {
	pthread_t id;
	int number;
	int count;
	const struct target *first;
};

/*
 * Every other thread goes before those that it shares the CPU with, and wakes up in the midst of what they are at: in
 * their system calls too, where the kernel lets it.
 */
static void *spray(void *argument)
{
	const struct spray *spray = argument;
	struct sockaddr_in to = *(const struct sockaddr_in *)&spray->first->address;
	struct sched_param first = {.sched_priority = 1};
	struct timespec nap = {.tv_nsec = 1000 * (20 + spray->number)};
	unsigned base = ntohl(to.sin_addr.s_addr), random = spray->number;
	bool before = spray->number % 2 && !pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < spray->count; i++) {
		unsigned high = random >> 28, low = random >> 24 & 15;
		bool denied;

		to.sin_addr.s_addr = htonl(base + high * 256 + low);
		denied = sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)) < 0 && errno == EPERM;
		if (denied != (high + low) % 2)
			others++;
		if (i % 2)
			random = random * 1664525 + 1013904223;
		if (before && i % 16 == 0)
			nanosleep(&nap, NULL);
	}
	close(fd);
	return NULL;
}

static int spray_all(int threads, int count, const struct target *first)
{
	struct spray sprays[64];

	others = 0;
	threads = threads > 64 ? 64 : threads;
	for (int i = 0; i < threads; i++) {
		sprays[i] = (struct spray){.number = i, .count = count, .first = first};
		pthread_create(&sprays[i].id, NULL, spray, &sprays[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(sprays[i].id, NULL);
	return others;
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

static int flight[2] = {-1, -1};

/* Over a socket pair of this process: on the way nobody has it open. */
static int send_away(int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (flight[0] < 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, flight))
		return -1;
	if (sendmsg(flight[0], &message, 0) < 0)
		return -1;
	open_fds[fd] = false;
	return close(fd);
}

static int receive(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	int fd = -1;

	if (recvmsg(flight[1], &message, MSG_CMSG_CLOEXEC) < 0 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return keep(fd);
}

static int sink(void)
{
	int result = close(flight[0]) | close(flight[1]);

	flight[0] = flight[1] = -1;
	return result;
}

static void start_child(int fd)
{
	child = fork();
	if (child)
		return;
	if (fd >= 0) {
		fcntl(fd, F_SETFD, 0);
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	close(0);
	close(1);
	pause();
	_exit(0);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static int connect_interrupted(int fd, const struct target *to)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct itimerval soon = {.it_value = {.tv_usec = 100000}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	return connect_to(fd, to);
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
		open_fds[fd] = false;
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
		start_child(*command == 'e' ? atoi(first) : -1);
		answer(child < 0 ? -1 : 0);
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
		kill(child, SIGKILL);
		answer(waitpid(child, NULL, 0) < 0 ? -1 : 0);
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
