/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the attempt program share; see ../attempt.c. */
#ifndef ATTEMPT_H
#define ATTEMPT_H

#include <stdbool.h>
#include <stdnoreturn.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Exit codes. */
#define THROUGH 0
#define STOPPED 1
#define USAGE   2
#define CANNOT  77

#define REACH_MS      1500
#define PROTO_SCTP    132
#define PROTO_DCCP    33
#define TYPE_DCCP     6
#define PROTO_MPTCP   262
#define PROTO_UDPLITE 136

enum family { FAMILY_4 = 4, FAMILY_6 = 6, FAMILY_MAPPED = 46 };

/* The command line; numbers are -1 where not given. */
struct options {
	const char *name;
	int family, reach, proto;
	int port, real_port, allowed_port, listen_port, dest_port, local_port;
	int n, delay_ms, v6only, reuseport, async, sqpoll;
	const char *addr, *dest, *how, *create, *peer_cgroup, *maker_cgroup, *enter_cgroup, *to, *type;
};

extern struct options opt;
extern int opt_argc;
extern char **opt_argv;

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* report.c: the one line of output. In a child, the line is handed to the parent (see adopt). */
void report_init(unsigned seconds);
void report_line(int code, const char *step, int err, int port, const char *detail);
noreturn void usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
noreturn void through(int fd, const char *step, const char *detail);
noreturn void stopped(int fd, const char *step, int err, const char *detail);
noreturn void cannot(const char *step, int err, const char *detail);
noreturn void failed(int fd, const char *step, int err); /* stopped or cannot, by errno */
noreturn void adopt(void);                               /* print the line that a child left */
pid_t spawn(void);                                       /* fork; the child dies with its parent */
bool outcome_is_set(void);
void cleanup_cgroup(const char *dir, pid_t child); /* what must go if time runs out; NULL: nothing */

/* net.c */
bool is_datagram(void);
int socket_domain(void);
int socket_type(void);
int socket_proto(void);
int need_port(void);
const char *how_of(const char *fallback);
void address_of(struct address *a, int family, const char *host, int port);
void local_address(struct address *a, int port);
void dest_address(struct address *a, int port);
int make_socket(void);
void prepare_socket(int fd);
void set_option(int fd, int level, int name, const char *what, int value);
void do_bind(int fd, int port);
void do_connect(int fd, int port);
void do_sendto(int fd, int port);
int timed_connect(int fd, const struct address *a, int ms);
int disconnect(int fd);
int held_port(int fd);
int enter_cgroup(const char *dir);
int dest_port(bool port_is_dest, int *helper);
long now_ms(void);
void reset_on_close(int fd);
void name_service(int fd); /* of DCCP; for others nothing */

/* reach.c */
noreturn void serve(int fd);   /* listen() where there is one, then reach */
noreturn void reached(int fd); /* reach it; the socket listens or receives already */

/* many.c */
noreturn void make_many(int (*make)(int argc, char **argv));

/* places.c */
void send_fd(int channel, int fd);
int receive_fd(int channel, int (*receive)(int channel, struct msghdr *msg));
int receive_message(int channel, struct msghdr *msg);
bool own_cgroup(char *dir, size_t size); /* of our cgroup2 node; false where no mount shows it */

/* uring.c: one call each; -1 with errno */
int ring_make_socket(int domain, int type, int proto);
int ring_open_file(const char *path, int flags);
int ring_receive_message(int channel, struct msghdr *msg);

/* The attempts. */
void try_bind(void);
void try_bind_zero(void);
void try_listen_unbound(void);
void try_udp_send_unbound(void);
void try_udp_connect_disconnect(void);
void try_udp_failed_call(void);
void try_tcp_disconnect_listen(void);
void try_bind_no_port(void);
void try_local_port_range(void);
void try_reuseport(void);
void try_reuseport_group(void);
void try_freebind(void);
void try_transparent(void);
void try_tcp_repair(void);
void try_fastopen_listen(void);
void try_fork_bind(void);
void try_thread_bind(void);
void try_daemon_bind(void);
void try_exec_bind(void);
void try_passed_fd(void);
void try_netns(void);
void try_userns_netns(void);
void try_child_cgroup(void);
void try_io_uring_bind(void);
void try_io_uring_listen_unbound(void);
void try_io_uring_sendmsg(void);
void try_io_uring_connect(void);
void try_compat32_bind(void);
void try_race_bind(void);
void try_flood_bind(void);
void try_accepted_listen(void);
void try_socket(void);
void try_received(void);
void try_leave(void);
void try_clone_into(void);
void try_mount_fs(void);
void try_bpf_get(void);
void try_bpf_detach(void);
void try_bpf_undo(void);
void try_bpf_own(void);
void try_connect(void);
void try_udp_connected_send(void);
void try_hold(void);

#endif
