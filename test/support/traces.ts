/** The recorded calls of test/fixtures/traces/. */
import { readdirSync, readFileSync } from "node:fs";

const DIRECTORY = new URL("../../../test/fixtures/traces/", import.meta.url);

/** A message as recorded. */
export interface Recorded {
  json: object;
  base64: string;
}

export interface RecordedCall {
  seq: number;
  method: string;
  container_id?: string;
  container_id_pb?: Recorded;
  container_config?: Recorded;
  pid?: number;
  resource_requests?: Recorded[];
  resource_limits?: Record<string, number>;
  states?: Recorded[];
  orphans?: Recorded[];
}

/** Names for readTrace(): "pod", ... */
export function traceNames(): string[] {
  return readdirSync(DIRECTORY)
    .filter((file) => file.endsWith(".jsonl"))
    .map((file) => file.replace(/\.jsonl$/, ""))
    .sort();
}

/** The calls of a trace, in their order. */
export function readTrace(name: string): RecordedCall[] {
  return readFileSync(new URL(`${name}.jsonl`, DIRECTORY), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as RecordedCall);
}

export function bytesOf({ base64 }: Recorded): Uint8Array {
  return Buffer.from(base64, "base64");
}
