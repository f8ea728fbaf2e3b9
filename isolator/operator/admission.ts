/**
 * Who may ask the operator's server. Loopback is every task's too, and a browser may be made to ask for a page of somebody
 * else's (DNS rebinding), so both the peer's socket and the Host of a request are looked at.
 */
import { readFileSync } from "node:fs";
import { timingSafeEqual, createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { OperatorConfig } from "../config/statistics.js";
import { IsolatorError, messageOf } from "../errors.js";
import { parseCidr } from "../features/addresses.js";
import type { SocketEnd } from "../kernel/netlink.js";
import { cgroupOfSocket, pathOfCgroup } from "../kernel/socket-owner.js";

/** Bytes of a token file. */
const MAX_TOKEN = 4096;
const MIN_TOKEN = 16;

function endOf(address: string, port: number): SocketEnd {
  return { address: parseCidr(address.replace(/%.*$/, "")).address, port };
}

function isOfThisHost(address: Uint8Array): boolean {
  const loopback = parseCidr("127.0.0.0/8");
  if (loopback.address.every((byte, i) => byte === ((address[i] ?? 0) & (loopback.mask[i] ?? 0))))
    return true;
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .some((own) => Buffer.compare(endOf(own.address, 0).address, address) === 0);
}

/**
 * Why a peer is not answered; undefined: it is.
 * @param cgroup2 mount point
 * @param agentNodes paths of nodes of containers that are not in the isolator's own tree
 */
export function refusePeer(
  socket: Socket,
  cgroup2: string,
  agentNodes: readonly string[],
): string | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || localAddress === undefined) return "it is gone";
  const peer = endOf(remoteAddress, remotePort ?? 0);
  const cgroup = cgroupOfSocket(peer, endOf(localAddress, localPort ?? 0));
  if (cgroup === undefined) return isOfThisHost(peer.address) ? "nobody has its socket any more" : undefined;
  const path = cgroup === 0n ? undefined : pathOfCgroup(cgroup2, cgroup);
  // A cgroup that is gone may have been a container's.
  if (path === undefined) return "its socket is of a cgroup that is gone";
  const isInside = (node: string): boolean => path === node || path.startsWith(`${node}/`);
  return [join(cgroup2, "bpf-isolator"), ...agentNodes].some(isInside)
    ? "its socket is a container's"
    : undefined;
}

/** @throws forbidden */
export function checkHost(
  headers: IncomingHttpHeaders,
  { ip }: { ip: string },
  hosts: readonly string[],
): void {
  const host = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(headers.host ?? "");
  const name = (host?.[1] ?? host?.[2] ?? "").toLowerCase();
  // An address can be nobody else's name: only names can be made to lead here.
  const allowed = ["localhost", ip.toLowerCase(), ...hosts.map((each) => each.toLowerCase())];
  if (name !== "" && (isIP(name) !== 0 || allowed.includes(name))) return;
  throw new IsolatorError(
    "forbidden",
    "the request's Host is none of this server: name it in operator.hosts of the configuration",
  );
}

/** A browser's page has no other way than a password, whatever the user's name. */
function givenToken(authorization: string): string | undefined {
  const [, scheme = "", value = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() !== "basic") return scheme === "" ? undefined : value;
  const [, password] = /^[^:]*:(.*)$/.exec(Buffer.from(value, "base64").toString("utf8")) ?? [];
  return password;
}

/** @throws no-token where there is a token and the request does not have it; forbidden where it cannot be read */
export function checkToken(headers: IncomingHttpHeaders, { tokenFile }: OperatorConfig): void {
  if (tokenFile === undefined) return;
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const given = givenToken(headers.authorization ?? "");
  if (given !== undefined && timingSafeEqual(digest(given), digest(readToken(tokenFile)))) return;
  throw new IsolatorError(
    "no-token",
    "this server asks for a token: Authorization: Bearer TOKEN, or in a browser the token as the password",
  );
}

/** Whether whoever can reach the address is on this machine. */
export function isLoopback(ip: string): boolean {
  return ip === "::1" || ip.startsWith("127.");
}

function readToken(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, "utf8").slice(0, MAX_TOKEN).trim();
  } catch (error) {
    throw new IsolatorError("forbidden", `the token cannot be read: ${messageOf(error)}`, error);
  }
  if (token.length >= MIN_TOKEN) return token;
  throw new IsolatorError("forbidden", `${file} has no token of at least ${MIN_TOKEN} characters`);
}
