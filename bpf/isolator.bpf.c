// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Every program: one for a hook, each attached to every container's cgroup node (BPF_F_ALLOW_MULTI). A feature is a
 * header; a hook calls the features in the order in which they must act. Here and only here is that order.
 *
 * A socket is under the programs of the cgroup that created it, whoever uses it later.
 */
#include "accounting.h"
#include "bandwidth.h"
#include "bandwidth_sockets.h"
#include "connections.h"
#include "egress.h"
#include "endpoints.h"
#include "escape.h"
#include "files.h"
#include "marking.h"
#include "marking_options.h"
#include "marking_packets.h"
#include "ports.h"
#include "remap.h"
#include "services.h"
#include "sockets.h"
#include "statistics.h"
#include "terminate.h"

char LICENSE[] SEC("license") = "GPL";

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_sock_create(ctx, policy);

	if (verdict == ALLOW)
		verdict = sockets_sock_create(ctx, policy);
	if (verdict == ALLOW)
		verdict = ports_held_sock_create(ctx, policy);
	if (verdict == ALLOW)
		marking_sock_create(ctx, policy);
	return verdict;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 asked = remap_bind(ctx, policy);
	int verdict = ports_bind(ctx, policy, AF_INET, asked);

	if (verdict == ALLOW) {
		ports_held_bind(ctx, policy);
		marking_address(ctx, policy);
	}
	return verdict;
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 asked = remap_bind(ctx, policy);
	int verdict = ports_bind(ctx, policy, AF_INET6, asked);

	if (verdict == ALLOW) {
		ports_held_bind(ctx, policy);
		marking_address(ctx, policy);
	}
	return verdict;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_post_bind(ctx, policy, AF_INET);

	return verdict == ALLOW ? ports_held_post_bind(ctx, policy) : verdict;
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *ctx)
{
	const struct policy *policy = container_policy();
	int verdict = ports_post_bind(ctx, policy, AF_INET6);

	return verdict == ALLOW ? ports_held_post_bind(ctx, policy) : verdict;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 service = 0;
	bool own = false;
	int verdict;

	remap_sendmsg(ctx, policy, AF_INET);
	verdict = services_sendmsg(ctx, policy, AF_INET, &service);
	if (verdict == ALLOW)
		verdict = ports_sendmsg(ctx, policy, AF_INET, &own);
	if (verdict == ALLOW)
		verdict = egress_sendmsg(ctx, policy, AF_INET, service, own);
	if (verdict == ALLOW)
		marking_sendmsg(ctx, policy, AF_INET, service);
	return verdict;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct policy *policy = container_policy();
	__u32 service = 0;
	bool own = false;
	int verdict;

	remap_sendmsg(ctx, policy, AF_INET6);
	verdict = services_sendmsg(ctx, policy, AF_INET6, &service);
	if (verdict == ALLOW)
		verdict = ports_sendmsg(ctx, policy, AF_INET6, &own);
	if (verdict == ALLOW)
		verdict = egress_sendmsg(ctx, policy, AF_INET6, service, own);
	if (verdict == ALLOW)
		marking_sendmsg(ctx, policy, AF_INET6, service);
	return verdict;
}

/*
 * connect(), of TCP before it chooses a port. Where it goes is judged first, then counted, so that only what is
 * allowed takes a place; it is marked last.
 */
static __always_inline int connecting(struct bpf_sock_addr *ctx, __u8 family)
{
	const struct policy *policy = container_policy();
	struct destination to = {};
	__u32 service = 0;
	int verdict;

	if (!policy->enforcement)
		return DENY;
	remap_connect(ctx, policy, family);
	verdict = services_connect(ctx, policy, family, &service);
	if (verdict == ALLOW && policy->flags & DESTINATION_FLAGS && has_destination(ctx->protocol)) {
		read_destination(ctx, family, &to);
		verdict = egress_connect(policy, &to, service);
		if (verdict == ALLOW)
			verdict = connections_connect(ctx, policy, &to, service);
		else
			connections_refused(ctx);
	}
	if (verdict == ALLOW)
		marking_connect(ctx, policy, &to, service);
	return verdict;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return connecting(ctx, AF_INET);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return connecting(ctx, AF_INET6);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	services_recvmsg(ctx, AF_INET);
	remap_recvmsg(ctx, AF_INET);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	services_recvmsg(ctx, AF_INET6);
	remap_recvmsg(ctx, AF_INET6);
	return ALLOW;
}

