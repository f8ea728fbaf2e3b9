// SPDX-License-Identifier: Apache-2.0
/* Sockets in other hands: on their way to somebody, and of a child. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connections.h"

static int flight[2] = {-1, -1};

/* Over a socket pair of this process: on the way nobody has it open. */
int send_away(int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	if (flight[0] < 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, flight))
		return -1;
	if (sendmsg(flight[0], &message, 0) < 0)
		return -1;
	forget(fd);
	return close(fd);
}

int receive(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	int fd = -1;

	if (recvmsg(flight[1], &message, MSG_CMSG_CLOEXEC) < 0 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return keep(fd);
}

int sink(void)
{
	int result = close(flight[0]) | close(flight[1]);

	flight[0] = flight[1] = -1;
	return result;
}

static pid_t child;

int start_child(int fd)
{
	child = fork();
	if (child)
		return child < 0 ? -1 : 0;
	if (fd >= 0) {
		fcntl(fd, F_SETFD, 0);
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	close(0);
	close(1);
	pause();
	_exit(0);
}

int reap_child(void)
{
	kill(child, SIGKILL);
	return waitpid(child, NULL, 0) < 0 ? -1 : 0;
}
