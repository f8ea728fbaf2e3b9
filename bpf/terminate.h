/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ending sockets that exist (README.md, "Egress": `egress_existing`): a pass over those of a network namespace, which
 * user space starts by reading an iterator to its end. What is to be ended is written there, one struct ended_socket
 * each; where the kernel has bpf_sock_destroy() (6.5) it is ended on the spot, else user space does it by the ends
 * (isolator/kernel/terminate.ts).
 *
 * A feature says which by a function of its own beside egress_must_end(): all but end_socket() is no business of it.
 */
#pragma once

#include "egress.h"
#include "service_health.h"
#include "service_peers.h"

/* Weak: the programs that call it are not loaded where the kernel has none. */
int bpf_sock_destroy(struct sock_common *sk) __ksym __weak;

/* Ends of a socket as user space is told of them. */
static __always_inline void describe_socket(struct sock_common *sk, struct ended_socket *found)
{
	found->cookie = BPF_CORE_READ(sk, skc_cookie.counter);
	found->local_port = BPF_CORE_READ(sk, skc_num);
	found->remote_port = bpf_ntohs(BPF_CORE_READ(sk, skc_dport));
	found->device = BPF_CORE_READ(sk, skc_bound_dev_if);
	found->family = BPF_CORE_READ(sk, skc_family);
	if (found->family == AF_INET) {
		((__u32 *)found->local)[2] = ((__u32 *)found->remote)[2] = V4_MAPPED_WORD;
		((__u32 *)found->local)[3] = BPF_CORE_READ(sk, skc_rcv_saddr);
		((__u32 *)found->remote)[3] = BPF_CORE_READ(sk, skc_daddr);
	} else {
		bpf_core_read(found->local, sizeof(found->local), &sk->skc_v6_rcv_saddr);
		bpf_core_read(found->remote, sizeof(found->remote), &sk->skc_v6_daddr);
	}
}

/* Whether a socket has a peer, and somebody who may still hear of its end. */
static __always_inline bool has_peer(__u32 state)
{
	switch (state) {
	case BPF_TCP_ESTABLISHED: /* of UDP: connected */
	case BPF_TCP_SYN_SENT:
	case BPF_TCP_SYN_RECV:
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_CLOSING:
		return true;
	}
	return false;
}

/*
 * Ports that TCP listens on, as far as this pass has seen them: the iterator comes to listeners first. What comes
 * from such a port was accepted, and is no connection of the container's own making.
 */
static __always_inline __u64 *listening_word(__u32 port)
{
	__u32 zero = 0;
	struct listening_ports *all = bpf_map_lookup_elem(&listening, &zero);

	return all ? &all->ports[port >> 6 & (LISTENING_WORDS - 1)] : NULL;
}

static __always_inline void note_listener(struct sock_common *sk)
{
	__u32 port = BPF_CORE_READ(sk, skc_num);
	__u64 *word = listening_word(port);

	if (word)
		*word |= 1ULL << (port & 63);
}

static __always_inline bool is_listened_on(__u32 port)
{
	__u64 *word = listening_word(port);

	return word && *word >> (port & 63) & 1;
}

static __always_inline bool owns_at(const struct termination *level, __u64 cgroup_id, __u32 port)
{
	const struct port_owner *owner = owner_of(port);

	return owner && (owner->chain[0] == cgroup_id || owner->chain[level->level & (LEVELS - 1)] == cgroup_id);
}

static __always_inline const struct termination *termination_of(__u64 cgroup_id)
{
	return bpf_map_lookup_elem(&terminations, &cgroup_id);
}

struct termination_search {
	struct cgroup *cgroup;
	const struct termination *found;
};

static long look_at_cgroup(__u32 index, struct termination_search *search)
{
	struct cgroup *cgroup = search->cgroup;

	if (!cgroup)
		return 1;
	search->found = termination_of(BPF_CORE_READ(cgroup, kn, id));
	search->cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	return search->found != NULL;
}

