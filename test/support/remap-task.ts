/**
 * A task that looks at its own ports: serves where it is told to, talks to an address, and tells the names that its
 * sockets give themselves and each other. A program of its own: each line of stdin is an Asked, answered by a line, a
 * Told. With a number as argument it becomes that user first.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";

export interface Asked {
  /** What it serves on. TCP answers "mine". */
  listen?: { port: number; host: string; udp?: boolean };
  /** Where it goes then; udp as `listen` has it. */
  to?: { port: number; host: string; udp?: boolean; connected?: boolean };
  /** Goes on to serve until the next that is asked. */
  hold?: boolean;
}

export interface Told {
  /** The code of what failed first; no more is told then. */
  error?: string;
  /** The server's own port, and that of the socket that it accepted. */
  server?: number | undefined;
  accepted?: number | undefined;
  /** The port of the client's peer, and what that said. */
  peer?: number | undefined;
  answer?: string;
}

async function listen({ port, host }: { port: number; host: string }, told: Told): Promise<Server> {
  const server = createServer((socket) => {
    told.accepted = socket.localPort;
    // What is not read keeps it open.
    socket
      .on("error", () => undefined)
      .resume()
      .end("mine");
  });
  server.listen(port, host);
  await once(server, "listening");
  told.server = (server.address() as AddressInfo).port;
  return server;
}

async function connect({ port, host }: { port: number; host: string }, told: Told): Promise<Socket> {
  const socket = createConnection(port, host);
  await once(socket, "connect");
  told.peer = socket.remotePort;
  socket.write("ping");
  const [data] = (await Promise.race([once(socket, "data"), once(socket, "close")])) as unknown[];
  told.answer = String(data);
  return socket;
}

const typeOf = (host: string): "udp4" | "udp6" => (host.includes(":") ? "udp6" : "udp4");

async function serveUdp({ port, host }: { port: number; host: string }, told: Told): Promise<UdpSocket> {
  const socket = createSocket(typeOf(host));
  socket.on("message", (_, { port, address }) => {
    socket.send("mine", port, address);
  });
  socket.bind(port, host);
  await once(socket, "listening");
  told.server = socket.address().port;
  return socket;
}

async function sendUdp({ port, host, connected }: NonNullable<Asked["to"]>, told: Told): Promise<UdpSocket> {
  const socket = createSocket(typeOf(host));
  if (connected) {
    socket.connect(port, host);
    await once(socket, "connect");
    told.peer = socket.remoteAddress().port;
    socket.send("ping");
  } else {
    socket.send("ping", port, host);
  }
  const [data, from] = (await Promise.race([once(socket, "message"), once(socket, "error")])) as [
    Buffer,
    AddressInfo,
  ];
  told.answer = data.toString();
  told.peer ??= from.port;
  // What a datagram says of its sender and what the socket says of its peer are one.
  if (told.peer !== from.port) throw new Error(`from port ${from.port}, not ${told.peer}`);
  return socket;
}

/** What is open from what was asked last. */
let open: (Server | Socket | UdpSocket)[] = [];

async function closeAll(): Promise<void> {
  for (const each of open) {
    if ("destroy" in each) {
      each.destroy();
    } else {
      const closed = once(each, "close");
      each.close();
      await closed;
    }
  }
  open = [];
}

async function answer({ listen: on, to, hold }: Asked): Promise<Told> {
  await closeAll();
  const told: Told = {};
  try {
    if (on) open.push(on.udp ? await serveUdp(on, told) : await listen(on, told));
    if (to) open.push(to.udp ? await sendUdp(to, told) : await connect(to, told));
  } catch (error) {
    told.error = error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
  if (!hold) await closeAll();
  return told;
}

const [, , user] = process.argv;
if (user !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(Number(user));
  process.setuid?.(Number(user));
}
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Asked))}\n`);
}
process.exit(0);
