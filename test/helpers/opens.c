// SPDX-License-Identifier: Apache-2.0
/*
 * What an operation on files costs: opens and closes PATH N times, makes and removes it, or asks a file of it by
 *ioctl().
 *
 *	opens open|change|ioctl PATH N
 *
 * Prints nanoseconds for one: the least of ROUNDS rounds, in which the least other work of the kernel fell.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 8

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int changes, asks, n, size, held = -1;
	double begin, least = 0;

	if (argc != 4)
		return 2;
	changes = !strcmp(argv[1], "change");
	asks = !strcmp(argv[1], "ioctl");
	n = atoi(argv[3]);
	if (asks)
		held = open(argv[2], O_RDONLY);
	for (int round = 0; round < ROUNDS; round++) {
		double took;

		begin = now();
		for (int i = 0; i < n / ROUNDS; i++) {
			int fd;

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
		took = (now() - begin) / (n / ROUNDS);
		if (round == 0 || took < least)
			least = took;
	}
	printf("%.1f\n", least);
	return 0;
}
