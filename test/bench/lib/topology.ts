/**
 * The network of the benchmarks, all of it in namespaces of its own, so that nothing of the machine is touched:
 *
 *   host  eth0 10.88.0.1 ── veth ── host0  10.88.0.2 ┐
 *                                                    peer ("the network")
 *   mesos eth0 10.89.0.1 ── veth ── mesos0 10.89.0.2 ┘
 *     └─ veth ── task eth0 10.89.0.1                       see portmapping.ts
 *
 * The namespace baseline has a host of its own: its filters on eth0 would slow the other variants' packets too.
 */
import { readdirSync } from "node:fs";
import { isAlive } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { run, script } from "./command.js";

const PREFIX = "bpfiso-bench-";

/**
 * Source ports of connections, in each host and in the baseline's container: as many as network/port_mapping gives a
 * container by default (`ephemeral_ports_per_container`), so that choosing one costs the same everywhere.
 */
export const EPHEMERAL = { begin: 32768, end: 33791 };

export interface Host {
  /** Name of the network namespace. */
  namespace: string;
  /** IPv4 address and MAC of its eth0, and the network's end of the path. */
  address: string;
  mac: string;
  peerAddress: string;
}

export interface Network {
  host: Host;
  mesos: Host;
  /** Namespace of the other end. */
  peer: string;
  /** Namespace of the baseline's container, still without links. */
  task: string;
}

export const PEER_ADDRESS6 = "fd88::2";

/** Makes the namespaces and the links between them; they are removed by `cleanup`. */
export function makeNetwork(cleanup: Cleanup): Network {
  sweep();
  const name = (end: string) => `${PREFIX}${process.pid}-${end}`;
  const network: Network = {
    host: {
      namespace: name("host"),
      address: "10.88.0.1",
      mac: "02:00:00:88:00:01",
      peerAddress: "10.88.0.2",
    },
    mesos: {
      namespace: name("mesos"),
      address: "10.89.0.1",
      mac: "02:00:00:89:00:01",
      peerAddress: "10.89.0.2",
    },
    peer: name("peer"),
    task: name("task"),
  };
  for (const namespace of [network.host.namespace, network.mesos.namespace, network.peer, network.task]) {
    run("ip", "netns", "add", namespace);
    cleanup.add(`removing ${namespace}`, () => {
      run("ip", "netns", "delete", namespace);
    });
    script(namespace, ["ip link set lo up"]);
  }
  connect(network.host, network.peer, "host0");
  connect(network.mesos, network.peer, "mesos0");
  script(network.host.namespace, ["ip addr add fd88::1/64 dev eth0 nodad"]);
  script(network.peer, [`ip addr add ${PEER_ADDRESS6}/64 dev host0 nodad`]);
  return network;
}

function connect(host: Host, peer: string, device: string): void {
  run(
    "ip",
    "link",
    "add",
    "eth0",
    "netns",
    host.namespace,
    "type",
    "veth",
    "peer",
    "name",
    device,
    "netns",
    peer,
  );
  script(host.namespace, [
    `ip link set eth0 address ${host.mac} up`,
    `ip addr add ${host.address}/24 dev eth0`,
    `ip route add default via ${host.peerAddress}`,
    `echo ${EPHEMERAL.begin} ${EPHEMERAL.end} > /proc/sys/net/ipv4/ip_local_port_range`,
  ]);
  script(peer, [`ip link set ${device} up`, `ip addr add ${host.peerAddress}/24 dev ${device}`]);
}

/** Removes the namespaces of benchmarks that were killed before they could. */
function sweep(): void {
  let names: string[];
  try {
    names = readdirSync("/run/netns");
  } catch {
    return; // No named namespace was ever made here.
  }
  for (const name of names) {
    if (name.startsWith(PREFIX) && !isAlive(parseInt(name.slice(PREFIX.length), 10))) {
      run("ip", "netns", "delete", name);
    }
  }
}
