// SPDX-License-Identifier: Apache-2.0
/* Attempts to hold a port from another process, thread, namespace or cgroup than the one that was started. */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

#define CHILD_MS 8000

void try_fork_bind(void)
{
	pid_t pid;

	need_port();
	pid = spawn();
	if (!pid)
		try_bind();
	waitpid(pid, NULL, 0);
	adopt();
}

static void *bind_in_thread(void *unused)
{
	(void)unused;
	try_bind();
	return NULL;
}

void try_thread_bind(void)
{
	pthread_t thread;
	int err;

	need_port();
	err = pthread_create(&thread, NULL, bind_in_thread, NULL);
	if (err)
		stopped(-1, "thread", err, "");
	pthread_join(thread, NULL);
}

/* A daemon has left its session and its parent: only the pipe says when it ended. */
void try_daemon_bind(void)
{
	struct pollfd p = {.events = POLLIN};
	int ends[2];
	pid_t pid;

	need_port();
	if (pipe(ends))
		stopped(-1, "pipe", errno, "");
	pid = fork();
	if (pid < 0)
		stopped(-1, "fork", errno, "");
	if (!pid) {
		if (setsid() < 0)
			stopped(-1, "setsid", errno, "");
		if (fork())
			_exit(0);
		signal(SIGALRM, SIG_DFL);
		alarm(CHILD_MS / 1000);
		while (getppid() != 1 && kill(getppid(), 0) == 0 && getsid(getppid()) == getsid(0))
			usleep(1000); /* until the parent between is gone */
		close(ends[0]);
		try_bind();
	}
	close(ends[1]);
	waitpid(pid, NULL, 0);
	p.fd = ends[0];
	poll(&p, 1, CHILD_MS);
	adopt();
}

void try_exec_bind(void)
{
	char **argv = calloc(opt_argc + 2, sizeof(*argv));
	char name[128];

	need_port();
	if (!argv)
		stopped(-1, "exec", ENOMEM, "");
	snprintf(name, sizeof(name), "as=%s", opt.name);
	memcpy(argv, opt_argv, opt_argc * sizeof(*argv));
	argv[1] = "bind";
	argv[opt_argc] = name;
	execv("/proc/self/exe", argv);
	stopped(-1, "exec", errno, "");
}

void send_fd(int channel, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	if (sendmsg(channel, &msg, MSG_NOSIGNAL) < 0)
		stopped(-1, "pass", errno, "");
}

int receive_message(int channel, struct msghdr *msg)
{
	return recvmsg(channel, msg, MSG_CMSG_CLOEXEC);
}

int receive_fd(int channel, int (*receive)(int channel, struct msghdr *msg))
{
	char byte, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t got = receive(channel, &msg);
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
	int fd;

	if (got < 0)
		stopped(-1, "pass", errno, "");
	if (got == 0)
		adopt(); /* the maker gave up */
	if (!header || header->cmsg_type != SCM_RIGHTS)
		stopped(-1, "pass", msg.msg_flags & MSG_CTRUNC ? EACCES : EBADMSG,
		        "the message came without the socket");
	memcpy(&fd, CMSG_DATA(header), sizeof(int));
	return fd;
}

void try_passed_fd(void)
{
	int port = need_port(), pair[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		stopped(-1, "socketpair", errno, "");
	pid = spawn();
	if (!pid) {
		int err = opt.maker_cgroup ? enter_cgroup(opt.maker_cgroup) : 0;

		if (err)
			usage("maker-cgroup=%s: %s", opt.maker_cgroup, strerrorname_np(err));
		send_fd(pair[1], make_socket());
		_exit(0);
	}
	close(pair[1]);
	fd = receive_fd(pair[0], receive_message);
	waitpid(pid, NULL, 0);
	do_bind(fd, port);
	serve(fd);
}

static noreturn void bind_in_namespace(int flags)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd;

	need_port();
	if (unshare(flags))
		failed(-1, "unshare", errno);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		failed(-1, "socket", errno);
	request.ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		failed(-1, "lo-up", errno);
	close(fd);
	try_bind();
	abort(); /* not reached */
}

void try_netns(void)
{
	bind_in_namespace(CLONE_NEWNET);
}

void try_userns_netns(void)
{
	bind_in_namespace(CLONE_NEWUSER | CLONE_NEWNET);
}

/* The directory of our own cgroup2 node; false where none is mounted that shows it. */
bool own_cgroup(char *dir, size_t size)
{
	char line[8192], own[4096] = "", root[4096], mount[4096];
	FILE *file = fopen("/proc/self/cgroup", "r");
	bool found = false;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "0::", 3))
			sscanf(line + 3, "%4095[^\n]", own);
	if (file)
		fclose(file);
	file = fopen("/proc/self/mountinfo", "r");
	while (file && own[0] && !found && fgets(line, sizeof(line), file)) {
		size_t len;

		if (!strstr(line, " - cgroup2 ") || sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) != 2)
			continue;
		len = strcmp(root, "/") ? strlen(root) : 0;
		found = !strncmp(own, root, len) && (own[len] == '/' || !own[len]);
		if (found)
			snprintf(dir, size, "%s%s", mount, strcmp(own + len, "/") ? own + len : "");
	}
	if (file)
		fclose(file);
	return found;
}

void try_child_cgroup(void)
{
	static char dir[8300];
	char own[8200];
	pid_t pid;

	need_port();
	if (!own_cgroup(own, sizeof(own)))
		cannot("cgroup", ENOENT, "no cgroup2 is mounted that shows our own node");
	snprintf(dir, sizeof(dir), "%s/attempt-%d", own, getpid());
	if (mkdir(dir, 0755))
		stopped(-1, "mkdir", errno, own);
	pid = fork(); /* not spawn(): the directory must go, whatever happens */
	if (!pid) {
		int err = enter_cgroup(dir);

		signal(SIGALRM, SIG_DFL);
		alarm(CHILD_MS / 1000);
		if (err)
			stopped(-1, "enter", err, dir);
		try_bind();
	}
	if (pid > 0) {
		cleanup_cgroup(dir, pid);
		waitpid(pid, NULL, 0);
		cleanup_cgroup(NULL, 0);
	}
	for (int i = 0; i < 100 && rmdir(dir) && errno == EBUSY; i++)
		usleep(10000);
	if (pid < 0)
		stopped(-1, "fork", EAGAIN, "");
	adopt();
}
