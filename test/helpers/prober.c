// SPDX-License-Identifier: Apache-2.0
/*
 * A task that tries all the time what its policy allows and what it forbids, and remembers every wrong verdict: for
 *the tests that kill and replace the daemon meanwhile.
 *
 *	prober verdicts OWN OTHER FREE	every 10 ms: bind to OWN (allowed), OTHER and FREE (not allowed), connect to a
 *					listener on OWN+1, send to a socket on OWN+2; nothing but EPERM is a refusal
 *	prober count OWN		every 2 ms one datagram of 100 bytes to itself, which must come
 *	prober flood PORT COUNT		COUNT binds to PORT, as fast as they go, all refused
 *
 * It waits for a line on stdin first, as a launched task waits for its isolation, and says "ready" after its first
 *round. At the end of stdin it prints one line of JSON and ends: rounds, wrong (how many), first (some of them, in
 *words).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEPT       8
#define SIZE       100
#define PATIENCE   5000 /* ms for what loopback brings: a machine that is slow is no wrong verdict */
#define VERDICT_MS 10
#define COUNT_MS   2

static struct {
	char words[KEPT][96];
	int wrong;
	long rounds;
} report;

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void check(bool right, const char *what)
{
	int err = errno;

	if (right)
		return;
	if (report.wrong < KEPT)
		snprintf(report.words[report.wrong], sizeof(report.words[0]), "%s: %s, at %lld ms", what,
		         strerror(err), now_ms());
	report.wrong++;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int open_socket(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0), on = 1;

	check(fd >= 0, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

static int bind_to(int fd, int family, int port)
{
	struct sockaddr_in v4 = loopback(port);
	struct sockaddr_in6 v6 = {
	    .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	errno = 0;
	return family == AF_INET ? bind(fd, (void *)&v4, sizeof(v4)) : bind(fd, (void *)&v6, sizeof(v6));
}

static void try_bind(int family, int type, int port, bool allowed, const char *what)
{
	int fd = open_socket(family, type), result = bind_to(fd, family, port);

	check(allowed ? result == 0 : result < 0 && errno == EPERM, what);
	close(fd);
}

static bool comes(int fd)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};

	errno = 0;
	if (poll(&waiting, 1, PATIENCE) == 1)
		return true;
	errno = ETIMEDOUT;
	return false;
}

static int server(int type, int port)
{
	int fd = open_socket(AF_INET, type | SOCK_NONBLOCK);

	check(!bind_to(fd, AF_INET, port), "bind of a server");
	if (type == SOCK_STREAM)
		check(!listen(fd, 16), "listen");
	return fd;
}

/* Ends by RST: no port stays in TIME_WAIT, of which this would soon have thousands. */
static void close_hard(int fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static void try_connect(int listener, int port)
{
	struct sockaddr_in to = loopback(port);
	int fd = open_socket(AF_INET, SOCK_STREAM), peer;
	char byte = 1;

	errno = 0;
	check(!connect(fd, (void *)&to, sizeof(to)), "connect");
	check(comes(listener), "wait for a connection");
	peer = accept(listener, NULL, NULL);
	check(send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && comes(peer) && read(peer, &byte, 1) == 1, "a byte of TCP");
	close_hard(fd);
	close_hard(peer);
}

static void try_send(int receiver, int port, bool connected)
{
	struct sockaddr_in to = loopback(port);
	int fd = open_socket(AF_INET, SOCK_DGRAM);
	char bytes[SIZE] = {0};

	errno = 0;
	if (connected)
		check(!connect(fd, (void *)&to, sizeof(to)) && send(fd, bytes, SIZE, 0) == SIZE, "connected send");
	else
		check(sendto(fd, bytes, SIZE, 0, (void *)&to, sizeof(to)) == SIZE, "sendto");
	check(comes(receiver) && recv(receiver, bytes, SIZE, 0) == SIZE, "a datagram");
	close(fd);
}

static void print_report(void)
{
	printf("{\"rounds\":%ld,\"wrong\":%d,\"first\":[", report.rounds, report.wrong);
	for (int i = 0; i < report.wrong && i < KEPT; i++)
		printf("%s\"%s\"", i ? "," : "", report.words[i]);
	puts("]}");
	fflush(stdout);
}

/* @return whether stdin has not ended */
static bool goes_on(int ms)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	char line[16];

	if (++report.rounds == 1) {
		puts("ready");
		fflush(stdout);
	}
	if (poll(&input, 1, ms) == 0)
		return true;
	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return false;
	print_report();
	return true;
}

static void verdicts(int own, int other, int free_port)
{
	int listener = server(SOCK_STREAM, own + 1), receiver = server(SOCK_DGRAM, own + 2);

	do {
		try_bind(AF_INET, SOCK_STREAM, own, true, "bind TCP to its own port");
		try_bind(AF_INET6, SOCK_DGRAM, own, true, "bind UDP to its own port");
		try_bind(AF_INET, SOCK_STREAM, other, false, "bind TCP to another's port");
		try_bind(AF_INET6, SOCK_STREAM, other, false, "bind TCP over IPv6 to another's port");
		try_bind(AF_INET, SOCK_DGRAM, other, false, "bind UDP to another's port");
		try_bind(AF_INET, SOCK_STREAM, free_port, false, "bind TCP to nobody's port");
		try_connect(listener, own + 1);
		try_send(receiver, own + 2, false);
		try_send(receiver, own + 2, true);
	} while (goes_on(VERDICT_MS));
}

static void count(int own)
{
	struct sockaddr_in self = loopback(own);
	int fd = server(SOCK_DGRAM, own);
	char bytes[SIZE] = {0};

	check(!connect(fd, (void *)&self, sizeof(self)), "connect to itself");
	do {
		errno = 0;
		check(send(fd, bytes, SIZE, 0) == SIZE, "send to itself");
		check(comes(fd) && recv(fd, bytes, SIZE, 0) == SIZE, "a datagram from itself");
	} while (goes_on(COUNT_MS));
}

static void flood(int port, int times)
{
	int fd = open_socket(AF_INET, SOCK_STREAM);

	while (report.rounds < times) {
		report.rounds++;
		check(bind_to(fd, AF_INET, port) < 0 && errno == EPERM, "bind");
	}
}

int main(int argc, char **argv)
{
	int numbers[3] = {0};
	char line[16];

	for (int i = 2; i < argc && i < 5; i++)
		numbers[i - 2] = atoi(argv[i]);
	if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
		return 0;
	if (argc == 5 && !strcmp(argv[1], "verdicts"))
		verdicts(numbers[0], numbers[1], numbers[2]);
	else if (argc == 3 && !strcmp(argv[1], "count"))
		count(numbers[0]);
	else if (argc == 4 && !strcmp(argv[1], "flood"))
		flood(numbers[0], numbers[1]);
	else
		return 2;
	print_report();
	return 0;
}
