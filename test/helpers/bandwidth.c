/*
 * Traffic for test/features/bandwidth.test.ts and bench:bandwidth. Words are key=value; it prints one line of JSON.
 *
 *   sink port=N [half=1]    takes what TCP sends, until it is killed; says "ready" first. half=1: closes its own way
 *                           of each connection at once
 *   source port=N [cc=NAME] sends to whoever connects, as much as goes, until it is killed; says "ready" first
 *   send to=IP port=N flows=N ms=N [cc=NAME] [pace=BYTES] [slow=N] [stop=N] [more=MS] [report=1]
 *                           sends by TCP; slow=N: so many of the flows send 1,000 bytes every 10 ms only; stop=N: so
 *                           many then end with what they have queued, the others go on for `more`, and "rest" is
 *                           their rate from 100 ms on; all else is of the time before. report=1: prints "mark" first
 *   receive to=IP port=N flows=N ms=N [half=1]
 *                           reads by TCP; half=1: closes its own way first
 *   hold to=IP port=N flows=N
 *                           connects, prints "mark", and for each line that it reads sends 3,000 bytes by each, waits
 *                           until they are acknowledged, and prints what the sockets have
 *   udp to=IP port=N ms=N size=N [connect=1] [recverr=1] [raw=1]
 *                           sends datagrams as fast as it can; counts what send() answers. raw=1: by a raw socket for
 *                           TCP's protocol
 *   short to=IP port=N ms=N
 *                           connections one after another, each with what goes before its first ACK
 *   echo port=N, ask to=IP port=N ms=N
 *                           sends back; requests of 100 bytes one after another, and how long they take
 *
 * Addresses are IPv4, IPv6 or v4-mapped. TCP's bytes are copied at neither end (sendfile(), MSG_TRUNC), so that few
 * CPUs carry many.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FLOWS 256
/* Of one call. */
#define BULK (1 << 20)
/* Not in every libc. */
#ifndef SO_MAX_PACING_RATE
#define SO_MAX_PACING_RATE 47
#endif

static char buffer[65536];
/* What sendfile() sends. */
static int pages = -1;

static const char *word(int argc, char **argv, const char *key, const char *otherwise)
{
	size_t length = strlen(key);

	for (int i = 2; i < argc; i++)
		if (!strncmp(argv[i], key, length) && argv[i][length] == '=')
			return argv[i] + length + 1;
	return otherwise;
}

static long number(int argc, char **argv, const char *key, long otherwise)
{
	const char *text = word(argc, argv, key, NULL);

	return text ? atol(text) : otherwise;
}

static long long now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static void fail(const char *what)
{
	printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
	exit(1);
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address address_of(int argc, char **argv)
{
	const char *text = word(argc, argv, "to", "0.0.0.0");
	in_port_t port = htons(number(argc, argv, "port", 0));
	union address address = {.v6 = {.sin6_family = AF_INET6, .sin6_port = port}};

	if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1)
		return address;
	address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
	inet_pton(AF_INET, text, &address.v4.sin_addr);
	return address;
}

static void make_pages(void)
{
	pages = memfd_create("bulk", 0);
	if (pages < 0 || ftruncate(pages, BULK))
		fail("memfd_create");
	for (int i = 0; i < BULK / (int)sizeof(buffer); i++)
		if (pwrite(pages, buffer, sizeof(buffer), (off_t)i * (int)sizeof(buffer)) < 0)
			fail("pwrite");
}

static ssize_t send_bulk(int fd)
{
	off_t from = 0;

	return sendfile(fd, pages, &from, BULK);
}

static ssize_t discard(int fd)
{
	return recv(fd, NULL, BULK, MSG_TRUNC);
}

static void choose_congestion_control(int argc, char **argv, int fd)
{
	const char *name = word(argc, argv, "cc", NULL);

	if (name && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name)))
		fail("TCP_CONGESTION");
}

/* A connection whose last packet was lost would stay for ever. */
static void end_with_peer(int fd)
{
	int one = 1, seconds = 2;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &seconds, sizeof(seconds));
}

