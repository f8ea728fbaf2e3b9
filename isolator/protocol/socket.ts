/** The daemon's unix socket: only root's, and never taken from a daemon that lives. */
import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { once } from "node:events";
import { IsolatorError, messageOf, systemCode } from "../errors.js";

/** sun_path of struct sockaddr_un, less its final NUL. */
const MAX_PATH = 107;
/** What the mode of a new socket (0777) loses: 0600 is left. */
const UMASK = 0o177;

/** Whether somebody listens there. */
async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch (error) {
    const code = systemCode(error);
    // EAGAIN: more are waiting to be accepted than may.
    if (code === "EAGAIN") return true;
    if (code === "ECONNREFUSED" || code === "ENOENT") return false;
    throw error;
  } finally {
    socket.destroy();
  }
}

/** Removes the socket that a killed daemon has left. @throws already-serving, state-failed */
async function removeStale(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return;
  if (!stats.isSocket()) {
    throw new IsolatorError(
      "state-failed",
      `${path} is in the way of the daemon's socket, and is no socket: remove it`,
    );
  }
  if (await answers(path)) {
    throw new IsolatorError("already-serving", `another bpf-isolator daemon is listening on ${path}`);
  }
  rmSync(path, { force: true });
}

/**
 * Binds and listens, with mode 0600 from the first moment. Two daemons that start at once have to be kept apart by
 * the caller (the instance's lock).
 * @throws already-serving, bad-argument, state-failed
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH) {
    throw new IsolatorError(
      "bad-argument",
      `${path} is too long for a socket: at most ${MAX_PATH} bytes; choose a shorter instance name`,
    );
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStale(path);
    // A unix socket is bound within listen() itself, so nobody else's file is made under this mask.
    const mask = process.umask(UMASK);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
    await once(server, "listening");
  } catch (error) {
    if (error instanceof IsolatorError) throw error;
    throw new IsolatorError("state-failed", `${path} cannot be listened on: ${messageOf(error)}`, error);
  }
}
