// SPDX-License-Identifier: Apache-2.0
/* The one line of output, from whichever process or thread comes to the end, and the limit on time. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

static struct outcome {
	int set, code, err, port;
	char step[32], detail[512];
} * outcome;
static pid_t main_pid;
static char late_line[512];
static const char *cgroup_dir;
static pid_t cgroup_child;

void cleanup_cgroup(const char *dir, pid_t child)
{
	cgroup_dir = dir;
	cgroup_child = child;
}

static void on_alarm(int signal)
{
	(void)signal;
	if (cgroup_dir) {
		kill(cgroup_child, SIGKILL);
		waitpid(cgroup_child, NULL, 0);
		for (int i = 0; i < 50 && rmdir(cgroup_dir) && errno == EBUSY; i++)
			usleep(10000);
	}
	if (write(STDOUT_FILENO, late_line, strlen(late_line)) < 0)
		_exit(USAGE);
	_exit(STOPPED);
}

void report_init(unsigned seconds)
{
	main_pid = getpid();
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (outcome == MAP_FAILED) {
		perror("mmap");
		exit(USAGE);
	}
	snprintf(late_line, sizeof(late_line),
	         "{\"attempt\":\"%.64s\",\"ok\":false,\"step\":\"alarm\",\"errno\":\"ETIMEDOUT\",\"port\":0,"
	         "\"detail\":\"took too long\"}\n",
	         opt.name);
	if (seconds) {
		signal(SIGALRM, on_alarm);
		alarm(seconds);
	}
}

static void put_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

void report_line(int code, const char *step, int err, int port, const char *detail)
{
	const char *name = err ? strerrorname_np(err) : NULL;

	printf("{\"attempt\":");
	put_string(opt.name);
	printf(",\"ok\":%s,\"step\":", code == THROUGH ? "true" : "false");
	put_string(step);
	printf(",\"errno\":");
	if (name)
		put_string(name);
	else if (err)
		printf("\"E%d\"", err);
	else
		printf("null");
	printf(",\"port\":%d,\"detail\":", port);
	put_string(detail);
	printf("}\n");
	fflush(stdout);
}

static noreturn void finish(int code, const char *step, int err, int port, const char *detail)
{
	if (main_pid && getpid() != main_pid) {
		outcome->code = code;
		outcome->err = err;
		outcome->port = port;
		snprintf(outcome->step, sizeof(outcome->step), "%s", step);
		snprintf(outcome->detail, sizeof(outcome->detail), "%s", detail);
		__atomic_store_n(&outcome->set, 1, __ATOMIC_RELEASE);
		_exit(0);
	}
	report_line(code, step, err, port, detail);
	_exit(code);
}

bool outcome_is_set(void)
{
	return __atomic_load_n(&outcome->set, __ATOMIC_ACQUIRE);
}

void adopt(void)
{
	if (!outcome_is_set())
		finish(STOPPED, "child", ECHILD, 0, "the child left no result");
	finish(outcome->code, outcome->step, outcome->err, outcome->port, outcome->detail);
}

void usage(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "attempt: %s\n", text);
	finish(USAGE, "usage", 0, 0, text);
}

void through(int fd, const char *step, const char *detail)
{
	finish(THROUGH, step, 0, held_port(fd), detail);
}

void stopped(int fd, const char *step, int err, const char *detail)
{
	finish(STOPPED, step, err, held_port(fd), detail);
}

void cannot(const char *step, int err, const char *detail)
{
	finish(CANNOT, step, err, 0, detail);
}

void failed(int fd, const char *step, int err)
{
	bool unknown = err == ENOSYS;

	if (!strcmp(step, "socket"))
		unknown |= err == EPROTONOSUPPORT || err == ESOCKTNOSUPPORT || err == EAFNOSUPPORT ||
		           err == ENOPROTOOPT; /* the last: net.mptcp.enabled=0 */
	else if (!strcmp(step, "setsockopt"))
		unknown |= err == ENOPROTOOPT || err == EOPNOTSUPP;
	else if (!strcmp(step, "unshare"))
		unknown |= err == EINVAL || err == ENOSPC; /* ENOSPC: user.max_*_namespaces=0 */
	if (unknown)
		cannot(step, err, "this kernel cannot do it");
	stopped(fd, step, err, "");
}

pid_t spawn(void)
{
	pid_t pid = fork();

	if (pid < 0)
		stopped(-1, "fork", errno, "");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGALRM, SIG_DFL);
		alarm(9);
	}
	return pid;
}
