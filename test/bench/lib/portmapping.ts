/**
 * The baseline: a container as Mesos's network/port_mapping isolates it (port_mapping.cpp: isolate(), addHostIPFilters(),
 * scripts()), with its default flags: a network namespace with the host's address and MAC, a veth pair, and tc u32
 * filters on ingress that redirect packets by port.
 *
 * Differences: the ARP filter on eth0 is u32 where Mesos takes cls_basic (not in every kernel; no measured packet meets
 * it). There is one container, which is the baseline's best case: u32 tries the filters of all containers in order.
 */
import { hasCommand, run, script } from "./command.js";
import { EPHEMERAL, type Host } from "./topology.js";

/** A range that one u32 filter can match: its size is a power of two, and its begin a multiple of that. */
export interface AlignedRange {
  begin: number;
  mask: number;
}

const LINK = "mesos0";

/** Filters are tried in this order; Mesos makes a priority of a kind (ARP, ICMP, IP) and an order within it. */
const PRIORITY = { arp: 0x102, icmp: 0x202, ipHigh: 0x301, ip: 0x302, ipLow: 0x303 };

/** Splits begin..end (both included) as getPortRanges() does. */
export function alignedRanges(begin: number, end: number): AlignedRange[] {
  const ranges: AlignedRange[] = [];
  for (let lower = begin; lower <= end;) {
    let size = 32768;
    while (lower % size !== 0 || lower + size - 1 > end) size /= 2;
    ranges.push({ begin: lower, mask: 0x10000 - size });
    lower += size;
  }
  return ranges;
}

/** What the isolator does once, when the agent starts. */
export function prepareHost(host: Host): void {
  script(host.namespace, hostSettings(host));
}

/**
 * Puts the namespace `task` behind `host`, which prepareHost() has seen, and gives it the ports begin..end and the
 * ephemeral ones. All filters of the host's in one process: Mesos adds them by netlink with none.
 */
export function isolate(host: Host, task: string, begin: number, end: number): void {
  const ranges = [...alignedRanges(begin, end), ...alignedRanges(EPHEMERAL.begin, EPHEMERAL.end)];
  run(
    "ip",
    "link",
    "add",
    LINK,
    "netns",
    host.namespace,
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    task,
  );
  script(host.namespace, [
    `echo 1 > /proc/sys/net/ipv6/conf/${LINK}/disable_ipv6`,
    `ip link set ${LINK} address ${host.mac}`,
    ...batch([
      `tc qdisc add dev ${LINK} ingress`,
      ...ranges.flatMap((range) => hostFilters(host, range)),
      ...hostFiltersOnce(host),
    ]),
    `ip link set ${LINK} up`,
  ]);
  script(task, containerScript(host, ranges));
}

/** Takes the only container's link and filters away again; its namespace is the caller's. */
export function release(host: Host): void {
  const priorities = [PRIORITY.ip, PRIORITY.icmp, PRIORITY.arp];
  script(host.namespace, [
    `ip link del ${LINK}`,
    ...batch([
      ...priorities.map((priority) => `tc filter del dev eth0 parent ffff: prio ${priority}`),
      `tc filter del dev lo parent ffff: prio ${PRIORITY.ip}`,
    ]),
  ]);
}

/** Lines for one tc process instead of one for each command. */
function batch(commands: readonly string[]): string[] {
  return ["tc -batch - <<'END'", ...commands.map((command) => command.replace(/^tc /, "")), "END"];
}

function hostSettings(host: Host): string[] {
  return [
    "echo 1 > /proc/sys/net/ipv4/conf/lo/route_localnet",
    "echo 1 > /proc/sys/net/ipv4/conf/lo/accept_local",
    ...["all", "default", "eth0", "lo"].flatMap((name) => [
      `echo 0 > /proc/sys/net/ipv4/conf/${name}/rp_filter`,
      `echo 0 > /proc/sys/net/ipv4/conf/${name}/send_redirects`,
    ]),
    `ip link set lo address ${host.mac} mtu 1500`,
    "tc qdisc add dev eth0 ingress",
    "tc qdisc add dev lo ingress",
  ];
}

function filter(
  device: string,
  protocol: string,
  priority: number,
  matches: string[],
  action: string,
): string {
  return (
    `tc filter add dev ${device} parent ffff: protocol ${protocol} prio ${priority} u32 ` +
    `${matches.map((match) => `match ${match} `).join("")}flowid ffff:0 ${action}`
  );
}

