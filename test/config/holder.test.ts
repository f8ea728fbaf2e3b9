/** Reloads: a good file comes into use, a bad one changes nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { ConfigHolder } from "../../isolator/config/holder.js";
import type { Config } from "../../isolator/config/schema.js";

let directory = "";
let file = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "isolator-config-"));
  file = join(directory, "isolator.yaml");
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("ConfigHolder", () => {
  it("brings a changed file into use, and tells who asked", () => {
    writeFileSync(file, "enforce: audit\n");
    const holder = ConfigHolder.open(file);
    assert.deepEqual([holder.config.enforce, holder.file, holder.errors], ["audit", file, []]);
    const told: Config[] = [];
    const end = holder.subscribe((config) => told.push(config));
    const first = holder.readAt;
    writeFileSync(file, "ephemeral: deny\n");
    assert.deepEqual(holder.reload(), []);
    assert.deepEqual([holder.config.enforce, holder.config.ephemeral], ["on", "deny"]);
    assert(holder.readAt >= first);
    end();
    assert.deepEqual(holder.reload(), []);
    assert.deepEqual(
      told.map(({ ephemeral }) => ephemeral),
      ["deny"],
    );
  });

  it("keeps the old one while the file is bad, and forgets the errors once it is good", () => {
    writeFileSync(file, "enforce: audit\n");
    const holder = ConfigHolder.open(file);
    let told = 0;
    holder.subscribe(() => told++);
    const old = holder.config;
    const first = holder.readAt;
    writeFileSync(file, "enforce: on\nephemerl: deny\nx: 1\n");
    const errors = holder.reload();
    assert.equal(errors.length, 2);
    assert.match(errors[0] ?? "", /isolator\.yaml:2:1: ephemerl: unknown key/);
    assert.deepEqual(holder.errors, errors);
    assert.equal(holder.config, old);
    assert.equal(holder.readAt, first);
    rmSync(file);
    assert.match(holder.reload().join("\n"), /no such file/);
    writeFileSync(file, "");
    assert.deepEqual(holder.reload(), []);
    assert.deepEqual([holder.errors, holder.config.enforce, told], [[], "on", 1]);
  });

  it("does not start with a bad file", () => {
    writeFileSync(file, "x: 1\n");
    assert.throws(() => ConfigHolder.open(file), { code: "bad-config" });
  });

  it("does not take a default file that has gone for one that sets nothing", () => {
    const holder = ConfigHolder.open(undefined, file);
    assert.equal(holder.file, undefined);
    assert.deepEqual(holder.reload(), []);
    writeFileSync(file, "enforce: audit\n");
    assert.deepEqual(holder.reload(), []);
    assert.deepEqual([holder.file, holder.config.enforce], [file, "audit"]);
    rmSync(file);
    assert.match(holder.reload().join("\n"), /it was here at the last reading/);
    assert.equal(holder.config.enforce, "audit");
  });

  it("does not change the instance under a daemon that runs", () => {
    writeFileSync(file, "instance: blue\n");
    const holder = ConfigHolder.open(file);
    writeFileSync(file, "enforce: audit\ninstance: green\n");
    assert.match(holder.reload().join("\n"), /isolator\.yaml:2:1: instance: cannot change while .*"blue"/);
    assert.equal(holder.config.enforce, "on");
    writeFileSync(file, "enforce: audit\n");
    assert.match(holder.reload().join("\n"), /instance: cannot change/);
    writeFileSync(file, "enforce: audit\ninstance: blue\n");
    assert.deepEqual(holder.reload(), []);
    assert.equal(holder.config.enforce, "audit");
  });
});
