/**
 * `npm run quickstart`: shows what `run` does, with a real server and a real client on this machine. Every line that
 * it prints comes from what has just happened; it fails when something else happens.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("main.js", import.meta.url));
const INSTANCE = `quickstart-${process.pid}`;
const PORTS = "31000-31005";
const ALLOWED = 31000;
const OUTSIDE = 8080;

/** A plain HTTP server that knows nothing of any of this. */
const SERVER =
  "const port = Number(process.argv[1]);" +
  'const server = require("http").createServer((_, response) => response.end("x".repeat(100000)));' +
  'server.on("error", (error) => { console.log(`server: ${error.message}`); process.exit(1); });' +
  'server.listen(port, "127.0.0.1", () => console.log(`server: listening on port ${port}`));';

function say(text: string): void {
  console.log(`\n== ${text}`);
}

function startServer(port: number) {
  const args = ["run", "--instance", INSTANCE, "--name", "web", "--ports", PORTS, "--"];
  console.log(`$ bpf-isolator run --name web --ports ${PORTS} -- node server.js ${port}`);
  const child = spawn(process.execPath, [MAIN, ...args, process.execPath, "-e", SERVER, `${port}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.pipe(process.stdout, { end: false });
  return { child, exited: once(child, "exit") as Promise<[number | null]> };
}

function get(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, agent: false }, (response) => {
      let bytes = 0;
      response.on("data", (chunk: Buffer) => (bytes += chunk.length));
      response.on("end", () => {
        resolve(bytes);
      });
    });
    call.on("error", reject).end();
  });
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`quickstart: ${what}`);
}

say(`A task that owns ports ${PORTS} starts a web server on port ${ALLOWED}: allowed.`);
const inside = startServer(ALLOWED);
await Promise.race([once(inside.child.stdout, "data"), inside.exited]);
expect(inside.child.exitCode === null, "the server did not start on a port of its own");

say("A client outside of the task calls it ten times.");
let received = 0;
for (let i = 0; i < 10; i++) received += await get(ALLOWED);
console.log(`client: received ${received} bytes`);
expect(received === 1_000_000, "the client did not get its answers");

say(
  "The server ends. Its traffic, IP headers included, was counted in the kernel, with no veth in its path:",
);
inside.child.kill("SIGTERM");
await inside.exited;

say(`The same server on port ${OUTSIDE}, which is not the task's: EPERM at bind(), and everybody is told.`);
const outside = startServer(OUTSIDE);
const [status] = await outside.exited;
expect(
  status === 1,
  `the server on port ${OUTSIDE} ended with ${status}, not with the 1 of a refused bind()`,
);

say("All is cleaned up: no cgroup, no program, no file of it is left. Your turn:");
console.log(`sudo node ${MAIN} run --ports ${PORTS} -- COMMAND`);