SEC("cgroup/getsockname4")
int getsockname4(struct bpf_sock_addr *ctx)
{
	remap_getsockname(ctx);
	return ALLOW;
}

SEC("cgroup/getsockname6")
int getsockname6(struct bpf_sock_addr *ctx)
{
	remap_getsockname(ctx);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	services_getpeername(ctx, AF_INET);
	remap_getpeername(ctx);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	services_getpeername(ctx, AF_INET6);
	remap_getpeername(ctx);
	return ALLOW;
}

SEC("cgroup/setsockopt")
int setsockopt(struct bpf_sockopt *ctx)
{
	return marking_setsockopt(ctx);
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	marking_getsockopt(ctx);
	return ALLOW;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	ports_release(ctx);
	return ALLOW;
}

/* Instead of the one before, where a policy counts connections. */
SEC("cgroup/sock_release")
int release_full(struct bpf_sock *ctx)
{
	ports_release(ctx);
	connections_release(ctx);
	return ALLOW;
}

/* The other side has closed, or has seen that this one did: nothing counts that. */
static __always_inline bool changes_nothing(const struct bpf_sock_ops *ctx)
{
	return ctx->args[1] == BPF_TCP_FIN_WAIT2 || ctx->args[1] == BPF_TCP_CLOSE_WAIT;
}

/*
 * What the kernel tells of a TCP socket.
 * @param full whether the policy may ask for more of a connection than that it is counted; known to the compiler
 */
static __always_inline int tcp_told(struct bpf_sock_ops *ctx, bool full)
{
	const struct policy *policy;

	/* Most calls are for none of these: they do not pay for a look at the policy. */
	switch (ctx->op) {
	case BPF_SOCK_OPS_STATE_CB:
		if (changes_nothing(ctx))
			break;
		if (!full) {
			statistics_state(ctx);
			break;
		}
		connections_state(ctx);
		statistics_state_apart(ctx);
		services_state(ctx);
		break;
	case BPF_SOCK_OPS_RETRANS_CB:
		statistics_retransmitted(ctx);
		if (full)
			services_retransmitted(ctx);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		policy = container_policy();
		ports_listen(ctx, policy);
		if (!full)
			break;
		connections_listen(ctx, policy);
		remap_tcp(ctx, policy);
		marking_tcp(ctx, policy);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		if (!full) {
			ports_connect(ctx);
			statistics_connecting(ctx);
			break;
		}
		policy = container_policy();
		ports_connect(ctx);
		remap_tcp(ctx, policy);
		connections_connecting(ctx, policy);
		statistics_connecting(ctx);
		services_connecting(ctx, policy);
		marking_tcp(ctx, policy);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		statistics_accepted(ctx);
		if (full)
			marking_tcp(ctx, container_policy());
		break;
	}
	return ALLOW;
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	return tcp_told(ctx, false);
}

/* Instead of the one before, where a policy asks for more of a connection than that it is counted. */
SEC("sockops")
int sock_ops_full(struct bpf_sock_ops *ctx)
{
	return tcp_told(ctx, true);
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	struct counters *counters = container_counters();
	int verdict = ports_ingress(skb, counters);

	if (verdict == DENY)
		counters->rx_dropped += 1;
	else
		account_received(skb, counters);
	return verdict;
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	account_sent(skb, container_counters());
	return ALLOW;
}

/* Instead of the one before, where a policy asks for more of a packet than that it is counted. */
SEC("cgroup_skb/egress")
int egress_full(struct __sk_buff *skb)
{
	struct counters *counters = container_counters();
	const struct policy *policy;
	int verdict = ALLOW;

	if (!is_marked_right(skb, counters)) {
		policy = container_policy();
		verdict = egress_packet(skb, policy);
		if (verdict == ALLOW)
			verdict = marking_egress(skb, policy, counters);
	}
	if (verdict == DENY)
		count(&counters->tx_dropped, 1);
	else
		account_sent(skb, counters);
	return verdict;
}

/*
 * Bandwidth has programs of its own on hooks that others have one on too: only where there is a limit. They come
 * after those.
 */
SEC("sockops")
int bandwidth_tcp(struct bpf_sock_ops *ctx)
{
	bandwidth_ops(ctx);
	return ALLOW;
}