/* Far ends: one thread for all, which is fast enough for what a limit lets through. */
static void serve(int argc, char **argv, short wanted)
{
	union address address = address_of(argc, argv);
	struct pollfd polled[MAX_FLOWS + 1] = {
	    {.fd = socket(address.any.sa_family, SOCK_STREAM, 0), .events = POLLIN}};
	bool half = number(argc, argv, "half", 0);
	int count = 1, one = 1;

	setsockopt(polled[0].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	choose_congestion_control(argc, argv, polled[0].fd);
	if (bind(polled[0].fd, &address.any, sizeof(address)) || listen(polled[0].fd, MAX_FLOWS))
		fail("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		poll(polled, count, -1);
		if (polled[0].revents && count <= MAX_FLOWS) {
			int fd = accept4(polled[0].fd, NULL, NULL, SOCK_NONBLOCK);

			if (fd >= 0)
				end_with_peer(fd);
			if (fd >= 0 && half)
				shutdown(fd, SHUT_WR);
			if (fd >= 0)
				polled[count++] = (struct pollfd){.fd = fd, .events = wanted};
		}
		for (int i = 1; i < count; i++) {
			ssize_t size = 1;

			if (!polled[i].revents)
				continue;
			if (wanted == POLLIN)
				size = discard(polled[i].fd);
			if (wanted == (POLLIN | POLLPRI))
				size = read(polled[i].fd, buffer, sizeof(buffer));
			if (wanted == (POLLIN | POLLPRI) && size > 0)
				size = send(polled[i].fd, buffer, size, MSG_NOSIGNAL);
			if (wanted == POLLOUT)
				size = send_bulk(polled[i].fd);
			if (size > 0 || (size < 0 && errno == EAGAIN))
				continue;
			close(polled[i].fd);
			polled[i--] = polled[--count];
		}
	}
}

static int connect_flow(int argc, char **argv)
{
	union address address = address_of(argc, argv);
	int fd = socket(address.any.sa_family, SOCK_STREAM, 0);
	unsigned int pace = number(argc, argv, "pace", 0);

	choose_congestion_control(argc, argv, fd);
	if (connect(fd, &address.any, sizeof(address)))
		fail("connect");
	if (pace && setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, sizeof(pace)))
		fail("SO_MAX_PACING_RATE");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {};
	socklen_t length = sizeof(info);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
	return info;
}

/* Bytes that some flows have carried. @param received of each that reads; none: of those that send */
static long long carried(const struct pollfd *polled, const long long *received, int from, int to)
{
	long long sum = 0;

	for (int i = from; i < to; i++)
		sum += received ? received[i] : (long long)info_of(polled[i].fd).tcpi_bytes_acked;
	return sum;
}

/* The rate that it may be paced to, bytes/s; -1: any. */
static long long pacing_of(int fd)
{
	unsigned long rate = 0;
	socklen_t length = sizeof(rate);

	getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &length);
	return (long long)rate;
}

/* The most that it may offer to receive, bytes. */
static long long clamp_of(int fd)
{
	int window = 0;
	socklen_t length = sizeof(window);

	getsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, &length);
	return window;
}

/* Prints a list of what the sockets have. */
static void tell_sockets(const struct pollfd *polled, int flows, const char *name, long long (*read_one)(int fd))
{
	printf("\"%s\":[", name);
	for (int i = 0; i < flows; i++)
		printf("%s%lld", i ? "," : "", read_one(polled[i].fd));
	printf("]");
}

/* Prints what there is to say of the flows until now: the begin of a line. */
static void tell(const struct pollfd *polled, const long long *received, int flows, long long ms, long long first)
{
	unsigned long retransmitted = 0, needless = 0;

	printf("{\"ms\":%lld,\"first\":%lld,\"bytes\":[", ms, first);
	for (int i = 0; i < flows; i++) {
		struct tcp_info info = info_of(polled[i].fd);

		retransmitted += info.tcpi_total_retrans;
		needless += info.tcpi_dsack_dups;
		printf("%s%lld", i ? "," : "", received ? received[i] : (long long)info.tcpi_bytes_acked);
	}
	printf("],\"retransmitted\":%lu,\"needless\":%lu,", retransmitted, needless);
	tell_sockets(polled, flows, "pacing", pacing_of);
	printf(",");
	tell_sockets(polled, flows, "clamps", clamp_of);
}

