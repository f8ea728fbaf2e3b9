/**
 * The Debian package on a machine with systemd (support/systemd-lab.ts): installed, upgraded with a task running, removed,
 * purged; and what its units promise: readiness, watchdog, restart, reload.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, it } from "node:test";
import { fileURLToPath } from "node:url";
import { describeUnless } from "../support/describe.js";
import { ATTEMPT } from "../support/process.js";
import { SystemdLab, whyNoLab } from "../support/systemd-lab.js";
import { until } from "../support/wait.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BUILD = join(ROOT, "config/deb/build.sh");
const UNIT = "bpf-isolator.service";
const STATE = "/run/bpf-isolator/default";
const NODE = "/sys/fs/cgroup/bpf-isolator/default/web-1";
const OLD = "0.0.1";
const NEW = "0.0.2";

/** Whether this machine's dpkg knows a Node that the package may depend on. */
function hasNodePackage(): boolean {
  try {
    const version = execFileSync("dpkg-query", ["-W", "-f=${Version}", "nodejs"], { stdio: "pipe" });
    execFileSync("dpkg", ["--compare-versions", version.toString(), "ge", "20"]);
    return true;
  } catch {
    return false;
  }
}

describeUnless(whyNoLab(), "the Debian package", () => {
  const share = mkdtempSync(join(tmpdir(), "bpf-isolator-deb-"));
  let lab: SystemdLab;
  let task = "";

  /** Options of each package that there is, by its path: the same is not built twice. */
  const built = new Map<string, string>();

  function build(...options: string[]): string {
    const wanted = options.join(" ");
    const there = [...built].find(([, made]) => made === wanted);
    if (there) return there[0];
    const file = execFileSync("bash", [BUILD, "--out", share, "--no-compression", ...options], {
      encoding: "utf8",
    }).trim();
    const path = `/share/${file.slice(share.length + 1)}`;
    built.set(path, wanted);
    return path;
  }

  /** On a machine whose Node is from elsewhere the package brings its own. */
  const bundle = hasNodePackage() ? [] : ["--bundle-node"];

  const install = (file: string): Promise<string> => lab.out("dpkg", "--force-unsafe-io", "--install", file);
  const main = async (unit = UNIT): Promise<string> => (await lab.show(unit, "MainPID"))["MainPID"] ?? "";
  const isActive = async (unit = UNIT): Promise<boolean> =>
    (await lab.run("systemctl", "is-active", unit)).stdout === "active\n";
  const isThere = async (path: string): Promise<boolean> => (await lab.run("test", "-e", path)).status === 0;

  /** What an agent's module would ask. */
  async function call(message: object): Promise<void> {
    const response = await new Promise<{ status?: number; body: string }>((resolve, reject) => {
      const sent = request({
        ...{ socketPath: lab.path(`${STATE}/isolator.sock`), path: "/api/v1", method: "POST", agent: false },
        headers: { "Content-Type": "application/json" },
      });
      sent.once("error", reject).once("response", (answer) => {
        void text(answer).then((body) => {
          resolve({ ...(answer.statusCode === undefined ? {} : { status: answer.statusCode }), body });
        }, reject);
      });
      sent.end(JSON.stringify(message));
    });
    assert.equal(response.status, 200, response.body);
  }

  /** Exit status of an attempt to bind a port, by somebody in the task's node. */
  async function bind(port: number): Promise<number> {
    const script = `echo 0 >${NODE}/cgroup.procs; exec /share/attempt bind port=${port}`;
    return (await lab.run("sh", "-c", script)).status;
  }

  async function assertEnforced(): Promise<void> {
    assert.equal((await lab.run("kill", "-0", task)).status, 0, "the task lives");
    assert.deepEqual([await bind(31000), await bind(8080)], [0, 1]);
  }

  /** The daemon that another one has taken the place of. */
  const replaced = (before: string): Promise<string> =>
    until(
      async () => {
        const now = await main();
        return now !== before && now !== "0" && (await isActive()) ? now : undefined;
      },
      "another daemon is ready",
      60_000,
    );

  before(async () => {
    // The lab cleans its /tmp when it starts, and the checkout may be there.
    copyFileSync(ATTEMPT, join(share, "attempt"));
    lab = await SystemdLab.boot(share);
  });

  after(async () => {
    await lab.end();
    rmSync(share, { recursive: true });
  });

  it("installs, and its daemon is ready when the installation is done", async () => {
    await install(build("--version", OLD, ...bundle));
    const unit = await lab.show(UNIT, "ActiveState", "UnitFileState", "Type", "StatusText", "Before");
    assert.equal(unit["ActiveState"], "active");
    assert.equal(unit["UnitFileState"], "enabled");
    assert.equal(unit["Type"], "notify");
    assert.equal(unit["StatusText"], "serving instance default");
    for (const agent of ["mesos-agent.service", "mesos-slave.service"])
      assert(unit["Before"]?.split(" ").includes(agent), agent);
    assert.match(await lab.out("bpf-isolator", "status"), new RegExp(`daemon +bpf-isolator ${OLD}, process`));
    assert.equal(await lab.out("stat", "-c", "%a %U", "/run/bpf-isolator"), "700 root");
    assert.equal((await lab.run("systemd-analyze", "verify", UNIT)).stderr, "");
    const ask = `for (const path of ["/", "/page/main.js", "/page/uPlot.esm.js", "/readyz"])
      fetch("http://127.0.0.1:5052" + path).then(({ status }) => console.log(status))`;
    const answers = await lab.run(process.execPath, "-e", ask);
    assert.equal(answers.stdout, "200\n200\n200\n200\n", answers.stderr);
  });

  it("reads its configuration again at reload, and says what is wrong with it", async () => {
    await lab.out("sh", "-c", "echo 'ephemerl: deny' >>/etc/bpf-isolator/isolator.yaml");
    await lab.out("systemctl", "reload", UNIT);
    const says = async (what: string): Promise<boolean> =>
      (await lab.show(UNIT, "StatusText"))["StatusText"]?.includes(what) ?? false;
    await until(() => says("ephemerl: unknown key"), "the mistake is shown");
    await lab.out("sed", "-i", "s/^ephemerl: deny/ephemeral: clients/", "/etc/bpf-isolator/isolator.yaml");
    await lab.out("systemctl", "reload", UNIT);
    await until(() => says("read again"), "the file is read");
  });

  it("is started again when it is killed, and its containers are the same", async () => {
    const ports = { name: "ports", type: "RANGES", ranges: { range: [{ begin: 31000, end: 31005 }] } };
    const container_id = { value: "web-1" };
    const container_config = { directory: "/tmp", command_info: {}, resources: [ports] };
    await call({ type: "PREPARE", prepare: { container_id, container_config } });
    task = await lab.out("sh", "-c", "setsid sleep infinity >/dev/null 2>&1 </dev/null & echo $!");
    await call({ type: "ISOLATE", isolate: { container_id, pid: Number(task) } });
    await assertEnforced();
    const before = await main();
    await lab.out("kill", "-9", before);
    await replaced(before);
    assert.match(await lab.out("bpf-isolator", "list"), /^web-1 +recovered +31000-31005 +on +1 /m);
    await assertEnforced();
  });

  it("is started again when it hangs", async () => {
    const place = `/run/systemd/system/${UNIT}.d`;
    const dropIn = `mkdir -p ${place}; printf '[Service]\\nWatchdogSec=5\\n' >${place}/test.conf; systemctl daemon-reload`;
    await lab.out("sh", "-c", dropIn);
    await lab.out("systemctl", "restart", UNIT);
    const before = await main();
    await lab.out("kill", "-STOP", before);
    await replaced(before);
    await lab.out("sh", "-c", `rm -r ${place}; systemctl daemon-reload`);
    await lab.out("systemctl", "restart", UNIT);
    await assertEnforced();
  });

  it("has a unit for other instances, with a configuration of their own", async () => {
    assert.notEqual((await lab.run("systemctl", "start", "bpf-isolator@blue.service")).status, 0);
    await lab.out("systemctl", "stop", "bpf-isolator@blue.service");
    await lab.out("sh", "-c", "echo 'ephemeral: deny' >/etc/bpf-isolator/blue.yaml");
    await lab.out("systemctl", "start", "bpf-isolator@blue.service");
    assert.match(await lab.out("bpf-isolator", "status", "--instance", "blue"), /\/blue\.yaml, read/);
  });

  it("is upgraded with a task running", async () => {
    const [before, blue] = [await main(), await main("bpf-isolator@blue.service")];
    await install(build("--version", NEW, ...bundle));
    await replaced(before);
    assert.notEqual(await main("bpf-isolator@blue.service"), blue);
    assert(await isActive("bpf-isolator@blue.service"));
    assert.match(await lab.out("bpf-isolator", "status"), new RegExp(`bpf-isolator ${NEW}, process`));
    assert.match(await lab.out("bpf-isolator", "list"), /^web-1 +recovered +31000-31005 +on +1 /m);
    assert.match(await lab.out("cat", "/etc/bpf-isolator/isolator.yaml"), /^ephemeral: clients$/m);
    await assertEnforced();
  });

  it("leaves a task under its rules when it is removed, and purged", async () => {
    await lab.out("rm", "/etc/bpf-isolator/blue.yaml");
    await lab.out("dpkg", "--remove", "bpf-isolator");
    assert.deepEqual([await isActive(), await isActive("bpf-isolator@blue.service")], [false, false]);
    assert(await isThere("/etc/bpf-isolator/isolator.yaml"));
    await assertEnforced();
    const { status, stderr } = await lab.run("dpkg", "--purge", "bpf-isolator");
    assert.equal(status, 0);
    assert.match(stderr, /tasks still run under its rules/);
    assert.equal(await isThere("/etc/bpf-isolator"), false);
    await assertEnforced();
  });

  it("takes the task up again when it is back, and leaves nothing once it has ended", async () => {
    await install(`/share/bpf-isolator_${NEW}_${await lab.out("dpkg", "--print-architecture")}.deb`);
    assert.match(await lab.out("bpf-isolator", "list"), /^web-1 +recovered +31000-31005 +on +1 /m);
    await assertEnforced();
    await lab.out("kill", "-9", task);
    await until(() => lab.out("sh", "-c", `grep 'populated 0' ${NODE}/cgroup.events`), "the task ends");
    const { stderr } = await lab.run("dpkg", "--purge", "bpf-isolator");
    assert.equal(stderr, "");
    for (const path of ["/etc", "/run", "/sys/fs/bpf", "/sys/fs/cgroup", "/usr/lib"])
      assert.equal(await isThere(`${path}/bpf-isolator`), false, path);
    assert.equal(await isThere(`/etc/systemd/system/multi-user.target.wants/${UNIT}`), false);
  });

  it("is refused where Node is Debian's 18, and brings its own if it is built so", async () => {
    const stand = join(share, "nodejs");
    mkdirSync(join(stand, "DEBIAN"), { recursive: true });
    const control = "Package: nodejs\nVersion: 18.20.4+dfsg-1~deb12u1\nArchitecture: all\nMaintainer: -\n";
    writeFileSync(join(stand, "DEBIAN/control"), `${control}Description: a stand-in\n`);
    execFileSync("dpkg-deb", ["--build", stand, join(share, "nodejs.deb")], { stdio: "pipe" });
    // In the lab's overlay: the machine keeps its Node.
    await lab.out("dpkg", "--force-all", "--install", "/share/nodejs.deb");
    assert.equal(await isThere("/usr/bin/node"), false);
    const refused = await lab.run("dpkg", "--install", build("--version", OLD));
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /bpf-isolator depends on nodejs \(>= 20\)/);
    await lab.out("dpkg", "--purge", "bpf-isolator");
    await install(build("--version", NEW, "--bundle-node"));
    assert(await isActive());
    assert.match(await lab.out("bpf-isolator", "status"), new RegExp(`bpf-isolator ${NEW}, process`));
    await lab.out("dpkg", "--purge", "bpf-isolator");
  });
});
