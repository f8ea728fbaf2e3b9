/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends in every way that a task may try to mark its packets by, and captures packets at the far end.
 *
 *   marking capture DEVICE       prints "ready", then a JSON line for each IPv4 and IPv6 packet that comes in
 *   marking serve PORT           far end: TCP (MPTCP where the kernel has it) and UDP, IPv4 and IPv6; sends back
 *   marking send WORD...         the task; prints a JSON line of what it did and was told
 *
 * Words of send, each KEY=VALUE:
 *   proto=tcp|udp|mptcp|udplite|raw|ping   family=4|6   to=ADDRESS   port=NUMBER   bind=PORT
 *   connect=1 of UDP    listen=1 of TCP: accepts one connection on the port of bind and sends
 *   uid=NUMBER becomes that user first
 *   tos= tclass= mark= priority=      set by setsockopt() before anything is sent; how=int80 by a 32-bit call
 *   late-tos= late-tclass= late-mark= late-priority=    set after the first packet, and then more is sent
 *   byte=1 IP_TOS of one byte     cmsg-tos= cmsg-tclass= cmsg-mark= cmsg-priority=   by control messages
 *   header=TOS raw with an IPv4 header of its own
 *   count=NUMBER of datagrams     plain=1 no other option is set first
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define TIMEOUT         30
#define I386_SETSOCKOPT 366

static int words;
static char **word;

static const char *text(const char *key, const char *otherwise)
{
	size_t length = strlen(key);

	for (int i = 0; i < words; i++)
		if (!strncmp(word[i], key, length) && word[i][length] == '=')
			return word[i] + length + 1;
	return otherwise;
}

static long number(const char *key, long otherwise)
{
	const char *value = text(key, NULL);

	return value ? strtol(value, NULL, 0) : otherwise;
}

static bool is(const char *key, const char *value)
{
	return !strcmp(text(key, ""), value);
}

/* --- The far end. --- */

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

static int capture(const char *device)
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

static int serve(int port)
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

/* --- The task. --- */

/* A setsockopt() that comes in by the 32-bit system calls, which run no cgroup hook. */
static int setsockopt_32(int fd, int level, int option, const void *value, int size)
{
#ifdef __x86_64__
	long result;
	void *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (low == MAP_FAILED)
		err(2, "mmap");
	memcpy(low, value, size);
	__asm__ volatile("int $0x80"
	                 : "=a"(result)
	                 : "a"(I386_SETSOCKOPT), "b"(fd), "c"(level), "d"(option), "S"(low), "D"(size)
	                 : "memory", "r8", "r9", "r10", "r11");
	munmap(low, 4096);
	errno = result < 0 ? -result : 0;
	return result < 0 ? -1 : 0;
#else
	exit(77);
#endif
}

static const struct option {
	const char *name;
	int level;
	int option;
} options[] = {
    {"tos", IPPROTO_IP, IP_TOS},
    {"tclass", IPPROTO_IPV6, IPV6_TCLASS},
    {"mark", SOL_SOCKET, SO_MARK},
    {"priority", SOL_SOCKET, SO_PRIORITY},
};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

/* Prints the outcome of each as "set-NAME": 0 or the errno. */
static void set_options(int fd, const char *prefix)
{
	for (unsigned i = 0; i < OPTIONS; i++) {
		char key[32];
		int value, size = sizeof(value);

		snprintf(key, sizeof(key), "%s%s", prefix, options[i].name);
		if (!text(key, NULL))
			continue;
		value = number(key, 0);
		if (options[i].option == IP_TOS && number("byte", 0))
			size = 1;
		errno = 0;
		if (is("how", "int80"))
			setsockopt_32(fd, options[i].level, options[i].option, &value, size);
		else
			setsockopt(fd, options[i].level, options[i].option, &value, size);
		printf("\"set-%s\":%d,", key, errno);
	}
}

/* Prints what getsockopt() says, as "WHEN-NAME". */
static void get_options(int fd, const char *when)
{
	for (unsigned i = 0; i < OPTIONS; i++) {
		int value = 0;
		socklen_t size = sizeof(value);

		if (!getsockopt(fd, options[i].level, options[i].option, &value, &size))
			printf("\"%s-%s\":%d,", when, options[i].name, value);
	}
}

static socklen_t parse_address(struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (void *)address;
	struct sockaddr_in6 *v6 = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text("to", ""), &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(number("port", 0));
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, text("to", ""), &v6->sin6_addr) != 1)
		errx(2, "bad address");
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(number("port", 0));
	return sizeof(*v6);
}

static int make_socket(int family)
{
	int icmp = family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	int one = 1, fd;

	if (is("proto", "tcp"))
		fd = socket(family, SOCK_STREAM, 0);
	else if (is("proto", "mptcp"))
		fd = socket(family, SOCK_STREAM, IPPROTO_MPTCP);
	else if (is("proto", "udplite"))
		fd = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE);
	else if (is("proto", "raw"))
		fd = socket(family, SOCK_RAW, text("header", NULL) ? IPPROTO_RAW : icmp);
	else if (is("proto", "ping"))
		fd = socket(family, SOCK_DGRAM, icmp);
	else
		fd = socket(family, SOCK_DGRAM, 0);
	if (fd < 0) {
		if (errno != EPROTONOSUPPORT && errno != ENOPROTOOPT && errno != ESOCKTNOSUPPORT)
			err(2, "socket");
		exit(77);
	}
	if (!number("plain", 0))
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