SEC("cgroup_skb/ingress")
int bandwidth_in(struct __sk_buff *skb)
{
	return bandwidth_ingress(skb);
}

SEC("cgroup_skb/egress")
int bandwidth_out(struct __sk_buff *skb)
{
	return bandwidth_egress(skb);
}

SEC("cgroup/sendmsg4")
int bandwidth_send4(struct bpf_sock_addr *ctx)
{
	return bandwidth_sendmsg(ctx);
}

SEC("cgroup/sendmsg6")
int bandwidth_send6(struct bpf_sock_addr *ctx)
{
	return bandwidth_sendmsg(ctx);
}

/* Not on a hook: user space runs it, by reading from it. */
SEC("iter/tcp")
int connections_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	if (!sk || sk->skc_state == BPF_TCP_TIME_WAIT)
		connections_pass(sk);
	statistics_pass(sk);
	return 0;
}

/* Likewise. */
SEC("iter/tcp")
int bandwidth_arms(struct bpf_iter__tcp *ctx)
{
	bandwidth_arm(ctx->sk_common);
	return 0;
}

/*
 * Likewise, to end what a policy denies that is there already. The first of each kind does it itself, and is loaded
 * where the kernel has bpf_sock_destroy(); the second leaves it to user space, and is loaded elsewhere.
 */
SEC("iter/tcp")
int end_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct ended_socket found = {};

	if (!sk || !must_end(sk, &found, IPPROTO_TCP))
		return 0;
	found.ended = 1;
	if (tell_of(ctx->meta, &found))
		bpf_sock_destroy(sk);
	return 0;
}

SEC("iter/tcp")
int list_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct ended_socket found = {};

	if (sk && must_end(sk, &found, IPPROTO_TCP))
		tell_of(ctx->meta, &found);
	return 0;
}

SEC("iter/udp")
int end_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;
	struct ended_socket found = {};

	if (!sk || !must_end(sk, &found, IPPROTO_UDP))
		return 0;
	found.ended = 1;
	if (tell_of(ctx->meta, &found))
		bpf_sock_destroy(sk);
	return 0;
}

SEC("iter/udp")
int list_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;
	struct ended_socket found = {};

	if (sk && must_end(sk, &found, IPPROTO_UDP))
		tell_of(ctx->meta, &found);
	return 0;
}

/* The same for services: UDP sockets that are connected to a backend which is gone. */
SEC("iter/udp")
int services_udp(struct bpf_iter__udp *ctx)
{
	struct ended_socket found = {.ended = 1};
	struct udp_sock *sk = ctx->udp_sk;

	if (has_lost_backend(sk, &found) && tell_of(ctx->meta, &found))
		bpf_sock_destroy((struct sock_common *)sk);
	return 0;
}

SEC("iter/udp")
int services_list(struct bpf_iter__udp *ctx)
{
	struct ended_socket found = {};

	if (has_lost_backend(ctx->udp_sk, &found))
		tell_of(ctx->meta, &found);
	return 0;
}

/* On no interface: user space runs it (BPF_PROG_TEST_RUN). */
SEC("xdp")
int endpoint_query(struct xdp_md *ctx)
{
	return endpoints_answer(ctx);
}

SEC("xdp")
int egress_query(struct xdp_md *ctx)
{
	return egress_answer(ctx);
}

/* On devices that the configuration names (isolator/containers/marking-devices.ts). */
SEC("tc")
int marking_rewrite(struct __sk_buff *skb)
{
	return marking_device(skb);
}

/*
 * Not one of the hooks' programs: attached for a moment when programs of another layout take over a container that
 * runs. It makes the kernel give the node its storage of these maps, so that the policy is written before any program
 * reads it.
 */
SEC("cgroup_skb/egress")
int primer(struct __sk_buff *skb)
{
	container_policy();
	container_counters();
	return ALLOW;
}

/*
 * From here on BPF LSM: left out where the kernel has none. ports_listen() is the fallback of the first; the others
 * have none, and are attached only where a policy asks for what they do (isolator/features/policy.ts).
 */
SEC("lsm_cgroup/socket_listen")
int BPF_PROG(socket_listen, struct socket *sock, int backlog)
{
	return ports_socket_listen(sock);
}

