/** Port mappings of `bpf-isolator run`: two servers that want the same port, and what is refused. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync, chmodSync, chownSync } from "node:fs";
import { get as httpGet } from "node:http";
import { text } from "node:stream/consumers";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { ATTEMPT, isolator, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-remap-"));
chmodSync(directory, 0o755);
const instance = instanceName();
const running: ChildProcess[] = [];
after(async () => {
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  }
  rmSync(directory, { recursive: true });
  assertNothingLeft(instance);
});

const NOBODY = 65534;
/** As a user without rights. */
const UNPRIVILEGED = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];

/** The configuration of an nginx that listens on port 80 by IPv4 and IPv6 and says its name. */
function nginx(name: string): string[] {
  const home = join(directory, name);
  mkdirSync(home);
  chownSync(home, NOBODY, NOBODY);
  const file = join(directory, `${name}.conf`);
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${home}/${kind};`,
  );
  writeFileSync(
    file,
    `daemon off; pid ${home}/pid; error_log ${home}/error.log; worker_processes 2;
events {}
http {
  access_log off; ${paths.join(" ")}
  server { listen 80 reuseport; listen [::]:80; location / { return 200 "${name} on $server_port by $pid\\n"; } }
}
`,
  );
  return ["nginx", "-e", `${home}/error.log`, "-c", file];
}

function start(name: string, port: number): ChildProcess {
  const options = [
    "--instance",
    instance,
    "--name",
    name,
    "--ports",
    `${port}-${port + 1}`,
    "--map",
    `80:${port}`,
  ];
  const [file = "", ...args] = isolator("run", ...options, "--", ...UNPRIVILEGED, ...nginx(name));
  const child = spawn(file, args, { stdio: ["ignore", "inherit", "inherit"] });
  running.push(child);
  return child;
}

/** What a server answers on a connection of its own; undefined: nothing. */
function get(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = httpGet(url, { agent: false }, (response) => {
      resolve(text(response));
    });
    request.on("error", () => {
      resolve(undefined);
    });
  });
}

describe("two nginx that both listen on port 80", () => {
  it("run unprivileged side by side, each on its host port", async () => {
    start("one", 31000);
    start("two", 31010);
    for (const [name, port] of [
      ["one", 31000],
      ["two", 31010],
    ] as const) {
      await until(
        async () => (await get(`http://127.0.0.1:${port}/`)) !== undefined,
        `nginx ${name} answers`,
      );
      // What it says of its own port is what getsockname() told it.
      const answers = await Promise.all(Array.from({ length: 64 }, () => get(`http://127.0.0.1:${port}/`)));
      assert.match(answers[0] ?? "", new RegExp(`^${name} on 80 by \\d+\\n$`));
      // Both workers, of which each has a socket of the group.
      assert.equal(new Set(answers).size, 2, answers.join(""));
      assert.match((await get(`http://[::1]:${port}/`)) ?? "", new RegExp(`^${name} on 80 `));
    }
    assert.equal(await get("http://127.0.0.1:80/"), undefined);
  });

  it("are on their host ports for ss", () => {
    const ports = [...sh("ss", "-Hltn").matchAll(/:(\d+) +\S+:\*/g)].map(([, port]) => Number(port));
    assert.deepEqual([...new Set(ports)].sort(), [31000, 31010]);
  });

  it("are listed with their mappings, and what is inside of one reaches itself on port 80", async () => {
    const { stdout } = await runIsolator(["list", "--instance", instance]);
    assert.match(stdout, /^CONTAINER .* MAPPINGS$/m);
    assert.match(stdout, /^one .* 80:31000$/m);
    const usage = await runIsolator(["usage", "two", "--instance", instance]);
    assert.match(usage.stdout, /^ {2}mappings +80:31010$/m);
    const json = await runIsolator(["list", "--instance", instance, "--json"]);
    const { containers } = JSON.parse(json.stdout) as {
      containers: { name: string; port_mappings: object[] }[];
    };
    assert.deepEqual(containers.find(({ name }) => name === "two")?.port_mappings, [
      { host_port: 31010, container_port: 80 },
    ]);
  });

  it("end with their runs", async () => {
    for (const child of running) {
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    }
    assert.equal(await get("http://127.0.0.1:31000/"), undefined);
  });
});

describe("run --map", () => {
  const bad: [options: string[], why: RegExp][] = [
    [["--map", "80:31000", "--ports", "31001"], /host ports 31000 are not among the container's \(31001\)/],
    [["--map", "80:31000,80:31001"], /container port 80 is there twice/],
    [["--map", "80"], /"80" is no mapping/],
    [["--map", "80:31000", "--map", "81:31001"], /Give it once, as a list/],
  ];
  for (const [options, why] of bad) {
    it(`refuses ${options.join(" ")}`, async () => {
      const { status, stderr } = await runIsolator(["run", "--instance", instance, ...options, "--", "true"]);
      assert.equal(status, 125);
      assert.match(stderr, why);
    });
  }

  it("without --ports has the host ports", async () => {
    const options = ["run", "--instance", instance, "--map", "80:31020", "--", ATTEMPT, "bind"];
    const { status, stdout } = await runIsolator([...options, "port=80", "real-port=31020"]);
    assert.deepEqual([status, (JSON.parse(stdout) as { port: number }).port], [0, 80]);
    const other = await runIsolator([...options, "port=31021"]);
    assert.match(other.stderr, /denied bind\(\) tcp 127\.0\.0\.1:31021/);
  });
});
