// SPDX-License-Identifier: Apache-2.0
/* Sockets of all kinds: made here in several ways, or made outside and handed in. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempt.h"

struct kind {
	const char *name;
	int domain, type, proto;
};

static struct kind kind_of(const char *name)
{
	const int inet = socket_domain();
	const struct kind kinds[] = {
	    {"tcp", inet, SOCK_STREAM, 0},
	    {"udp", inet, SOCK_DGRAM, 0},
	    {"mptcp", inet, SOCK_STREAM, PROTO_MPTCP},
	    {"udplite", inet, SOCK_DGRAM, PROTO_UDPLITE},
	    {"sctp-stream", inet, SOCK_STREAM, PROTO_SCTP},
	    {"sctp-seq", inet, SOCK_SEQPACKET, PROTO_SCTP},
	    {"dccp", inet, TYPE_DCCP, PROTO_DCCP},
	    {"icmp", AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
	    {"icmp6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6},
	    {"raw-icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP},
	    {"raw-icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
	    {"raw-udp", inet, SOCK_RAW, IPPROTO_UDP},
	    {"raw-tcp", inet, SOCK_RAW, IPPROTO_TCP},
	    {"raw-sctp", inet, SOCK_RAW, PROTO_SCTP},
	    {"raw-dccp", inet, SOCK_RAW, PROTO_DCCP},
	    {"raw-raw", inet, SOCK_RAW, IPPROTO_RAW},
	    {"raw-253", inet, SOCK_RAW, 253}, /* RFC 3692: for experiments */
	    {"netlink", AF_NETLINK, SOCK_RAW, 0},
	    {"unix", AF_UNIX, SOCK_STREAM, 0},
	    {"unix-raw", AF_UNIX, SOCK_RAW, 0}, /* a datagram socket by another name */
	    {"packet", AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)},
	    {"packet-dgram", AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)},
	    {"inet-packet", AF_INET, SOCK_PACKET, htons(ETH_P_ALL)}, /* as before Linux 2.2 */
	    {"vsock", AF_VSOCK, SOCK_STREAM, 0},
	    {"vsock-seq", AF_VSOCK, SOCK_SEQPACKET, 0},
	    {"xdp", AF_XDP, SOCK_RAW, 0},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (name && !strcmp(name, kinds[i].name))
			return kinds[i];
	usage("%s needs create= of tcp, udp, mptcp, udplite, sctp-stream, sctp-seq, dccp, icmp, icmp6, raw-icmp, "
	      "raw-icmp6, raw-udp, raw-tcp, raw-sctp, raw-dccp, raw-raw, raw-253, netlink, unix, unix-raw, packet, "
	      "packet-dgram, inet-packet, vsock, vsock-seq, xdp",
	      opt.name);
}

static int make_kind(const struct kind *kind)
{
	return socket(kind->domain, kind->type | SOCK_CLOEXEC, kind->proto);
}

static noreturn void end_socket(int fd)
{
	if (fd >= 0)
		through(-1, "socket", opt.create); /* no port: raw sockets give their protocol for it */
	/* ping sockets: EACCES where net.ipv4.ping_group_range has not our group, for root too */
	if (errno == EACCES && !strncmp(opt.create, "icmp", 4))
		cannot("socket", errno, "net.ipv4.ping_group_range");
	failed(-1, "socket", errno);
}

static void *make_in_thread(void *kind)
{
	end_socket(make_kind(kind));
}

void try_socket(void)
{
	struct kind kind = kind_of(opt.create);
	const char *how = how_of("direct");
	pthread_t thread;

	if (!strcmp(how, "io-uring"))
		end_socket(ring_make_socket(kind.domain, kind.type, kind.proto));
	if (!strcmp(how, "userns")) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
			failed(-1, "unshare", errno);
	} else if (!strcmp(how, "thread")) {
		if (!pthread_create(&thread, NULL, make_in_thread, &kind))
			pthread_join(thread, NULL);
		stopped(-1, "thread", EAGAIN, "");
	} else if (strcmp(how, "direct")) {
		usage("unknown how: %s", how);
	}
	end_socket(make_kind(&kind));
}

static noreturn void end_received(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		stopped(-1, "receive", errno, "not a socket");
	if (domain != kind_of(opt.create).domain && strcmp(opt.create, "inet-packet"))
		stopped(-1, "receive", EBADMSG, "another socket came");
	through(-1, "receive", opt.create);
}

/* The maker hands its socket over, or has it taken, and lives until then. */
void try_received(void)
{
	struct kind kind = kind_of(opt.create);
	const char *how = how_of("scm");
	int pair[2], fd, pidfd, err;
	char byte = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		stopped(-1, "socketpair", errno, "");
	pid = spawn();
	if (!pid) {
		close(pair[0]);
		fd = make_kind(&kind);
		if (fd < 0)
			failed(-1, "socket", errno);
		/* Until the other end says that it is where it wants to be. */
		if (read(pair[1], &byte, 1) != 1)
			_exit(0);
		if (!strcmp(how, "pidfd") ? write(pair[1], &fd, sizeof(fd)) < 0 : (send_fd(pair[1], fd), 0))
			_exit(0);
		if (read(pair[1], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(pair[1]);
	err = opt.enter_cgroup ? enter_cgroup(opt.enter_cgroup) : 0;
	if (err)
		usage("enter-cgroup=%s: %s", opt.enter_cgroup, strerrorname_np(err));
	if (write(pair[0], "x", 1) != 1)
		adopt();
	if (strcmp(how, "pidfd")) {
		fd = receive_fd(pair[0], strcmp(how, "io-uring") ? receive_message : ring_receive_message);
		end_received(fd);
	}
	if (read(pair[0], &fd, sizeof(fd)) != sizeof(fd))
		adopt();
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		failed(-1, "pidfd_open", errno);
	fd = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (fd < 0)
		failed(-1, "receive", errno);
	end_received(fd);
}
