/**
 * What a probe runs as the task of a trial container: a program of its own, started by trial.ts as
 * `node probe-task.js CGROUP-NODE listen|ports`. It moves itself into the node, tries, and prints what it got.
 */
import dgram from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { systemCode } from "../errors.js";

/** Result of each attempt: "ok" or the name of an errno. */
export type TaskReport = Record<string, string>;

/** The discard service: nobody has it, and a refusal comes before the kernel looks. */
const PORT = 9;
const CONNECT_MS = 1000;

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "ok";
  } catch (error) {
    return systemCode(error) ?? "failed";
  }
}

/** listen() on a port that the kernel chooses. Any address: the loopback's needs the interface to be up. */
async function listen(): Promise<string> {
  const server = net.createServer();
  const result = await codeOf(once(server.listen(0, "0.0.0.0"), "listening"));
  server.close();
  return result;
}

async function bind(): Promise<string> {
  const socket = dgram.createSocket("udp4");
  socket.bind(PORT);
  const result = await codeOf(once(socket, "listening"));
  socket.close();
  return result;
}

/** Sends a SYN and, where nobody listens, receives a RST. */
async function connect(): Promise<string> {
  const socket = net.connect(PORT, "127.0.0.1");
  // A firewall may drop either.
  const timer = setTimeout(
    () => socket.destroy(Object.assign(new Error(), { code: "ETIMEDOUT" })),
    CONNECT_MS,
  );
  const result = await codeOf(once(socket, "connect"));
  clearTimeout(timer);
  socket.destroy();
  return result;
}

const [node = "", what] = process.argv.slice(2);
writeFileSync(join(node, "cgroup.procs"), "0");
const report: TaskReport =
  what === "listen" ? { listen: await listen() } : { bind: await bind(), connect: await connect() };
process.stdout.write(JSON.stringify(report));
