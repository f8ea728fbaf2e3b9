/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what getsockopt() says, as "WHEN-NAME". */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "marking.h"

/* The task: sends in every way that it may try to mark its packets by. */

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

int task(int count, char **given)
{
	int family = number("family", 4) == 6 ? AF_INET6 : AF_INET, fd;
	struct sockaddr_storage to = {};
	socklen_t size = 0;

	words = count;
	word = given;
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