SEC("lsm_cgroup/socket_create")
int BPF_PROG(socket_create, int family, int type, int protocol, int kern)
{
	return sockets_socket_create(family, protocol, kern);
}

SEC("lsm_cgroup/file_receive")
int BPF_PROG(file_receive, struct file *file)
{
	return sockets_file_receive(file);
}

SEC("lsm_cgroup/file_open")
int BPF_PROG(file_open, struct file *file)
{
	const struct policy *policy = container_policy();
	int verdict = escape_file_open(policy, file);

	return verdict == ALLOW ? files_file_open(policy, file) : verdict;
}

SEC("lsm_cgroup/task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags)
{
	return escape_task_alloc(clone_flags);
}

SEC("lsm_cgroup/sb_set_mnt_opts")
int BPF_PROG(sb_set_mnt_opts, struct super_block *sb)
{
	return escape_sb_set_mnt_opts(sb);
}

SEC("lsm_cgroup/bpf_map")
int BPF_PROG(bpf_map, struct bpf_map *map, unsigned int mode)
{
	return escape_bpf_map(map);
}

SEC("lsm_cgroup/bpf_prog")
int BPF_PROG(bpf_prog, struct bpf_prog *program)
{
	return escape_bpf_prog(program);
}

/*
 * Attached to no cgroup (file_changes.h), so that they return what the system call gives: 0 or -errno. The name of
 * each is that of its hook, with "files_" for "inode_" or "file_".
 */
SEC("lsm/inode_create")
int BPF_PROG(files_create, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_CREATE, dentry);
}

SEC("lsm/inode_mkdir")
int BPF_PROG(files_mkdir, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_MKDIR, dentry);
}

SEC("lsm/inode_mknod")
int BPF_PROG(files_mknod, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_MKNOD, dentry);
}

SEC("lsm/inode_symlink")
int BPF_PROG(files_symlink, struct inode *directory, struct dentry *dentry)
{
	return files_new(FILE_SYMLINK, dentry);
}

SEC("lsm/inode_link")
int BPF_PROG(files_hard_link, struct dentry *old, struct inode *directory, struct dentry *new)
{
	return files_link(old, new);
}

SEC("lsm/inode_unlink")
int BPF_PROG(files_unlink, struct inode *directory, struct dentry *dentry)
{
	return files_gone(FILE_UNLINK, dentry);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(files_rmdir, struct inode *directory, struct dentry *dentry)
{
	return files_gone(FILE_RMDIR, dentry);
}

SEC("lsm/inode_rename")
int BPF_PROG(files_move, struct inode *old_directory, struct dentry *old, struct inode *directory, struct dentry *new)
{
	return files_rename(old, new);
}

/* Since 6.9 the mount's id mapping comes first. */
SEC("lsm/inode_setattr")
int files_setattr(__u64 *arguments)
{
	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(6, 9, 0))
		return files_attributes(FILE_ATTRIBUTES, (struct dentry *)arguments[1]);
	return files_attributes(FILE_ATTRIBUTES, (struct dentry *)arguments[0]);
}

SEC("lsm/inode_setxattr")
int BPF_PROG(files_setxattr, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/inode_removexattr")
int BPF_PROG(files_removexattr, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

/* From here on 6.2; before, ACLs are extended attributes. */
SEC("lsm/inode_set_acl")
int BPF_PROG(files_set_acl, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/inode_remove_acl")
int BPF_PROG(files_remove_acl, void *mapping, struct dentry *dentry)
{
	return files_attributes(FILE_XATTR, dentry);
}

SEC("lsm/file_ioctl")
int BPF_PROG(files_ioctl, struct file *file, unsigned int command)
{
	return files_command(file, command);
}

/* From here on 6.8, and in later versions of older kernels; before, the one above sees those of 32-bit processes too.
 */
SEC("lsm/file_ioctl_compat")
int BPF_PROG(files_ioctl_compat, struct file *file, unsigned int command)
{
	return files_command(file, command);
}

SEC("lsm/sb_umount")
int BPF_PROG(files_sb_umount, struct vfsmount *mount)
{
	return files_umount(mount);
}

/* Not on a hook: user space calls it with files that it has open. */
SEC("syscall")
int files_identify(struct file_identity *files)
{
#pragma unroll
	for (int i = 0; i < FILE_IDENTITIES; i++)
		files_identify_one(&files[i]);
	return 0;
}
