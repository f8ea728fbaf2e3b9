// SPDX-License-Identifier: Apache-2.0
/* Many connections, and datagrams, by many threads. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "connections.h"

static atomic_int connected, refused, others;

static void count_result(int result)
{
	if (!result)
		connected++;
	else if (errno == EAGAIN)
		refused++;
	else
		others++;
}

/* The last one of a cycle, as its kind says. */
static int connect_somehow(int fd, const struct work *work)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (!strcmp(work->kind, "fast"))
		return sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&work->to.address, work->to.length) == 1 ? 0 : -1;
	if (!strcmp(work->kind, "ring"))
		return ring_connect(fd, &work->to);
	if (!strcmp(work->kind, "nonblock"))
		return fcntl(fd, F_SETFL, O_NONBLOCK) || (connect_to(fd, &work->to) && errno != EINPROGRESS);
	if (!strcmp(work->kind, "unspec") && (connect_to(fd, &work->to) || connect(fd, &none, sizeof(none))))
		return -1;
	return connect_to(fd, &work->to);
}

static void *work_on(void *argument)
{
	const struct work *work = argument;

	for (int i = 0; i < work->count; i++) {
		int fd = make(work->kind, work->to.family);
		int result = work->cycles ? connect_somehow(fd, work) : connect_to(fd, &work->to);

		count_result(result);
		if (work->cycles || result)
			end(fd, work->kind);
		else
			keep(fd);
	}
	return NULL;
}

void run(int threads, struct work *work)
{
	pthread_t ids[256];

	connected = refused = others = 0;
	threads = threads > 256 ? 256 : threads;
	for (int i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work_on, work);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	printf("ok %d %d %d\n", connected, refused, others);
}

struct spray {
	pthread_t id;
	int number;
	int count;
	const struct target *first;
};

/*
 * Every other thread goes before those that it shares the CPU with, and wakes up in the midst of what they are at: in
 * their system calls too, where the kernel lets it.
 */
static void *spray(void *argument)
{
	const struct spray *spray = argument;
	struct sockaddr_in to = *(const struct sockaddr_in *)&spray->first->address;
	struct sched_param first = {.sched_priority = 1};
	struct timespec nap = {.tv_nsec = 1000 * (20 + spray->number)};
	unsigned base = ntohl(to.sin_addr.s_addr), random = spray->number;
	bool before = spray->number % 2 && !pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < spray->count; i++) {
		unsigned high = random >> 28, low = random >> 24 & 15;
		bool denied;

		to.sin_addr.s_addr = htonl(base + high * 256 + low);
		denied = sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)) < 0 && errno == EPERM;
		if (denied != (high + low) % 2)
			others++;
		if (i % 2)
			random = random * 1664525 + 1013904223;
		if (before && i % 16 == 0)
			nanosleep(&nap, NULL);
	}
	close(fd);
	return NULL;
}

int spray_all(int threads, int count, const struct target *first)
{
	struct spray sprays[64];

	others = 0;
	threads = threads > 64 ? 64 : threads;
	for (int i = 0; i < threads; i++) {
		sprays[i] = (struct spray){.number = i, .count = count, .first = first};
		pthread_create(&sprays[i].id, NULL, spray, &sprays[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(sprays[i].id, NULL);
	return others;
}