/* The innermost container around a socket whose rules hold for what exists too; the others are in its chain. */
static __noinline const struct termination *termination_around(struct sock_common *sk)
{
	struct termination_search search = {.cgroup = BPF_CORE_READ((struct sock *)sk, sk_cgrp_data.cgroup)};

	bpf_loop(MAX_DEPTH, look_at_cgroup, &search, 0);
	return search.found;
}

/* Whether a container's rules deny where a socket is connected to. As judge_egress(), for what exists. */
static __noinline bool denies_existing(__u64 cgroup_id, const struct ended_socket *found, __u32 protocol,
                                       __u32 service)
{
	const struct termination *level = termination_of(cgroup_id);
	struct endpoint_key key = {.port = found->remote_port, .protocol = protocol};
	struct egress_verdict verdict = {};

	if (!level || owns_at(level, cgroup_id, found->local_port))
		return false;
	__builtin_memcpy(key.address, found->remote, sizeof(key.address));
	if (owns_at(level, cgroup_id, key.port) && is_local(key.address))
		return false;
	judge_destination(level->set, &key, level->by_class, service, &verdict);
	return (verdict.rule & EGRESS_ACTION) == EGRESS_DENY;
}

/* By which service a socket came to where it is connected to, as the container at one level was led there. */
struct service_way {
	__u32 class; /* 0: by none */
	__u32 level;
};

static __always_inline void find_service(struct sock_common *sk, const struct ended_socket *found,
                                         struct service_way *way)
{
	struct service_socket *socket;
	struct service_note *note;
	struct service_peer *peer;

	if (found->protocol == IPPROTO_TCP) {
		socket = socket_at(found->cookie);
		if (found->cookie && socket && socket->cookie == found->cookie && socket->counted) {
			way->class = socket->class;
			way->level = socket->level;
		}
		return;
	}
	note = bpf_sk_storage_get(&service_notes, sk, 0, 0);
	if (!note || !note->connected)
		return;
	peer = &note->peers[(note->connected - 1) & (SERVICE_PEERS - 1)];
	if (!peer->table || !is_same_place(peer->backend, peer->backend_port, found->remote, found->remote_port))
		return;
	way->class = peer->class;
	way->level = note->level;
}

struct rule_search {
	const struct termination *innermost;
	struct ended_socket *found;
	struct service_way way;
};

static long ask_container(__u32 index, struct rule_search *search)
{
	__u64 id = search->innermost->chain[index & (LEVELS - 1)];
	__u32 service = search->way.level == index ? search->way.class : 0;
	struct ended_socket *found = search->found;

	if (!id || !denies_existing(id, found, found->protocol, service))
		return 0;
	found->cgroup_id = id;
	return 1;
}

/* @returns whether `found` is to be ended, with the container that says so in it */
static __noinline bool egress_must_end(struct sock_common *sk, struct ended_socket *found)
{
	struct rule_search search = {.innermost = termination_around(sk), .found = found};

	if (!search.innermost)
		return false;
	describe_socket(sk, found);
	if (found->protocol == IPPROTO_TCP && is_listened_on(found->local_port))
		return false;
	find_service(sk, found, &search.way);
	/* The verifier walks through it once, not once for each level. */
	bpf_loop(LEVELS, ask_container, &search, 0);
	return found->cgroup_id;
}

/* @returns whether it is one to be ended: then `found` says which */
static __always_inline bool must_end(struct sock_common *sk, struct ended_socket *found, __u32 protocol)
{
	__u32 state = BPF_CORE_READ(sk, skc_state);

	if (protocol == IPPROTO_TCP && state == BPF_TCP_LISTEN) {
		note_listener(sk);
		return false;
	}
	found->protocol = protocol;
	return has_peer(state) && egress_must_end(sk, found);
}

/* @returns false where there is no room now: the kernel comes with the same socket again */
static __always_inline bool tell_of(struct bpf_iter_meta *meta, struct ended_socket *found)
{
	return !bpf_seq_write(meta->seq, found, sizeof(*found));
}
