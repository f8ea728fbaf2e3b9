/**
 * The operator's HTTP server: shows what the daemon knows, and changes nothing. README.md, "Operator's server", is the
 * user's side. A page of another feature is another entry of `pages`.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import {
  DEFAULT_OPERATOR_ADDRESS,
  parseAddress,
  type OperatorAddress,
  type OperatorConfig,
} from "../config/statistics.js";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { createAppServer } from "../protocol/app-server.js";
import { httpStatus } from "../protocol/status.js";
import { checkHost, checkToken, refusePeer } from "./admission.js";
import { PAGE_HEADERS } from "./assets.js";
import type { Page, Stream } from "./pages.js";

import express, { type NextFunction, type Request, type Response } from "express";

/** Ports that are tried after the default one. */
const OTHER_PORTS = 10;
/** Half of them may be streams of events (MAX_STREAMS); the others end soon. */
const MAX_CONNECTIONS = 512;
/** ms that a request may take to come. */
const REQUEST_TIMEOUT = 5_000;
/** Where the status page's own files are. */
const ASSETS = "/page/";
/** A browser asks its user then, and gives the token as the password. */
const TOKEN_WANTED = 'Basic realm="bpf-isolator: the token as the password", charset="UTF-8"';
/** ms until a client that is refused is cut off. */
const REFUSED = 1_000;

export interface OperatorOptions {
  /** As it is now: it may be read again at any time. */
  config: () => OperatorConfig;
  /** Mount point of cgroup2. */
  cgroup2: string;
  /** Paths of the nodes of containers that are not in the isolator's own tree. */
  agentNodes: () => readonly string[];
  /** By path, as in "/metrics" and "/container/:name". */
  pages: Readonly<Record<string, Page>>;
  /** By path. */
  streams?: Readonly<Record<string, Stream>>;
  onProblem: (problem: IsolatorError) => void;
}

export class OperatorServer {
  private readonly server: Server;
  private listening: OperatorAddress | undefined;
  private readonly refused = new WeakSet<Socket>();

  private constructor(private readonly options: OperatorOptions) {
    this.server = createAppServer(
      {
        headersTimeout: REQUEST_TIMEOUT,
        requestTimeout: REQUEST_TIMEOUT,
        connectionsCheckingInterval: 1_000,
      },
      this.createApp(),
    );
    this.server.maxConnections = MAX_CONNECTIONS;
    // Before the parser's own listener: a container's request is not read.
    this.server.prependListener("connection", (socket) => {
      this.admit(socket);
    });
  }

  /**
   * @returns undefined where there is to be none
   * @throws address-taken where no port is free; state-failed
   */
  static async listen(options: OperatorOptions): Promise<OperatorServer | undefined> {
    const { address } = options.config();
    if (address === "off") return undefined;
    const operator = new OperatorServer(options);
    const first = address ?? parseAddress(DEFAULT_OPERATOR_ADDRESS);
    if (!first) return undefined;
    const more = address ? 0 : OTHER_PORTS;
    for (let i = 0; i <= more; i++) {
      const tried = { ip: first.ip, port: first.port + i };
      if (await operator.tryListen(tried, i < more)) return operator;
    }
    return undefined;
  }

  /** Where it listens, as in "127.0.0.1:5052". */
  get address(): string {
    const { ip, port } = this.listening ?? { ip: "", port: 0 };
    return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
  }

  get ip(): string {
    return this.listening?.ip ?? "";
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async tryListen(address: OperatorAddress, more: boolean): Promise<boolean> {
    try {
      this.server.listen({ host: address.ip, port: address.port, exclusive: true });
      await once(this.server, "listening");
      this.listening = address;
      return true;
    } catch (error) {
      if (systemCode(error) === "EADDRINUSE" && more) return false;
      throw new IsolatorError(
        "address-taken",
        `the operator's server cannot listen on ${address.ip} port ${address.port} (${messageOf(error)}): ` +
          "give another address in operator.address of the configuration, or off",
        error,
      );
    }
  }

  private admit(socket: Socket): void {
    socket.on("error", () => undefined);
    let why: string | undefined;
    try {
      why = refusePeer(socket, this.options.cgroup2, this.options.agentNodes());
    } catch (error) {
      why = messageOf(error);
    }
    if (why === undefined) return;
    const body = `forbidden: ${why}\n`;
    socket.end(
      "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\n" +
        `Content-Length: ${body.length}\r\n\r\n${body}`,
    );
    setTimeout(() => socket.destroy(), REFUSED).unref();
    this.refused.add(socket);
  }

  private createApp(): express.Express {
    const app = express();
    app.disable("x-powered-by");
    app.disable("etag");
    app.set("query parser", false);
    for (const [path, page] of Object.entries(this.options.pages))
      app.get(path, (request, response) =>
        this.answer(request, response, async () => {
          const { name } = request.params;
          const { type, text, status = 200 } = await page(typeof name === "string" ? name : "");
          response.status(status).type(type).send(text);
        }),
      );
    for (const [path, stream] of Object.entries(this.options.streams ?? {}))
      app.get(path, (request, response) =>
        this.answer(request, response, () => {
          if (request.method === "GET") return stream(response);
          throw new IsolatorError("wrong-method", "a stream of events is for GET only");
        }),
      );
    app.use((request, response) =>
      this.answer(request, response, () => {
        const { pages, streams = {} } = this.options;
        const paths = [...Object.keys(pages), ...Object.keys(streams)].filter(
          (path) => !path.startsWith(ASSETS),
        );
        throw new IsolatorError("not-found", `there is nothing here: GET ${paths.join(", ")}`);
      }),
    );
    // A path that cannot be decoded.
    app.use((error: unknown, request: Request, response: Response, next: NextFunction) => {
      if (response.headersSent) {
        next(error);
        return;
      }
      void this.answer(request, response, () => {
        throw new IsolatorError("bad-argument", `the path is none: ${messageOf(error)}`);
      });
    });
    return app;
  }

  /** Never rejects. */
  private async answer(
    request: Request,
    response: Response,
    show: () => Promise<void> | void,
  ): Promise<void> {
    // Answered before it was read.
    if (this.refused.has(request.socket)) return;
    response.set({ "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", ...PAGE_HEADERS });
    try {
      checkHost(request.headers, this.listening ?? { ip: "" }, this.options.config().hosts);
      checkToken(request.headers, this.options.config());
      await show();
    } catch (error) {
      const known =
        error instanceof IsolatorError ? error : new IsolatorError("internal", messageOf(error), error);
      if (known.code === "internal") this.options.onProblem(known);
      if (response.headersSent) {
        response.destroy();
        return;
      }
      if (known.code === "no-token") response.setHeader("WWW-Authenticate", TOKEN_WANTED);
      response.status(httpStatus(known.code)).type("text/plain").send(`${known.message}\n`);
    }
  }
}
