/** What can be read of this machine without asking its kernel for anything: version, rights, settings. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";

/** Compares "6.18.44-cloud" with "6.1" by the numbers that both have. */
export function isAtLeast(kernel: string, since: string): boolean {
  const numbers = (text: string): number[] => (text.match(/\d+/g) ?? []).slice(0, 2).map(Number);
  const [major = 0, minor = 0] = numbers(kernel);
  const [sinceMajor = 0, sinceMinor = 0] = numbers(since);
  return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
}

/** Whether the running kernel is new enough by its version. Distributions add features to old ones. */
export function kernelIsAtLeast(since: string): boolean {
  return isAtLeast(release(), since);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

const CAP_SYS_ADMIN = 21;
/** Each is part of CAP_SYS_ADMIN too (capabilities(7), kernel 5.8). */
const CAPABILITIES = { CAP_BPF: 39, CAP_NET_ADMIN: 12, CAP_PERFMON: 38 } as const;

/** Names of the capabilities that loading and attaching programs needs and `status` (/proc/PID/status) lacks. */
export function missingCapabilities(status = readText("/proc/self/status") ?? ""): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (bit: number): boolean => ((effective >> BigInt(bit)) & 1n) === 1n;
  if (has(CAP_SYS_ADMIN)) return [];
  return Object.entries(CAPABILITIES)
    .filter(([, bit]) => !has(bit))
    .map(([name]) => name);
}

/** False in a user namespace, whose root has no rights over the machine's kernel. */
export function isInitialUserNamespace(map = readText("/proc/self/uid_map") ?? ""): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(map);
}

/** Security modules that are active, or undefined where securityfs is not mounted or not readable. */
export function activeSecurityModules(): string[] | undefined {
  return readText("/sys/kernel/security/lsm")?.trim().split(",");
}

/** Value of an option that the kernel was built with ("y", "m", "n"), or undefined where no config is to be found. */
export function kernelOption(name: string): string | undefined {
  let config = readText(`/boot/config-${release()}`);
  try {
    config ??= gunzipSync(readFileSync("/proc/config.gz")).toString();
  } catch {
    return undefined;
  }
  return new RegExp(`^${name}=(.*)$`, "m").exec(config)?.[1] ?? "n";
}

/** The longest list of ports, 65536 single ones, is 0.4 MB. */
const SYSCTL_SIZE = 1 << 19;

/**
 * A setting below /proc/sys, of this process's network namespace where it is one of those; undefined where this
 * kernel has no such setting. In one read: the kernel gives a list of ports only at offset 0 and cuts it to what the
 * first read has room for, which for readFileSync() is 8 KiB.
 */
export function sysctl(name: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(`/proc/sys/${name.replaceAll(".", "/")}`, "r");
  } catch {
    return undefined;
  }
  try {
    const buffer = Buffer.alloc(SYSCTL_SIZE);
    return buffer.toString("utf8", 0, readSync(fd, buffer)).trim();
  } catch {
    return undefined;
  } finally {
    closeSync(fd);
  }
}
