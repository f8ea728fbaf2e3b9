// SPDX-License-Identifier: Apache-2.0
/*
 * One socket attempt, made exactly as a task in a container would make it. The tests run each once outside of any
 * policy, where it must get through, and once inside of a policed cgroup, where it must be stopped.
 *
 *	clang -O1 -Wall -Wextra -Werror -o attempt attempt.c attempt/[a-z]*.c
 *
 *	attempt NAME [key=value ...]	(attempt --list prints the names; attempt --many makes those that stdin names)
 *
 * Prints one line of JSON: {"attempt","ok","step","errno","port","detail"}; `port` is what the socket really holds.
 * Exits 0 when it got through, 1 when stopped, 2 on wrong usage or set-up, 77 when this kernel cannot do it at all.
 * A listener got through only when a child connected to it and swapped bytes, a receiver only when a datagram came.
 *
 * Keys of all attempts:
 *	port=N family=4|6|mapped addr=any|loopback|ADDRESS (default loopback)
 *	proto=tcp|udp|mptcp|udplite|sctp|dccp (default tcp, or what the attempt is about)
 *	reach=4|6		family by which the prober comes (default: that of the socket; mapped: 4)
 *	peer-cgroup=DIR		the prober moves into this cgroup directory first
 *	v6only=1 reuseport=1	set on every socket of the attempt
 *	as=NAME			the name to report
 *	real-port=N		where the prober comes, where a mapping has made another port of what the socket tells
 * Keys of some:
 *	dest-port=N dest=ADDRESS	where a client goes (`port` does as well where it has no other meaning)
 *	listen-port=N			or: make the listener (UDP: the receiver) that it goes to, in this process
 *	local-port=N			connect, udp-connected-send, io-uring-connect: bind() to this first (may be 0)
 *	how=WORD			see the table below
 *	allowed=N			race-bind: the port that the policy allows
 *	n=N delay-ms=N			flood-bind
 *	create=WORD			socket, received: what to make
 *	enter-cgroup=DIR		received: enter this cgroup directory after the maker was started, before the
 *socket comes
 *	to=DIR				leave, clone-into: the cgroup directory to go to; bpf-get: the path of a pin
 *	type=cgroup2|bpf|tmpfs		mount-fs: what to mount; bpf-get: the name of the map or program
 *	maker-cgroup=DIR		passed-fd: the maker of the socket moves into this cgroup directory first
 *	async=1 sqpoll=1		io-uring-*: by a worker thread; by the kernel's submission thread
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempt/attempt.h"

static const struct attempt {
	const char *name;
	void (*run)(void);
	int proto; /* the default; 0: TCP */
} attempts[] = {
    {"bind", try_bind, 0},
    {"bind-zero", try_bind_zero, 0},
    {"bind-no-port", try_bind_no_port, 0}, /* how=listen|connect|sendto */
    {"listen-unbound", try_listen_unbound, 0},
    {"udp-send-unbound", try_udp_send_unbound, IPPROTO_UDP},
    {"udp-connect-disconnect", try_udp_connect_disconnect, IPPROTO_UDP},
    {"udp-failed-call", try_udp_failed_call, IPPROTO_UDP},
    {"tcp-disconnect-listen", try_tcp_disconnect_listen, 0},
    {"local-port-range", try_local_port_range, 0}, /* how=bind|listen|connect|sendto */
    {"reuseport", try_reuseport, 0},
    {"reuseport-group", try_reuseport_group, 0},
    {"freebind", try_freebind, 0},
    {"transparent", try_transparent, 0},
    {"tcp-repair", try_tcp_repair, 0},
    {"fastopen-listen", try_fastopen_listen, 0}, /* without port=: autobound */
    {"fork-bind", try_fork_bind, 0},
    {"thread-bind", try_thread_bind, 0},
    {"daemon-bind", try_daemon_bind, 0},
    {"exec-bind", try_exec_bind, 0},
    {"passed-fd", try_passed_fd, 0},
    {"netns", try_netns, 0},
    {"userns-netns", try_userns_netns, 0},
    {"child-cgroup", try_child_cgroup, 0},
    {"io-uring-bind", try_io_uring_bind, 0},
    {"io-uring-listen-unbound", try_io_uring_listen_unbound, 0},
    {"io-uring-sendmsg", try_io_uring_sendmsg, IPPROTO_UDP},
    {"io-uring-connect", try_io_uring_connect, 0},
    {"compat32-bind", try_compat32_bind, 0}, /* how=direct|socketcall */
    {"race-bind", try_race_bind, 0},
    {"flood-bind", try_flood_bind, 0},
    {"accepted-listen", try_accepted_listen, 0},
    {"socket", try_socket, 0},     /* how=direct|thread|io-uring|userns */
    {"received", try_received, 0}, /* how=scm|io-uring|pidfd */
    {"leave", try_leave, 0},       /* how=write|rdwr|reopen|handle|child|io-uring|bind-mount */
    {"clone-into", try_clone_into, 0},
    {"mount-fs", try_mount_fs, 0}, /* how=mount|fsopen|userns */
    {"bpf-get", try_bpf_get, 0},   /* how=map|program|pin */
    {"bpf-detach", try_bpf_detach, 0},
    {"bpf-undo", try_bpf_undo, 0},
    {"bpf-own", try_bpf_own, 0}, /* how=map|filter|device|skb */
    {"connect", try_connect, 0},
    {"udp-connected-send", try_udp_connected_send, IPPROTO_UDP},
    {"hold", try_hold, 0}, /* a server that stays until stdin ends or SIGTERM; port=0 for bind(0) */
};

