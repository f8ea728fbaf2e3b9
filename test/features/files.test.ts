/** Rules for files: what paths stand for as they come, go and change, and when the programs are attached. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import { breakGlass } from "../../isolator/containers/break-glass.js";
import { Container } from "../../isolator/containers/container.js";
import { EventLog } from "../../isolator/containers/event-log.js";
import { resolveRules } from "../../isolator/containers/file-paths.js";
import { FileRules } from "../../isolator/containers/files.js";
import type { GlassMode } from "../../isolator/containers/glass.js";
import { Instance } from "../../isolator/containers/instance.js";
import { Isolator } from "../../isolator/containers/isolator.js";
import { toDenial } from "../../isolator/features/events.js";
import { makeRules } from "../../isolator/features/files.js";
import { decode, u64Key } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { MACHINE_HOOKS } from "../../isolator/kernel/hooks.js";
import { identify } from "../../isolator/kernel/identify.js";
import { attachedToMachine } from "../../isolator/kernel/links.js";
import { buildId } from "../../isolator/kernel/object.js";
import { pinRoot } from "../../isolator/kernel/pins.js";
import { attemptFiles, files, makePlace } from "../support/files.js";
import { assertNothingLeft, instanceName, policy, testInstance, type Cell } from "../support/instance.js";
import { hasLsm, withoutLsm } from "../support/lsm.js";
import { enterOwnMounts, enterOwnNetwork, sh } from "../support/network.js";
import { DIST, execute, inNode, runIsolator } from "../support/process.js";
import { until } from "../support/wait.js";

enterOwnNetwork();
// What tests mount is nobody else's.
enterOwnMounts();
const { instance, cell } = testInstance();
const skip = withoutLsm("file_open");
const root = mkdtempSync("/var/tmp/isolator-files-");
const mounted: string[] = [];

after(() => {
  for (const point of mounted.reverse()) bash(`umount -l ${point}`);
  rmSync(root, { recursive: true, force: true });
});

function mount(point: string, type: string, options = ""): void {
  mkdirSync(point, { recursive: true });
  bash(`mount -t ${type} ${options} ${type} ${point}`);
  mounted.push(point);
}

/** @param make makes a file system in an image: its first words, the image comes after */
function mountImage(point: string, size: string, make: string): void {
  bash(`truncate -s ${size} ${point}.image && ${make} ${point}.image && modprobe loop`);
  mkdirSync(point, { recursive: true });
  bash(`mount -o loop ${point}.image ${point}`);
  mounted.push(point);
}