/* What one flow can do now. @returns bytes that it has received */
static ssize_t go(struct pollfd *polled)
{
	ssize_t done;

	if (!polled->revents)
		return 0;
	if (polled->events == POLLOUT) {
		send_bulk(polled->fd);
		return 0;
	}
	done = discard(polled->fd);
	return done > 0 ? done : 0;
}

/* What it has queued is of no interest, and no part of what the others have from then on. */
static void abort_flow(struct pollfd *polled)
{
	struct linger now = {.l_onoff = 1};

	if (polled->fd < 0)
		return;
	setsockopt(polled->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(polled->fd);
	*polled = (struct pollfd){.fd = -1};
}

static void run_flows(int argc, char **argv, short wanted)
{
	int flows = number(argc, argv, "flows", 1), slow = number(argc, argv, "slow", 0),
	    stop = number(argc, argv, "stop", 0);
	long long bytes[MAX_FLOWS] = {}, next[MAX_FLOWS] = {}, begun, end, first = -1, then = -1, since = 0;
	const long long *received = wanted == POLLIN ? bytes : NULL;
	long more = stop ? number(argc, argv, "more", 1000) : 0;
	struct pollfd polled[MAX_FLOWS];
	bool stopped = false;

	if (flows > MAX_FLOWS)
		flows = MAX_FLOWS;
	for (int i = 0; i < flows; i++)
		polled[i] = (struct pollfd){.fd = connect_flow(argc, argv), .events = wanted};
	for (int i = 0; i < flows && number(argc, argv, "half", 0); i++)
		shutdown(polled[i].fd, SHUT_WR);
	if (number(argc, argv, "report", 0)) {
		puts("mark");
		fflush(stdout);
	}
	begun = now_ms();
	end = begun + number(argc, argv, "ms", 1000);
	while (now_ms() < end + more) {
		poll(polled, flows, slow ? 2 : stop ? 10 : 100);
		if (first < 0 && now_ms() >= begun + 1000)
			first = carried(polled, received, 0, flows) * 1000 / (now_ms() - begun);
		if (stop && !stopped && now_ms() >= end) {
			stopped = true;
			tell(polled, received, flows, now_ms() - begun, first);
			for (int i = 0; i < stop; i++)
				abort_flow(&polled[i]);
		}
		if (stop && then < 0 && now_ms() >= end + 100) {
			since = now_ms();
			then = carried(polled, received, stop, flows);
		}
		for (int i = 0; i < slow; i++) {
			polled[i].events = polled[i].revents = 0;
			if (now_ms() < next[i])
				continue;
			next[i] = now_ms() + 10;
			send(polled[i].fd, buffer, 1000, MSG_NOSIGNAL);
		}
		for (int i = slow; i < flows; i++)
			bytes[i] += go(&polled[i]);
	}
	if (!stopped)
		tell(polled, received, flows, now_ms() - begun, first);
	if (then >= 0)
		then = (carried(polled, received, stop, flows) - then) * 1000 / (now_ms() - since);
	printf(",\"rest\":%lld}\n", then);
	fflush(stdout);
	for (int i = 0; i < flows; i++)
		abort_flow(&polled[i]);
}

static void hold(int argc, char **argv)
{
	int flows = number(argc, argv, "flows", 1);
	struct pollfd polled[MAX_FLOWS];
	char line[16];

	if (flows > MAX_FLOWS)
		flows = MAX_FLOWS;
	for (int i = 0; i < flows; i++)
		polled[i] = (struct pollfd){.fd = connect_flow(argc, argv)};
	puts("mark");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		for (int i = 0; i < flows; i++)
			if (send(polled[i].fd, buffer, 3000, MSG_NOSIGNAL) != 3000)
				fail("send");
		for (int i = 0; i < flows; i++)
			while (info_of(polled[i].fd).tcpi_unacked || info_of(polled[i].fd).tcpi_notsent_bytes)
				usleep(1000);
		printf("{");
		tell_sockets(polled, flows, "pacing", pacing_of);
		printf(",");
		tell_sockets(polled, flows, "clamps", clamp_of);
		printf("}\n");
		fflush(stdout);
	}
	for (int i = 0; i < flows; i++)
		abort_flow(&polled[i]);
}

