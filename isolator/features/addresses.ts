/** IP addresses as the 16 bytes that the programs compare: IPv4 as v4-mapped (::ffff:a.b.c.d). */
import { isIPv4, isIPv6 } from "node:net";
import { IsolatorError } from "../errors.js";

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** The 16 bytes of an address, or undefined where it is none. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from([...MAPPED, ...text.split(".").map(Number)]);
  if (!isIPv6(text) || text.includes("%")) return undefined;
  // The platform's own reading of it: hexadecimal words, with at most one "::" (RFC 5952).
  const [head = "", tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split("::");
  const words = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const [first, last] = [words(head), words(tail ?? "")];
  const gap = Array.from({ length: 8 - first.length - last.length }, () => "0");
  return Uint8Array.from(
    [...first, ...gap, ...last].flatMap((word) => [parseInt(word, 16) >> 8, parseInt(word, 16) & 0xff]),
  );
}

/**
 * "10.0.0.0/8", "fd00::/8" or one address.
 * @throws bad-argument
 */
export function parseCidr(text: string): { address: Uint8Array; mask: Uint8Array } {
  const bad = (why: string): IsolatorError =>
    new IsolatorError(
      "bad-argument",
      `${JSON.stringify(text.slice(0, 60))} ${why}: give one such as 10.0.0.0/8, fd00::/8 or 10.1.2.3`,
    );
  const [host = "", bits, ...rest] = text.split("/");
  const address = parseAddress(host);
  if (!address || rest.length > 0) throw bad("is no address and no CIDR block");
  const width = isIPv4(host) ? 32 : 128;
  if (bits !== undefined && (!/^\d{1,3}$/.test(bits) || Number(bits) > width))
    throw bad(`has no prefix length of 0 to ${width}`);
  const ones = 128 - width + (bits === undefined ? width : Number(bits));
  const mask = Uint8Array.from(
    { length: 16 },
    (_, i) => 0xff & (0xff00 >> Math.min(8, Math.max(0, ones - i * 8))),
  );
  if (address.some((byte, i) => (byte & ~(mask[i] ?? 0)) !== 0))
    throw bad("has bits set beyond its prefix length");
  return { address, mask };
}

/** "10.1.2.3" for v4-mapped bytes, else IPv6. */
export function formatAddress(bytes: Uint8Array): string {
  if (MAPPED.every((byte, i) => bytes[i] === byte)) return bytes.subarray(12).join(".");
  const words = Array.from({ length: 8 }, (_, i) =>
    ((bytes[2 * i] ?? 0) * 256 + (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  // The platform's own shortening of zeroes (RFC 5952).
  return new URL(`http://[${words.join(":")}]`).hostname.slice(1, -1);
}
