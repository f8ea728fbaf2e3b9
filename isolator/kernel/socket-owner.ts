/** Which cgroup a TCP socket of this machine is of: by its two ends, from the kernel's socket diagnosis (sock_diag(7)). */
import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { IsolatorError, messageOf } from "../errors.js";
import { LITTLE } from "./codec.js";
import { errnoName, lastErrno, libc } from "./native.js";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const IPPROTO_TCP = 6;
const MSG_DONTWAIT = 0x40;
const ENOENT = 2;
/** enum INET_DIAG_CGROUP_ID of include/uapi/linux/inet_diag.h, since Linux 5.9 */
const INET_DIAG_CGROUP_ID = 21;
/** struct nlmsghdr, struct inet_diag_req_v2, struct inet_diag_msg */
const HEADER = 16;
const REQUEST = 56;
const MESSAGE = 72;
/** A file handle of kernfs (FILEID_KERNFS): its 8 bytes are the node's id. */
const FILEID_KERNFS = 0xfe;

/** One end: 16 bytes of address, IPv4 as v4-mapped. */
export interface SocketEnd {
  address: Uint8Array;
  port: number;
}

function isMapped(address: Uint8Array): boolean {
  return address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 255 && address[11] === 255;
}

function requestFor(local: SocketEnd, remote: SocketEnd): Uint8Array {
  const bytes = new Uint8Array(HEADER + REQUEST);
  const view = new DataView(bytes.buffer);
  const v4 = isMapped(local.address) && isMapped(remote.address);
  view.setUint32(0, bytes.length, LITTLE);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, LITTLE);
  view.setUint16(6, NLM_F_REQUEST, LITTLE);
  bytes[HEADER] = v4 ? AF_INET : AF_INET6;
  bytes[HEADER + 1] = IPPROTO_TCP;
  // All states; of the ends, ports and addresses in network byte order, any interface, no cookie.
  view.setUint32(HEADER + 4, 0xffffffff);
  view.setUint16(HEADER + 8, local.port);
  view.setUint16(HEADER + 10, remote.port);
  bytes.set(v4 ? local.address.subarray(12) : local.address, HEADER + 12);
  bytes.set(v4 ? remote.address.subarray(12) : remote.address, HEADER + 28);
  bytes.fill(255, HEADER + 48);
  return bytes;
}

/** @returns 0n: it is there, and has no cgroup any more (timewait) */
function cgroupIn(answer: Uint8Array): bigint {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
  const end = Math.min(answer.length, view.getUint32(0, LITTLE));
  for (let at = HEADER + MESSAGE; at + 4 <= end;) {
    const length = view.getUint16(at, LITTLE);
    if (length < 4) break;
    if (view.getUint16(at + 2, LITTLE) === INET_DIAG_CGROUP_ID && length >= 12 && at + 12 <= end)
      return view.getBigUint64(at + 4, LITTLE);
    at += Math.ceil(length / 4) * 4;
  }
  return 0n;
}

/**
 * cgroup id of a socket of this process's network namespace.
 * @returns undefined: there is no such socket; 0n: it has no cgroup any more
 * @throws map-failed
 */
export function cgroupOfSocket(local: SocketEnd, remote: SocketEnd): bigint | undefined {
  const fail = (errno: number): IsolatorError =>
    new IsolatorError("map-failed", `the kernel does not say whose a socket is: ${errnoName(errno)}`);
  const socket = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (socket < 0) throw fail(lastErrno());
  try {
    const request = requestFor(local, remote);
    if (libc().send(socket, request, request.length, 0) < 0) throw fail(lastErrno());
    const answer = new Uint8Array(4096);
    const size = Number(libc().recv(socket, answer, answer.length, MSG_DONTWAIT));
    if (size < HEADER + 4) throw fail(lastErrno());
    const view = new DataView(answer.buffer);
    if (view.getUint16(4, LITTLE) === NLMSG_ERROR) {
      const errno = -view.getInt32(HEADER, LITTLE);
      if (errno === ENOENT) return undefined;
      throw fail(errno);
    }
    return cgroupIn(answer.subarray(0, size));
  } finally {
    libc().close(socket);
  }
}

/**
 * Path of a cgroup by its id.
 * @param cgroup2 mount point
 * @returns undefined where it is gone, also where only sockets are left of it
 * @throws cgroup-failed
 */
export function pathOfCgroup(cgroup2: string, id: bigint): string | undefined {
  const handle = new Uint8Array(16);
  const view = new DataView(handle.buffer);
  view.setUint32(0, 8, LITTLE);
  view.setInt32(4, FILEID_KERNFS, LITTLE);
  view.setBigUint64(8, id, LITTLE);
  const mount = openSync(cgroup2, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const fd = libc().openByHandle(mount, handle, constants.O_RDONLY | constants.O_DIRECTORY);
    if (fd < 0) return undefined;
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).replace(/ \(deleted\)$/, "");
    } finally {
      libc().close(fd);
    }
  } catch (error) {
    throw new IsolatorError("cgroup-failed", `the path of cgroup ${id} cannot be read: ${messageOf(error)}`);
  } finally {
    closeSync(mount);
  }
}
