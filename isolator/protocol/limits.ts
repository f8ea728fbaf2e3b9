/** How much one client, or all of them, may take of the daemon. */

const MIB = 1024 * 1024;

export interface ProtocolLimits {
  /** Bytes of a request's body. RECOVER of a full agent is the largest, with some KiB a container. */
  body: number;
  /** Bytes of all bodies that are being read or worked on; one of unknown length counts as the largest. */
  bodies: number;
  /** Calls under way, until their answer is read. */
  calls: number;
  /** WATCH streams: one a container. */
  watches: number;
  /** EVENTS streams. */
  eventStreams: number;
  connections: number;
  /** Bytes of a stream that wait for its client before the service is asked for no more. */
  streamBuffer: number;
  /** ms for a request's headers, from the connection's start or its first byte. */
  headers: number;
  /** ms for a whole request. */
  request: number;
  /** ms for a client to read what waits for it. */
  read: number;
  /** ms for calls under way at the end of the server. */
  close: number;
}

export const DEFAULT_LIMITS: Readonly<ProtocolLimits> = {
  body: 16 * MIB,
  bodies: 128 * MIB,
  calls: 1024,
  watches: 4096,
  eventStreams: 64,
  connections: 8192,
  streamBuffer: MIB,
  headers: 10_000,
  request: 30_000,
  read: 30_000,
  close: 5_000,
};
