/** An HTTP server for an express application, without what express does to each request. */
import { createServer, IncomingMessage, ServerResponse, type Server, type ServerOptions } from "node:http";
import type { Express } from "express";

/**
 * Express gives each request and its answer other prototypes (application.js, app.handle()), which undoes what V8 knows
 * of such objects: half of a call's CPU time, and 10 KiB that only a full garbage collection frees. Here they are made
 * with those prototypes from the start, so that nothing changes.
 * @param app whose requests come from this server alone
 */
export function createAppServer(options: ServerOptions, app: Express): Server {
  class AppRequest extends IncomingMessage {}
  class AppResponse extends ServerResponse {}
  Object.setPrototypeOf(AppRequest.prototype, app.request);
  Object.setPrototypeOf(AppResponse.prototype, app.response);
  Object.assign(app, { request: AppRequest.prototype, response: AppResponse.prototype });
  return createServer({ ...options, IncomingMessage: AppRequest, ServerResponse: AppResponse }, app);
}
