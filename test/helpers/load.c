/*
 * Load generator and server of the benchmarks: one process is one end of the path, for as long as the run lasts.
 *
 *   load CPU
 *
 * stays on that CPU, prints "= PID", then answers each line of stdin with one line that starts with "= ":
 *
 *   open PORT                       serve: TCP echo and an unread UDP socket on PORT, TCP discard on PORT + 1,
 *                                   TCP accept-and-close on PORT + 2
 *   udp ADDRESS PORT LIMIT          64-byte sendto() on an unconnected socket bound to the own PORT + 3
 *   send ADDRESS PORT LIMIT         the same with connect() before and send()
 *   rr ADDRESS PORT LIMIT           one byte there and one back, on one connection
 *   dial ADDRESS PORT LIMIT         socket, connect and close of UDP
 *   connect ADDRESS PORT LIMIT      socket, connect, wait for the other end's close, close
 *   spread N ADDRESS PORT LIMIT     the same, each to one by chance of N addresses from ADDRESS on
 *   bulk STREAMS ADDRESS PORT LIMIT a thread a stream, send() of 128 KiB into buffers of a fixed size;
 *                                   operations are bytes
 *   bind 4|6 tcp|udp LIMIT          socket, bind to the own PORT + 4, close
 *   bindto PORT 4|6 tcp|udp LIMIT   the same to another port
 *
 * LIMIT is "count N" or "time WARM_MS MS". The answer is "= OPERATIONS NANOSECONDS". Sockets are new in each command,
 * so that no variant keeps a lucky or unlucky place in memory. Any error ends the process with a line on stderr.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load_sockets.h"

enum { DATAGRAM = 64, MAX_STREAMS = 64, BATCH = 16 };

struct limit {
	uint64_t count; /* 0: by time */
	uint64_t warm_ns, run_ns;
};

static int own_port;

static void answer(uint64_t operations, uint64_t ns)
{
	printf("= %llu %llu\n", (unsigned long long)operations, (unsigned long long)ns);
	fflush(stdout);
}

/* Runs op until the limit and answers. The clock is read once a batch: reading it costs as much as 2 % of a sendto().
 */
static void measure(const struct limit *limit, void (*op)(void *), void *arg)
{
	uint64_t start = now_ns(), now = start, done = 0;

	if (limit->count) {
		while (done < limit->count) {
			op(arg);
			done++;
		}
		answer(done, now_ns() - start);
		return;
	}
	while (now - start < limit->warm_ns) {
		for (int i = 0; i < BATCH; i++)
			op(arg);
		now = now_ns();
	}
	start = now;
	while (now - start < limit->run_ns) {
		for (int i = 0; i < BATCH; i++)
			op(arg);
		done += BATCH;
		now = now_ns();
	}
	answer(done, now - start);
}

struct datagrams {
	int fd;
	struct endpoint to;
};

static const char datagram[DATAGRAM];

static void op_sendto(void *arg)
{
	struct datagrams *d = arg;

	if (sendto(d->fd, datagram, DATAGRAM, 0, &d->to.any, d->to.length) != DATAGRAM)
		die("sendto: %s", strerror(errno));
}

static void op_send(void *arg)
{
	struct datagrams *d = arg;

	if (send(d->fd, datagram, DATAGRAM, 0) != DATAGRAM)
		die("send: %s", strerror(errno));
}

static void run_udp(const struct endpoint *to, int connected, const struct limit *limit)
{
	struct datagrams d = {.to = *to};

	d.fd = bound_socket(to->any.sa_family, SOCK_DGRAM, own_port + 3);
	if (connected && connect(d.fd, &to->any, to->length) < 0)
		die("connect (UDP): %s", strerror(errno));
	measure(limit, connected ? op_send : op_sendto, &d);
	close(d.fd);
}

static void op_transaction(void *arg)
{
	int fd = *(int *)arg;
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("transaction: %s", strerror(errno));
}

static void run_rr(const struct endpoint *to, const struct limit *limit)
{
	int fd = connected_socket(to);
	struct linger reset = {.l_onoff = 1};

	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	measure(limit, op_transaction, &fd);
	/* A reset leaves no TIME-WAIT socket, whose port a later sample could run into. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

/* The other end closes first and keeps the TIME-WAIT; a SYN of the same ports later takes it over at once. */
static void op_connect(void *arg)
{
	int fd = connected_socket(arg);
	char byte;

	if (read(fd, &byte, 1) != 0)
		die("connect: no end of file: %s", strerror(errno));
	close(fd);
}

struct places {
	struct endpoint first;
	uint32_t count, state;
};

static void op_spread(void *arg)
{
	struct places *places = arg;
	struct endpoint to = places->first;
	uint32_t step;

	/* One of the numbers after another that a linear congruential generator gives; its high bits are the good
	 * ones. */
	places->state = places->state * 1664525 + 1013904223;
	step = (uint64_t)places->state * places->count >> 32;
	to.v4.sin_addr.s_addr = htonl(ntohl(to.v4.sin_addr.s_addr) + step);
	op_connect(&to);
}

static void op_dial(void *arg)
{
	const struct endpoint *to = arg;
	int fd = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, &to->any, to->length) < 0)
		die("dial: %s", strerror(errno));
	close(fd);
}

