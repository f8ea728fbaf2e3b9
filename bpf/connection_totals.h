/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections: the counts of a container in all.
 */
#pragma once

#include "connection_counts.h"

__noinline int advance_total(__u64 cgroup_id, enum connection_total which, __u32 span)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	if (!totals)
		return 0;
	bpf_spin_lock(&totals->lock);
	advance(&totals->counts[which & (CONNECTION_TOTALS - 1)], span);
	bpf_spin_unlock(&totals->lock);
	return 0;
}

static __always_inline void advance_totals(__u64 cgroup_id, const struct connection_totals *totals, bool ports,
                                           __u32 span)
{
	if (is_behind(&totals->counts[IN_ALL], span))
		advance_total(cgroup_id, IN_ALL, span);
	if (is_behind(&totals->counts[WITHOUT_PLACE], span))
		advance_total(cgroup_id, WITHOUT_PLACE, span);
	if (ports && is_behind(&totals->counts[PORTS_HELD], span))
		advance_total(cgroup_id, PORTS_HELD, span);
}

/* @param other whether the destination found its set full; @returns 0, or why not */
__noinline int take_total(__u64 cgroup_id, const struct connection_limits *limits, bool other)
{
	struct connection_totals *totals = bpf_map_lookup_elem(&connect_totals, &cgroup_id);

	if (!totals || !limits)
		return REFUSED_BY_TOTAL;
	advance_totals(cgroup_id, totals, limits->ports, limits->span);
	if (totals->counts[IN_ALL].cgroup_id != cgroup_id || take_live(&totals->counts[IN_ALL], limits->total))
		return REFUSED_BY_TOTAL;
	if (other && take_live(&totals->counts[WITHOUT_PLACE], limits->each)) {
		give_live(&totals->counts[IN_ALL]);
		return REFUSED_BY_LIMIT;
	}
	if (limits->ports && take_live(&totals->counts[PORTS_HELD], limits->ports)) {
		give_live(&totals->counts[IN_ALL]);
		if (other)
			give_live(&totals->counts[WITHOUT_PLACE]);
		return REFUSED_BY_PORTS;
	}
	return 0;
}