function redirect(device: string): string {
  return `action mirred egress redirect dev ${device}`;
}

function mirror(device: string): string {
  return `action mirred egress mirror dev ${device}`;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

/** libnl's filters match a header of five words, and take ports to be at a fixed place after it. */
const NO_OPTIONS = "u32 0x05000000 0x0f000000 at 0";

function sourcePorts(range: AlignedRange): string {
  return `u32 ${hex(range.begin << 16)} ${hex(range.mask << 16)} at 20`;
}

function destinationPorts(range: AlignedRange): string {
  return `u32 ${hex(range.begin)} ${hex(range.mask)} at 20`;
}

/** The destination MAC as two words before the IP header. */
function destinationMac(mac: string): string[] {
  const bytes = mac.replaceAll(":", "");
  return [`u32 0x0000${bytes.slice(0, 4)} 0x0000ffff at -16`, `u32 0x${bytes.slice(4)} 0xffffffff at -12`];
}

/** addHostIPFilters(), in its order: filters of one priority are tried in the order in which they were added. */
function hostFilters(host: Host, range: AlignedRange): string[] {
  const from = sourcePorts(range);
  const to = destinationPorts(range);
  const own = `ip dst ${host.address}`;
  return [
    filter(LINK, "ip", PRIORITY.ipLow, [NO_OPTIONS, from], redirect("eth0")),
    filter(LINK, "ip", PRIORITY.ip, [NO_OPTIONS, own, from], redirect("lo")),
    filter(LINK, "ip", PRIORITY.ip, [NO_OPTIONS, "ip dst 127.0.0.1", from], redirect("lo")),
    filter("eth0", "ip", PRIORITY.ip, [NO_OPTIONS, ...destinationMac(host.mac), own, to], redirect(LINK)),
    filter("lo", "ip", PRIORITY.ip, [NO_OPTIONS, to], redirect(LINK)),
  ];
}

/** ICMP and ARP have no port: from the container they go out, from the network to every container and the host. */
function hostFiltersOnce(host: Host): string[] {
  const icmp = "ip protocol 1 0xff";
  const any = "u32 0 0";
  return [
    filter(LINK, "ip", PRIORITY.icmp, [icmp], redirect("eth0")),
    filter(LINK, "arp", PRIORITY.arp, [any], redirect("eth0")),
    filter("eth0", "ip", PRIORITY.icmp, [icmp, `ip dst ${host.address}`], mirror(LINK)),
    filter("eth0", "arp", PRIORITY.arp, [any], mirror(LINK)),
  ];
}

/** scripts(): what runs inside before the task does. */
function containerScript(host: Host, ranges: AlignedRange[]): string[] {
  const own = `ip dst ${host.address}`;
  const loopback = "ip dst 127.0.0.1";
  return [
    "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6",
    `ip link set lo address ${host.mac} mtu 1500 up`,
    // Against corrupt packets on old kernels; Mesos does it everywhere.
    ...(hasCommand("ethtool") ? ["ethtool -K eth0 rx off >/dev/null"] : []),
    `ip link set eth0 address ${host.mac} up`,
    `ip addr add ${host.address}/24 dev eth0`,
    `ip route add default via ${host.peerAddress}`,
    `echo ${EPHEMERAL.begin} ${EPHEMERAL.end} > /proc/sys/net/ipv4/ip_local_port_range`,
    "echo 1 > /proc/sys/net/ipv4/conf/eth0/accept_local",
    "echo 1 > /proc/sys/net/ipv4/conf/lo/accept_local",
    "echo 1 > /proc/sys/net/ipv4/conf/lo/route_localnet",
    "tc qdisc add dev lo ingress",
    "tc qdisc add dev eth0 ingress",
    filter("lo", "ip", PRIORITY.ip, [own], redirect("eth0")),
    filter("lo", "ip", PRIORITY.ip, [loopback], redirect("eth0")),
    ...ranges.flatMap((range) => {
      const to = `ip dport ${range.begin} ${hex(range.mask)}`;
      return [
        filter("lo", "ip", PRIORITY.ipHigh, [to], ""),
        filter("eth0", "ip", PRIORITY.ip, [loopback, to], redirect("lo")),
      ];
    }),
    filter("lo", "ip", PRIORITY.icmp, ["ip protocol 1 0xff", own], ""),
    filter("lo", "ip", PRIORITY.icmp, ["ip protocol 1 0xff", loopback], ""),
  ];
}
