/** What the operator's server shows at a path: a page made anew for each request, or a stream. */
import type { Response } from "express";

/**
 * What is shown at a path, made anew for each request. `status` of HTTP: 200 if not given.
 * @param name what stands for ":name" in the path
 */
export type Page = (name: string) => Promise<{ type: string; text: string; status?: number }>;

/** Answers for as long as it wants. Rejects where it has not begun. */
export type Stream = (response: Response) => Promise<void>;

/** A page in JSON. */
export function json(make: (name: string) => Promise<unknown>): Page {
  return async (name) => ({ type: "application/json", text: JSON.stringify(await make(name)) });
}