static int ascending(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static void ask(int argc, char **argv)
{
	enum { MOST = 1000000 };
	long *took = calloc(MOST, sizeof(*took)), count = 0;
	int fd = connect_flow(argc, argv), one = 1;
	long long end = now_ms() + number(argc, argv, "ms", 1000);
	struct pollfd polled = {.fd = fd, .events = POLLIN};

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while (now_ms() < end && count < MOST) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		if (send(fd, buffer, 100, MSG_NOSIGNAL) != 100)
			fail("send");
		for (ssize_t got = 0; got < 100;) {
			poll(&polled, 1, -1);
			ssize_t size = read(fd, buffer, 100);

			if (size > 0)
				got += size;
			else if (!size || errno != EAGAIN)
				fail("read");
		}
		clock_gettime(CLOCK_MONOTONIC, &to);
		took[count++] = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
	}
	qsort(took, count, sizeof(*took), ascending);
	printf("{\"count\":%ld,\"p50\":%ld,\"p99\":%ld}\n", count, took[count / 2], took[count * 99 / 100]);
}

static void send_datagrams(int argc, char **argv)
{
	union address address = address_of(argc, argv);
	int one = 1, size = number(argc, argv, "size", 1000);
	int fd = number(argc, argv, "raw", 0) ? socket(address.any.sa_family, SOCK_RAW, IPPROTO_TCP)
	                                      : socket(address.any.sa_family, SOCK_DGRAM, 0);
	bool connected = number(argc, argv, "connect", 0);
	long long begun = now_ms(), end = begun + number(argc, argv, "ms", 1000);
	long sent = 0, full = 0, denied = 0, again = 0, other = 0;

	if (number(argc, argv, "recverr", 0))
		setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	if (connected && connect(fd, &address.any, sizeof(address)))
		fail("connect");
	while (now_ms() < end) {
		ssize_t result = connected ? send(fd, buffer, size, 0)
		                           : sendto(fd, buffer, size, 0, &address.any, sizeof(address));

		if (result >= 0)
			sent++;
		else if (errno == ENOBUFS)
			full++;
		else if (errno == EPERM)
			denied++;
		else if (errno == EAGAIN)
			again++;
		else if (errno != ECONNREFUSED)
			other++;
	}
	printf("{\"ms\":%lld,\"sent\":%ld,\"full\":%ld,\"denied\":%ld,\"again\":%ld,\"other\":%ld}\n",
	       now_ms() - begun, sent, full, denied, again, other);
}

static void send_short(int argc, char **argv)
{
	long long begun = now_ms(), end = begun + number(argc, argv, "ms", 1000);
	long connections = 0;

	for (; now_ms() < end; connections++) {
		struct pollfd polled = {.fd = connect_flow(argc, argv)};

		send(polled.fd, buffer, 14000, MSG_NOSIGNAL);
		abort_flow(&polled);
	}
	printf("{\"ms\":%lld,\"connections\":%ld}\n", now_ms() - begun, connections);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	make_pages();
	if (!strcmp(mode, "sink"))
		serve(argc, argv, POLLIN);
	else if (!strcmp(mode, "source"))
		serve(argc, argv, POLLOUT);
	else if (!strcmp(mode, "echo"))
		serve(argc, argv, POLLIN | POLLPRI);
	else if (!strcmp(mode, "ask"))
		ask(argc, argv);
	else if (!strcmp(mode, "send"))
		run_flows(argc, argv, POLLOUT);
	else if (!strcmp(mode, "receive"))
		run_flows(argc, argv, POLLIN);
	else if (!strcmp(mode, "hold"))
		hold(argc, argv);
	else if (!strcmp(mode, "udp"))
		send_datagrams(argc, argv);
	else if (!strcmp(mode, "short"))
		send_short(argc, argv);
	else
		return 2;
	return 0;
}
