/** Who is at the other end of a unix socket. */
import { libc } from "./native.js";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: pid, uid, gid, 32 bits each. */
const UCRED_WORDS = 3;

export interface Peer {
  /** In this process's pid namespace; 0 when it is in another. */
  pid: number;
  uid: number;
  gid: number;
}

/**
 * Credentials of the process that connected, as the kernel noted them at connect() (SO_PEERCRED, socket(7)).
 * @param fd of a connected unix socket
 * @returns undefined when it is none
 */
export function peerOf(fd: number): Peer | undefined {
  const ucred = new Uint32Array(UCRED_WORDS);
  const length = new Uint32Array([ucred.byteLength]);
  const result = libc().getsockopt(
    fd,
    SOL_SOCKET,
    SO_PEERCRED,
    new Uint8Array(ucred.buffer),
    new Uint8Array(length.buffer),
  );
  const [pid = 0, uid, gid] = ucred;
  if (result !== 0 || length[0] !== ucred.byteLength || uid === undefined || gid === undefined)
    return undefined;
  return { pid, uid, gid };
}
