/** Answers that are streams of records: WATCH and EVENTS. */
import type { ServerResponse } from "node:http";
import type { IsolatorError } from "../errors.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { toIsolatorError, type Records } from "./calls.js";
import { encodeResponse, errorResponse, RECORDIO, type MessageType } from "./encoding.js";
import { encodeRecord } from "../mesos/recordio.js";

/** The next value; "aborted" as soon as the signal is, whatever the iterator does. */
function next<T>(iterator: AsyncIterator<T>, signal: AbortSignal): Promise<IteratorResult<T> | "aborted"> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      resolve("aborted");
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    iterator
      .next()
      .then(resolve, reject)
      .finally(() => {
        signal.removeEventListener("abort", onAbort);
      });
  });
}

export class RecordStream {
  private readonly controller = new AbortController();
  /** Why the daemon ends it, if it does. */
  private reason: IsolatorError | undefined;

  /**
   * @param type of the records
   * @param buffer bytes that may wait for the client before the iterator is asked for no more
   * @param patience ms that the client has to read them
   */
  constructor(
    private readonly response: ServerResponse,
    private readonly type: MessageType,
    private readonly buffer: number,
    private readonly patience: number,
  ) {
    response.once("close", () => {
      this.controller.abort();
    });
  }

  /** Ends the stream with an ERROR record. */
  end(reason: IsolatorError): void {
    this.reason = reason;
    this.controller.abort();
  }

  /**
   * Sends what comes until it ends, the client goes, or end() is called.
   * @returns false when the client did not read, and was dropped
   */
  async send(records: Records): Promise<boolean> {
    this.response.writeHead(200, {
      "Content-Type": RECORDIO,
      "Message-Content-Type": this.type,
      "Cache-Control": "no-store",
    });
    // The client knows by the headers that it is heard.
    this.response.flushHeaders();
    const { signal } = this.controller;
    try {
      const iterator = records(signal)[Symbol.asyncIterator]();
      for (;;) {
        const result = await next(iterator, signal);
        if (result === "aborted") {
          // It may be waiting for something that never comes; nobody waits with it.
          iterator.return?.().catch(() => undefined);
          break;
        }
        if (result.done) break;
        this.write(result.value);
        // Without writableNeedDrain there would be no "drain" to wait for.
        const full = this.response.writableNeedDrain && this.response.writableLength > this.buffer;
        if (full && !(await this.drained())) {
          this.response.destroy();
          iterator.return?.().catch(() => undefined);
          return false;
        }
      }
    } catch (error) {
      this.reason = toIsolatorError(error);
    }
    if (this.reason) this.write(errorResponse(this.reason));
    this.response.end();
    return true;
  }

  private write(record: bpf_isolator.Response): void {
    if (!this.response.destroyed) this.response.write(encodeRecord(encodeResponse(this.type, record)));
  }

  /** @returns false when the client has not read in time; true also when it is gone */
  private drained(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (result: boolean): void => {
        clearTimeout(timer);
        this.response.off("drain", onDrain);
        this.controller.signal.removeEventListener("abort", onDrain);
        resolve(result);
      };
      const onDrain = (): void => {
        finish(true);
      };
      const timer = setTimeout(() => {
        finish(false);
      }, this.patience);
      this.response.once("drain", onDrain);
      this.controller.signal.addEventListener("abort", onDrain, { once: true });
    });
  }
}
