/** Rules for files: when the programs that are attached to no cgroup are attached, and that rules outlive the daemon. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, chmodSync, cpSync, mkdirSync, readdirSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import { breakGlass } from "../../isolator/containers/break-glass.js";
import type { Container } from "../../isolator/containers/container.js";
import { EventLog } from "../../isolator/containers/event-log.js";
import type { GlassMode } from "../../isolator/containers/glass.js";
import { Instance } from "../../isolator/containers/instance.js";
import { Isolator } from "../../isolator/containers/isolator.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import { MACHINE_HOOKS } from "../../isolator/kernel/machine-hooks.js";
import { attachedToMachine } from "../../isolator/kernel/links.js";
import { buildId } from "../../isolator/kernel/object.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { DENIED, files, shell, TestFiles, write } from "../support/files.js";
import { assertNothingLeft, instanceName, policy, testInstance } from "../support/instance.js";
import { withoutLsm } from "../support/lsm.js";
import { enterOwnMounts, enterOwnNetwork } from "../support/network.js";
import { DIST, execute, inNode } from "../support/process.js";
import { until } from "../support/wait.js";
enterOwnNetwork();
enterOwnMounts();
const { instance, cell } = testInstance();
const skip = withoutLsm("file_open");
const here = new TestFiles();

describe("the programs for files that are attached to no cgroup", { skip }, () => {
  it("are attached while a container has rules, and no task takes them away", async () => {
    const { name } = instance;
    const attached = (): number => attachedToMachine(join(pinRoot(name), buildId())).length;
    const prepare = (id: string, rules = {}): Promise<Container> =>
      prepareContainer(instance, { id: [id], policy: policy(undefined, rules) });
    // Stays, so that the next tests find all loaded.
    const { container: plain } = await cell(["plain"], policy(undefined));
    assert.equal(attached(), 0);
    const base = here.path("attached");
    mkdirSync(join(base, "denied"), { recursive: true });
    const free = write(join(base, "free/a/f"));
    const rules = { files: files({ deny: ["/etc", join(base, "denied")] }) };
    const [first, second] = [await prepare("first", rules), await prepare("second", rules)];
    const there = attached();
    assert(there >= MACHINE_HOOKS.filter(({ newer }) => !newer).length, `${there} are attached`);
    // Also for one without rules: others' hang on it.
    for (const box of [first, plain]) {
      assert.match(
        await shell(box, `rm ${pinRoot(name)}/${buildId()}/link_files_unlink`),
        /permitted|denied/,
      );
      assert.match(await shell(box, `mv ${pinRoot(name)} ${pinRoot(name)}-`), /permitted|denied/);
      assert.notEqual(await shell(box, "umount /sys/fs/bpf"), "ok");
    }
    await first.cleanup();
    assert.equal(attached(), there);
    assert.equal(await shell(second, "ls /etc"), DENIED);
    assert.equal(await shell(second, `cat ${free}`), "secret");
    await second.cleanup();
    assert.equal(attached(), 0);
    // Nobody saw it, and what was found about the directory before does not hold any more.
    renameSync(join(base, "free/a"), join(base, "denied/a"));
    const third = await prepare("third", rules);
    assert.equal(await shell(third, `cat ${base}/denied/a/f`), DENIED);
    await third.cleanup();
    assert.equal(attached(), 0);
    assert.equal(await shell(plain, "ls -d /etc"), "/etc");
  });

  it("go with break-glass, and come back", async () => {
    const base = here.path("glass");
    const file = write(join(base, "f"));
    const place = { files: files({ readonly: [base] }) };
    const box = await cell(["glass"], policy("", place));
    const glass = async (mode: GlassMode | undefined): Promise<void> => {
      const { containers, failures } = await breakGlass(instance, mode, "glass", () => Promise.resolve());
      assert.deepEqual([containers, failures], [["glass"], []]);
    };
    const changes = async (): Promise<string[]> => [
      await shell(box, `echo x >>${file}`),
      await shell(box, `chmod 600 ${file}`),
    ];
    assert.deepEqual(await changes(), [DENIED, DENIED]);
    await glass("audit");
    assert.deepEqual(await changes(), ["ok", "ok"]);
    assert.equal(box.container.counts.usage().audited.file, 2n);
    await glass("detach");
    assert.deepEqual(await changes(), ["ok", "ok"]);
    await glass(undefined);
    assert.deepEqual(await changes(), [DENIED, DENIED]);
    const { denied, audited } = box.container.counts.usage();
    assert.deepEqual([denied.file, audited.file], [4n, 2n]);
    chmodSync(file, 0o644);
  });
});

/** A copy of this build whose object file is another one, with the same layouts: bytes after its end mean nothing. */
function otherBuild(directory: string): string {
  cpSync(join(DIST, "isolator"), join(directory, "dist/isolator"), { recursive: true });
  cpSync(join(DIST, "bpf"), join(directory, "dist/bpf"), { recursive: true });
  const project = join(DIST, "..");
  for (const name of ["package.json", "node_modules", "proto"])
    symlinkSync(join(project, name), join(directory, name));
  appendFileSync(join(directory, "dist/bpf/isolator.bpf.o"), "another build");
  return join(directory, "dist/isolator/cli/main.js");
}