struct stream {
	int fd;
	uint64_t bytes; /* 0: until stop */
	pthread_t thread;
};

static _Atomic uint64_t bulk_bytes;
static _Atomic int bulk_stop;

static void *stream_main(void *arg)
{
	static char piece[PIECE];
	struct stream *s = arg;
	uint64_t sent = 0;
	char byte;

	while (s->bytes ? sent < s->bytes : !bulk_stop) {
		size_t want = s->bytes && s->bytes - sent < PIECE ? s->bytes - sent : PIECE;
		ssize_t n = send(s->fd, piece, want, 0);

		if (n <= 0)
			die("send (bulk): %s", strerror(errno));
		sent += n;
		bulk_bytes += n;
	}
	/* Wait until the other end has read it all: what is left in flight would be the next sample's work. */
	shutdown(s->fd, SHUT_WR);
	if (read(s->fd, &byte, 1) != 0)
		die("bulk: no end of file: %s", strerror(errno));
	close(s->fd);
	return NULL;
}

static void run_bulk(int streams, const struct endpoint *to, const struct limit *limit)
{
	struct stream all[MAX_STREAMS];
	uint64_t start = now_ns(), end, bytes = 0;

	if (streams < 1 || streams > MAX_STREAMS)
		die("bulk: %d streams", streams);
	bulk_bytes = 0;
	bulk_stop = 0;
	for (int i = 0; i < streams; i++) {
		all[i].fd = connected_socket(to);
		set_option(all[i].fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
		all[i].bytes = limit->count / streams;
	}
	for (int i = 0; i < streams; i++)
		start_thread(&all[i].thread, stream_main, &all[i]);
	if (!limit->count) {
		sleep_ns(limit->warm_ns);
		start = now_ns();
		bytes = bulk_bytes;
		sleep_ns(limit->run_ns);
		end = now_ns();
		bytes = bulk_bytes - bytes;
		bulk_stop = 1;
	}
	for (int i = 0; i < streams; i++)
		pthread_join(all[i].thread, NULL);
	if (limit->count) {
		end = now_ns();
		bytes = bulk_bytes;
	}
	answer(bytes, end - start);
}

struct binding {
	int family, type, port;
};

static void op_bind(void *arg)
{
	struct binding *b = arg;

	close(bound_socket(b->family, b->type, b->port));
}

static struct limit parse_limit(const char *text)
{
	unsigned long long a, b;

	if (sscanf(text, "count %llu", &a) == 1 && a > 0)
		return (struct limit){.count = a};
	if (sscanf(text, "time %llu %llu", &a, &b) == 2 && b > 0)
		return (struct limit){.warm_ns = a * 1000000, .run_ns = b * 1000000};
	die("bad limit: %s", text);
}

static void obey(const char *line)
{
	char verb[16], address[64], word[8];
	struct endpoint to;
	struct limit limit;
	int port, number = 0, rest = 0, family;

	if (sscanf(line, "open %d", &own_port) == 1) {
		serve(own_port);
		answer(0, 0);
		return;
	}
	port = own_port + 4;
	if (sscanf(line, "bind %d %7s %n", &family, word, &rest) == 2 ||
	    sscanf(line, "bindto %d %d %7s %n", &port, &family, word, &rest) == 3) {
		struct binding b = {family == 6 ? AF_INET6 : AF_INET, word[0] == 't' ? SOCK_STREAM : SOCK_DGRAM,
		                    port};

		limit = parse_limit(line + rest);
		measure(&limit, op_bind, &b);
		return;
	}
	if (sscanf(line, "bulk %d %63s %d %n", &number, address, &port, &rest) == 3) {
		strcpy(verb, "bulk");
	} else if (sscanf(line, "spread %d %63s %d %n", &number, address, &port, &rest) == 3) {
		strcpy(verb, "spread");
	} else if (sscanf(line, "%15s %63s %d %n", verb, address, &port, &rest) != 3) {
		die("unknown command: %s", line);
	}
	to = parse_endpoint(address, port);
	limit = parse_limit(line + rest);
	if (!strcmp(verb, "udp") || !strcmp(verb, "send"))
		run_udp(&to, verb[0] == 's', &limit);
	else if (!strcmp(verb, "rr"))
		run_rr(&to, &limit);
	else if (!strcmp(verb, "connect"))
		measure(&limit, op_connect, &to);
	else if (!strcmp(verb, "dial"))
		measure(&limit, op_dial, &to);
	else if (!strcmp(verb, "bulk"))
		run_bulk(number, &to, &limit);
	else if (!strcmp(verb, "spread") && to.any.sa_family == AF_INET && number > 0)
		measure(&limit, op_spread, &(struct places){to, number, 1});
	else
		die("unknown command: %s", line);
}

int main(int argc, char **argv)
{
	char line[256];
	cpu_set_t cpus;

	if (argc != 2)
		die("usage: load CPU");
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[1]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		die("CPU %s: %s", argv[1], strerror(errno));
	/* A session each: with autogroup scheduling, all ends are then equally far apart, however started. */
	setsid();
	take_precedence();
	signal(SIGPIPE, SIG_IGN);
	printf("= %d\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