function write(path: string, text = "secret\n"): string {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** Runs a shell command in a container. @returns what it said, or its last line where it failed */
async function shell(box: Cell | Container, command: string): Promise<string> {
  const { node } = box instanceof Container ? box : box.container;
  const { status, stdout, stderr } = await execute(inNode(node, ["sh", "-c", command]));
  return status === 0
    ? stdout.trim() || "ok"
    : (stderr.trim().split("\n").at(-1)?.replace(/.*: /, "") ?? "failed");
}

/** Runs shell commands in a container, each by itself. @returns of each what shell() would */
async function shells({ container: { node } }: Cell, ...commands: string[]): Promise<string[]> {
  const each = commands.map((command) => `out=$( (${command}) 2>&1 ); echo "$? $(echo "$out" | tail -n 1)"`);
  const { stdout } = await execute(inNode(node, ["sh", "-c", each.join("\n")]));
  const lines = stdout.replace(/\n$/, "").split("\n");
  return lines.map((line) => {
    const said = line.slice(line.indexOf(" ") + 1);
    return line.startsWith("0 ") ? said || "ok" : said.replace(/.*: /, "");
  });
}

const bash = (text: string): string => sh("sh", "-c", text);
const DENIED = "Permission denied";

describe("a kernel without BPF LSM", { skip: hasLsm("file_open") && "this kernel has it" }, () => {
  it("refuses a policy with rules for files, in words, and leaves nothing", async () => {
    const name = instanceName();
    const box = Container.prepare(Instance.open(name), {
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

describe("the programs for files that are attached to no cgroup", { skip }, () => {
  it("are attached while a container has rules, and no task takes them away", async () => {
    const { name } = instance;
    const attached = (): number => attachedToMachine(join(pinRoot(name), buildId())).length;
    const prepare = (id: string, rules = {}): Promise<Container> =>
      Container.prepare(instance, { id: [id], policy: policy(undefined, rules) });
    // Stays, so that the next tests find all loaded.
    const { container: plain } = await cell(["plain"], policy(undefined));
    assert.equal(attached(), 0);
    const rules = { files: files({ deny: ["/etc"] }) };
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
    await second.cleanup();
    assert.equal(attached(), 0);
    assert.equal(await shell(plain, "ls -d /etc"), "/etc");
  });

  it("go with break-glass, and come back", async () => {
    const base = join(root, "glass");
    const file = write(join(base, "f"));
    const place = { files: files({ readonly: [base] }) };
    const box = await cell(["glass"], policy("", place));
    const glass = async (mode: GlassMode | undefined): Promise<void> => {
      const { containers, failures } = await breakGlass(instance, mode, "glass");
      assert.deepEqual([containers, failures], [["glass"], []]);
    };
    const changes = async (): Promise<string[]> => [
      await shell(box, `echo x >>${file}`),
      await shell(box, `chmod 600 ${file}`),
    ];
    assert.deepEqual(await changes(), [DENIED, DENIED]);
    await glass("audit");
    assert.deepEqual(await changes(), ["ok", "ok"]);
    assert.equal(box.container.usage().audited.file, 2n);
    await glass("detach");
    assert.deepEqual(await changes(), ["ok", "ok"]);
    await glass(undefined);
    assert.deepEqual(await changes(), [DENIED, DENIED]);
    const { denied, audited } = box.container.usage();
    assert.deepEqual([denied.file, audited.file], [4n, 2n]);
    chmodSync(file, 0o644);
  });
});

describe("the inodes of paths", () => {
  it("are those that the kernel knows, of files, directories, symlinks and what is mounted below", async () => {
    const base = join(root, "paths");
    write(join(base, "d/f"));
    symlinkSync("d", join(base, "to-d"));
    mount(join(base, "d/m"), "tmpfs");
    await instance.locked(() => {
      const programs = instance.acquirePrograms();
      const asked = (fds: readonly number[]) => identify(programs.call("files_identify"), fds);
      const rules = makeRules({
        deny: [join(base, "to-d"), join(base, "none/at/all")],
        readonly: [join(base, "d/f"), base],
        allow: [],
      });
      const found = resolveRules(rules, asked);
      const modes = [...found.inodes.values()].map(({ mode }) => mode).sort();
      // Of to-d: itself, the directory, and what is mounted there.
      assert.deepEqual(modes, ["deny", "deny", "deny", "readonly", "readonly"]);
      assert.deepEqual(found.missing, [join(base, "none/at/all")]);
      assert(found.directories.get(base)?.has("none"));
      const many = Array.from({ length: 500 }, (_, i) => join(base, `many/${i}`));
      for (const path of many) write(path, "");
      assert.equal(resolveRules(makeRules({ deny: many, readonly: [], allow: [] }), asked).inodes.size, 500);
      instance.releasePrograms();
      instance.removeIfUnused();
      return Promise.resolve();
    });
  });
});

describe("the inodes that a path led to", () => {
  it("stay in the kernel, those from before and so many of the others", async () => {
    const base = join(root, "many-moves");
    const file = write(join(base, "a/f"));
    const { container } = await cell(["moves"], policy(""));
    const programs = instance.acquirePrograms();
    const rules = new FileRules(instance, 4);
    const inodes: bigint[] = [statSync(file, { bigint: true }).ino];
    const known = (): bigint[] => {
      const keys = [...programs.map("file_rules").keys(layouts.structs.file_key.size)];
      const found = new Set(keys.map((bytes) => decode(layouts.structs.file_key, bytes).ino));
      return inodes.filter((ino) => found.has(ino));
    };
    try {
      rules.open(programs, container.cgroupId, files({ deny: [file] }));
      for (let i = 0; i < 8; i++) {
        renameSync(join(base, "a"), join(base, `moved-${i}`));
        const { ino } = statSync(write(file), { bigint: true });
        inodes.push(ino);
        await until(() => known().includes(ino), "the new one is ruled");
      }
      assert.deepEqual(known(), [...inodes.slice(0, 1), ...inodes.slice(-5)]);
    } finally {
      rules.close(programs, container.cgroupId);
      for (const bytes of [...programs.map("file_rules").keys(layouts.structs.file_key.size)])
        if (inodes.includes(decode(layouts.structs.file_key, bytes).ino))
          programs.map("file_rules").delete(bytes);
      instance.releasePrograms();
    }
  });
});

describe("rules for files", { skip }, () => {
  it("hold by the nearest path above: allow below readonly and deny", async () => {
    const base = join(root, "nearest");
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
    const place = await makePlace(join(root, "errno"), "open", "mkdir");
    const box = await cell(["errno"], policy("", { files: files({ deny: [place.ruled] }, "EPERM") }));
    const results = [
      await attemptFiles(place, "read", box.container.node, "open"),
      await attemptFiles(place, "change", box.container.node, "mkdir"),
    ].flatMap((each) => [...each.values()]);
    assert.deepEqual(results, ["EPERM", "EPERM"]);
  });

  it("hold from when a path is there, by whatever way it came", async () => {
    const base = join(root, "later");
    mkdirSync(base);
    const at = (path: string): string => join(base, path);
    const deny = ["made/f", "moved/f", "linked", "gone", "deep/er/still/f"].map(at);
    write(at("gone"));
    write(at("elsewhere/f"));
    const box = await cell(["later"], policy("", { files: files({ deny }) }));
    assert.deepEqual(
      box.container.missingPaths().sort(),
      ["deep/er/still/f", "linked", "made/f", "moved/f"].map(at),
    );
    write(at("made/f"));
    renameSync(at("elsewhere"), at("moved"));
    symlinkSync(write(at("target")), at("linked"));
    write(at("other"));
    renameSync(at("other"), at("gone"));
    write(at("deep/er/still/f"));
    for (const path of [...deny, at("target")])
      await until(async () => (await shell(box, `cat ${path}`)) === DENIED, `${path} is denied`);
    assert.deepEqual(box.container.missingPaths(), []);
    assert.equal(await shell(box, `cat ${write(at("made/g"))}`), "secret");
  });

  it("stay with what had a path once, wherever a task moves it", async () => {
    const base = join(root, "moved");
    const file = write(join(base, "a/b/f"));
    const box = await cell(["moved"], policy("", { files: files({ deny: [file] }) }));
    assert.equal(
      await shell(box, `mv ${base}/a ${base}/c && mkdir -p ${base}/a/b && echo new >${file}`),
      "ok",
    );
    assert.equal(await shell(box, `cat ${base}/c/b/f`), DENIED);
    await until(
      async () => (await shell(box, `cat ${file}`)) === DENIED,
      "what has the path now is denied too",
    );
    assert.equal(await shell(box, `cat ${base}/c/b/f`), DENIED);
  });

  it("cover what is mounted below, also later", async () => {
    const base = join(root, "mounts");
    mount(join(base, "before"), "tmpfs");
    write(join(base, "before/f"));
    mkdirSync(join(base, "after"));
    const box = await cell(["mounts"], policy("", { files: files({ deny: [base] }) }));
    assert.equal(await shell(box, `cat ${base}/before/f`), DENIED);
    mount(join(base, "after"), "tmpfs");
    write(join(base, "after/f"));
    await until(
      async () => (await shell(box, `cat ${base}/after/f`)) === DENIED,
      "what was mounted is denied",
    );
  });

  it("leave devices, FIFOs and sockets writable below a readonly directory", async () => {
    const base = join(root, "devices");
    mkdirSync(base);
    bash(`mknod ${base}/null c 1 3 && mkfifo ${base}/fifo`);
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
    const base = join(root, "deep");
    const down = (levels: number): string => write(join(base, ...Array<string>(levels).fill("d"), "f"));
    const [there, below] = [down(220), down(300)];
    const box = await cell(["deep"], policy("", { files: files({ deny: ["/nothing/here"] }) }));
    assert.deepEqual(await shells(box, `cat ${there}`, `cat ${below}`), ["secret", DENIED]);
  });

  for (const [type, make] of [
    [
      "tmpfs",
      (point: string) => {
        mount(point, "tmpfs");
      },
    ],
    [
      "ext4 without checksums",
      (point: string) => {
        mountImage(point, "16M", "mke2fs -q -t ext4 -O ^metadata_csum");
      },
    ],
    [
      "btrfs",
      (point: string) => {
        mountImage(point, "40M", "mkfs.btrfs -q --mixed");
      },
    ],
    [
      "overlay of one file system",
      (point: string) => {
        for (const part of ["lower", "upper", "inner"]) mkdirSync(`${point}.${part}`, { recursive: true });
        write(`${point}.lower/low/f`);
        mount(point, "overlay", `-o lowerdir=${point}.lower,upperdir=${point}.upper,workdir=${point}.inner`);
      },
    ],
    [
      "overlay of two file systems",
      (point: string) => {
        mount(`${point}.fs`, "tmpfs");
        for (const part of ["upper", "inner"]) mkdirSync(`${point}.fs/${part}`);
        write(`${point}.lower/low/f`);
        mount(
          point,
          "overlay",
          `-o lowerdir=${point}.lower,upperdir=${point}.fs/upper,workdir=${point}.fs/inner`,
        );
      },
    ],
  ] as const) {
    it(`hold on ${type}`, async (test) => {
      const point = join(root, type.replaceAll(" ", "-"));
      try {
        make(point);
      } catch (error) {
        // Not built into this kernel, or no tool for it.
        test.skip(String(error));
        return;
      }
      const place = await makePlace(join(point, "low"), "set-flags", "set-version");
      const file = write(join(point, "low/f"));
      write(join(point, "low/dir/g"));
      write(join(point, "free/h"));
      const box = await cell(
        [`on-${type.replaceAll(" ", "-")}`],
        policy("", {
          files: files({ deny: [file, join(point, "low/dir")], readonly: [join(point, "low")] }),
        }),
      );
      assert.deepEqual(
        await shells(
          box,
          ...[`cat ${file}`, `cat ${point}/low/dir/g`, `echo x >${point}/low/new`, `mkdir ${point}/low/new`],
          ...[`chmod 777 ${point}/low`, `rm ${file}`, `ln ${file} ${point}/free/f`],
          `cat ${point}/free/h && echo y >${point}/free/new`,
        ),
        [...Array<string>(7).fill(DENIED), "secret"],
      );
      for (const [what, result] of await attemptFiles(
        place,
        "change",
        box.container.node,
        "set-flags",
        "set-version",
      ))
        if (result !== "impossible" || !type.startsWith("ext4")) assert.equal(result, "EACCES", what);
    });
  }

  it("are of one subvolume of btrfs, and of its snapshots: others use the same numbers", async (test) => {
    const point = join(root, "subvolumes");
    try {
      mountImage(point, "40M", "mkfs.btrfs -q --mixed");
    } catch (error) {
      test.skip(String(error));
      return;
    }
    const sync = (path: string): string => bash(`btrfs filesystem sync ${path}`);
    bash(`cd ${point} && btrfs subvolume create ruled && btrfs subvolume create free`);
    const ruled = write(join(point, "ruled/d/f"));
    sync(point);
    const free = write(join(point, "free/d/f"));
    const [one, other] = [ruled, free].map((path) => statSync(path).ino);
    assert.equal(one, other, "they have the same number");
    const box = await cell(
      ["subvolumes"],
      policy("", { files: files({ deny: [ruled], readonly: [join(point, "ruled")] }) }),
    );
    bash(`btrfs subvolume snapshot ${point}/ruled ${point}/snapshot`);
    const quiet = (command: string): string => `btrfs subvolume ${command} >/dev/null`;
    assert.deepEqual(
      await shells(
        box,
        ...[`cat ${ruled}`, `cat ${free}`, `cat ${point}/snapshot/d/f`],
        ...[quiet(`create ${point}/ruled/new`), quiet(`snapshot ${point}/free ${point}/ruled/free`)],
        ...[quiet(`delete ${point}/ruled`), quiet(`create ${point}/new`)],
      ),
      [DENIED, "secret", DENIED, DENIED, DENIED, DENIED, "ok"],
    );
    assert(box.poll().some((event) => toDenial(event, () => undefined).file?.rule === "subvolume"));
  });

  it("hold for hard links from before to a file that a rule names; to one below a directory they are a way round", async () => {
    const base = join(root, "links");
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
    const base = join(root, "again");
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
    const base = join(root, "many");
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
    const base = join(root, "update");
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
    assert.deepEqual(await box.container.repair(), [
      "its policy in the kernel for changes of files was gone",
    ]);
    assert.deepEqual(box.container.faults(), []);
    assert.deepEqual(await can(), [true, true, false]);
    await box.container.update(policy(""));
    assert.deepEqual(await can(), [true, true, true]);
    assert.equal(box.container.usage().denied.file, 3n, "counts go on");
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
  const base = join(root, "daemon");
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
    const denied = (): bigint => isolator.find(["web"])?.container?.usage().denied.file ?? 0n;
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

    const file = write(join(root, "daemon.yaml"), config);
    const other = otherBuild(join(root, "other"));
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

const nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].find((path) => existsSync(path));

describe("nginx", { skip: skip || (nginx === undefined && "there is no nginx here") }, () => {
  it("serves with the whole machine readonly, and gives 403 for what is denied", async () => {
    const base = join(root, "nginx");
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
