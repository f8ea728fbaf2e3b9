/**
 * Ends sockets that exist, as programs say which (bpf/terminate.h): by bpf_sock_destroy() in the pass itself, where the
 * kernel has it, else by SOCK_DESTROY over netlink. TCP is reset; the process gets ECONNABORTED, of a connected UDP socket
 * too, which has no peer any more.
 */
import { IsolatorError } from "../errors.js";
import { decode, u32Key, type Struct } from "./codec.js";
import type { IteratorName } from "./contents.js";
import { layouts } from "./gen/layout.js";
import { runIterator } from "./iterator.js";
import { hasSockDestroy } from "./load.js";
import { diagRequest, NLM_F_ACK, NLM_F_REQUEST, SockDiag } from "./netlink.js";
import type { Programs } from "./programs.js";

const SOCK_DESTROY = 21;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
const ENOENT = 2;
const EOPNOTSUPP = 95;

/** How this kernel ends sockets. */
export const ENDING_WAYS = ["bpf_sock_destroy", "SOCK_DESTROY"] as const;
export type EndingWay = (typeof ENDING_WAYS)[number];

const SOCKET = layouts.structs.ended_socket;

/** One that was ended. */
export type EndedSocket = Struct<typeof SOCKET>;

/** A socket that there is not: asked to be ended, the kernel says whether it could. */
function couldDestroy(protocol: number): boolean {
  const address = new Uint8Array(16);
  address.set([255, 255, 127, 255, 255, 254], 10);
  const end = { address, port: 1 };
  let diag: SockDiag | undefined;
  try {
    diag = SockDiag.open();
    const name = { local: end, remote: end, protocol };
    return diag.ask(diagRequest(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, name)) !== EOPNOTSUPP;
  } catch (error) {
    if (error instanceof IsolatorError) return false;
    throw error;
  } finally {
    diag?.close();
  }
}

let way: EndingWay | undefined | null = null;

/** @returns undefined: it cannot (CONFIG_INET_DIAG_DESTROY, or no rights). Asked once a process. */
export function endingWay(): EndingWay | undefined {
  if (way === null)
    way = hasSockDestroy()
      ? "bpf_sock_destroy"
      : couldDestroy(IPPROTO_TCP) && couldDestroy(IPPROTO_UDP)
        ? "SOCK_DESTROY"
        : undefined;
  return way;
}

function destroy(diag: SockDiag, socket: EndedSocket): boolean {
  const result = diag.ask(
    diagRequest(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, {
      local: { address: socket.local, port: socket.local_port },
      remote: { address: socket.remote, port: socket.remote_port },
      protocol: socket.protocol,
      family: socket.family,
      device: socket.device,
      cookie: socket.cookie,
    }),
  );
  // ENOENT: it has gone meanwhile.
  return result === 0 || result === ENOENT;
}

/** @returns those that were ended @throws map-failed */
async function endFoundBy(programs: Programs, names: readonly IteratorName[]): Promise<EndedSocket[]> {
  const found: EndedSocket[] = [];
  for (const name of names) {
    await runIterator(programs.iterator(name), (bytes) => {
      for (let at = 0; at + SOCKET.size <= bytes.length; at += SOCKET.size)
        found.push(decode(SOCKET, bytes.slice(at, at + SOCKET.size)));
    });
  }
  if (found.every(({ ended }) => ended !== 0)) return found;
  const diag = SockDiag.open();
  try {
    return found.filter((socket) => socket.ended !== 0 || destroy(diag, socket));
  } finally {
    diag.close();
  }
}

/**
 * A pass over all TCP and UDP sockets of this process's network namespace. One at a time for an instance.
 * @returns those that were ended
 * @throws map-failed
 */
export function endSockets(programs: Programs): Promise<EndedSocket[]> {
  programs.map("listening").update(u32Key(0), new Uint8Array(layouts.structs.listening_ports.size));
  return endFoundBy(programs, ["end_tcp", "end_udp"]);
}

/**
 * The same for UDP sockets that are connected to backends of services which are gone: their tasks connect again.
 * @returns those that were ended
 * @throws map-failed
 */
export function endLostBackends(programs: Programs): Promise<EndedSocket[]> {
  return endFoundBy(programs, ["services_udp"]);
}
