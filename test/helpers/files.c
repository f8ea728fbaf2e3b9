// SPDX-License-Identifier: Apache-2.0
/*
 * Attempts to open and to change files, made as a task in a container would make them. Each is made in a process of
 * its own, on files of its own that the test has made: BASE/NAME/{f,x,d/}, a file, a script that can be executed, and
 * an empty directory; and in WORK/NAME, an empty directory that no rule is about.
 *
 *	files BASE WORK KIND [NAME...]	KIND is read or change; prepare makes the files, and no attempt
 *
 * Prints "NAME RESULT" for each: ok, the number of an errno, or "impossible" where this kernel or these rights cannot
 * do it. The attempts are in files/.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files/files.h"

/* The files of one attempt. */
static void prepare(void)
{
	static const char script[] = "#!/bin/sh\nexit 0\n";
	int fd;

	must(mkdir(base, 0777));
	must(chmod(base, 0777));
	must(mkdir(work, 0777));
	must(chmod(work, 0777));
	must(mkdir(in(base, "d"), 0777));
	fd = open(in(base, "f"), O_CREAT | O_WRONLY, 0644);
	must(write(fd, "secret\n", 7));
	close(fd);
	/* Not on every file system. */
	if (setxattr(in(base, "f"), "trusted.there", "1", 1, 0) < 0 && errno != EOPNOTSUPP)
		_exit(IMPOSSIBLE);
	fd = open(in(base, "x"), O_CREAT | O_WRONLY, 0755);
	must(write(fd, script, sizeof(script) - 1));
	close(fd);
}

static int is_wanted(const char *name, char **names)
{
	if (!*names)
		return 1;
	for (; *names; names++)
		if (!strcmp(*names, name))
			return 1;
	return 0;
}

static void enter(const struct attempt *attempt, char **argv)
{
	snprintf(base, sizeof(base), "%s/%s", argv[1], attempt->name);
	snprintf(work, sizeof(work), "%s/%s", argv[2], attempt->name);
}

static void prepare_all(const struct attempt *attempt, char **argv)
{
	for (; attempt->name; attempt++) {
		if (!is_wanted(attempt->name, argv + 4))
			continue;
		enter(attempt, argv);
		prepare();
	}
}

static void make_all(const struct attempt *attempt, char **argv)
{
	int status;

	for (; attempt->name; attempt++) {
		if (!is_wanted(attempt->name, argv + 4))
			continue;
		enter(attempt, argv);
		if (fork() == 0)
			_exit(attempt->run());
		if (wait(&status) < 0 || !WIFEXITED(status))
			status = IMPOSSIBLE << 8;
		status = WEXITSTATUS(status);
		if (status == 0)
			printf("%s ok\n", attempt->name);
		else if (status == IMPOSSIBLE)
			printf("%s impossible\n", attempt->name);
		else
			printf("%s %d\n", attempt->name, status);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (const struct attempt *attempt = reads; attempt->name; attempt++)
			printf("read %s\n", attempt->name);
		for (const struct attempt *attempt = changes; attempt->name; attempt++)
			printf("change %s\n", attempt->name);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "--exchange"))
		return result(syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE));
	if (argc < 4) {
		fprintf(stderr,
		        "usage: files BASE WORK read|change|prepare [NAME...]; files --list; files --exchange A B\n");
		return 2;
	}
	if (!strcmp(argv[3], "prepare")) {
		prepare_all(reads, argv);
		prepare_all(changes, argv);
	} else {
		make_all(strcmp(argv[3], "change") ? reads : changes, argv);
	}
	return 0;
}
