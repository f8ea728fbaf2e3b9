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

/** Takes a stream apart, in whatever pieces it comes; a record of many pieces is put together once. */
export class RecordDecoder {
  private pieces: Buffer[] = [];
  /** Bytes of the pieces. */
  private size = 0;
  /** Bytes that there have to be before anything can be read. */
  private needed = 1;

  /** @param limit bytes of one record */
  constructor(private readonly limit: number) {}

  /** @returns the records that `chunk` completes @throws bad-message */
  push(chunk: Uint8Array): Buffer[] {
    this.pieces.push(Buffer.from(chunk));
    this.size += chunk.length;
    if (this.size < this.needed) return [];
    const records: Buffer[] = [];
    let rest = this.pieces.length === 1 ? (this.pieces[0] ?? Buffer.alloc(0)) : Buffer.concat(this.pieces);
    for (;;) {
      const end = this.endOf(rest);
      if (end === undefined) break;
      records.push(rest.subarray(end.begin, end.end));
      rest = rest.subarray(end.end);
    }
    this.pieces = rest.length > 0 ? [rest] : [];
    this.size = rest.length;
    return records;
  }

  /** Where the first record is; undefined: it is not all there, and `needed` says how much has to be. */
  private endOf(bytes: Buffer): { begin: number; end: number } | undefined {
    const newline = bytes.subarray(0, MAX_DIGITS + 1).indexOf(NEWLINE);
    if (newline < 0) {
      if (bytes.length > MAX_DIGITS) throw badRecord("there is no length where a record has to begin");
      this.needed = bytes.length + 1;
      return undefined;
    }
    const digits = bytes.toString("latin1", 0, newline);
    if (!/^\d+$/.test(digits)) throw badRecord(`${JSON.stringify(digits)} is no length`);
    const length = Number(digits);
    if (length > this.limit) throw badRecord(`a record of ${length} bytes is over the ${this.limit} allowed`);
    const begin = newline + 1;
    const end = begin + length;
    this.needed = end;
    return bytes.length < end ? undefined : { begin, end };
  }

  /** To be called at the stream's end. @throws bad-message when it is within a record */
  end(): void {
    if (this.size > 0) throw badRecord("it ends within a record");
  }
}
