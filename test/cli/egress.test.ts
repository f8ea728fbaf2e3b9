/** `bpf-isolator run` with rules of egress: real programs that go to hosts near and far. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { activeSecurityModules } from "../../isolator/kernel/machine.js";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork, Host, sh } from "../support/network.js";
import { isolator, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const instance = instanceName();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-egress-"));
const PAGE = "far away\n";
writeFileSync(join(directory, "page"), PAGE);

/** A host behind a wire of its own, with a web server. */
async function farHost(name: string, net: string): Promise<Host> {
  const host = await Host.create();
  sh("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", String(host.pid));
  sh(
    "/bin/sh",
    "-ec",
    `ip addr add ${net}.1/24 dev ${name}; ip -6 addr add fd0${net.at(-1) ?? ""}::1/64 dev ${name} nodad; ip link set ${name} up`,
  );
  host.run(
    "/bin/sh",
    "-ec",
    `ip addr add ${net}.2/24 dev eth0; ip -6 addr add fd0${net.at(-1) ?? ""}::2/64 dev eth0 nodad; ip link set eth0 up`,
  );
  const [file, ...args] = host.command(
    "python3",
    "-m",
    "http.server",
    "--bind",
    "::",
    "--directory",
    directory,
    "8000",
  );
  const server = spawn(file, args, { stdio: "ignore" });
  after(() => {
    server.kill("SIGKILL");
    host.close();
  });
  await until(() => fetches(`http://${net}.2:8000/page`), "its server answers");
  return host;
}

function fetches(url: string): boolean {
  try {
    return sh("curl", "-sg", "-m", "5", url) === PAGE;
  } catch {
    return false;
  }
}

after(() => {
  rmSync(directory, { recursive: true });
  assertNothingLeft(instance);
});
await farHost("far1", "10.81.1");
await farHost("far2", "10.81.2");

async function run(options: readonly string[], ...command: string[]) {
  return runIsolator(["run", "--instance", instance, "--name", "task", ...options, "--", ...command]);
}

const get = (...urls: string[]): string[] => ["curl", "-sg", "-m", "5", ...urls];

describe("bpf-isolator run", () => {
  it("keeps programs from far hosts by address and port, IPv4 and IPv6, and lets them go elsewhere", async () => {
    const rules = ["--deny-egress", "10.81.1.0/24:8000", "--deny-egress", "[fd01::/64]"];
    const denied = await run(rules, ...get("http://10.81.1.2:8000/page"));
    assert.equal(denied.status, 7, "curl: failed to connect");
    assert.match(
      denied.stderr,
      /denied connect\(\) or send tcp to 10\.81\.1\.2:8000, by rule --deny-egress 10\.81\.1\.0\/24:8000 by curl/,
    );
    assert.match(denied.stderr, /denied 1 \(egress 1\)/);
    assert.equal((await run(rules, ...get("http://[fd01::2]:8000/page"))).status, 7);
    for (const url of ["http://10.81.2.2:8000/page", "http://[fd02::2]:8000/page"])
      assert.deepEqual([url, (await run(rules, ...get(url))).stdout], [url, PAGE]);
  });

  it("has exceptions, a default, an errno, and says what goes round the rules on this kernel", async () => {
    const rules = [
      "--egress-default",
      "deny",
      "--allow-egress",
      "10.81.2.2:8000",
      "--egress-errno",
      "ECONNREFUSED",
    ];
    const both = await run(rules, ...get("http://10.81.2.2:8000/page"));
    assert.equal(both.stdout, PAGE);
    const python = await run(
      rules,
      "python3",
      "-c",
      "import socket; socket.create_connection(('10.81.1.2', 8000))",
    );
    assert.match(python.stderr, /ConnectionRefusedError/);
    assert.match(python.stderr, /by rule the default/);
    if (activeSecurityModules()?.includes("bpf") !== true)
      assert.match(python.stderr, /not closed: packet sockets/);
    const told = await run([...rules, "--allow-socket", "packet,xdp,received"], "true");
    assert.doesNotMatch(told.stderr, /not closed: packet/);
  });

  it("takes the rules of a class of the configuration, behind those that it is given", async () => {
    const file = join(directory, "isolator.yaml");
    writeFileSync(
      file,
      `classes: [{name: production, match: {role: x}}, {name: other, match: {role: y}}]
egress:
  - {from: production, to: {cidr: 10.81.0.0/16}, action: deny}
`,
    );
    const of = (name: string, ...more: string[]) =>
      run(["--config", file, "--class", name, ...more], ...get("http://10.81.1.2:8000/page"));
    assert.equal((await of("production")).status, 7);
    assert.equal((await of("production", "--allow-egress", "10.81.1.2")).stdout, PAGE);
    assert.equal((await of("other")).stdout, PAGE);
    const bad = await run(["--deny-egress", "10.81.1.2:x"], "true");
    assert.deepEqual(
      [bad.status, bad.stderr.includes('--deny-egress "10.81.1.2:x" cannot be read')],
      [125, true],
    );
  });

  it("ends connections that its rules come to deny, where that is asked for, and says so", async () => {
    const server = createServer((socket) => socket.on("error", () => undefined).write("x")).listen(
      0,
      "127.0.0.1",
    );
    await once(server, "listening");
    after(() => server.close());
    const { port } = server.address() as AddressInfo;
    const file = join(directory, "ends.yaml");
    writeFileSync(file, "classes: [{name: batch, match: {role: x}}]\n");
    const client = `
import socket, sys
s = socket.create_connection(("127.0.0.1", ${port}))
s.recv(1)
print("connected", flush=True)
try:
    s.recv(1)
except OSError as error:
    print(error.strerror)`;
    const options = ["--egress-existing", "terminate", "--deny-egress", "class:batch"];
    const start = (name: string, ...args: string[]) => {
      const [command = "", ...rest] = isolator("run", "--instance", instance, "--name", name, ...args);
      return spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
    };
    const task = start("ended", ...options, "--", "python3", "-c", client);
    let [out, errors] = ["", ""];
    task.stdout.on("data", (data) => (out += String(data)));
    task.stderr.on("data", (data) => (errors += String(data)));
    const ended = once(task, "close");
    await until(() => out.includes("connected") || undefined, "it is connected");
    // From now on the port is that of a container of the class.
    const owner = ["--config", file, "--class", "batch", "--ports", String(port)];
    const holder = start("holder", ...owner, "--", "sleep", "60");
    const held = once(holder, "close");
    await ended;
    holder.kill("SIGTERM");
    await held;
    assert.match(out, /Software caused connection abort/);
    assert.match(errors, new RegExp(`a connection that its rules deny now: ended tcp 127.0.0.1:${port}\\n`));
    const idle = await run(["--egress-existing", "terminate"], "true");
    assert.deepEqual([idle.status, idle.stderr.includes("--egress-existing has no effect")], [125, true]);
  });
});
