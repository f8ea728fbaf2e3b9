// SPDX-License-Identifier: Apache-2.0
/*
 * What an operation on files costs: opens and closes PATH N times, makes and removes it, or asks a file of it by
 *ioctl().
 *
 *	opens open|change|ioctl PATH N
 *
 * Prints nanoseconds for one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int changes, asks, n, size, held = -1;
	double begin;

	if (argc != 4)
		return 2;
	changes = !strcmp(argv[1], "change");
	asks = !strcmp(argv[1], "ioctl");
	n = atoi(argv[3]);
	if (asks)
		held = open(argv[2], O_RDONLY);
	for (int i = -n / 10; i < n; i++) {
		int fd;

		if (i == 0)
			begin = now();
		if (asks) {
			if (ioctl(held, FIONREAD, &size)) {
				perror(argv[2]);
				return 1;
			}
			continue;
		}
		fd = open(argv[2], changes ? O_CREAT | O_EXCL | O_WRONLY : O_RDONLY, 0600);
		if (fd < 0 || close(fd) || (changes && unlink(argv[2]))) {
			perror(argv[2]);
			return 1;
		}
	}
	printf("%.1f\n", (now() - begin) / n);
	return 0;
}
