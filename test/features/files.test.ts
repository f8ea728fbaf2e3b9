/** Rules for files: what each holds for, on one container. The ways round them are in test/bypass/files.test.ts. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import { toDenial } from "../../isolator/features/events.js";
import { decode, u32Key, u64Key } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { attemptFiles, DENIED, files, makePlace, shell, shells, TestFiles, write } from "../support/files.js";
import { assertNothingLeft, instanceName, policy, testInstance } from "../support/instance.js";
import { hasLsm, withoutLsm } from "../support/lsm.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { DIST, inNode, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";
enterOwnNetwork();
const { instance, cell } = testInstance();
const skip = withoutLsm("file_open");
const here = new TestFiles();

describe("a kernel without BPF LSM", { skip: hasLsm("file_open") && "this kernel has it" }, () => {
  it("refuses a policy with rules for files, in words, and leaves nothing", async () => {
    const name = instanceName();
    const box = prepareContainer(Instance.open(name), {
      id: ["box"],
      policy: policy("", { files: files({ deny: ["/etc"] }) }),
    });
    await assert.rejects(box, {
      code: "kernel-lacks",
      message:
        /^container box is not started: it has rules for files, which need BPF LSM, and this kernel runs no programs of it/,
    });
    assertNothingLeft(name);
  });

  it("keeps a container under its old policy where the new one has such rules", async () => {
    const box = await cell(["update"], policy(""));
    await assert.rejects(box.container.update(policy("", { files: files({ deny: ["/etc"] }) })), {
      code: "kernel-lacks",
    });
    assert.equal(box.container.policy.files, undefined);
  });

  it("is told by run", async () => {
    const { status, stderr } = await runIsolator(["run", "--deny-path", "/etc/mesos", "--", "true"]);
    assert.equal(status, 125);
    assert.match(stderr, /is not started: it has rules for files, which need BPF LSM/);
  });
});

describe("rules for files", { skip }, () => {
  it("hold by the nearest path above: allow below readonly and deny", async () => {
    const base = here.path("nearest");
    for (const file of ["a/f", "a/keys/f", "a/keys/public/f", "a/out/f"]) write(join(base, file));
    const box = await cell(
      ["nearest"],
      policy("", {
        files: files({
          readonly: [join(base, "a")],
          deny: [join(base, "a/keys")],
          allow: [join(base, "a/keys/public"), join(base, "a/out")],
        }),
      }),
    );
    assert.deepEqual(
      await shells(
        box,
        ...[`cat ${base}/a/f`, `echo >${base}/a/f`, `cat ${base}/a/keys/f`, `ls ${base}/a/keys`],
        `cat ${base}/a/keys/public/f && echo new >${base}/a/keys/public/g`,
        `rm -r ${base}/a/keys/public`,
        `echo new >${base}/a/out/g && rm ${base}/a/out/f`,
        ...[`mv ${base}/a/out ${base}/out`, `mv ${base}/a ${base}/b`],
      ),
      ["secret", DENIED, DENIED, DENIED, "secret", DENIED, "ok", DENIED, DENIED],
    );
  });

  it("give EPERM where the policy says so", async () => {
    const place = await makePlace(here.path("errno"), "open", "mkdir");
    const box = await cell(["errno"], policy("", { files: files({ deny: [place.ruled] }, "EPERM") }));
    const results = [
      await attemptFiles(place, "read", box.container.node, "open"),
      await attemptFiles(place, "change", box.container.node, "mkdir"),
    ].flatMap((each) => [...each.values()]);
    assert.deepEqual(results, ["EPERM", "EPERM"]);
  });

  it("leave devices, FIFOs and sockets writable below a readonly directory", async () => {
    const base = here.path("devices");
    mkdirSync(base);
    sh("sh", "-c", `mknod ${base}/null c 1 3 && mkfifo ${base}/fifo`);
    const box = await cell(["devices"], policy("", { files: files({ readonly: [base] }) }));
    assert.deepEqual(
      await shells(
        box,
        ...[`echo x >${base}/null`, `exec 3<>${base}/fifo; echo x >${base}/fifo`],
        ...[`chmod 777 ${base}/null`, `rm ${base}/fifo`],
      ),
      ["ok", "ok", DENIED, DENIED],
    );
  });

  it("refuse what is too deep to be judged, and nothing before that", async () => {
    const base = here.path("deep");
    const down = (levels: number): string => write(join(base, ...Array<string>(levels).fill("d"), "f"));
    const [there, below] = [down(220), down(300)];
    const box = await cell(["deep"], policy("", { files: files({ deny: ["/nothing/here"] }) }));
    assert.deepEqual(await shells(box, `cat ${there}`, `cat ${below}`), ["secret", DENIED]);
  });

  it("hold for hard links from before to a file that a rule names; to one below a directory they are a way round", async () => {
    const base = here.path("links");
    const [named, below] = [write(join(base, "named")), write(join(base, "d/f"))];
    linkSync(named, join(base, "link-to-named"));
    linkSync(below, join(base, "link-to-below"));
    const box = await cell(["links"], policy("", { files: files({ deny: [named, join(base, "d")] }) }));
    assert.deepEqual(
      await shells(
        box,
        `cat ${base}/link-to-named`,
        `ln ${below} ${base}/new`,
        `cat ${below}`,
        `cat ${base}/link-to-below`,
      ),
      [DENIED, DENIED, DENIED, "secret"],
    );
  });

  it("are of a file, and not of the one that gets its number after it", async (test) => {
    const base = here.path("again");
    const file = write(join(base, "f"));
    const box = await cell(["again"], policy("", { files: files({ deny: [file] }) }));
    assert.equal(await shell(box, `cat ${file}`), DENIED);
    const { ino } = statSync(file);
    rmSync(file);
    const others = Array.from({ length: 50 }, (_, i) => write(join(base, `other-${i}`)));
    const same = others.find((path) => statSync(path).ino === ino);
    if (same === undefined) {
      test.skip("this file system does not use the number again");
      return;
    }
    assert.equal(await shell(box, `cat ${same}`), "secret");
  });

  it("are thousands", async () => {
    const base = here.path("many");
    const many = Array.from({ length: 1200 }, (_, i) => join(base, `d${i % 40}/${i}`));
    for (const path of many) write(path);
    const free = write(join(base, "d0/free"));
    const box = await cell(["many"], policy("", { files: files({ deny: many }) }));
    assert.deepEqual(await shells(box, `cat ${many[0] ?? ""}`, `cat ${many[1199] ?? ""}`, `cat ${free}`), [
      DENIED,
      DENIED,
      "secret",
    ]);
  });

  it("change with the policy, at once", async () => {
    const base = here.path("update");
    const [a, b] = [write(join(base, "a")), write(join(base, "b"))];
    const box = await cell(["changing"], policy(""));
    const can = async (): Promise<boolean[]> =>
      (await shells(box, `cat ${a}`, `cat ${b}`, `chmod 600 ${b}`)).map((said) => said !== DENIED);
    assert.deepEqual(await can(), [true, true, true]);
    await box.container.update(policy("", { files: files({ deny: [a] }) }));
    assert.deepEqual(await can(), [false, true, true]);
    await box.container.update(policy("", { files: files({ readonly: [base] }) }));
    assert.deepEqual(await can(), [true, true, false]);
    // As if somebody had taken it away.
    const programs = instance.acquirePrograms();
    programs.map("file_policies").delete(u64Key(box.container.cgroupId));
    instance.releasePrograms();
    assert.deepEqual(await box.container.enforcement.repair(), [
      "its policy in the kernel for changes of files was gone",
    ]);
    assert.deepEqual(box.container.enforcement.faults(undefined), []);
    assert.deepEqual(await can(), [true, true, false]);
    await box.container.update(policy(""));
    assert.deepEqual(await can(), [true, true, true]);
    assert.equal(box.container.counts.usage().denied.file, 3n, "counts go on");
  });
});

describe("verdicts that are remembered", { skip }, () => {
  const HELPER = join(DIST, "test/helpers/files");

  function remembered(): { generation: bigint; verdicts: number } {
    const programs = instance.acquirePrograms();
    const bytes = programs.map("file_cache").lookup(u32Key(0)) ?? assert.fail();
    instance.releasePrograms();
    const { generation, verdicts } = decode(layouts.structs.file_cache, bytes);
    return { generation, verdicts: verdicts.filter((word) => word !== 0n).length };
  }

  it("are void when somebody moves a directory above, while a task opens files all the time", async () => {
    const base = here.path("remembered");
    const at = (path: string): string => join(base, path);
    for (const name of ["denied", "readonly"]) mkdirSync(at(name), { recursive: true });
    const free = write(at("free/a/b/c/f"));
    write(at("denied/file"));
    const box = await cell(
      ["remembered"],
      policy("", { files: files({ deny: [at("denied"), at("later")], readonly: [at("readonly")] }) }),
    );
    const other = await cell(["others"], policy("", { files: files({ deny: [at("readonly/none")] }) }));
    const opener = spawn(
      "sh",
      [
        ...["-c", `echo $$ >${box.container.node.path}/cgroup.procs || exit`],
        `while :; do for d in free denied readonly later; do read x <${base}/$d/a/b/c/f; done; done 2>/dev/null`,
      ],
      { stdio: "ignore" },
    );
    const exited = once(opener, "exit");
    /** Whether it can be read, its directory changed, and read from a container with other rules. */
    const can = async (where: string): Promise<string[]> => [
      ...(await shells(
        box,
        `cat ${at(where)}/b/c/f`,
        `mkdir ${at(where)}/b/c/d && rmdir ${at(where)}/b/c/d`,
      )),
      await shell(other, `cat ${at(where)}/b/c/f`),
    ];
    try {
      assert.deepEqual(await can("free/a"), ["secret", "ok", "secret"]);
      assert(remembered().verdicts > 0);
      for (let i = 0; i < 4; i++) {
        const { generation } = remembered();
        renameSync(at("free/a"), at("denied/a"));
        assert.notEqual(remembered().generation, generation);
        assert.deepEqual(await can("denied/a"), [DENIED, DENIED, "secret"]);
        renameSync(at("denied/a"), at("readonly/a"));
        assert.deepEqual(await can("readonly/a"), ["secret", DENIED, "secret"]);
        renameSync(at("readonly/a"), at("free/a"));
        assert.deepEqual(await can("free/a"), ["secret", "ok", "secret"]);
      }
      // The directory is the second of the two here, and the first there.
      for (const [one, two] of [
        ["denied/file", "free/a"],
        ["free/a", "denied/file"],
      ] as const) {
        sh(HELPER, "--exchange", at(one), at(two));
        const where = statSync(at(one)).isDirectory() ? one : two;
        const denied = where.startsWith("denied");
        assert.deepEqual(await can(where), denied ? [DENIED, DENIED, "secret"] : ["secret", "ok", "secret"]);
      }
      const { generation } = remembered();
      renameSync(free, at("free/a/b/c/g"));
      renameSync(at("free/a/b/c/g"), free);
      renameSync(at("free"), at("still"));
      assert.equal(remembered().generation, generation, "nothing above anything is another");
      // Other directories are above what is in it, but a path of a rule leads to it now.
      assert.deepEqual(await can("still/a"), ["secret", "ok", "secret"]);
      renameSync(at("still"), at("later"));
      // Reads alone: a directory that is made just before cannot be removed just after.
      await until(
        async () => (await shell(box, `cat ${at("later/a")}/b/c/f`)) === DENIED,
        "what is there now is denied",
      );
      assert.deepEqual(await can("later/a"), [DENIED, DENIED, "secret"]);
    } finally {
      opener.kill("SIGKILL");
      await exited;
    }
  });
});

const nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].find((path) => existsSync(path));

describe("nginx", { skip: skip || (nginx === undefined && "there is no nginx here") }, () => {
  it("serves with the whole machine readonly, and gives 403 for what is denied", async () => {
    const base = here.path("nginx");
    write(join(base, "www/index.html"), "hello\n");
    write(join(base, "www/private/key"));
    mkdirSync(join(base, "run"));
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (what) => `${what}_temp_path ${base}/run/${what};`,
    );
    const file = write(
      join(base, "nginx.conf"),
      `daemon off; master_process off; pid ${base}/run/pid; error_log stderr; events {}
       http { access_log ${base}/run/log; ${temporary.join(" ")} server { listen 127.0.0.1:31090; root ${base}/www; } }`,
    );
    const box = await cell(
      ["nginx"],
      policy("31090", {
        files: files({ readonly: ["/"], allow: [join(base, "run")], deny: [join(base, "www/private")] }),
      }),
    );
    const { node } = box.container;
    const [command = "", ...args] = inNode(node, [nginx ?? "", "-e", "stderr", "-c", file]);
    const server = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    server.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const exited = once(server, "exit");
    const get = async (path: string): Promise<number> => {
      const response = await fetch(`http://127.0.0.1:31090${path}`);
      await response.arrayBuffer();
      return response.status;
    };
    try {
      await until(async () => (await get("/").catch(() => 0)) === 200, "nginx serves");
      assert.equal(await get("/private/key"), 403);
      assert.equal(await get("/nothing"), 404);
      const told = box.poll().map((event) => toDenial(event, (id) => instance.nameOf(id)).file);
      assert(
        told.some((access) => access?.operation === "open" && access.path === `${base}/www/private/key`),
        JSON.stringify(told),
      );
      assert.equal(await shell(box, `echo x >>${base}/www/index.html`), DENIED);
      assert.equal(await shell(box, `cat ${base}/run/log >/dev/null && date >>${base}/run/log`), "ok");
    } finally {
      server.kill("SIGKILL");
      await exited;
    }
  });
});
