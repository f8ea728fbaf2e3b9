/**
 * Addresses of services that have only a name, and the file of hosts that tells them.
 *
 * A file, and no DNS server: nothing has to listen, be reached or be up for names to resolve, every resolver reads one
 * (as /etc/hosts, or by a DNS server that is there already, as dnsmasq by --hostsdir), and it is the record by which a
 * name keeps its address when the daemon starts again. An address means something on this host alone.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { IsolatorError, messageOf } from "../errors.js";
import { formatAddress, parseAddress, parseCidr } from "../features/addresses.js";

const HEAD =
  "# Virtual addresses of services on this host, written by bpf-isolator. They mean nothing elsewhere.\n";
/** Tries for a name before all of a range is looked through. */
const TRIES = 64;
/** Addresses that are looked through at most. */
const MOST = 65_536;
const MAX_FILE = 1 << 24;

/** "/shop/cart" in domain l4lb is "cart.shop.l4lb", as Marathon and Mesos-DNS write ids of apps. */
export function hostName(name: string, domain: string): string {
  return `${name.split("/").reverse().filter(Boolean).join(".")}.${domain}`;
}

export class ServiceNames {
  /** Host name -> address, in the order of their last use. */
  private readonly addresses = new Map<string, string>();
  private readonly taken = new Set<string>();
  private changed = true;

  /**
   * @param range block of addresses
   * @param file whose names keep their addresses
   */
  constructor(
    private readonly range: string,
    private readonly domain: string,
    private readonly file: string,
  ) {
    for (const [name, address] of readHosts(file)) {
      if (!this.holds(address) || this.taken.has(address)) continue;
      this.addresses.set(name, address);
      this.taken.add(address);
    }
  }

  /**
   * The address of a name: by a hash of it, so that it is the same on most hosts, and always the same on this one.
   * @param inUse host names that keep theirs, where the range is full
   * @throws map-full where it has no room
   */
  addressOf(name: string, inUse: () => ReadonlySet<string>): string {
    const host = hostName(name, this.domain);
    const known = this.addresses.get(host);
    if (known !== undefined) return known;
    const free = this.find(host) ?? this.release(inUse());
    if (free === undefined)
      throw new IsolatorError(
        "map-full",
        `service ${name} gets no address: all of ${this.range} are in use. Give a larger services.range`,
      );
    this.addresses.set(host, free);
    this.taken.add(free);
    this.changed = true;
    return free;
  }

  hostOf(name: string): string {
    return hostName(name, this.domain);
  }

  /** Writes what has changed. @throws state-failed */
  write(): void {
    if (!this.changed) return;
    const lines = [...this.addresses].map(([host, address]) => `${address} ${host}\n`).sort();
    const text = HEAD + lines.join("");
    try {
      mkdirSync(dirname(this.file), { recursive: true, mode: 0o755 });
      const temporary = `${this.file}.new`;
      writeFileSync(temporary, text, { mode: 0o644 });
      renameSync(temporary, this.file);
      this.changed = false;
    } catch (error) {
      throw new IsolatorError("state-failed", `${this.file} cannot be written: ${messageOf(error)}`, error);
    }
  }

  private *candidates(host: string): Generator<string> {
    const { address, mask } = parseCidr(this.range);
    for (let i = 0; i < TRIES; i++) {
      const hash = createHash("sha256").update(`${host} ${i}`).digest();
      yield formatAddress(address.map((byte, at) => byte | ((hash[at] ?? 0) & ~(mask[at] ?? 0))));
    }
    const all = Buffer.from(address);
    for (let i = 0; i < MOST; i++) {
      for (let at = 15; at >= 0; at--) {
        all[at] = ((all[at] ?? 0) + 1) & 0xff;
        if (all[at] !== 0) break;
      }
      const text = formatAddress(all);
      if (!this.holds(text)) return;
      yield text;
    }
  }

  private find(host: string): string | undefined {
    for (const address of this.candidates(host))
      if (!this.taken.has(address) && this.isHost(address)) return address;
    return undefined;
  }

  /** The address of a name that is not in use, of the one that came first. */
  private release(inUse: ReadonlySet<string>): string | undefined {
    for (const [host, address] of this.addresses) {
      if (inUse.has(host)) continue;
      this.addresses.delete(host);
      this.taken.delete(address);
      return address;
    }
    return undefined;
  }

  private holds(text: string): boolean {
    const bytes = parseAddress(text);
    const { address, mask } = parseCidr(this.range);
    return bytes?.every((byte, i) => (byte & (mask[i] ?? 0)) === address[i]) ?? false;
  }

  /** Neither the first nor the last of the range: as networks have it, these are no hosts. */
  private isHost(text: string): boolean {
    const bytes = parseAddress(text);
    const { mask } = parseCidr(this.range);
    if (mask.filter((byte) => byte === 255).length === 16) return true;
    const rest = (bytes ?? new Uint8Array(16)).map((byte, i) => byte & ~(mask[i] ?? 0));
    return rest.some((byte) => byte !== 0) && rest.some((byte, i) => byte !== (~(mask[i] ?? 0) & 0xff));
  }
}

function readHosts(file: string): [name: string, address: string][] {
  let text: string;
  try {
    text = readFileSync(file, "utf8").slice(0, MAX_FILE);
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line): [string, string][] => {
    const [, address, name] = /^(\S+) ([a-z0-9.-]+)$/.exec(line) ?? [];
    return address !== undefined && name !== undefined ? [[name, address]] : [];
  });
}
