// SPDX-License-Identifier: Apache-2.0
/* The proof that a listener can be reached: a child connects, or sends, and what it sends has to come. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

#define NONCE_SIZE 8
#define RESEND_MS  50

/* What the prober, a child, tells. */
struct probe {
	int done, err;
	const char *step;
	char nonce[NONCE_SIZE];
};

static noreturn void probe_end(struct probe *probe, const char *step, int err)
{
	probe->step = step;
	probe->err = err;
	__atomic_store_n(&probe->done, 1, __ATOMIC_RELEASE);
	_exit(0);
}

static int wait_for(int fd, short events, long until)
{
	struct pollfd p = {.fd = fd, .events = events};
	long left = until - now_ms();

	return poll(&p, 1, left > 0 ? left : 0) == 1 ? 0 : ETIMEDOUT;
}

static int probe_socket(struct address *a, int port)
{
	int family = opt.reach > 0 ? opt.reach : opt.family == FAMILY_6 ? FAMILY_6 : FAMILY_4;
	bool own = (family == FAMILY_6) == (opt.family == FAMILY_6) && strcmp(opt.addr, "any");
	int fd;

	address_of(a, family, own ? opt.addr : "loopback", port);
	fd = socket(a->sa.ss_family, socket_type() | SOCK_CLOEXEC, socket_proto());
	if (fd >= 0)
		name_service(fd);
	return fd;
}

static noreturn void probe_stream(struct probe *probe, int port)
{
	long until = now_ms() + REACH_MS;
	char reply[NONCE_SIZE];
	struct address a;
	int fd = probe_socket(&a, port);
	int err;

	if (fd < 0)
		probe_end(probe, "prober's socket", errno);
	reset_on_close(fd);
	err = timed_connect(fd, &a, REACH_MS);
	if (err)
		probe_end(probe, "prober's connect", err);
	if (send(fd, probe->nonce, NONCE_SIZE, MSG_NOSIGNAL) != NONCE_SIZE)
		probe_end(probe, "prober's send", errno);
	if (wait_for(fd, POLLIN, until))
		probe_end(probe, "prober's wait for the reply", ETIMEDOUT);
	if (recv(fd, reply, NONCE_SIZE, 0) != NONCE_SIZE)
		probe_end(probe, "prober's recv", errno);
	if (memcmp(reply, probe->nonce, NONCE_SIZE))
		probe_end(probe, "prober's reply", EBADMSG);
	probe_end(probe, "", 0);
}

static noreturn void probe_datagram(struct probe *probe, int port)
{
	long until = now_ms() + REACH_MS;
	struct address a;
	int fd = probe_socket(&a, port);

	if (fd < 0)
		probe_end(probe, "prober's socket", errno);
	while (now_ms() < until) {
		if (sendto(fd, probe->nonce, NONCE_SIZE, MSG_NOSIGNAL, (void *)&a.sa, a.len) < 0)
			probe_end(probe, "prober's sendto", errno);
		usleep(RESEND_MS * 1000);
	}
	probe_end(probe, "prober's sendto: nothing came", ETIMEDOUT);
}

/* One slice of waiting at the server's side; true when the nonce came (and went back, for streams). */
static bool answer(int fd, const char *nonce)
{
	char got[64];
	bool same;
	int peer;

	if (wait_for(fd, POLLIN, now_ms() + RESEND_MS))
		return false;
	if (is_datagram())
		return recv(fd, got, sizeof(got), MSG_DONTWAIT) == NONCE_SIZE && !memcmp(got, nonce, NONCE_SIZE);
	peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (peer < 0)
		return false;
	if (held_port(peer) != held_port(fd))
		stopped(peer, "accept", EPROTO, "the accepted socket tells another port than its listener");
	same = !wait_for(peer, POLLIN, now_ms() + REACH_MS) &&
	       recv(peer, got, NONCE_SIZE, MSG_DONTWAIT) == NONCE_SIZE && !memcmp(got, nonce, NONCE_SIZE) &&
	       send(peer, got, NONCE_SIZE, MSG_NOSIGNAL) == NONCE_SIZE;
	/* The prober closes first, so that no timewait socket stays on our port. */
	if (same)
		wait_for(peer, POLLRDHUP, now_ms() + 200);
	close(peer);
	return same;
}

void reached(int fd)
{
	struct probe *probe;
	int port = held_port(fd);
	bool came = false, done = false;
	char detail[96];
	long until;
	pid_t pid;

	if (!port)
		stopped(fd, "reach", EADDRNOTAVAIL, "holds no port");
	probe = mmap(NULL, sizeof(*probe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (probe == MAP_FAILED || getrandom(probe->nonce, NONCE_SIZE, 0) != NONCE_SIZE)
		stopped(fd, "reach", errno, "no memory or randomness");
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	pid = spawn();
	if (!pid) {
		int where = opt.real_port > 0 ? opt.real_port : port;
		int err = opt.peer_cgroup ? enter_cgroup(opt.peer_cgroup) : 0;

		close(fd);
		if (err)
			probe_end(probe, "peer-cgroup", err);
		if (is_datagram())
			probe_datagram(probe, where);
		probe_stream(probe, where);
	}
	for (until = now_ms() + REACH_MS + 100; !came && !done && now_ms() < until;) {
		done = __atomic_load_n(&probe->done, __ATOMIC_ACQUIRE);
		came = answer(fd, probe->nonce);
	}
	/* A stream's prober has the last word: it waits for the reply. */
	if (came && !is_datagram())
		for (until = now_ms() + 500; !done && now_ms() < until; usleep(1000))
			done = __atomic_load_n(&probe->done, __ATOMIC_ACQUIRE);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (came && (is_datagram() || (done && !probe->err)))
		through(fd, "reach", is_datagram() ? "a datagram came" : "bytes were swapped");
	if (probe->err && !strcmp(probe->step, "peer-cgroup"))
		usage("peer-cgroup=%s: %s", opt.peer_cgroup, strerrorname_np(probe->err));
	snprintf(detail, sizeof(detail), "not reachable: %s", done ? probe->step : "nobody came");
	stopped(fd, "reach", done && probe->err ? probe->err : ETIMEDOUT, detail);
}

void serve(int fd)
{
	if (!is_datagram() && listen(fd, 8))
		failed(fd, "listen", errno);
	reached(fd);
}
