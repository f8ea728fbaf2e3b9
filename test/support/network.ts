/** Namespaces of a test's own, so that two runs at once never meet and nothing of the machine is touched. */
import { execFileSync, type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { libc } from "../../isolator/kernel/native.js";

const CLONE_NEWNET = 0x40000000;
const CLONE_NEWNS = 0x00020000;

/** Runs a program to its end. @returns its stdout @throws with its stderr when it fails */
export function sh(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/**
 * Moves this process's main thread into a network namespace of its own with loopback up. Children inherit it; it is
 * gone when the last of them is.
 */
export function enterOwnNetwork(): void {
  if (libc().unshare(CLONE_NEWNET) !== 0)
    throw new Error("unshare(CLONE_NEWNET) failed: the tests need root");
  sh("ip", "link", "set", "lo", "up");
}

/** A way out of this network namespace, IPv4 and IPv6: what is sent there leaves, and nothing answers. */
export function makeWayOut(): void {
  const commands = [
    "ip link add d0 type veth peer name d1",
    "ip link set d1 up",
    "ip addr add 192.0.2.1/24 dev d0",
    "ip -6 addr add fd99::1/64 dev d0 nodad",
    "ip link set d0 up",
    "ip route add default dev d0",
    "ip -6 route add default dev d0",
  ];
  sh("/bin/sh", "-ec", commands.join(" && "));
}

/**
 * Sockets in timewait last in this network namespace, whatever comes late on a machine with much to do: a packet that finds
 * only the listener left is answered by RST, which would end its timewait socket (RFC 1337).
 */
export function keepTimewait(): void {
  writeFileSync("/proc/sys/net/ipv4/tcp_rfc1337", "1");
}

/** How many sockets in timewait, FIN-WAIT-2 without a process included, the kernel has of connections to a port. */
export function kernelTimewait(port: number): number {
  return (
    sh("ss", "-tnH", "state", "time-wait", "state", "fin-wait-2", `dport = :${port}`).split("\n").length - 1
  );
}

/** The same for mounts: what is mounted from then on, the test and its children see, and nobody else. */
export function enterOwnMounts(): void {
  if (libc().unshare(CLONE_NEWNS) !== 0) throw new Error("unshare(CLONE_NEWNS) failed: the tests need root");
  sh("mount", "--make-rprivate", "/");
}

/** Another host: a network namespace that lives as long as a process in it. */
export class Host {
  private constructor(private readonly holder: ChildProcess) {}

  static async create(): Promise<Host> {
    const holder = spawn(
      "unshare",
      ["--net", "sh", "-c", "ip link set lo up; echo ready; exec sleep infinity"],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(holder.stdout, "data");
    return new Host(holder);
  }

  get pid(): number {
    return this.holder.pid ?? 0;
  }

  /** The command line that runs a command on this host. */
  command(...args: string[]): [string, ...string[]] {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, ...args];
  }

  run(...args: string[]): string {
    const [command, ...rest] = this.command(...args);
    return sh(command, ...rest);
  }

  close(): void {
    this.holder.kill("SIGKILL");
  }
}
