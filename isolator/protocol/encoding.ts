/** Bodies and records as protobuf or JSON: which one a request is in, and which one its answer has to be in. */
import type { IncomingHttpHeaders } from "node:http";
import { setImmediate as breathe } from "node:timers/promises";
import type { Request } from "express";
import { IsolatorError } from "../errors.js";
import { bpf_isolator, codecs, type mesos } from "../mesos/messages.js";

/** Where calls go. */
export const API_PATH = "/api/v1";

export const PROTOBUF = "application/x-protobuf";
export const JSON_TYPE = "application/json";
export const RECORDIO = "application/recordio";

export type MessageType = typeof PROTOBUF | typeof JSON_TYPE;

const MESSAGE_TYPES: readonly MessageType[] = [PROTOBUF, JSON_TYPE];
/** Containers that are encoded or decoded before other calls have their turn: about 3 ms with code that is not compiled yet. */
const AT_ONCE = 50;
/** Bytes of a call that is not decoded in one go: those of some 50 containers. */
const LONG = 16 * 1024;
/** Of an answer to what did not say, or not clearly. */
const FALLBACK: MessageType = JSON_TYPE;

/** A content type without its parameters. */
function mediaType(header: string | string[] | undefined): string {
  return String(header ?? "")
    .split(";", 1)
    .join("")
    .trim()
    .toLowerCase();
}

function messageTypeOf(header: string | string[] | undefined): MessageType | undefined {
  const type = mediaType(header);
  return MESSAGE_TYPES.find((known) => known === type);
}

/** @throws wrong-content-type */
export function requestType(headers: IncomingHttpHeaders): MessageType {
  const type = messageTypeOf(headers["content-type"]);
  if (type) return type;
  const given = mediaType(headers["content-type"]).slice(0, 60);
  throw new IsolatorError(
    "wrong-content-type",
    `the Content-Type is ${given === "" ? "missing" : JSON.stringify(given)}: send ${PROTOBUF} or ${JSON_TYPE}`,
  );
}

/**
 * The type asked for, and without that the type sent.
 * @param streaming whether the answer is a stream, whose records have the type of Message-Accept
 * @throws not-acceptable
 */
export function answerType(request: Request, streaming: boolean): MessageType {
  const sent = messageTypeOf(request.headers["content-type"]) ?? FALLBACK;
  const preferred = [sent, ...MESSAGE_TYPES.filter((type) => type !== sent)];
  const records = streaming ? request.headers["message-accept"] : undefined;
  if (records !== undefined) {
    const type = messageTypeOf(records);
    if (type) return type;
  } else {
    // Express's own negotiation, by quality; with no Accept the first.
    const accepted = request.accepts(streaming ? [...preferred, RECORDIO] : preferred);
    if (accepted === RECORDIO) return sent;
    const type = preferred.find((known) => known === accepted);
    if (type) return type;
  }
  throw new IsolatorError(
    "not-acceptable",
    `the answer comes in ${PROTOBUF} or ${JSON_TYPE}${streaming ? `, framed as ${RECORDIO}` : ""}: ` +
      "ask for one of them with Accept",
  );
}

/** answerType() for an error, which has to be sent in some type. */
export function errorType(request: Request): MessageType {
  try {
    return answerType(request, true);
  } catch {
    return messageTypeOf(request.headers["content-type"]) ?? FALLBACK;
  }
}

/** Where a RECOVER is long other calls have their turn meanwhile. @throws bad-message */
export async function decodeCall(type: MessageType, body: Uint8Array): Promise<bpf_isolator.Call> {
  if (type === JSON_TYPE)
    return codecs.Call.parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
  if (body.length <= LONG) return codecs.Call.decode(body);
  const { values: recovers, rest } = codecs.Call.split("recover", body);
  const call = codecs.Call.decode(rest);
  if (recovers.length === 0) return call;
  // Where a field comes more than once, as protobuf has it, the whole of it is what they are in a row.
  const { values, rest: others } = codecs.Recover.split("states", Buffer.concat(recovers));
  const states: mesos.slave.ContainerState[] = [];
  for (const [index, value] of values.entries()) {
    if (index % AT_ONCE === AT_ONCE - 1) await breathe();
    states.push(codecs.ContainerState.decode(value));
  }
  return { ...call, recover: { ...codecs.Recover.decode(others), states } };
}

export function encodeResponse(type: MessageType, response: bpf_isolator.Response): Buffer {
  return Buffer.from(
    type === PROTOBUF ? codecs.Response.encode(response) : JSON.stringify(codecs.Response.toJson(response)),
  );
}

/** encodeResponse() of an answer that may be long: other calls have their turn meanwhile. */
export async function encodeAnswer(type: MessageType, response: bpf_isolator.Response): Promise<Buffer> {
  const { list, ...rest } = response;
  const containers = list?.containers ?? [];
  if (containers.length <= AT_ONCE) return encodeResponse(type, response);
  const encoded: Uint8Array[] = [];
  const texts: string[] = [];
  for (const [index, container] of containers.entries()) {
    if (index % AT_ONCE === AT_ONCE - 1) await breathe();
    if (type === PROTOBUF) encoded.push(codecs.ContainerSummary.encode(container));
    else texts.push(JSON.stringify(codecs.ContainerSummary.toJson(container)));
  }
  const head = encodeResponse(type, rest);
  if (type === PROTOBUF)
    return Buffer.concat([head, codecs.Response.wrap("list", [codecs.List.wrap("containers", encoded)])]);
  // The head is an object that has its type at least.
  return Buffer.from(`${head.toString().slice(0, -1)},"list":{"containers":[${texts.join()}]}}`);
}

export function errorResponse({ code, message }: IsolatorError): bpf_isolator.Response {
  return { type: bpf_isolator.Response.Type.ERROR, error: { code, message } };
}