struct options opt = {
    .family = FAMILY_4,
    .proto = -1,
    .reach = -1,
    .port = -1,
    .real_port = -1,
    .allowed_port = -1,
    .listen_port = -1,
    .dest_port = -1,
    .local_port = -1,
    .n = 100,
    .addr = "loopback",
};
int opt_argc;
char **opt_argv;

static int choose(const char *key, const char *value, const char *const names[], const int numbers[])
{
	for (int i = 0; names[i]; i++)
		if (!strcmp(value, names[i]))
			return numbers[i];
	usage("unknown %s: %s", key, value);
}

static int parse_number(const char *key, const char *value, int max)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno || end == value || *end || number < 0 || number > max)
		usage("%s must be a number of 0 to %d: %s", key, max, value);
	return number;
}

static void parse_key(const char *key, const char *value)
{
	static const char *const families[] = {"4", "6", "mapped", NULL};
	static const int family_numbers[] = {FAMILY_4, FAMILY_6, FAMILY_MAPPED};
	static const char *const protos[] = {"tcp", "udp", "mptcp", "udplite", "sctp", "dccp", NULL};
	static const int proto_numbers[] = {IPPROTO_TCP,   IPPROTO_UDP, PROTO_MPTCP,
	                                    PROTO_UDPLITE, PROTO_SCTP,  PROTO_DCCP};
	static const struct {
		const char *key;
		int *to, max;
	} numbers[] = {
	    {"port", &opt.port, 65535},
	    {"real-port", &opt.real_port, 65535},
	    {"allowed", &opt.allowed_port, 65535},
	    {"listen-port", &opt.listen_port, 65535},
	    {"dest-port", &opt.dest_port, 65535},
	    {"local-port", &opt.local_port, 65535},
	    {"n", &opt.n, 100000000},
	    {"delay-ms", &opt.delay_ms, 60000},
	    {"v6only", &opt.v6only, 1},
	    {"reuseport", &opt.reuseport, 1},
	    {"async", &opt.async, 1},
	    {"sqpoll", &opt.sqpoll, 1},
	};
	static const struct {
		const char *key, **to;
	} strings[] = {
	    {"as", &opt.name},
	    {"addr", &opt.addr},
	    {"dest", &opt.dest},
	    {"how", &opt.how},
	    {"create", &opt.create},
	    {"peer-cgroup", &opt.peer_cgroup},
	    {"maker-cgroup", &opt.maker_cgroup},
	    {"enter-cgroup", &opt.enter_cgroup},
	    {"to", &opt.to},
	    {"type", &opt.type},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!strcmp(key, numbers[i].key)) {
			*numbers[i].to = parse_number(key, value, numbers[i].max);
			return;
		}
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (!strcmp(key, strings[i].key)) {
			*strings[i].to = value;
			return;
		}
	if (!strcmp(key, "family"))
		opt.family = choose(key, value, families, family_numbers);
	else if (!strcmp(key, "reach"))
		opt.reach = choose(key, value, families, family_numbers);
	else if (!strcmp(key, "proto"))
		opt.proto = choose(key, value, protos, proto_numbers);
	else
		usage("unknown key: %s", key);
}

#define ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

static int make(int argc, char **argv)
{
	const struct attempt *attempt = NULL;

	opt.name = argc > 1 ? argv[1] : "";
	opt_argc = argc;
	opt_argv = argv;
	for (size_t i = 0; i < ATTEMPTS; i++)
		if (!strcmp(opt.name, attempts[i].name))
			attempt = &attempts[i];
	if (!attempt)
		usage("attempt NAME [key=value ...]; attempt --list prints the names");
	for (int i = 2; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals)
			usage("not key=value: %s", argv[i]);
		*equals = 0;
		parse_key(argv[i], equals + 1);
		*equals = '='; /* exec-bind passes them on */
	}
	if (opt.proto < 0)
		opt.proto = attempt->proto ? attempt->proto : IPPROTO_TCP;
	signal(SIGPIPE, SIG_IGN);
	report_init(attempt->run == try_hold         ? 0
	            : attempt->run == try_flood_bind ? 20 + (long long)opt.n * opt.delay_ms / 1000
	                                             : 10);
	attempt->run();
	return USAGE; /* not reached: every attempt ends by its report */
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--many"))
		make_many(make);
	if (argc != 2 || strcmp(argv[1], "--list"))
		return make(argc, argv);
	for (size_t i = 0; i < ATTEMPTS; i++)
		puts(attempts[i].name);
	return 0;
}
