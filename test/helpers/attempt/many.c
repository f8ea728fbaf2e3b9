// SPDX-License-Identifier: Apache-2.0
/*
 * Many attempts by one process, which forks for each: to start a program costs half a second where the kernel is
 * emulated. A line of stdin is "ID NAME [key=value ...]"; when its attempt has ended, "ID STATUS LINE" comes, LINE
 * being what it said.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

#define AT_ONCE  16
#define MAX_LINE 2048

static struct slot {
	pid_t pid; /* 0: free */
	int fd;
	size_t length;
	char id[16], said[MAX_LINE];
} slots[AT_ONCE];

static void fail(const char *what)
{
	perror(what);
	exit(USAGE);
}

static struct slot *free_slot(void)
{
	for (int i = 0; i < AT_ONCE; i++)
		if (!slots[i].pid)
			return &slots[i];
	return NULL;
}

static bool any_runs(void)
{
	for (int i = 0; i < AT_ONCE; i++)
		if (slots[i].pid)
			return true;
	return false;
}

/* In the child: only its own pipe, and an empty stdin, as the program alone has. */
static noreturn void be_attempt(char *words, int out, int (*make)(int, char **))
{
	static char program[] = "attempt";
	char *argv[64] = {program};
	int argc = 1, null = open("/dev/null", O_RDONLY);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		fail("stdin and stdout of an attempt");
	if (close_range(STDERR_FILENO + 1, ~0U, 0))
		fail("close_range");
	for (char *word = strtok(words, " "); word && argc < 63; word = strtok(NULL, " "))
		argv[argc++] = word;
	exit(make(argc, argv));
}

static void start(char *line, int (*make)(int, char **))
{
	struct slot *slot = free_slot();
	char *words = strchr(line, ' ');
	int ends[2];

	if (!words || (size_t)(words - line) >= sizeof(slot->id))
		usage("not ID NAME [key=value ...]: %s", line);
	*words++ = 0;
	if (pipe2(ends, O_CLOEXEC))
		fail("pipe2");
	slot->pid = fork();
	if (slot->pid < 0)
		fail("fork");
	if (!slot->pid)
		be_attempt(words, ends[1], make);
	close(ends[1]);
	slot->fd = ends[0];
	slot->length = 0;
	strcpy(slot->id, line);
}

/* All is said when everything that could say more has ended, as for whoever reads a program's output to its end. */
static void hear(struct slot *slot)
{
	ssize_t n = read(slot->fd, slot->said + slot->length, MAX_LINE - 1 - slot->length);
	int status;

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0) {
		slot->length += n;
		return;
	}
	close(slot->fd);
	if (waitpid(slot->pid, &status, 0) < 0)
		fail("waitpid");
	slot->pid = 0;
	while (slot->length && isspace((unsigned char)slot->said[slot->length - 1]))
		slot->length--;
	slot->said[slot->length] = 0;
	printf("%s %d %s\n", slot->id, WIFEXITED(status) ? WEXITSTATUS(status) : 255, slot->said);
	fflush(stdout);
}

/* Starts what stands in whole lines, as far as there is room. @returns what is left of `length` */
static size_t start_lines(char *lines, size_t length, int (*make)(int, char **))
{
	char *end;

	while (free_slot() && (end = memchr(lines, '\n', length))) {
		size_t taken = end - lines + 1;

		*end = 0;
		start(lines, make);
		memmove(lines, end + 1, length - taken);
		length -= taken;
	}
	return length;
}

void make_many(int (*make)(int argc, char **argv))
{
	static char lines[64 * 1024];
	size_t length = 0;
	bool ended = false;

	while (!ended || length || any_runs()) {
		struct pollfd polled[AT_ONCE + 1] = {{.events = POLLIN}};

		polled[0].fd = ended || length == sizeof(lines) ? -1 : STDIN_FILENO;
		for (int i = 0; i < AT_ONCE; i++) {
			polled[i + 1].fd = slots[i].pid ? slots[i].fd : -1;
			polled[i + 1].events = POLLIN;
		}
		if (poll(polled, AT_ONCE + 1, -1) < 0 && errno != EINTR)
			fail("poll");
		for (int i = 0; i < AT_ONCE; i++)
			if (polled[i + 1].revents)
				hear(&slots[i]);
		if (polled[0].revents) {
			ssize_t n = read(STDIN_FILENO, lines + length, sizeof(lines) - length);

			ended = n <= 0;
			length += n > 0 ? n : 0;
		}
		length = start_lines(lines, length, make);
		if (ended && length && !memchr(lines, '\n', length))
			usage("stdin ended in the middle of a line");
	}
	exit(0);
}
