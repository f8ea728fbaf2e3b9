/* SPDX-License-Identifier: Apache-2.0 */
/* The far end: captures packets, and sends back. */
#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "marking.h"

static void print_packet(const unsigned char *frame, ssize_t size)
{
	const unsigned char *ip = frame + ETH_HLEN, *transport;
	unsigned version, tos, protocol, source = 0, destination = 0, flags = 0, mark;
	unsigned short priority;

	if (size < ETH_HLEN + 40)
		return;
	memcpy(&mark, frame + 6, sizeof(mark));
	memcpy(&priority, frame + 10, sizeof(priority));
	version = ip[0] >> 4;
	if (version == 4) {
		tos = ip[1];
		protocol = ip[9];
		transport = ip + (ip[0] & 15) * 4;
	} else if (version == 6) {
		tos = (ip[0] & 15) << 4 | ip[1] >> 4;
		protocol = ip[6];
		transport = ip + 40;
	} else {
		return;
	}
	if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6 && transport + 14 <= frame + size) {
		source = transport[0] << 8 | transport[1];
		destination = transport[2] << 8 | transport[3];
		if (protocol == IPPROTO_TCP)
			flags = transport[13];
	}
	printf("{\"version\":%u,\"protocol\":%u,\"type\":%u,\"source\":%u,\"destination\":%u,\"flags\":%u,"
	       "\"dscp\":%u,\"ecn\":%u,\"mark\":%u,\"priority\":%u}\n",
	       version, protocol, transport[0], source, destination, flags, tos >> 2, tos & 3, mark, priority);
	fflush(stdout);
}

int capture(const char *device)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	static unsigned char frame[1 << 16];
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	address.sll_ifindex = if_nametoindex(device);
	if (fd < 0 || bind(fd, (void *)&address, sizeof(address)))
		err(2, "capture");
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct sockaddr_ll from;
		socklen_t length = sizeof(from);
		ssize_t size = recvfrom(fd, frame, sizeof(frame), 0, (void *)&from, &length);

		if (size > 0 && from.sll_pkttype != PACKET_OUTGOING)
			print_packet(frame, size);
	}
}

static int listener(int type, int protocol, int port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, type, protocol), one = 1;

	if (fd < 0 && protocol == IPPROTO_MPTCP)
		return listener(type, 0, port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (void *)&address, sizeof(address)) || (type == SOCK_STREAM && listen(fd, 64)))
		err(2, "serve");
	return fd;
}

static void answer_stream(int fd)
{
	char buffer[4096];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (write(fd, buffer, n) < 0)
			break;
	close(fd);
}

int serve(int port)
{
	struct pollfd polled[] = {
	    {.fd = listener(SOCK_STREAM, IPPROTO_MPTCP, port), .events = POLLIN},
	    {.fd = listener(SOCK_DGRAM, 0, port), .events = POLLIN},
	};

	puts("ready");
	fflush(stdout);
	for (;;) {
		struct sockaddr_storage from;
		socklen_t length = sizeof(from);
		char buffer[4096];
		ssize_t n;

		if (poll(polled, 2, -1) < 0)
			err(2, "poll");
		if (polled[0].revents)
			answer_stream(accept(polled[0].fd, NULL, NULL));
		if (!polled[1].revents)
			continue;
		n = recvfrom(polled[1].fd, buffer, sizeof(buffer), 0, (void *)&from, &length);
		if (n >= 0)
			sendto(polled[1].fd, buffer, n, 0, (void *)&from, length);
	}
}
