/**
 * The operator's HTTP server: shows what the daemon knows, and changes nothing. README.md, "Operator's server", is the
 * user's side. A page of another feature is another entry of `pages`.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import express, { type Request, type Response } from "express";
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

/** Ports that are tried after the default one. */
const OTHER_PORTS = 10;
const MAX_CONNECTIONS = 64;
/** ms that a request may take to come. */
const REQUEST_TIMEOUT = 5_000;
/** ms until a client that is refused is cut off. */
const REFUSED = 1_000;

/** What is shown at a path, made anew for each request. `status` of HTTP: 200 if not given. */
export type Page = () => Promise<{ type: string; text: string; status?: number }>;

export interface OperatorOptions {
  /** As it is now: it may be read again at any time. */
  config: () => OperatorConfig;
  /** Mount point of cgroup2. */
  cgroup2: string;
  /** Paths of the nodes of containers that are not in the isolator's own tree. */
  agentNodes: () => readonly string[];
  /** By path, as in "/metrics". */
  pages: Readonly<Record<string, Page>>;
  onProblem: (problem: IsolatorError) => void;
}

/** A page in JSON. */
export function json(make: () => Promise<unknown>): Page {
  return async () => ({ type: "application/json", text: JSON.stringify(await make()) });
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
      app.get(path, (request, response) => this.answer(request, response, page));
    app.use((request, response) => this.answer(request, response));
    return app;
  }

  /** Never rejects. @param page undefined: there is none */
  private async answer(request: Request, response: Response, page?: Page): Promise<void> {
    // Answered before it was read.
    if (this.refused.has(request.socket)) return;
    response.setHeader("X-Content-Type-Options", "nosniff");
    response.setHeader("Cache-Control", "no-store");
    try {
      checkHost(request.headers, this.listening ?? { ip: "" }, this.options.config().hosts);
      checkToken(request.headers, this.options.config());
      if (!page) {
        const paths = Object.keys(this.options.pages).join(", ");
        throw new IsolatorError("not-found", `there is nothing here: GET ${paths}`);
      }
      const { type, text, status = 200 } = await page();
      response.status(status).type(type).send(text);
    } catch (error) {
      const known =
        error instanceof IsolatorError ? error : new IsolatorError("internal", messageOf(error), error);
      if (known.code === "internal") this.options.onProblem(known);
      response.status(httpStatus(known.code)).type("text/plain").send(`${known.message}\n`);
    }
  }
}
