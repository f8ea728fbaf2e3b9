/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Endpoints: which classes a destination is in (README.md, "Endpoints"). A port of this host is its owner's, by
 * whatever local address it is reached; all else is what the cluster's sources say of it. What nobody names is in no
 * class.
 */
#pragma once

#include "port_owners.h"

static __always_inline const struct endpoint_state *endpoint_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&endpoint_states, &zero);
}

static __always_inline bool is_v4(const __u8 *address)
{
	const __u32 *word = (const void *)address;

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8, ::1, and 0.0.0.0 and ::, which connect() takes for loopback. */
static __always_inline bool is_loopback(const __u8 *address)
{
	const __u32 *word = (const void *)address;

	if (is_v4(address))
		return !word[3] || address[12] == 127;
	return !word[0] && !word[1] && !word[2] && (!word[3] || word[3] == bpf_htonl(1));
}

static __noinline bool is_host_address(const struct address_block *block)
{
	return block && bpf_map_lookup_elem(&host_addresses, block);
}

static __always_inline bool is_local(const __u8 *address)
{
	struct address_block block = {.prefix = 128};

	if (is_loopback(address))
		return true;
	__builtin_memcpy(block.address, address, sizeof(block.address));
	return is_host_address(&block);
}

static __noinline bool found(const struct class_set *classes, enum endpoint_origin origin,
                             struct endpoint_found *answer)
{
	if (!classes || !answer || !classes->ids[0])
		return false;
	__builtin_memcpy(answer->ids, classes->ids, sizeof(answer->ids));
	answer->origin = origin;
	return true;
}

/* In the set that is in use. Kinds of entries that it has none of cost no look-up. */
static __always_inline bool find_in_cluster(const struct endpoint_key *to, __u8 current,
                                            struct endpoint_found *answer)
{
	__u32 slot = current & ENDPOINTS_SLOT;
	struct endpoint_key key = *to;
	struct address_block block = {.prefix = 128};
	void *set, *blocks;

	if (!(current & (ENDPOINTS_EXACT | ENDPOINTS_PORT | ENDPOINTS_ADDRESS | ENDPOINTS_BLOCKS)))
		return false;
	set = bpf_map_lookup_elem(&endpoint_sets, &slot);
	if (!set)
		return false;
	if (current & ENDPOINTS_EXACT && found(bpf_map_lookup_elem(set, &key), ORIGIN_PORT, answer))
		return true;
	key.protocol = 0;
	if (current & ENDPOINTS_PORT && key.port && found(bpf_map_lookup_elem(set, &key), ORIGIN_PORT, answer))
		return true;
	key.port = 0;
	if (current & ENDPOINTS_ADDRESS && found(bpf_map_lookup_elem(set, &key), ORIGIN_ADDRESS, answer))
		return true;
	if (!(current & ENDPOINTS_BLOCKS))
		return false;
	blocks = bpf_map_lookup_elem(&endpoint_blocks, &slot);
	if (!blocks)
		return false;
	__builtin_memcpy(block.address, to->address, sizeof(block.address));
	return found(bpf_map_lookup_elem(blocks, &block), ORIGIN_BLOCK, answer);
}

/* The innermost of the port's owners that is in a class. */
static __always_inline bool find_owner(const struct port_owner *owner, struct endpoint_found *answer)
{
	for (int i = LEVELS - 1; i >= 0; i--) {
		__u64 id = owner->chain[i];

		if (!id)
			continue;
		if (!answer->owner)
			answer->owner = id;
		if (found(bpf_map_lookup_elem(&owner_classes, &id), ORIGIN_OWNER, answer))
			return true;
	}
	return false;
}

/* All that is known of a destination. `answer` is zeroes before. */
__noinline int find_endpoint(const struct endpoint_key *to, struct endpoint_found *answer)
{
	const struct endpoint_state *state = endpoint_state();
	const struct port_owner *owner;
	struct endpoint_key known;

	if (!to || !answer || !state)
		return 0;
	if (!is_local(to->address))
		return find_in_cluster(to, state->current, answer);
	answer->current = state->current;
	answer->local = 1;
	if (to->port) {
		owner = owner_of(to->port);
		if (owner && owner->chain[0] && find_owner(owner, answer))
			return 1;
	}
	/* The cluster may know more of it than this host: tasks of a pod have labels that only the master sees. */
	if (state->current & ENDPOINTS_HOST) {
		known = *to;
		__builtin_memcpy(known.address, state->host, sizeof(known.address));
		if (find_in_cluster(&known, state->current, answer))
			return 1;
	}
	return find_in_cluster(to, state->current, answer);
}

/* A frame of user space's: a struct endpoint_key that becomes a struct endpoint_found. */
#define ENDPOINT_FRAME 64

/* What user space asks, of the same tables and in the same way as programs on hooks do. */
static __always_inline int endpoints_answer(struct xdp_md *ctx)
{
	void *frame = (void *)(long)ctx->data;
	struct endpoint_found answer = {};
	struct endpoint_key key;

	if (frame + ENDPOINT_FRAME > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memcpy(&key, frame, sizeof(key));
	find_endpoint(&key, &answer);
	__builtin_memcpy(frame, &answer, sizeof(answer));
	return XDP_PASS;
}
