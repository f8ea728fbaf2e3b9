/** Entries of the cache are made once, whole or not at all. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cache } from "./cache.js";

const root = mkdtempSync(join(tmpdir(), "vm-cache-"));

describe("Cache", () => {
  after(() => {
    rmSync(root, { recursive: true });
  });

  it("makes an entry once when two ask at the same time", async () => {
    let made = 0;
    const make = async (directory: string): Promise<void> => {
      made++;
      await sleep(50);
      writeFileSync(join(directory, "file"), "whole");
    };
    const paths = await Promise.all([1, 2].map(() => new Cache(root).provide("base-a", make)));
    assert.equal(made, 1);
    for (const path of paths) assert.equal(readFileSync(join(path, "file"), "utf8"), "whole");
  });

  it("leaves nothing of an entry that could not be made", async () => {
    const make = (directory: string): Promise<void> => {
      writeFileSync(join(directory, "file"), "half");
      return Promise.reject(new Error("disk full"));
    };
    await assert.rejects(new Cache(root).provide("base-b", make), /disk full/);
    assert.ok(!existsSync(join(root, "base-b")));
    assert.deepEqual(
      readdirSync(root).filter((name) => name.startsWith("tmp-")),
      [],
    );
  });

  it("drops what a killed run left and what nobody used for days", async () => {
    mkdirSync(join(root, "tmp-1"));
    mkdirSync(join(root, "kernel-old"));
    utimesSync(join(root, "kernel-old"), 0, 0);
    await new Cache(root).provide("base-c", () => Promise.resolve());
    assert.deepEqual(readdirSync(root).sort(), ["base-a", "base-c", "lock", "runs"]);
  });
});
