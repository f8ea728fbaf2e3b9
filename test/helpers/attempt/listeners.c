// SPDX-License-Identifier: Apache-2.0
/* Attempts to hold a port with a socket's own calls and options. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "attempt.h"

#define IP_LOCAL_PORT_RANGE_ 51
#define REPAIR_OFF_NO_PROBE  (-1)

static void need_proto(bool right, const char *which)
{
	if (!right)
		usage("%s is for %s", opt.name, which);
}

void try_bind(void)
{
	int port = need_port(), fd = make_socket();

	do_bind(fd, port);
	serve(fd);
}

void try_bind_zero(void)
{
	int fd = make_socket();

	do_bind(fd, 0);
	serve(fd);
}

void try_reuseport(void)
{
	int port = need_port(), fd = make_socket();

	set_option(fd, SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR", 1);
	set_option(fd, SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT", 1);
	do_bind(fd, port);
	serve(fd);
}

#define GROUP   4
#define CLIENTS 64

/* Whom the client reached, who is one of the group; -1: nobody. */
static int who_has_it(const int *group)
{
	struct pollfd polled[GROUP];
	char got[8];
	int fd;

	for (int i = 0; i < GROUP; i++)
		polled[i] = (struct pollfd){.fd = group[i], .events = POLLIN};
	if (poll(polled, GROUP, REACH_MS) < 1)
		return -1;
	for (int i = 0; i < GROUP; i++) {
		if (!(polled[i].revents & POLLIN))
			continue;
		if (is_datagram()) {
			recv(group[i], got, sizeof(got), MSG_DONTWAIT);
			return i;
		}
		fd = accept(group[i], NULL, NULL);
		if (fd >= 0)
			close(fd);
		return i;
	}
	return -1;
}

/* A group of SO_REUSEPORT, each of which gets some of the clients. how=mixed: every other one binds real-port. */
void try_reuseport_group(void)
{
	int port = need_port(), real = opt.real_port > 0 ? opt.real_port : port;
	bool mixed = !strcmp(how_of("alike"), "mixed");
	int group[GROUP], served[GROUP] = {0}, with_none = 0;
	char text[96];

	for (int i = 0; i < GROUP; i++) {
		group[i] = make_socket();
		set_option(group[i], SOL_SOCKET, SO_REUSEPORT, "SO_REUSEPORT", 1);
		do_bind(group[i], mixed && i % 2 ? real : port);
		if (!is_datagram() && listen(group[i], CLIENTS))
			failed(group[i], "listen", errno);
	}
	for (int i = 0; i < CLIENTS; i++) {
		int client = make_socket(), who;

		if (is_datagram())
			do_sendto(client, real);
		else
			do_connect(client, real);
		who = who_has_it(group);
		if (who < 0)
			stopped(client, "reach", ETIMEDOUT, "nobody of the group was reached");
		served[who]++;
		close(client);
	}
	for (int i = 0; i < GROUP; i++)
		with_none += !served[i];
	snprintf(text, sizeof(text), "served %d, %d, %d, %d", served[0], served[1], served[2], served[3]);
	if (with_none)
		stopped(group[0], "reach", EPROTO, text);
	through(group[0], "reach", text);
}

void try_listen_unbound(void)
{
	need_proto(!is_datagram(), "protocols that listen");
	serve(make_socket());
}

void try_udp_send_unbound(void)
{
	int helper, fd, dest;

	need_proto(is_datagram(), "UDP");
	dest = dest_port(true, &helper);
	fd = make_socket();
	do_sendto(fd, dest);
	reached(fd);
}

/*
 * The kernel gives a connected socket a port by itself, and disconnecting takes it away again where bind() did not
 * choose it: the next sendto() takes another.
 */
void try_udp_connect_disconnect(void)
{
	int helper, fd, dest, err;

	need_proto(is_datagram(), "UDP");
	dest = dest_port(true, &helper);
	fd = make_socket();
	do_connect(fd, dest);
	err = disconnect(fd);
	if (err)
		failed(fd, "disconnect", err);
	if (!held_port(fd))
		do_sendto(fd, dest);
	reached(fd);
}

/*
 * Calls that fail, but only after the kernel has chosen the socket's port: the socket receives on it all the same.
 * how: port-zero, no-peer, unreachable, broadcast, denied (a send that the policy refuses). port=N: that very port.
 */
void try_udp_failed_call(void)
{
	const char *how = how_of("no-peer");
	struct address far;
	int fd;

	need_proto(is_datagram(), "UDP");
	fd = make_socket();
	if (opt.port > 0)
		set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE_, "IP_LOCAL_PORT_RANGE",
		           (int)((unsigned)opt.port << 16 | (unsigned)opt.port));
	if (!strcmp(how, "port-zero")) {
		dest_address(&far, 0);
		sendto(fd, "x", 1, 0, (struct sockaddr *)&far.sa, far.len);
	} else if (!strcmp(how, "no-peer")) {
		send(fd, "x", 1, 0);
	} else if (!strcmp(how, "unreachable") || !strcmp(how, "broadcast")) {
		bool v6 = socket_domain() == AF_INET6;

		address_of(&far, v6 ? FAMILY_6 : FAMILY_4,
		           v6              ? "2001:db8::9"
		           : how[0] == 'u' ? "192.0.2.9"
		                           : "255.255.255.255",
		           9);
		connect(fd, (struct sockaddr *)&far.sa, far.len);
	} else if (!strcmp(how, "denied")) {
		dest_address(&far, 9);
		sendto(fd, "x", 1, 0, (struct sockaddr *)&far.sa, far.len);
	} else {
		usage("how=port-zero, no-peer, unreachable, broadcast or denied");
	}
	reached(fd);
}

