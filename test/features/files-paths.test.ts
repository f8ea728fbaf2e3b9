/** Rules for files: which inodes their paths are as they come, go and change, and on which file systems. */
import assert from "node:assert/strict";
import { mkdirSync, renameSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { resolveRules } from "../../isolator/containers/file-paths.js";
import { FileRules } from "../../isolator/containers/files.js";
import { toDenial } from "../../isolator/features/events.js";
import { makeRules } from "../../isolator/features/files.js";
import { decode } from "../../isolator/kernel/codec.js";
import { layouts } from "../../isolator/kernel/gen/layout.js";
import { identify } from "../../isolator/kernel/identify.js";
import { attemptFiles, DENIED, files, makePlace, shell, shells, TestFiles, write } from "../support/files.js";
import { policy, testInstance } from "../support/instance.js";
import { withoutLsm } from "../support/lsm.js";
import { enterOwnMounts, enterOwnNetwork, sh } from "../support/network.js";
import { until } from "../support/wait.js";
enterOwnNetwork();
// What tests mount is nobody else's.
enterOwnMounts();
const { instance, cell } = testInstance();
const skip = withoutLsm("file_open");
const here = new TestFiles();

describe("the inodes of paths", () => {
  it("are those that the kernel knows, of files, directories, symlinks and what is mounted below", async () => {
    const base = here.path("paths");
    write(join(base, "d/f"));
    symlinkSync("d", join(base, "to-d"));
    here.mount(join(base, "d/m"), "tmpfs");
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
    const base = here.path("many-moves");
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

describe("the path that a refused change is told with", { skip }, () => {
  it("is the end of it, in whole names, where it has more than there is room for", async () => {
    const base = here.path("long");
    const names = ["a", "b", "c", "d", "e"].map((letter) => letter.repeat(100));
    const deep = join(base, ...names);
    write(join(deep, "f"));
    const box = await cell(["long"], policy("", { files: files({ readonly: [base] }) }));
    assert.equal(await shell(box, `rm -f ${join(deep, "f")}`), DENIED);
    const told = box.poll().map((event) => toDenial(event, () => undefined).file);
    assert.deepEqual(
      told.map((access) => [access?.operation, access?.within, access?.path]),
      [["unlink", true, `/${names.slice(3).join("/")}/f`]],
    );
  });
});

describe("paths of rules", { skip }, () => {
  it("hold from when a path is there, by whatever way it came", async () => {
    const base = here.path("later");
    mkdirSync(base);
    const at = (path: string): string => join(base, path);
    const deny = ["made/f", "moved/f", "linked", "gone", "deep/er/still/f"].map(at);
    write(at("gone"));
    write(at("elsewhere/f"));
    const box = await cell(["later"], policy("", { files: files({ deny }) }));
    assert.deepEqual(
      box.container.enforcement.missingPaths().sort(),
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
    assert.deepEqual(box.container.enforcement.missingPaths(), []);
    assert.equal(await shell(box, `cat ${write(at("made/g"))}`), "secret");
  });

  it("stay with what had a path once, wherever a task moves it", async () => {
    const base = here.path("moved");
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
    const base = here.path("mounts");
    here.mount(join(base, "before"), "tmpfs");
    write(join(base, "before/f"));
    mkdirSync(join(base, "after"));
    const box = await cell(["mounts"], policy("", { files: files({ deny: [base] }) }));
    assert.equal(await shell(box, `cat ${base}/before/f`), DENIED);
    here.mount(join(base, "after"), "tmpfs");
    write(join(base, "after/f"));
    await until(
      async () => (await shell(box, `cat ${base}/after/f`)) === DENIED,
      "what was mounted is denied",
    );
  });
});

describe("rules for files", { skip }, () => {
  for (const [type, make] of [
    [
      "tmpfs",
      (point: string) => {
        here.mount(point, "tmpfs");
      },
    ],
    [
      "ext4 without checksums",
      (point: string) => {
        here.mountImage(point, "16M", "mke2fs -q -t ext4 -O ^metadata_csum");
      },
    ],
    [
      "btrfs",
      (point: string) => {
        here.mountImage(point, "40M", "mkfs.btrfs -q --mixed");
      },
    ],
    [
      "overlay of one file system",
      (point: string) => {
        for (const part of ["lower", "upper", "inner"]) mkdirSync(`${point}.${part}`, { recursive: true });
        write(`${point}.lower/low/f`);
        here.mount(
          point,
          "overlay",
          "-o",
          `lowerdir=${point}.lower,upperdir=${point}.upper,workdir=${point}.inner`,
        );
      },
    ],
    [
      "overlay of two file systems",
      (point: string) => {
        here.mount(`${point}.fs`, "tmpfs");
        for (const part of ["upper", "inner"]) mkdirSync(`${point}.fs/${part}`);
        write(`${point}.lower/low/f`);
        here.mount(
          point,
          "overlay",
          "-o",
          `lowerdir=${point}.lower,upperdir=${point}.fs/upper,workdir=${point}.fs/inner`,
        );
      },
    ],
  ] as const) {
    it(`hold on ${type}`, async (test) => {
      const point = here.path(type.replaceAll(" ", "-"));
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
    const point = here.path("subvolumes");
    try {
      here.mountImage(point, "40M", "mkfs.btrfs -q --mixed");
    } catch (error) {
      test.skip(String(error));
      return;
    }
    const sync = (path: string): string => sh("sh", "-c", `btrfs filesystem sync ${path}`);
    sh("sh", "-c", `cd ${point} && btrfs subvolume create ruled && btrfs subvolume create free`);
    const ruled = write(join(point, "ruled/d/f"));
    sync(point);
    const free = write(join(point, "free/d/f"));
    const [one, other] = [ruled, free].map((path) => statSync(path).ino);
    assert.equal(one, other, "they have the same number");
    const box = await cell(
      ["subvolumes"],
      policy("", { files: files({ deny: [ruled], readonly: [join(point, "ruled")] }) }),
    );
    sh("sh", "-c", `btrfs subvolume snapshot ${point}/ruled ${point}/snapshot`);
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
});
