/** Marking in tests: tasks that send to the far end of a veth, where what their packets have is seen. */
import assert from "node:assert/strict";
import { release } from "node:os";
import { after, before } from "node:test";
import type { Instance } from "../../isolator/containers/instance.js";
import type { MarkingPolicy } from "../../isolator/features/marking.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { Capture, MARKING, THERE, type Packet } from "./capture.js";
import { policy, testInstance, type Cell } from "./instance.js";
import { enterOwnNetwork, sh } from "./network.js";
import { execute, inNode } from "./process.js";

const [major = 0, minor = 0] = release().split(".").map(Number);
const isAtLeast = (wantedMajor: number, wantedMinor: number): boolean =>
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
/** The kernel has the traffic class of a datagram from its socket before the hook of sendmsg() runs. */
export const marksLate = { 4: isAtLeast(6, 15), 6: isAtLeast(6, 11) };

export const SERVER = 32000;
export const MARKS: MarkingPolicy = {
  ...{ dscp: 18, mark: { value: 0x10, mask: 0xff }, priority: 3 },
  ...{ change: "ignore", wrongDscp: "count" },
};
export const TCP = 6;
export const UDP = 17;
export const FIN = 1;
export const SYN = 2;
export const EPERM = 1;

/** What the task did and was told: numbers by name. */
export type Told = Partial<Record<string, number>>;

/** @returns undefined where this kernel has no such socket, or no 32-bit calls */
export async function send(node: CgroupNode | undefined, words: string): Promise<Told | undefined> {
  const command = [MARKING, "send", ...words.split(" ")];
  const { status, stdout, stderr } = await execute(node ? inNode(node, command) : command);
  if (status === 77) return undefined;
  assert.equal(status, 0, `${words}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as Told;
}

export function seen({ dscp, mark, priority }: Packet): [dscp: number, mark: number, priority: number] {
  return [dscp, mark, priority];
}

export const MAPPED = `::ffff:${THERE[4]}`;
export const TARGETS = [
  { name: "IPv4", words: `family=4 to=${THERE[4]}`, mapped: false },
  { name: "IPv6", words: `family=6 to=${THERE[6]}`, mapped: false },
  { name: "IPv4 over an IPv6 socket", words: `family=6 to=${MAPPED}`, mapped: true },
];
export const PROTOCOLS = [
  { name: "TCP", words: "proto=tcp" },
  { name: "MPTCP", words: "proto=mptcp" },
  { name: "UDP, connected,", words: "proto=udp connect=1 count=2" },
  { name: "UDP, not connected,", words: "proto=udp count=2" },
  { name: "UDP-Lite", words: "proto=udplite count=2" },
];

/** A network of the test file's own, an instance in it, and what sees its packets. */
export class MarkingLab {
  far!: Capture;
  /** Below net.ipv4.ip_local_port_range: what the kernel chooses is none of these. */
  nextPort = 20000;
  readonly instance: Instance;
  readonly cell: ReturnType<typeof testInstance>["cell"];

  constructor() {
    enterOwnNetwork();
    sh("sysctl", "-qw", "net.ipv4.ping_group_range=0 65535");
    ({ instance: this.instance, cell: this.cell } = testInstance());
    before(async () => {
      this.far = await Capture.create(SERVER);
    });
    after(() => {
      this.far.close();
    });
  }

  /** Containers with MARKS: `strict` refuses and drops instead. Where no cell is, ports are free. */
  async boxes(): Promise<{ box: Cell; strict: Cell }> {
    const refusing = { ...MARKS, change: "deny", wrongDscp: "drop" } as const;
    return {
      box: await this.cell(["box"], policy("20000-20499", { marking: MARKS })),
      strict: await this.cell(["strict"], policy("20500-20699", { marking: refusing })),
    };
  }

  /** A connection or datagrams from a port of its own. @returns all packets of it, the last of them included */
  async exchange(
    node: CgroupNode | undefined,
    words: string,
  ): Promise<{ packets: Packet[]; told: Told } | undefined> {
    const port = this.nextPort++;
    const stream = /proto=(tcp|mptcp)/.test(words);
    const told = await send(node, `${words} bind=${port} port=${SERVER}`);
    if (!told) return undefined;
    const isOurs = ({ source, protocol }: Packet): boolean =>
      source === port && (protocol === TCP) === stream;
    const sent = Number(/count=(\d+)/.exec(words)?.[1] ?? 1);
    if (stream) await this.far.wait((packet) => isOurs(packet) && (packet.flags & FIN) !== 0);
    return { packets: await this.far.wait(isOurs, stream ? 3 : sent), told };
  }
}
