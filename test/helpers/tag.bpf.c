// SPDX-License-Identifier: Apache-2.0
/*
 * At tc egress of a test's device: writes the mark and the lower half of the priority of each packet over its source
 * MAC address, so that who captures it at the far end can read what never leaves a host otherwise.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SOURCE_MAC 6

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int tag(struct __sk_buff *skb)
{
	struct {
		__u32 mark;
		__u16 priority;
	} __attribute__((packed)) tag = {skb->mark, skb->priority};

	bpf_skb_store_bytes(skb, SOURCE_MAC, &tag, sizeof(tag), 0);
	return 0;
}
