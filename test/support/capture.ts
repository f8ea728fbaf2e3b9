/**
 * Two hosts joined by a veth, and what of the one's packets is seen at the other: DSCP and ECN as they are in the headers,
 * mark and priority by a program at the device's egress, which writes them over the source MAC address.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Host, sh } from "./network.js";
import { DIST } from "./process.js";
import { until } from "./wait.js";

export const MARKING = join(DIST, "test/helpers/marking");
export const HERE = { 4: "10.98.0.1", 6: "fd98::1" } as const;
export const THERE = { 4: "10.98.0.2", 6: "fd98::2" } as const;

/** As test/helpers/marking.c prints it. */
export interface Packet {
  version: 4 | 6;
  protocol: number;
  /** First byte of the transport header: the type of ICMP. */
  type: number;
  source: number;
  destination: number;
  /** Of TCP. */
  flags: number;
  dscp: number;
  ecn: number;
  mark: number;
  priority: number;
}

export class Capture {
  readonly packets: Packet[] = [];
  private readonly children: ChildProcess[] = [];

  private constructor(readonly host: Host) {}

  /**
   * Makes the other host and the path to it. The caller is in a network namespace of its own.
   * @param port that the other host serves TCP and UDP on
   */
  static async create(port: number): Promise<Capture> {
    const host = await Host.create();
    const capture = new Capture(host);
    try {
      sh("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", `${host.pid}`);
      const there = (...words: string[]) => host.run(...words);
      const here = (...words: string[]) => sh(words[0] ?? "", ...words.slice(1));
      for (const [run, device, addresses] of [
        [here, "v0", HERE],
        [there, "v1", THERE],
      ] as const) {
        run("ip", "address", "add", `${addresses[4]}/24`, "dev", device);
        run("ip", "-6", "address", "add", `${addresses[6]}/64`, "dev", device, "nodad");
        run("ip", "link", "set", device, "up");
      }
      sh("tc", "qdisc", "add", "dev", "v0", "clsact");
      const object = join(DIST, "test/helpers/tag.bpf.o");
      sh(
        ...(["tc", "filter", "add", "dev", "v0", "egress", "bpf", "da", "obj", object, "sec", "tc"] as const),
      );
      await capture.start("serve", `${port}`);
      const tap = await capture.start("capture", "v1");
      tap.on("line", (line: string) => capture.packets.push(JSON.parse(line) as Packet));
      return capture;
    } catch (error) {
      capture.close();
      throw error;
    }
  }

  private async start(...words: string[]): Promise<ReturnType<typeof createInterface>> {
    const [file, ...args] = this.host.command(MARKING, ...words);
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.children.push(child);
    const lines = createInterface({ input: child.stdout });
    await once(lines, "line");
    return lines;
  }

  /** The packets that are wanted, once there are so many of them. */
  async wait(wanted: (packet: Packet) => boolean, count = 1): Promise<Packet[]> {
    await until(() => this.packets.filter(wanted).length >= count, `${count} packets at the far end`);
    return this.packets.filter(wanted);
  }

  close(): void {
    for (const child of this.children) child.kill("SIGKILL");
    this.host.close();
  }
}
