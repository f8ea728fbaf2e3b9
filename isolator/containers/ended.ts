/** Connections that were ended since rules of egress have come to deny them, in words. */
import { formatAddress } from "../features/addresses.js";
import { formatPlace, PROTOCOL_NUMBERS } from "../features/endpoints.js";
import type { EndedSocket } from "../kernel/terminate.js";

/** Connections that one text names. */
const MOST_ENDED = 10;

function describeSocket({ protocol, remote, remote_port: port }: EndedSocket): string {
  const name = protocol === PROTOCOL_NUMBERS.udp ? "udp" : "tcp";
  return formatPlace({ address: formatAddress(remote), port, protocol: name });
}

/** @param sockets of one container */
export function describeEnded(sockets: readonly EndedSocket[]): string {
  const shown = sockets.slice(0, MOST_ENDED).map(describeSocket);
  const more = sockets.length > shown.length ? ` and ${sockets.length - shown.length} more` : "";
  const what =
    sockets.length === 1 ? "a connection that its rules deny now" : "connections that its rules deny now";
  return `${what}: ended ${shown.join(", ")}${more}`;
}
