/**
 * RecordIO, as Mesos's v1 APIs stream it (3rdparty/stout/include/stout/recordio.hpp): each record is its length in
 * decimal, a newline, and that many bytes.
 */
import { IsolatorError } from "../errors.js";

/** No number of a record is longer. */
const MAX_DIGITS = 10;
const NEWLINE = 0x0a;

export function encodeRecord(record: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${record.length}\n`), record]);
}

function badRecord(why: string): IsolatorError {
  return new IsolatorError("bad-message", `the stream is not RecordIO: ${why}`);
}

/** Takes a stream apart, in whatever pieces it comes. */
export class RecordDecoder {
  private rest: Buffer = Buffer.alloc(0);

  /** @param limit bytes of one record */
  constructor(private readonly limit: number) {}

  /** @returns the records that `chunk` completes @throws bad-message */
  push(chunk: Uint8Array): Buffer[] {
    this.rest = this.rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.rest, chunk]);
    const records: Buffer[] = [];
    for (;;) {
      const newline = this.rest.subarray(0, MAX_DIGITS + 1).indexOf(NEWLINE);
      if (newline < 0) {
        if (this.rest.length > MAX_DIGITS) throw badRecord("there is no length where a record has to begin");
        return records;
      }
      const digits = this.rest.toString("latin1", 0, newline);
      if (!/^\d+$/.test(digits)) throw badRecord(`${JSON.stringify(digits)} is no length`);
      const length = Number(digits);
      if (length > this.limit)
        throw badRecord(`a record of ${length} bytes is over the ${this.limit} allowed`);
      const end = newline + 1 + length;
      if (this.rest.length < end) return records;
      records.push(this.rest.subarray(newline + 1, end));
      this.rest = this.rest.subarray(end);
    }
  }

  /** To be called at the stream's end. @throws bad-message when it is within a record */
  end(): void {
    if (this.rest.length > 0) throw badRecord("it ends within a record");
  }
}
