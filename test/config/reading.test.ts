/** Which configuration file is read, and which instance it is for. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chooseInstance, loadConfig, MAX_CONFIG_SIZE, parseConfig } from "../../isolator/config/load.js";
import { sh } from "../support/network.js";

const DEFAULTS = parseConfig(Buffer.from(""), "f.yaml").config;

let directory = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "isolator-config-"));
});
after(() => {
  rmSync(directory, { recursive: true });
});

describe("loadConfig()", () => {
  const write = (name: string, text: string | Buffer): string => {
    const file = join(directory, name);
    writeFileSync(file, text);
    return file;
  };

  it("takes a default file that is not there for one that sets nothing, and no other", () => {
    const missing = join(directory, "missing.yaml");
    const { config, found, file } = loadConfig(undefined, missing);
    assert.deepEqual([config, found, file], [DEFAULTS, false, missing]);
    assert.throws(() => loadConfig(missing), {
      code: "bad-config",
      message: /missing\.yaml: there is no such file/,
    });
  });

  it("reads the default file, and the given one before it", () => {
    const [byDefault, given] = [
      write("default.yaml", "enforce: audit\n"),
      write("given.yaml", "ephemeral: deny\n"),
    ];
    assert.deepEqual(loadConfig(undefined, byDefault).config, { ...DEFAULTS, enforce: "audit" });
    assert.deepEqual(loadConfig(given, byDefault).config, { ...DEFAULTS, ephemeral: "deny" });
  });

  it("says why a file cannot be read, and does not wait for a pipe", () => {
    const pipe = join(directory, "pipe");
    sh("mkfifo", pipe);
    const folder = join(directory, "folder");
    mkdirSync(folder);
    for (const file of [pipe, folder, "/dev/null"]) {
      assert.throws(() => loadConfig(undefined, file), { code: "bad-config", message: /not a regular file/ });
    }
    const below = join(write("plain.yaml", ""), "below");
    assert.throws(() => loadConfig(below), {
      code: "bad-config",
      message: /below: it cannot be read: ENOTDIR/,
    });
  });

  it("says that it may not read a file", () => {
    const file = write("secret.yaml", "");
    chmodSync(file, 0o600);
    chmodSync(directory, 0o755);
    const uid = process.geteuid?.() ?? 0;
    process.seteuid?.(65534);
    try {
      assert.throws(() => loadConfig(file), {
        code: "bad-config",
        message: /secret\.yaml: it cannot be read: EACCES/,
      });
    } finally {
      process.seteuid?.(uid);
    }
  });

  it("bounds the size of a file", () => {
    const comment = (size: number): Buffer => Buffer.concat([Buffer.from("#"), Buffer.alloc(size - 1, "x")]);
    assert.deepEqual(loadConfig(write("full.yaml", comment(MAX_CONFIG_SIZE))).config, DEFAULTS);
    const file = write("over.yaml", comment(MAX_CONFIG_SIZE + 1));
    assert.throws(() => loadConfig(file), { code: "bad-config", message: /more than 262144 bytes/ });
  });
});

describe("chooseInstance()", () => {
  const choose = (text: string, given?: string) =>
    chooseInstance(parseConfig(Buffer.from(text), "f.yaml"), given);

  it("takes the command line's, the file's, the default, in this order", () => {
    assert.deepEqual(choose(""), { instance: "default" });
    assert.deepEqual(choose("instance: blue\n"), { instance: "blue" });
    assert.deepEqual(choose("", "green"), { instance: "green" });
    assert.deepEqual(choose("instance: green\n", "green"), { instance: "green" });
  });

  it("says so where the two differ", () => {
    assert.deepEqual(choose("\ninstance: blue\n", "green"), {
      instance: "green",
      notice: 'f.yaml:2:1: instance is "blue", but --instance green on the command line wins',
    });
  });
});