describe("rules for files of an agent's containers", { skip }, () => {
  const base = here.path("daemon");
  const kept = join(base, "kept/f");
  const config = `escape: allow\nfiles: [{readonly: [${base}], deny: [${join(base, "kept")}, ${join(base, "later")}]}]\n`;

  it("stay while no daemon runs, and with the next one, also of another build", async () => {
    write(kept);
    const name = instanceName();
    const start = (text = config): Promise<Isolator> =>
      Isolator.start(Instance.open(name), parseConfig(Buffer.from(text), "f.yaml").config, new EventLog());
    let isolator = await start();
    await isolator.prepare(["web"], { directory: "/tmp", command_info: {}, resources: [] });
    const node = isolator.find(["web"])?.container?.node ?? assert.fail();
    const said = async (command: string): Promise<string> => {
      const { status, stderr } = await execute(inNode(node, ["sh", "-c", command]));
      return status === 0 ? "ok" : stderr.trim().replace(/.*: /, "") || "failed";
    };
    const held = async (): Promise<void> => {
      assert.equal(await said(`cat ${kept}`), DENIED);
      assert.equal(await said(`mkdir ${base}/new`), DENIED);
    };
    const denied = (): bigint => isolator.find(["web"])?.container?.counts.usage().denied.file ?? 0n;
    await held();
    assert.equal(denied(), 2n);
    await isolator.stop();
    await held();
    write(join(base, "later/f"));
    isolator = await start();
    await held();
    assert.equal(await said(`cat ${base}/later/f`), DENIED, "what came meanwhile is found");
    assert.equal(denied(), 7n, "counts go on");
    await isolator.stop();

    const file = write(here.path("daemon.yaml"), config);
    const other = otherBuild(here.path("other"));
    const daemon = spawn(process.execPath, [other, "serve", "--instance", name, "--config", file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(daemon, "exit");
    let log = "";
    daemon.stdout.on("data", (chunk: Buffer) => (log += chunk.toString()));
    try {
      await until(
        () => log.includes("serving instance") || daemon.exitCode !== null,
        "it serves",
        400_000,
      ).catch((error: unknown) => assert.fail(`${String(error)}: ${log}`));
      assert.match(log, /"event":"upgraded"/);
      const linked = readdirSync(pinRoot(name)).filter(
        (build) => attachedToMachine(join(pinRoot(name), build)).length > 0,
      );
      assert.equal(linked.length, 1);
      assert.notEqual(linked[0], buildId(), "only the other build's programs are attached");
      await held();
    } finally {
      daemon.kill("SIGKILL");
      await exited;
    }
    await held();
    isolator = await start("escape: allow\n");
    await until(async () => (await said(`cat ${kept}`)) === "ok", "the new configuration has no rules");
    assert.equal(await said(`mkdir ${base}/new`), "ok");
    await until(
      () => attachedToMachine(join(pinRoot(name), buildId())).length === 0,
      "nothing is attached any more",
    );
    // One more for each look before the new rules were in force.
    assert(denied() >= 11n, `counts go on: ${denied()}`);
    await isolator.cleanup(["web"]);
    await isolator.stop();
    assertNothingLeft(name);
  });
});
