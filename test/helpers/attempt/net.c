// SPDX-License-Identifier: Apache-2.0
/* Sockets and addresses as the command line asks for. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attempt.h"

#define SOL_DCCP_     269
#define DCCP_SERVICE_ 2
#define DISCARD_PORT  9

bool is_datagram(void)
{
	return opt.proto == IPPROTO_UDP || opt.proto == PROTO_UDPLITE;
}

int socket_domain(void)
{
	return opt.family == FAMILY_4 ? AF_INET : AF_INET6;
}

int socket_type(void)
{
	return is_datagram() ? SOCK_DGRAM : opt.proto == PROTO_DCCP ? TYPE_DCCP : SOCK_STREAM;
}

int socket_proto(void)
{
	return opt.proto == IPPROTO_TCP || opt.proto == IPPROTO_UDP ? 0 : opt.proto;
}

int need_port(void)
{
	if (opt.port < 0)
		usage("%s needs port=", opt.name);
	return opt.port;
}

const char *how_of(const char *fallback)
{
	return opt.how ? opt.how : fallback;
}

void address_of(struct address *a, int family, const char *host, int port)
{
	struct sockaddr_in *v4 = (void *)&a->sa;
	struct sockaddr_in6 *v6 = (void *)&a->sa;
	char text[80];

	if (!strcmp(host, "any"))
		host = family == FAMILY_6 ? "::" : "0.0.0.0";
	else if (!strcmp(host, "loopback"))
		host = family == FAMILY_6 ? "::1" : "127.0.0.1";
	memset(a, 0, sizeof(*a));
	if (family == FAMILY_4) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		a->len = sizeof(*v4);
		if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
			usage("not an IPv4 address: %s", host);
		return;
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	a->len = sizeof(*v6);
	snprintf(text, sizeof(text), "%s%s", family == FAMILY_MAPPED ? "::ffff:" : "", host);
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		usage("not an IPv6 address: %s", text);
}

void local_address(struct address *a, int port)
{
	address_of(a, opt.family, opt.addr, port);
}

void dest_address(struct address *a, int port)
{
	address_of(a, opt.family, opt.dest ? opt.dest : "loopback", port);
}

int held_port(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);

	if (fd < 0 || getsockname(fd, (void *)&sa, &len))
		return 0;
	if (sa.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&sa)->sin_port);
	if (sa.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
	return 0;
}

void set_option(int fd, int level, int name, const char *what, int value)
{
	if (!setsockopt(fd, level, name, &value, sizeof(value)))
		return;
	if (errno == ENOPROTOOPT || errno == EOPNOTSUPP)
		cannot("setsockopt", errno, what);
	stopped(fd, "setsockopt", errno, what);
}

/* DCCP connects nothing that has none. */
void name_service(int fd)
{
	int service = htonl(42);

	if (opt.proto == PROTO_DCCP)
		setsockopt(fd, SOL_DCCP_, DCCP_SERVICE_, &service, sizeof(service));
}

void prepare_socket(int fd)
{
	if (socket_domain() == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &opt.v6only, sizeof(int)) &&
	    opt.v6only)
		failed(fd, "setsockopt", errno);
	if (opt.reuseport)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT", 1);
	name_service(fd);
}

int make_socket(void)
{
	int fd = socket(socket_domain(), socket_type() | SOCK_CLOEXEC, socket_proto());

	if (fd < 0)
		failed(-1, "socket", errno);
	prepare_socket(fd);
	return fd;
}

void do_bind(int fd, int port)
{
	struct address a;

	local_address(&a, port);
	if (bind(fd, (void *)&a.sa, a.len))
		failed(fd, "bind", errno);
}

long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000;
}

/* 0, or the errno: connects without blocking for longer than `ms`. Leaves the socket non-blocking. */
int timed_connect(int fd, const struct address *a, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int err = 0;
	socklen_t len = sizeof(err);

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (!connect(fd, (const void *)&a->sa, a->len))
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	if (poll(&p, 1, ms) != 1)
		return ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return errno;
	return err;
}

/* A client's port must be free again at once: the next attempt may want it. */
void reset_on_close(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void do_connect(int fd, int port)
{
	struct address a;
	int err;

	dest_address(&a, port);
	if (!is_datagram())
		reset_on_close(fd);
	err = timed_connect(fd, &a, REACH_MS);
	if (err)
		failed(fd, "connect", err);
}

void do_sendto(int fd, int port)
{
	struct address a;

	dest_address(&a, port);
	if (sendto(fd, "x", 1, MSG_NOSIGNAL, (void *)&a.sa, a.len) != 1)
		failed(fd, "sendto", errno);
}

int disconnect(int fd)
{
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};

	return connect(fd, (void *)&sa, sizeof(struct sockaddr_in6)) ? errno : 0;
}

/* The port that a client goes to: one that is given, or that of a helper made here (its socket in *helper). */
int dest_port(bool port_is_dest, int *helper)
{
	*helper = -1;
	if (opt.dest_port >= 0)
		return opt.dest_port;
	if (opt.listen_port >= 0) {
		struct address a;
		int on = 1;

		*helper = make_socket();
		setsockopt(*helper, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		dest_address(&a, opt.listen_port);
		if (bind(*helper, (void *)&a.sa, a.len) || (!is_datagram() && listen(*helper, 8)))
			usage("listen-port=%d: %s", opt.listen_port, strerrorname_np(errno));
		return held_port(*helper);
	}
	if (port_is_dest && opt.port >= 0)
		return opt.port;
	if (!is_datagram())
		usage("%s needs dest-port= or listen-port=", opt.name);
	return DISCARD_PORT;
}

int enter_cgroup(const char *dir)
{
	char path[4096];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, "0", 1) != 1)
		err = errno;
	close(fd);
	return err;
}