void try_tcp_disconnect_listen(void)
{
	int helper, fd, dest, err;

	need_proto(!is_datagram(), "protocols that listen");
	dest = dest_port(true, &helper);
	fd = make_socket();
	do_connect(fd, dest);
	err = disconnect(fd);
	if (err)
		failed(fd, "disconnect", err);
	serve(fd);
}

/* An accepted socket has its listener's port until it is disconnected. The listener is on listen-port. */
void try_accepted_listen(void)
{
	struct address a;
	int listener, client, fd, err;

	need_proto(!is_datagram(), "protocols that listen");
	listener = make_socket();
	do_bind(listener, opt.listen_port > 0 ? opt.listen_port : 0);
	if (listen(listener, 1))
		failed(listener, "listen", errno);
	client = make_socket();
	dest_address(&a, held_port(listener));
	err = timed_connect(client, &a, REACH_MS);
	if (err)
		failed(client, "connect", err);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		failed(listener, "accept", errno);
	close(listener);
	err = disconnect(fd);
	if (err)
		failed(fd, "disconnect", err);
	if (listen(fd, 8)) {
		if (errno == EINVAL && opt.proto == PROTO_MPTCP)
			cannot("listen", errno, "an accepted MPTCP socket cannot listen on this kernel");
		failed(fd, "listen", errno);
	}
	reached(fd);
}

/* Takes a port by the call that `how` names; ends the attempt unless `port` (when not 0) is the one held. */
static noreturn void take_port(int fd, const char *how, int port)
{
	bool client = !strcmp(how, "connect");
	int helper;

	if (!strcmp(how, "bind")) {
		do_bind(fd, 0);
	} else if (!strcmp(how, "listen")) {
		need_proto(!is_datagram(), "how=bind, connect or sendto with UDP");
		if (listen(fd, 8))
			failed(fd, "listen", errno);
	} else if (client) {
		do_connect(fd, dest_port(false, &helper));
	} else if (!strcmp(how, "sendto")) {
		need_proto(is_datagram(), "how=bind, listen or connect without UDP");
		do_sendto(fd, dest_port(false, &helper));
	} else {
		usage("unknown how: %s", how);
	}
	if (port && held_port(fd) != port)
		stopped(fd, "port", 0, "the kernel chose another port");
	if (client)
		through(fd, "connect", "");
	serve(fd);
}

void try_bind_no_port(void)
{
	int fd = make_socket();

	set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, "IP_BIND_ADDRESS_NO_PORT", 1);
	do_bind(fd, 0);
	take_port(fd, how_of(is_datagram() ? "sendto" : "listen"), 0);
}

void try_local_port_range(void)
{
	int port = need_port(), fd, low = 0, high = 0;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");

	if (!file || fscanf(file, "%d %d", &low, &high) != 2)
		cannot("sysctl", ENOENT, "net.ipv4.ip_local_port_range cannot be read");
	fclose(file);
	if (port < low || port > high)
		usage("port=%d is outside of ip_local_port_range %d-%d: the kernel would ignore it", port, low, high);
	fd = make_socket();
	set_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE_, "IP_LOCAL_PORT_RANGE", (int)(port | (unsigned)port << 16));
	take_port(fd, how_of("bind"), port);
}

/* A listener on an address that no interface has: holding the port is all that can be shown. */
static noreturn void bind_foreign(int option4, const char *name4, int option6, const char *name6)
{
	int port = need_port(), fd = make_socket();
	struct address a;

	if (opt.family == FAMILY_6)
		set_option(fd, IPPROTO_IPV6, option6, name6, 1);
	else
		set_option(fd, IPPROTO_IP, option4, name4, 1);
	address_of(&a, opt.family, opt.family == FAMILY_6 ? "2001:db8::1" : "192.0.2.1", port);
	if (bind(fd, (void *)&a.sa, a.len))
		failed(fd, "bind", errno);
	if (!is_datagram() && listen(fd, 8))
		failed(fd, "listen", errno);
	through(fd, is_datagram() ? "bind" : "listen", "on an address of no interface");
}

void try_freebind(void)
{
	bind_foreign(IP_FREEBIND, "IP_FREEBIND", IPV6_FREEBIND, "IPV6_FREEBIND");
}

void try_transparent(void)
{
	bind_foreign(IP_TRANSPARENT, "IP_TRANSPARENT", IPV6_TRANSPARENT, "IPV6_TRANSPARENT");
}

void try_tcp_repair(void)
{
	int port = need_port(), fd;

	need_proto(opt.proto == IPPROTO_TCP, "TCP");
	fd = make_socket();
	set_option(fd, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR", 1);
	do_bind(fd, port);
	set_option(fd, IPPROTO_TCP, TCP_REPAIR, "TCP_REPAIR off", REPAIR_OFF_NO_PROBE);
	serve(fd);
}

void try_fastopen_listen(void)
{
	int fd;

	need_proto(!is_datagram(), "TCP");
	fd = make_socket();
	set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, "TCP_FASTOPEN", 8);
	if (opt.port >= 0)
		do_bind(fd, opt.port);
	serve(fd);
}
