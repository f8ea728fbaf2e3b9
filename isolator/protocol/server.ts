/** The daemon's side of the protocol: HTTP on a unix socket. README.md of this directory describes it. */
import { STATUS_CODES, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import express, { type Request, type Response } from "express";
import { IsolatorError, systemCode } from "../errors.js";
import { peerOf } from "../kernel/peer.js";
import type { bpf_isolator } from "../mesos/messages.js";
import { Admission } from "./admission.js";
import { createAppServer } from "./app-server.js";
import { bodyReader, tooLarge } from "./body.js";
import { answer, callName, streamOf, toIsolatorError, type CallContext, type Records } from "./calls.js";
import {
  answerType,
  API_PATH,
  decodeCall,
  encodeAnswer,
  encodeResponse,
  errorResponse,
  errorType,
  JSON_TYPE,
  requestType,
  type MessageType,
} from "./encoding.js";
import { DEFAULT_LIMITS, type ProtocolLimits } from "./limits.js";
import type { DaemonIdentity, IsolatorService } from "./service.js";
import { listenPrivately } from "./socket.js";
import { httpStatus } from "./status.js";
import { RecordStream } from "./streams.js";

const ROOT = 0;
/** How often Node looks for requests that take too long, ms. */
const CHECK_INTERVAL = 5_000;

export interface ServerOptions {
  /** Of the socket. Its directory is made (mode 0700) if need be. */
  path: string;
  service: IsolatorService;
  identity: DaemonIdentity;
  limits?: Partial<ProtocolLimits>;
  /** Told of mistakes of this program and of what is left out of a call. Called often; must not throw. */
  onProblem?: (problem: IsolatorError) => void;
}

/** The file descriptor of a socket; Node has it, and does not say so. */
function fdOf(socket: Socket): number {
  const handle = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle;
  return typeof handle?.fd === "number" ? handle.fd : -1;
}

function shuttingDown(): IsolatorError {
  return new IsolatorError(
    "shutting-down",
    "bpf-isolator is ending; its containers stay enforced: try again when it is back",
  );
}

export class ProtocolServer {
  private readonly limits: Readonly<ProtocolLimits>;
  private readonly admission: Admission;
  private readonly server: Server;
  private readonly context: CallContext;
  private readonly readBody: ReturnType<typeof bodyReader>;
  private readonly streams = new Set<RecordStream>();
  /** Open connections. */
  private readonly sockets = new Set<Socket>();
  /** Connections of root. */
  private readonly trusted = new WeakSet<Socket>();
  /** The answer that is under way on a connection, which nothing else may be written to. */
  private readonly answers = new WeakMap<Duplex, Response>();
  private streamsDropped = 0n;
  private closing: Promise<void> | undefined;

  private constructor({ service, identity, limits, onProblem }: ServerOptions) {
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.admission = new Admission(this.limits);
    this.readBody = bodyReader(this.limits.body);
    this.context = {
      service,
      identity,
      serverFacts: () => ({
        calls: this.admission.calls.used,
        streams: this.admission.streams,
        streams_dropped: this.streamsDropped,
      }),
      onProblem: onProblem ?? (() => undefined),
    };
    this.server = this.createServer();
  }

  /** @throws already-serving, bad-argument, state-failed */
  static async listen(options: ServerOptions): Promise<ProtocolServer> {
    const server = new ProtocolServer(options);
    await listenPrivately(server.server, options.path);
    return server;
  }

  /** Whether calls are taken. */
  get listening(): boolean {
    return this.server.listening;
  }

  /**
   * Removes the socket, ends the streams with an ERROR record, and gives calls under way some time (limits.close).
   * Safe to repeat.
   */
  close(): Promise<void> {
    return (this.closing ??= new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.server.closeAllConnections();
      }, this.limits.close);
      this.server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      for (const stream of this.streams) stream.end(shuttingDown());
      for (const socket of this.sockets) if (!this.answers.has(socket)) socket.destroy();
    }));
  }

  private createServer(): Server {
    const { headers, request, connections } = this.limits;
    const server = createAppServer(
      {
        headersTimeout: headers,
        requestTimeout: request,
        // An idle connection costs little, and over a unix socket one whose client died is closed by the kernel.
        keepAliveTimeout: 0,
        connectionsCheckingInterval: Math.min(CHECK_INTERVAL, headers, request),
        requireHostHeader: false,
      },
      this.createApp(),
    );
    server.maxConnections = connections;
    server.on("connection", (socket) => {
      // A client that goes while it is written to is no error of anybody's.
      socket.on("error", () => undefined);
      this.sockets.add(socket);
      socket.once("close", () => this.sockets.delete(socket));
      if (peerOf(fdOf(socket))?.uid === ROOT) this.trusted.add(socket);
    });
    server.on("clientError", (error, socket) => {
      this.refuseGarbage(error, socket);
    });
    return server;
  }

  private createApp(): express.Express {
    const app = express();
    app.disable("x-powered-by");
    app.disable("etag");
    app.set("query parser", false);
    app.enable("case sensitive routing");
    app.enable("strict routing");
    app.use((request, response, next) => {
      this.answers.set(request.socket, response);
      response.once("close", () => {
        this.answers.delete(request.socket);
        if (this.closing) request.socket.destroy();
      });
      if (this.trusted.has(request.socket)) {
        next();
        return;
      }
      response.setHeader("Connection", "close");
      const error = new IsolatorError("forbidden", "only root may talk to bpf-isolator: run this with sudo");
      this.sendError(request, response, error);
    });
    app.post(API_PATH, (request, response) => this.handle(request, response));
    app.all(API_PATH, (request, response) => {
      response.setHeader("Allow", "POST");
      const error = new IsolatorError(
        "wrong-method",
        `${request.method.slice(0, 20)} is not known: use POST`,
      );
      this.sendError(request, response, error);
    });
    app.use((request, response) => {
      const error = new IsolatorError("not-found", `there is nothing here: calls go to ${API_PATH}`);
      this.sendError(request, response, error);
    });
    return app;
  }

  /** A call, from its headers to its answer. Never rejects. */
  private async handle(request: Request, response: Response): Promise<void> {
    let call: bpf_isolator.Call | undefined;
    try {
      if (this.closing) throw shuttingDown();
      const done = this.admit(request);
      response.once("close", done);
      const type = requestType(request.headers);
      call = await decodeCall(type, await this.readBody(request, response));
      const records = streamOf(call, this.context.service);
      const wanted = answerType(request, records !== undefined);
      if (records) {
        done();
        await this.stream(call, records, wanted, response);
      } else {
        this.send(response, 200, wanted, await encodeAnswer(wanted, await answer(call, this.context)));
      }
    } catch (error) {
      const known = toIsolatorError(error, call);
      if (known.code === "internal") this.context.onProblem(known);
      this.sendError(request, response, known);
    }
  }

  /** Takes the call's place among those under way. @throws overloaded, too-large */
  private admit(request: Request): () => void {
    const { body } = this.limits;
    const length = Number(request.headers["content-length"] ?? body);
    if (length > body) throw tooLarge(body);
    const call = this.admission.calls.take();
    try {
      const bytes = this.admission.bodies.take(length);
      return () => {
        call();
        bytes();
      };
    } catch (error) {
      call();
      throw error;
    }
  }

  private async stream(
    call: bpf_isolator.Call,
    records: Records,
    type: MessageType,
    response: Response,
  ): Promise<void> {
    const kind = callName(call) === "WATCH" ? this.admission.watches : this.admission.eventStreams;
    const release = kind.take();
    const stream = new RecordStream(response, type, this.limits.streamBuffer, this.limits.read);
    this.streams.add(stream);
    try {
      // close() may have come while the body was read.
      if (this.closing) stream.end(shuttingDown());
      if (!(await stream.send(records))) this.streamsDropped++;
      else this.giveUpUnread(response);
    } finally {
      this.streams.delete(stream);
      release();
    }
  }

  private send(response: Response, status: number, type: MessageType, body: Buffer): void {
    // A client that has gone has no use for an answer.
    if (response.destroyed || response.headersSent) return;
    if (this.closing) response.setHeader("Connection", "close");
    response.writeHead(status, { "Content-Type": type, "Content-Length": body.length });
    response.end(body);
    this.giveUpUnread(response);
  }

  private sendError(request: Request, response: Response, error: IsolatorError): void {
    const type = errorType(request);
    this.send(response, httpStatus(error.code), type, encodeResponse(type, errorResponse(error)));
  }

  /** Ends the connection of a client that does not read its answer. */
  private giveUpUnread(response: Response): void {
    if (response.destroyed) return;
    const timer = setTimeout(() => response.socket?.destroy(), this.limits.read);
    response.once("close", () => {
      clearTimeout(timer);
    });
  }

  /** Answers what Node's parser could not make sense of, or what did not come in time, and closes. */
  private refuseGarbage(error: Error, socket: Duplex): void {
    const response = this.answers.get(socket);
    const late = systemCode(error) === "ERR_HTTP_REQUEST_TIMEOUT";
    const known = late
      ? new IsolatorError("request-timeout", "the request did not come whole in time")
      : new IsolatorError("bad-message", `this is not HTTP/1.1 as bpf-isolator reads it: ${error.message}`);
    const status = httpStatus(known.code);
    if (response && late && !response.headersSent) {
      response.setHeader("Connection", "close");
      this.send(response, status, JSON_TYPE, encodeResponse(JSON_TYPE, errorResponse(known)));
    } else if (response || !socket.writable || systemCode(error) === "ECONNRESET") {
      socket.destroy();
    } else {
      const body = encodeResponse(JSON_TYPE, errorResponse(known));
      socket.end(
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}\r\nConnection: close\r\n` +
          `Content-Type: ${JSON_TYPE}\r\nContent-Length: ${body.length}\r\n\r\n${body.toString()}`,
      );
      // It may never read that; the connection does not wait for it.
      const timer = setTimeout(() => socket.destroy(), this.limits.read);
      socket.once("close", () => {
        clearTimeout(timer);
      });
    }
  }
}
