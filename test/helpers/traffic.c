/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends and receives a known amount, for the tests that compare counters.
 *
 *   traffic tcp-send ADDRESS PORT BYTES        connects, sends, says it is done, waits for the peer's end
 *   traffic tcp-sink ADDRESS PORT              accepts one connection and reads it to its end
 *   traffic udp-send ADDRESS PORT SIZE COUNT [SEGMENT]   SEGMENT: cut by the kernel (UDP_SEGMENT)
 *   traffic udp-sink ADDRESS PORT COUNT [gro]  receives COUNT datagrams, gro: merged ones whole (UDP_GRO)
 *
 * A sink prints "ready" when it can be reached, and at its end the bytes that it received.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#define UDP_SEGMENT 103
#define UDP_GRO     104
#define TIMEOUT     20

static char buffer[1 << 16];

static socklen_t parse_address(const char *text, const char *port, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(port));
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		errx(2, "bad address %s", text);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(atoi(port));
	return sizeof(*v6);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void tcp_send(int fd, long bytes)
{
	while (bytes > 0) {
		ssize_t n = send(fd, buffer, bytes < (long)sizeof(buffer) ? bytes : (long)sizeof(buffer), 0);

		if (n < 0)
			err(1, "send");
		bytes -= n;
	}
	/* The socket stays whole until the peer has ended too, so that every packet of it is a full socket's. */
	shutdown(fd, SHUT_WR);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
}

static long tcp_sink(int listener)
{
	long total = 0;
	ssize_t n;
	int fd;

	ready();
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		total += n;
	close(fd);
	return total;
}

static void udp_send(int fd, long size, long count, int segment)
{
	if (segment && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		err(1, "UDP_SEGMENT");
	for (long i = 0; i < count; i++)
		if (send(fd, buffer, size, 0) != size)
			err(1, "send");
}

static long udp_sink(int fd, long count, bool gro)
{
	int on = 1;
	long total = 0;

	if (gro && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)))
		err(1, "UDP_GRO");
	ready();
	while (count > 0) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec part = {buffer, sizeof(buffer)};
		struct msghdr message = {
		    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &message, 0);
		int segment = n;

		if (n < 0)
			err(1, "recv");
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
			if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
				memcpy(&segment, CMSG_DATA(c), sizeof(segment));
		total += n;
		count -= segment > 0 ? (n + segment - 1) / segment : 1;
	}
	return total;
}

int main(int argc, char **argv)
{
	struct sockaddr_storage address;
	bool tcp, sink;
	socklen_t length;
	int fd, on = 1;

	if (argc < 4)
		errx(2, "usage: see the head of traffic.c");
	alarm(TIMEOUT);
	tcp = !strncmp(argv[1], "tcp", 3);
	sink = strstr(argv[1], "sink");
	length = parse_address(argv[2], argv[3], &address);
	fd = socket(address.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	if (sink) {
		int size = 8 << 20;

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
		if (bind(fd, (void *)&address, length) || (tcp && listen(fd, 8)))
			err(1, "bind");
		printf("%ld\n", tcp ? tcp_sink(fd) : udp_sink(fd, atol(argv[4]), argc > 5));
		return 0;
	}
	if (connect(fd, (void *)&address, length))
		err(1, "connect");
	if (tcp)
		tcp_send(fd, atol(argv[4]));
	else
		udp_send(fd, atol(argv[4]), atol(argv[5]), argc > 6 ? atoi(argv[6]) : 0);
	return 0;
}
