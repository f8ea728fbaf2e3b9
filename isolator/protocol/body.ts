/** Bodies of requests, bounded. */
import express, { type Request, type Response } from "express";
import { IsolatorError } from "../errors.js";

/** @param limit bytes */
export function tooLarge(limit: number): IsolatorError {
  return new IsolatorError("too-large", `the request's body is larger than the ${limit} bytes allowed`);
}

/** What express.raw() throws, in words. */
function toBodyError(error: unknown, limit: number): IsolatorError {
  const type = error instanceof Error && "type" in error ? error.type : undefined;
  if (type === "entity.too.large") return tooLarge(limit);
  if (type === "encoding.unsupported") {
    return new IsolatorError(
      "wrong-content-type",
      "the request's body is compressed: send it as it is",
      error,
    );
  }
  return new IsolatorError("bad-message", "the request's body did not come whole", error);
}

/**
 * @param limit bytes
 * @returns what reads the whole body of a request @throws too-large, wrong-content-type, bad-message
 */
export function bodyReader(limit: number): (request: Request, response: Response) => Promise<Uint8Array> {
  const read: express.RequestHandler = express.raw({ type: () => true, limit, inflate: false });
  return async (request, response) => {
    await new Promise<void>((resolve, reject) => {
      // A callback, as express calls it; it returns nothing to wait for.
      void read(request, response, (error?: unknown) => {
        if (error === undefined) resolve();
        else reject(toBodyError(error, limit));
      });
    });
    const body: unknown = request.body;
    return body instanceof Uint8Array ? body : new Uint8Array();
  };
}
