/** Questions and commands about the kernel's sockets, by netlink (sock_diag), in this process's network namespace. */
import { IsolatorError } from "../errors.js";
import { LITTLE } from "./codec.js";
import { errnoName, lastErrno, libc } from "./native.js";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const NETLINK_SOCK_DIAG = 4;
const NLMSG_ERROR = 2;
export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
const MSG_DONTWAIT = 0x40;
/** struct nlmsghdr, struct inet_diag_req_v2 */
export const HEADER = 16;
const REQUEST = 56;
/** INET_DIAG_NOCOOKIE */
const NO_COOKIE = 0xffffffffffffffffn;

/** One end: 16 bytes of address, IPv4 as v4-mapped. */
export interface SocketEnd {
  address: Uint8Array;
  port: number;
}

/** A socket by its ends, and by what else is known of it. */
export interface SocketName {
  local: SocketEnd;
  remote: SocketEnd;
  /** IPPROTO_* */
  protocol: number;
  /** AF_INET or AF_INET6; by the addresses if not given. */
  family?: number;
  /** Index of the device that it is bound to; 0: none. */
  device?: number;
  /** The kernel's number of it; 0: not known. */
  cookie?: bigint;
}

function isMapped(address: Uint8Array): boolean {
  return address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 255 && address[11] === 255;
}

/** A message of struct inet_diag_req_v2. @param type SOCK_DIAG_BY_FAMILY or SOCK_DESTROY */
export function diagRequest(
  type: number,
  flags: number,
  { local, remote, protocol, device = 0, cookie = 0n, ...name }: SocketName,
): Uint8Array {
  const bytes = new Uint8Array(HEADER + REQUEST);
  const view = new DataView(bytes.buffer);
  const family = name.family ?? (isMapped(local.address) && isMapped(remote.address) ? AF_INET : AF_INET6);
  view.setUint32(0, bytes.length, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, flags, LITTLE);
  bytes[HEADER] = family;
  bytes[HEADER + 1] = protocol;
  // All states; of the ends, ports and addresses in network byte order.
  view.setUint32(HEADER + 4, 0xffffffff);
  view.setUint16(HEADER + 8, local.port);
  view.setUint16(HEADER + 10, remote.port);
  const part = (address: Uint8Array): Uint8Array => (family === AF_INET ? address.subarray(12) : address);
  bytes.set(part(local.address), HEADER + 12);
  bytes.set(part(remote.address), HEADER + 28);
  view.setUint32(HEADER + 44, device, LITTLE);
  const given = cookie === 0n ? NO_COOKIE : cookie;
  view.setUint32(HEADER + 48, Number(given & 0xffffffffn), LITTLE);
  view.setUint32(HEADER + 52, Number(given >> 32n), LITTLE);
  return bytes;
}

/** A socket to the kernel's sock_diag. */
export class SockDiag {
  private constructor(private readonly fd: number) {}

  /** @throws map-failed */
  static open(): SockDiag {
    const fd = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) throw failure(lastErrno());
    return new SockDiag(fd);
  }

  /**
   * @param request whose answer is one message
   * @returns the message, or the errno of an error message (0: done)
   * @throws map-failed
   */
  ask(request: Uint8Array): Uint8Array | number {
    if (libc().send(this.fd, request, request.length, 0) < 0) throw failure(lastErrno());
    const answer = new Uint8Array(4096);
    const size = Number(libc().recv(this.fd, answer, answer.length, MSG_DONTWAIT));
    if (size < HEADER + 4) throw failure(lastErrno());
    const view = new DataView(answer.buffer);
    return view.getUint16(4, LITTLE) === NLMSG_ERROR
      ? -view.getInt32(HEADER, LITTLE)
      : answer.subarray(0, size);
  }

  close(): void {
    libc().close(this.fd);
  }
}

export function failure(errno: number): IsolatorError {
  return new IsolatorError("map-failed", `the kernel cannot be asked of its sockets: ${errnoName(errno)}`);
}
