/**
 * Server-sent events (HTML standard, 9.2) to many clients at once. What all are sent is one buffer; a client that does not
 * read is cut off once it is far behind, and begins anew with a snapshot when it is back.
 */
import type { Response } from "express";
import { IsolatorError } from "../errors.js";

/** Clients at once; the server has room for as many other connections. */
export const MAX_STREAMS = 256;
/** ms that a client's browser waits before it connects again. */
const RETRY = 2_000;
/** Bytes that may wait for a client: several snapshots of a thousand containers. */
const BACKLOG = 4 * 1024 * 1024;
/** ms that a client may have something to read and not read it. */
const PATIENCE = 30_000;

/** A message, in the bytes of it. */
export function message(event: string, data: unknown): Buffer {
  return messageOfText(event, JSON.stringify(data));
}

/** The same of data that is JSON already. */
export function messageOfText(event: string, json: string): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${json}\n\n`);
}

export class EventStreams {
  private readonly clients = new Map<Response, { fullSince: number | undefined }>();
  /** Clients cut off since they did not read. */
  dropped = 0;

  get count(): number {
    return this.clients.size;
  }

  /**
   * Begins to answer. @param first messages that this client alone gets, before all that is sent from now on
   * @throws overloaded
   */
  open(response: Response, first: readonly Buffer[]): void {
    if (this.clients.size >= MAX_STREAMS) {
      throw new IsolatorError(
        "overloaded",
        `${MAX_STREAMS} pages are open already: close some, or try again later`,
      );
    }
    response.status(200).type("text/event-stream").setHeader("X-Accel-Buffering", "no");
    response.once("close", () => this.clients.delete(response));
    this.clients.set(response, { fullSince: undefined });
    response.write(`retry: ${RETRY}\n\n`);
    for (const each of first) this.write(response, each, true);
  }

  /** To all. */
  send(bytes: Buffer): void {
    for (const response of this.clients.keys()) this.write(response, bytes);
  }

  close(): void {
    for (const response of this.clients.keys()) response.destroy();
  }

  private write(response: Response, bytes: Buffer, isFirst = false): void {
    const client = this.clients.get(response);
    if (!client || response.destroyed) return;
    const now = performance.now();
    client.fullSince = response.writableNeedDrain ? (client.fullSince ?? now) : undefined;
    const late = client.fullSince !== undefined && now - client.fullSince > PATIENCE;
    if (!isFirst && (late || response.writableLength > BACKLOG)) {
      this.dropped++;
      this.clients.delete(response);
      response.destroy();
      return;
    }
    response.write(bytes);
  }
}
