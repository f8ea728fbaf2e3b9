/** The npm package: what is in it, and that it installs and runs where there is no compiler. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { TestDaemon } from "../support/daemon.js";
import { assertNothingLeft, instanceName } from "../support/instance.js";
import { sh } from "../support/network.js";
import { execute, type Result } from "../support/process.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** What npm says where the registry cannot be reached and its cache has not all. */
const OFFLINE = /ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ENOTCACHED|ENETUNREACH/;

describe("the npm package", () => {
  const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-npm-"));
  const tools = join(directory, "tools");
  const prefix = join(directory, "prefix");
  let tarball = "";

  /** With Node and a shell, and nothing else to be found. */
  const withoutCompiler = (command: string, ...args: string[]): Promise<Result> =>
    execute([command, ...args], { env: { ...process.env, PATH: tools }, cwd: directory });

  before(() => {
    // A copy of the checkout, in which `npm pack` builds all anew: not below the feet of other tests.
    const stage = join(directory, "stage");
    const left = new Set(["dist", "node_modules", ".git"].map((name) => join(ROOT, name)));
    cpSync(ROOT, stage, { recursive: true, filter: (file) => !left.has(file) });
    symlinkSync(join(ROOT, "node_modules"), join(stage, "node_modules"));
    sh("npm", "--prefix", stage, "pack", "--silent", "--pack-destination", directory, stage);
    tarball = join(directory, readdirSync(directory).find((name) => name.endsWith(".tgz")) ?? "");
    mkdirSync(tools);
    for (const name of ["npm", "sh", "env"])
      symlinkSync(sh("sh", "-c", `command -v ${name}`).trim(), join(tools, name));
    symlinkSync(process.execPath, join(tools, "node"));
  });

  after(() => {
    rmSync(directory, { recursive: true });
  });

  it("has the program, the BPF object, the locked versions, and neither tests nor sources", () => {
    const files = sh("tar", "-tzf", tarball).trim().split("\n");
    for (const name of [
      "package.json",
      "npm-shrinkwrap.json",
      "README.md",
      "LICENSE",
      "config/isolator.yaml",
      "config/systemd/bpf-isolator.service",
      "dist/bpf/isolator.bpf.o",
      "dist/isolator/cli/main.js",
      "dist/isolator/operator/page/index.html",
      "dist/isolator/operator/page/main.js",
      "dist/man/bpf-isolator.1",
    ])
      assert(files.includes(`package/${name}`), name);
    assert.deepEqual(
      files.filter((name) => /\.(ts|map|c|h|deb)$|\/test\//.test(name)),
      [],
    );
  });

  it("installs and runs without a compiler", async (context: TestContext) => {
    const options = ["--prefix", prefix, "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=1"];
    const installed = await withoutCompiler("npm", "install", "--global", ...options, tarball);
    if (installed.status !== 0 && OFFLINE.test(installed.stderr)) {
      context.skip("no npm registry can be reached");
      return;
    }
    assert.equal(installed.status, 0, installed.stderr);
    const command = join(prefix, "bin/bpf-isolator");
    assert.match((await withoutCompiler(command, "--version")).stdout, /^\d+\.\d+\.\d+\n$/);
    const instance = instanceName();
    const ran = await withoutCompiler(command, "run", "--instance", instance, "--", "sh", "-c", "echo ran");
    assert.equal(ran.status, 0, ran.stderr);
    assert.equal(ran.stdout, "ran\n");
    assert.match(ran.stderr, /received 0 packets/);
    assertNothingLeft(instance);
    const daemon = await TestDaemon.start({
      main: join(prefix, "lib/node_modules/bpf-isolator/dist/isolator/cli/main.js"),
    });
    const operator = daemon.log.find(({ operator: address }) => address !== undefined)?.["operator"];
    for (const path of ["/", "/page/main.js", "/page/uPlot.esm.js", "/wire.js", "/metrics"])
      assert.equal((await fetch(`http://${String(operator)}${path}`)).status, 200, path);
    await daemon.end();
  });
});
