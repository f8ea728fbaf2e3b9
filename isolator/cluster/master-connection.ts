/** One subscription to a master's v1 operator API: the request, its redirections, and the records of its answer. */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { MASTER_ENCODINGS, type MasterEncoding } from "../config/endpoints.js";
import { IsolatorError, messageOf } from "../errors.js";
import { RecordDecoder } from "../mesos/recordio.js";

const TYPES: Readonly<Record<MasterEncoding, string>> = {
  protobuf: "application/x-protobuf",
  json: "application/json",
};
const API = "/api/v1";
/** Masters that one follows in a row: each that does not lead knows who does. */
const MAX_REDIRECTS = 3;
/** Bytes of a record: the first state of 100,000 tasks is about 150 MB. */
const MAX_RECORD = 512 * 1024 * 1024;
/** Characters of an answer that is no stream, for the message. */
const MAX_BODY = 200;

export interface Credential {
  principal: string;
  secret: string;
}

export interface ConnectionOptions {
  encoding: MasterEncoding;
  credential?: Credential;
  /** ms for the answer to begin. */
  timeout: number;
}

export interface ConnectionListener {
  /** Each record, in its order. */
  onRecord: (record: Buffer, encoding: MasterEncoding) => void;
  /** Something came, be it half a record. */
  onBytes: () => void;
  /** The end, once. Nothing comes after it. */
  onEnd: (why: IsolatorError) => void;
}

function failed(where: URL, why: string, cause?: unknown): IsolatorError {
  return new IsolatorError("no-daemon", `the master at ${where.host} ${why}`, cause);
}

/** A redirection of Mesos's may leave the scheme out: "//10.1.2.3:5050/master/api/v1". */
function target(location: string, from: URL): URL | undefined {
  try {
    const url = new URL(location, from);
    return url.protocol === "http:" || url.protocol === "https:" ? url : undefined;
  } catch {
    return undefined;
  }
}

export class MasterConnection {
  private request: ClientRequest | undefined;
  private ended = false;
  private where: URL;

  constructor(
    url: URL,
    private readonly options: ConnectionOptions,
    private readonly listener: ConnectionListener,
  ) {
    this.where = new URL(API, url);
    this.send(0);
  }

  /** The master that is asked, or that answers. */
  get host(): string {
    return this.where.host;
  }

  close(): void {
    this.ended = true;
    this.request?.destroy();
  }

  /** What it has sent cannot be used: its end. */
  fail(error: unknown): void {
    this.end(failed(this.where, `sends what is no event: ${messageOf(error)}`, error));
  }

  private end(error: IsolatorError): void {
    if (this.ended) return;
    this.close();
    this.listener.onEnd(error);
  }

  private send(redirects: number): void {
    const { encoding, credential, timeout } = this.options;
    const body = JSON.stringify({ type: "SUBSCRIBE" });
    const { principal, secret } = credential ?? {};
    const make = this.where.protocol === "https:" ? httpsRequest : httpRequest;
    const request = make(this.where, {
      method: "POST",
      agent: false,
      headers: {
        "Content-Type": TYPES.json,
        "Content-Length": Buffer.byteLength(body),
        Accept: TYPES[encoding],
      },
      ...(principal === undefined ? {} : { auth: `${principal}:${secret ?? ""}` }),
    });
    this.request = request;
    const timer = setTimeout(() => {
      this.end(failed(this.where, `has not answered in ${timeout / 1000} s`));
    }, timeout);
    request.once("response", (response) => {
      clearTimeout(timer);
      this.answered(response, redirects);
    });
    request.once("error", (error) => {
      clearTimeout(timer);
      this.end(failed(this.where, `cannot be reached: ${messageOf(error)}`, error));
    });
    request.once("close", () => {
      clearTimeout(timer);
    });
    request.end(body);
  }

  private answered(response: IncomingMessage, redirects: number): void {
    const { statusCode = 0, headers } = response;
    if (statusCode === 307 || statusCode === 302 || statusCode === 308) {
      response.resume();
      this.redirect(headers.location, redirects);
      return;
    }
    if (statusCode !== 200) {
      this.refused(response, statusCode);
      return;
    }
    const type = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
    const encoding = MASTER_ENCODINGS.find((name) => TYPES[name] === type);
    if (!encoding) {
      const named = JSON.stringify((type ?? "").slice(0, 60));
      this.end(failed(this.where, `answers with content type ${named}, which is none of the operator API's`));
      return;
    }
    this.read(response, encoding);
  }

  private redirect(location: string | undefined, redirects: number): void {
    const to = location === undefined ? undefined : target(location, this.where);
    if (!to || redirects === MAX_REDIRECTS) {
      const why = to ? "is one of too many redirections" : "names no leading master that can be asked";
      this.end(failed(this.where, why));
      return;
    }
    // What was asked may have been "/master/redirect"; the API is where it is on every master.
    const before = this.request;
    this.where = new URL(API, to);
    before?.removeAllListeners();
    before?.on("error", () => undefined);
    before?.destroy();
    this.send(redirects + 1);
  }

  private refused(response: IncomingMessage, status: number): void {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      text = (text + chunk).slice(0, MAX_BODY);
    });
    response.on("error", () => undefined);
    response.once("close", () => {
      const said = text.trim() === "" ? "" : `: ${JSON.stringify(text.trim())}`;
      this.end(failed(this.where, `answers ${status}${said}`));
    });
  }

  private read(response: IncomingMessage, encoding: MasterEncoding): void {
    const decoder = new RecordDecoder(MAX_RECORD);
    // Read as fast as it comes, whatever becomes of it: what a master cannot send it keeps in its memory.
    response.on("data", (chunk: Buffer) => {
      if (this.ended) return;
      this.listener.onBytes();
      try {
        for (const record of decoder.push(chunk)) this.listener.onRecord(record, encoding);
      } catch (error) {
        this.fail(error);
      }
    });
    response.on("error", (error) => {
      this.end(failed(this.where, `has broken the stream off: ${messageOf(error)}`, error));
    });
    response.once("close", () => {
      this.end(failed(this.where, "has ended the stream"));
    });
  }
}
