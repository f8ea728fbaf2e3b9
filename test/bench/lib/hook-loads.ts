/** Loads that run the programs of one hook or some, for the benchmarks that read the kernel's BPF statistics. */
import type { Hook } from "./hooks.js";
import { PEER_ADDRESS6 } from "./topology.js";
import { MAPPED_PORT, MAPPED_PORT_OF_MANY, PEER_PORT, type Variant } from "./variants.js";

export interface Load {
  name: string;
  worker: "task" | "peer";
  command: (variant: Pick<Variant, "host" | "port">) => string;
  /** Operations in a sample. */
  count: number;
  /** Hooks that this load is the measure of. */
  hooks: readonly Hook[];
  /** The hook that meets the data of a bulk load: there one run is for a GSO or GRO packet, of up to 45 segments. */
  bulk?: Hook;
  /** Of a container with port mappings, or with a marking, also by destination. */
  of?: "mapped" | "marked" | "marked-to";
  /** Compared with a container that only counts, in the place of empty programs. */
  over?: "counting";
  /** ns more than what it is compared with, where it is another target than that of the hook. */
  targets?: Partial<Record<Hook, number>>;
}

/** Bytes of a TCP segment: an MTU of 1500 less the headers with timestamps. */
export const SEGMENT = 1448;

export const LOADS: readonly Load[] = [
  {
    name: "bind(), TCP, IPv4",
    worker: "task",
    command: () => "bind 4 tcp",
    count: 20_000,
    hooks: ["sock_create", "bind4", "post_bind4", "sock_release", "setsockopt"],
  },
  {
    name: "bind(), UDP, IPv6",
    worker: "task",
    command: () => "bind 6 udp",
    count: 20_000,
    hooks: ["bind6", "post_bind6"],
  },
  {
    name: "bind() to a mapped port, TCP, IPv4",
    worker: "task",
    command: () => `bindto ${MAPPED_PORT} 4 tcp`,
    count: 20_000,
    hooks: ["bind4"],
    of: "mapped",
  },
  {
    name: "bind() to a mapped port, UDP, IPv6",
    worker: "task",
    command: () => `bindto ${MAPPED_PORT} 6 udp`,
    count: 20_000,
    hooks: ["bind6"],
    of: "mapped",
  },
  {
    name: "bind() to the last of 101 mapped ports, TCP, IPv4",
    worker: "task",
    command: () => `bindto ${MAPPED_PORT_OF_MANY} 4 tcp`,
    count: 20_000,
    hooks: ["bind4"],
    of: "mapped",
  },
  {
    name: "64-byte UDP sent",
    worker: "task",
    command: ({ host }) => `udp ${host.peerAddress} ${PEER_PORT}`,
    count: 30_000,
    hooks: ["sendmsg4", "egress"],
  },
  {
    name: "64-byte UDP sent, IPv6",
    worker: "task",
    command: () => `udp ${PEER_ADDRESS6} ${PEER_PORT}`,
    count: 30_000,
    hooks: ["sendmsg6", "egress"],
  },
  {
    name: "64-byte UDP sent, marked, over counting",
    worker: "task",
    command: ({ host }) => `udp ${host.peerAddress} ${PEER_PORT}`,
    count: 30_000,
    hooks: ["sendmsg4", "egress"],
    of: "marked",
    over: "counting",
    targets: { sendmsg4: 10, egress: 10 },
  },
  {
    name: "64-byte UDP sent, IPv6, marked, over counting",
    worker: "task",
    command: () => `udp ${PEER_ADDRESS6} ${PEER_PORT}`,
    count: 30_000,
    hooks: ["sendmsg6", "egress"],
    of: "marked",
    over: "counting",
    targets: { sendmsg6: 10, egress: 10 },
  },
  {
    name: "64-byte UDP sent, marked by destination, over counting",
    worker: "task",
    command: ({ host }) => `udp ${host.peerAddress} ${PEER_PORT}`,
    count: 30_000,
    hooks: ["sendmsg4", "egress"],
    of: "marked-to",
    over: "counting",
    targets: { egress: 10 },
  },
  {
    name: "TCP request/response, marked by destination, over counting",
    worker: "peer",
    command: ({ host, port }) => `rr ${host.address} ${port}`,
    count: 10_000,
    hooks: ["egress"],
    of: "marked-to",
    over: "counting",
    targets: { egress: 10 },
  },
  {
    name: "64-byte UDP received",
    worker: "peer",
    command: ({ host, port }) => `udp ${host.address} ${port}`,
    count: 30_000,
    hooks: ["ingress"],
  },
  {
    name: "TCP request/response",
    worker: "peer",
    command: ({ host, port }) => `rr ${host.address} ${port}`,
    count: 10_000,
    hooks: ["ingress", "egress"],
  },
  {
    name: "TCP bulk sent",
    worker: "task",
    command: ({ host }) => `bulk 1 ${host.peerAddress} ${PEER_PORT + 1}`,
    count: 512 << 20,
    hooks: ["egress", "ingress"],
    bulk: "egress",
  },
  {
    name: "TCP bulk received",
    worker: "peer",
    command: ({ host, port }) => `bulk 1 ${host.address} ${port + 1}`,
    count: 512 << 20,
    hooks: ["ingress", "egress"],
    bulk: "ingress",
  },
  {
    name: "TCP connect + close",
    worker: "task",
    command: ({ host }) => `connect ${host.peerAddress} ${PEER_PORT + 2}`,
    count: 5_000,
    hooks: ["connect4", "sock_ops", "ingress", "egress"],
  },
];
