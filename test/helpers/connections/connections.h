/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the connections program share; see ../connections.c. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <stdbool.h>
#include <sys/socket.h>

struct target {
	struct sockaddr_storage address;
	socklen_t length;
	int family;
};

/* connections.c: what is open until it is told to close it. */
int keep(int fd);
void forget(int fd);

/* connect.c: one socket, and the ways to connect it; -1 with errno. */
struct target target_of(const char *host, int port);
int make(const char *kind, int family);
int connect_to(int fd, const struct target *to);
int connect_32(int fd, const struct target *to);
int ring_connect(int fd, const struct target *to);
int connect_interrupted(int fd, const struct target *to);
void end(int fd, const char *how);

/* many.c */
struct work {
	int count;
	const char *kind;
	struct target to;
	bool cycles;
};

/* Prints the answer. */
void run(int threads, struct work *work);
/* How many had the wrong answer. */
int spray_all(int threads, int count, const struct target *first);

/* passing.c: sockets in other hands. */
int send_away(int fd);
int receive(void);
int sink(void);
/* -1: it has all that is open now. */
int start_child(int fd);
int reap_child(void);

#endif
