// SPDX-License-Identifier: Apache-2.0
/* Clients, and a server that stays. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "attempt.h"

static int client(int dest)
{
	int fd = make_socket();

	if (opt.local_port >= 0)
		do_bind(fd, opt.local_port);
	do_connect(fd, dest);
	return fd;
}

void try_connect(void)
{
	int helper, dest = dest_port(true, &helper);

	through(client(dest), "connect", "");
}

/* With listen-port=, the datagram must arrive; else having sent it is all that can be known. */
void try_udp_connected_send(void)
{
	int helper, dest, fd;
	struct pollfd p = {.events = POLLIN};

	if (!is_datagram())
		usage("%s is for UDP", opt.name);
	dest = dest_port(true, &helper);
	fd = client(dest);
	if (send(fd, "x", 1, MSG_NOSIGNAL) != 1)
		failed(fd, "send", errno);
	if (helper < 0)
		through(fd, "send", "");
	p.fd = helper;
	if (poll(&p, 1, REACH_MS) != 1)
		stopped(fd, "reach", ETIMEDOUT, "the datagram did not arrive");
	through(fd, "reach", "a datagram came");
}

static void on_term(int signal)
{
	(void)signal;
	_exit(THROUGH);
}

/* Sends back what one client says. */
static void echo(int fd)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct pollfd p = {.events = POLLIN};
	char data[2048];
	ssize_t got;

	if (is_datagram()) {
		got = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT, (void *)&from, &len);
		if (got >= 0)
			sendto(fd, data, got, MSG_NOSIGNAL | MSG_DONTWAIT, (void *)&from, len);
		return;
	}
	p.fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (p.fd < 0)
		return;
	while (poll(&p, 1, 500) == 1) {
		got = recv(p.fd, data, sizeof(data), 0);
		if (got <= 0 || send(p.fd, data, got, MSG_NOSIGNAL) != got)
			break;
	}
	close(p.fd);
}

void try_hold(void)
{
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
	int port = need_port(), fd = make_socket();
	char data[256];

	signal(SIGTERM, on_term);
	do_bind(fd, port);
	if (!is_datagram() && listen(fd, 64))
		failed(fd, "listen", errno);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	report_line(THROUGH, is_datagram() ? "bind" : "listen", 0, held_port(fd), "held until stdin ends or SIGTERM");
	for (p[1].fd = fd; poll(p, 2, -1) > 0 || errno == EINTR;) {
		if (p[1].revents)
			echo(fd);
		if (p[0].revents && read(STDIN_FILENO, data, sizeof(data)) <= 0)
			_exit(THROUGH);
	}
	_exit(USAGE);
}
