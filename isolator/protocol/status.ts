/** The HTTP status of every error. */
import type { ErrorCode } from "../errors.js";

/** What a call can do nothing about. */
const FAILED = 500;

const STATUS: Partial<Record<ErrorCode, number>> = {
  "bad-argument": 400,
  "bad-container-id": 400,
  "bad-message": 400,
  "protocol-mismatch": 400,
  "unknown-call": 400,
  "no-token": 401,
  forbidden: 403,
  "no-container": 404,
  "not-found": 404,
  "wrong-method": 405,
  "not-acceptable": 406,
  "request-timeout": 408,
  conflict: 409,
  "name-taken": 409,
  "no-process": 409,
  "port-owned": 409,
  "too-large": 413,
  "wrong-content-type": 415,
  busy: 503,
  overloaded: 503,
  "shutting-down": 503,
};

/** 4xx: the call was wrong, or cannot be in this state of things. 503: try again. 500: everything else. */
export function httpStatus(code: ErrorCode): number {
  return STATUS[code] ?? FAILED;
}
