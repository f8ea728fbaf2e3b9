/**
 * Who pays: CPU time charged to the task's cgroup for a fixed amount of work, and the time that the same work takes
 * outside of it.
 *
 * Everything runs on one CPU and one of the ends always has work, so the CPU is busy all the time that the work takes:
 * time outside = elapsed time − time charged to the task's cgroup (cpu.stat). It holds the other end's process and what
 * the kernel does for both beyond the task's own calls, so its absolute value means little; what counts is by how much
 * it is more than on the bare host, where the other end does the same.
 *
 * The kernel charges a packet's way through the stack to the process during whose system call or interrupt it happens:
 * on veth that is the sender. So what a hook or a filter costs is charged to the task when it sends, and to nobody's
 * container when it receives.
 */
import { cpuTime, makeNode, moveInto, nodeOf } from "./cgroup.js";
import { limitText, type LoadEnd } from "./load.js";
import { type Spread, abbaRounds, pairs, spread } from "./stats.js";
import { figure, table } from "./table.js";
import { PEER_PORT, type Setting, type Variant, type VariantName } from "./variants.js";

interface Work {
  name: string;
  worker: "task" | "peer";
  command: (variant: Variant) => string;
  /** Operations in a sample: some 50 ms of work. */
  count: number;
  /** Operations that one figure stands for, so that figures are in ns for a datagram, or for a KiB. */
  per: number;
}

const WORKS: readonly Work[] = [
  {
    name: "64-byte datagram sent",
    worker: "task",
    command: ({ host }) => `udp ${host.peerAddress} ${PEER_PORT}`,
    count: 15_000,
    per: 1,
  },
  {
    name: "request answered (1 byte, TCP)",
    worker: "peer",
    command: ({ host, port }) => `rr ${host.address} ${port}`,
    count: 3_000,
    per: 1,
  },
  {
    name: "KiB sent (TCP, 4 streams)",
    worker: "task",
    command: ({ host }) => `bulk 4 ${host.peerAddress} ${PEER_PORT + 1}`,
    count: 96 << 20,
    per: 1024,
  },
  {
    name: "KiB received (TCP, 4 streams)",
    worker: "peer",
    command: ({ host, port }) => `bulk 4 ${host.address} ${port + 1}`,
    count: 96 << 20,
    per: 1024,
  },
];

export interface CpuFigure {
  work: string;
  variant: VariantName;
  /** ns charged to the task's cgroup, and outside of it. */
  inside: Spread;
  outside: Spread;
  /** The same less the bare host's, pair by pair. */
  insideMore: Spread;
  outsideMore: Spread;
}

/** Measures every piece of work in every variant, `count` times in ABBA order. */
export async function measureCpu(
  setting: Setting,
  variants: readonly Variant[],
  peer: LoadEnd,
  count: number,
): Promise<CpuFigure[]> {
  const nodes = new Map(variants.map((variant) => [variant.name, accountingNode(setting, variant)]));
  const inside = new Map<string, number[]>();
  const outside = new Map<string, number[]>();
  const push = (map: Map<string, number[]>, key: string, value: number) => {
    map.set(key, [...(map.get(key) ?? []), value]);
  };
  for (const order of abbaRounds(variants, count)) {
    for (const work of WORKS) {
      for (const variant of order) {
        const node = nodes.get(variant.name) ?? "";
        const before = cpuTime(node);
        const worker = work.worker === "task" ? variant.task : peer;
        const command = `${work.command(variant)} ${limitText({ count: work.count })}`;
        const { operations, ns } = await worker.command(command);
        const charged = cpuTime(node) - before;
        const key = `${work.name} ${variant.name}`;
        push(inside, key, (charged / operations) * work.per);
        push(outside, key, ((ns - charged) / operations) * work.per);
      }
    }
  }
  const less = (map: Map<string, number[]>, work: Work, variant: Variant): Spread =>
    spread(
      pairs(
        map.get(`${work.name} ${variant.name}`) ?? [],
        map.get(`${work.name} bare`) ?? [],
        (a, b) => a - b,
      ),
    );
  return WORKS.flatMap((work) =>
    variants.map((variant) => ({
      work: work.name,
      variant: variant.name,
      inside: spread(inside.get(`${work.name} ${variant.name}`) ?? []),
      outside: spread(outside.get(`${work.name} ${variant.name}`) ?? []),
      insideMore: less(inside, work, variant),
      outsideMore: less(outside, work, variant),
    })),
  );
}

/** The node that a variant's task is charged to. Those without one get one now, with no program on it. */
function accountingNode(setting: Setting, variant: Variant): string {
  if (["ours", "counted", "mapped", "marked", "marked-to", "vip", "empty"].includes(variant.name))
    return nodeOf(variant.task.pid);
  const node = makeNode(setting.root, variant.name);
  moveInto(node, variant.task.pid);
  return node;
}

/** Rows are pieces of work, inside and outside; cells are medians of ns, and of the difference to the bare host. */
export function cpuTable(figures: readonly CpuFigure[]): string {
  const names = [...new Set(figures.map(({ variant }) => variant))];
  const heads: Record<VariantName, string> = {
    bare: "bare host",
    null: "bare again",
    empty: "empty programs",
    ours: "**bpf-isolator**",
    counted: "bpf-isolator, connections counted",
    vip: "bpf-isolator, to a virtual address",
    proxy: "a TCP proxy",
    dnat: "iptables DNAT",
    mapped: "bpf-isolator, ports mapped",
    marked: "with a marking",
    "marked-to": "with markings by destination",
    netns: "namespace, veth, tc",
  };
  const row = (work: string, where: "inside" | "outside"): string[] => [
    `${work}: ${where === "inside" ? "in the task's cgroup" : "outside of it"}`,
    ...names.map((name) => {
      const found = figures.find((entry) => entry.work === work && entry.variant === name);
      if (!found) return "–";
      const value = figure(found[where].median);
      return name === "bare" ? value : `${value} (${signed(found[`${where}More`].median)})`;
    }),
  ];
  const works = [...new Set(figures.map(({ work }) => work))];
  return table(
    ["ns for a", ...names.map((name) => heads[name])],
    works.flatMap((work) => [row(work, "inside"), row(work, "outside")]),
  );
}

function signed(value: number): string {
  return value < 0 ? figure(value) : `+${figure(value)}`;
}
