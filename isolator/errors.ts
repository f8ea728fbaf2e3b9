/**
 * Every error that a person may see: what happened, to what, why, and what to do. Library code throws these and never
 * logs; the command that was called prints them once.
 */

/** Stable names of the errors, for scripts and tests; those of the protocol's answers are in isolator/protocol/status.ts. */
export type ErrorCode =
  | "bad-argument"
  | "bad-container-id"
  | "bad-message"
  | "bad-config"
  | "not-root"
  | "no-cgroup2"
  | "cgroup2-read-only"
  | "no-bpffs"
  | "no-libbpf"
  | "not-built"
  | "kernel-lacks"
  | "load-failed"
  | "layout-mismatch"
  | "other-build"
  | "attach-failed"
  | "map-full"
  | "map-failed"
  | "port-owned"
  | "name-taken"
  | "busy"
  | "state-failed"
  | "cgroup-failed"
  | "command-not-found"
  | "command-not-executable"
  | "launch-failed"
  | "no-process"
  | "no-container"
  | "conflict"
  | "already-serving"
  | "address-taken"
  | "agent-failed"
  // Of the protocol.
  | "no-daemon"
  | "no-token"
  | "forbidden"
  | "internal"
  | "not-acceptable"
  | "not-found"
  | "overloaded"
  | "protocol-mismatch"
  | "request-timeout"
  | "shutting-down"
  | "too-large"
  | "unknown-call"
  | "wrong-content-type"
  | "wrong-method";

export class IsolatorError extends Error {
  override readonly name = "IsolatorError";

  /**
   * @param code stable name
   * @param message one or two sentences: what happened to what and why, then what to do about it
   * @param cause what was caught, if anything
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The code ("ENOENT") of an error of Node's own system calls, or undefined. */
export function systemCode(thrown: unknown): string | undefined {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return undefined;
}