static void bind_port(int fd, int family)
{
	struct sockaddr_in6 address = {.sin6_family = family};
	socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(address);

	/* The port is in the same place. */
	address.sin6_port = htons(number("bind", 0));
	if (bind(fd, (void *)&address, size))
		err(2, "bind");
}

static void add_control(struct msghdr *message, const char *key, int level, int type)
{
	struct cmsghdr *control;
	int value = number(key, 0);

	if (!text(key, NULL))
		return;
	control = (void *)((char *)message->msg_control + message->msg_controllen);
	control->cmsg_level = level;
	control->cmsg_type = type;
	control->cmsg_len = CMSG_LEN(sizeof(value));
	memcpy(CMSG_DATA(control), &value, sizeof(value));
	message->msg_controllen += CMSG_SPACE(sizeof(value));
}

static ssize_t send_one(int fd, struct sockaddr_storage *to, socklen_t size)
{
	static _Alignas(struct cmsghdr) char control[256];
	static unsigned char payload[64];
	struct iovec data = {payload, 20};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control};

	if (to) {
		message.msg_name = to;
		message.msg_namelen = size;
	}
	if (is("proto", "raw") || is("proto", "ping"))
		payload[0] = to->ss_family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	if (text("header", NULL)) {
		struct iphdr *header = (void *)payload;

		*header = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = 253};
		header->tos = number("header", 0);
		header->tot_len = htons(40);
		header->daddr = ((struct sockaddr_in *)to)->sin_addr.s_addr;
		data.iov_len = 40;
	}
	add_control(&message, "cmsg-tos", IPPROTO_IP, IP_TOS);
	add_control(&message, "cmsg-tclass", IPPROTO_IPV6, IPV6_TCLASS);
	add_control(&message, "cmsg-mark", SOL_SOCKET, SO_MARK);
	add_control(&message, "cmsg-priority", SOL_SOCKET, SO_PRIORITY);
	if (!message.msg_controllen)
		message.msg_control = NULL;
	return sendmsg(fd, &message, 0);
}

static void exchange(int fd)
{
	char buffer[4096] = "";

	if (write(fd, buffer, sizeof(buffer)) < 0 || read(fd, buffer, sizeof(buffer)) < 0)
		err(1, "exchange");
	set_options(fd, "late-");
	if (write(fd, buffer, 1) < 0)
		err(1, "write");
	get_options(fd, "sent");
	/* All that is sent is the socket's own, and nothing TIME-WAIT's. */
	shutdown(fd, SHUT_WR);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
}

static void send_stream(int fd, int family, struct sockaddr_storage *to, socklen_t size)
{
	(void)family;
	if (number("listen", 0)) {
		if (listen(fd, 8))
			err(1, "listen");
		puts("ready");
		fflush(stdout);
		fd = accept(fd, NULL, NULL);
		if (fd < 0)
			err(1, "accept");
		putchar('{');
		get_options(fd, "accepted");
	} else {
		if (connect(fd, (void *)to, size))
			err(1, "connect");
		get_options(fd, "connected");
	}
	exchange(fd);
}

static void send_datagrams(int fd, struct sockaddr_storage *to, socklen_t size)
{
	long count = number("count", 1);

	if (number("connect", 0)) {
		if (connect(fd, (void *)to, size))
			err(1, "connect");
		get_options(fd, "connected");
		to = NULL;
		size = 0;
	}
	for (long i = 0; i < count; i++) {
		errno = 0;
		send_one(fd, to, size);
		printf("\"send-%ld\":%d,", i, errno);
		if (i == 0)
			set_options(fd, "late-");
	}
	get_options(fd, "sent");
}

static int task(void)
{
	int family = number("family", 4) == 6 ? AF_INET6 : AF_INET, fd;
	struct sockaddr_storage to = {};
	socklen_t size = 0;

	if (text("uid", NULL) && (setgid(number("uid", 0)) || setuid(number("uid", 0))))
		err(2, "uid");
	if (text("to", NULL))
		size = parse_address(&to);
	fd = make_socket(family);
	if (!number("listen", 0))
		putchar('{');
	if (!number("listen", 0)) {
		get_options(fd, "made");
		set_options(fd, "");
		get_options(fd, "asked");
	}
	if (text("bind", NULL))
		bind_port(fd, family);
	if (is("proto", "tcp") || is("proto", "mptcp"))
		send_stream(fd, family, &to, size);
	else
		send_datagrams(fd, &to, size);
	puts("\"end\":0}");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "capture"))
		return capture(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc < 2 || strcmp(argv[1], "send"))
		errx(2, "usage: see the source");
	alarm(TIMEOUT);
	words = argc - 2;
	word = argv + 2;
	return task();
}
