/** Which cgroup a TCP socket of this machine is of: by its two ends, from the kernel's socket diagnosis (sock_diag(7)). */
import { closeSync, constants, openSync, readlinkSync } from "node:fs";
import { IsolatorError, messageOf } from "../errors.js";
import { LITTLE } from "./codec.js";
import { libc } from "./native.js";
import { diagRequest, failure, HEADER, NLM_F_REQUEST, SockDiag, type SocketEnd } from "./netlink.js";

const SOCK_DIAG_BY_FAMILY = 20;
const IPPROTO_TCP = 6;
const ENOENT = 2;
/** enum INET_DIAG_CGROUP_ID of include/uapi/linux/inet_diag.h, since Linux 5.9 */
const INET_DIAG_CGROUP_ID = 21;
/** struct inet_diag_msg */
const MESSAGE = 72;
/** A file handle of kernfs (FILEID_KERNFS): its 8 bytes are the node's id. */
const FILEID_KERNFS = 0xfe;

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
  const diag = SockDiag.open();
  try {
    const name = { local, remote, protocol: IPPROTO_TCP };
    const answer = diag.ask(diagRequest(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, name));
    if (typeof answer !== "number") return cgroupIn(answer);
    if (answer === ENOENT) return undefined;
    throw failure(answer);
  } finally {
    diag.close();
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
