/**
 * Ways to what rules for files keep from a container, for root with every right: each succeeds without the rules, fails with
 * them, and succeeds and is told in audit mode. All need BPF LSM.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { describe as inWords, toDenial } from "../../isolator/features/events.js";
import { attemptFiles, files, makePlace, type Kind, type Place, type Results } from "../support/files.js";
import { policy, testInstance, type Cell } from "../support/instance.js";
import { withoutLsm } from "../support/lsm.js";

const { instance, cell } = testInstance();
const skip = withoutLsm("file_open");
/** Not a tmpfs, whose files the kernel never forgets. */
const root = mkdtempSync("/var/tmp/isolator-files-");
after(() => {
  rmSync(root, { recursive: true, force: true });
});

const MODES = ["deny", "readonly"] as const;
const KINDS: readonly Kind[] = ["read", "change"];

/** Files of their own for each cell, rule and kind of attempt. */
async function places(name: string): Promise<Map<string, Place>> {
  const made = new Map<string, Place>();
  for (const mode of MODES)
    for (const kind of KINDS) made.set(`${mode} ${kind}`, await makePlace(join(root, name, mode, kind)));
  return made;
}

function rulesFor(made: ReadonlyMap<string, Place>) {
  const under = (mode: string): string[] => KINDS.map((kind) => made.get(`${mode} ${kind}`)?.ruled ?? "");
  return files({ deny: under("deny"), readonly: under("readonly") });
}

/** Results that are not as they must be. */
function others(results: Results, expected: string, control: Results): string[] {
  return [...results]
    .filter(([name]) => control.get(name) !== "impossible")
    .filter(([, result]) => result !== expected)
    .map(([name, result]) => `${name}: ${result}`);
}

describe("a rule for files", { skip }, () => {
  const made = new Map<string, Map<string, Place>>();
  let lax: Cell | undefined;
  let strict: Cell | undefined;
  let audited: Cell | undefined;
  const control = new Map<string, Results>();

  before(async () => {
    for (const name of ["lax", "strict", "audited"]) made.set(name, await places(name));
    const of = (name: string) => rulesFor(made.get(name) ?? new Map<string, Place>());
    lax = await cell(["lax"], policy("31000"));
    strict = await cell(["strict"], policy("31001", { files: of("strict") }));
    audited = await cell(["audited"], policy("31002", { files: of("audited"), enforce: "audit" }));
  });

  const place = (name: string, what: string): Place => {
    const found = made.get(name)?.get(what);
    assert(found);
    return found;
  };

  it("is no hindrance where there is none: all attempts succeed", async (test) => {
    for (const kind of KINDS) {
      const results = await attemptFiles(place("lax", `deny ${kind}`), kind, lax?.container.node);
      control.set(kind, results);
      const impossible = [...results].filter(([, result]) => result === "impossible").map(([name]) => name);
      if (impossible.length > 0) test.diagnostic(`impossible on this kernel: ${impossible.join(", ")}`);
      assert.deepEqual(others(results, "ok", results), []);
      assert(results.size - impossible.length >= 18, "most are possible");
    }
    assert.equal(lax?.container.counts.usage().denied.file, 0n);
  });

  for (const [mode, kind, expected] of [
    ["deny", "read", "EACCES"],
    ["deny", "change", "EACCES"],
    ["readonly", "change", "EACCES"],
    ["readonly", "read", "ok"],
  ] as const) {
    it(`of mode ${mode}: every attempt to ${kind} gives ${expected}`, async () => {
      assert(strict);
      strict.poll().splice(0);
      const before = strict.container.counts.usage().denied.file;
      const results = await attemptFiles(place("strict", `${mode} ${kind}`), kind, strict.container.node);
      const known = control.get(kind) ?? new Map<string, string>();
      // Nobody knows what it is in, so it is refused whatever the rules.
      if (results.get("cold-handle") === "EACCES") results.delete("cold-handle");
      assert.deepEqual(others(results, expected, known), []);
      const refused = [...results.values()].filter((result) => result === "EACCES").length;
      const count = strict.container.counts.usage().denied.file - before;
      assert(count >= BigInt(refused), `${count} counted, ${refused} refused`);
      const told = strict.poll().map((event) => toDenial(event, (id) => instance.nameOf(id)));
      assert.equal(BigInt(told.length), count, "each is told");
      for (const { event, reason, file } of told) {
        // "disconnected" is what the handle gives.
        assert.deepEqual([event, reason], ["denied", "file"]);
        assert([mode, "disconnected"].includes(file?.rule ?? ""), file?.rule);
      }
    });
  }

  it("in audit mode lets all through, and tells it", async () => {
    assert(audited);
    for (const mode of MODES) {
      const kind = mode === "deny" ? "read" : "change";
      const results = await attemptFiles(place("audited", `${mode} ${kind}`), kind, audited.container.node);
      assert.deepEqual(others(results, "ok", control.get(kind) ?? new Map<string, string>()), []);
      const { audited: told, denied } = audited.container.counts.usage();
      assert(told.file >= 18n, `${told.file} told`);
      assert.equal(denied.file, 0n);
    }
  });

  it("is told with the path as the task sees it", async () => {
    assert(strict);
    const it = place("strict", "deny read");
    const said = async (name: string): Promise<string> => {
      strict?.poll().splice(0);
      await attemptFiles(it, "read", strict?.container.node, name);
      const [event] = strict?.poll() ?? [];
      assert(event, name);
      return inWords(toDenial(event, (id) => instance.nameOf(id)));
    };
    assert.match(
      await said("open"),
      new RegExp(`^denied open of ${it.ruled}/open/f \\(deny\\) by files\\[\\d+\\]$`),
    );
    assert.match(await said("exec"), new RegExp(`^denied exec of ${it.ruled}/exec/x \\(deny\\)`));
    assert.match(await said("chroot"), /^denied open of \/f \(deny\)/);
    assert.match(await said("bind-mount"), new RegExp(`^denied open of ${it.work}/bind-mount/f \\(deny\\)`));
  });

  it("holds for what is nested, which has none of its own", async () => {
    assert(strict);
    const child = await cell(["strict", "child"], policy(undefined), strict);
    const before = strict.container.counts.usage().denied.file;
    const it = place("strict", "deny read");
    const results = await attemptFiles(it, "read", child.container.node, "open", "ring");
    assert.deepEqual([...results.values()], ["EACCES", "EACCES"]);
    const changes = await attemptFiles(
      place("strict", "readonly change"),
      "change",
      child.container.node,
      "mkdir",
      "chmod",
    );
    assert.deepEqual([...changes.values()], ["EACCES", "EACCES"]);
    assert.equal(strict.container.counts.usage().denied.file - before, 4n);
    assert.equal(child.container.counts.usage().denied.file, 0n);
    await child.container.cleanup();
  });

  it("is nobody's outside of the container", async () => {
    const it = place("strict", "deny read");
    assert.deepEqual(
      [...(await attemptFiles(it, "read", undefined, "open", "exec"))],
      [
        ["open", "ok"],
        ["exec", "ok"],
      ],
    );
    const changed = place("strict", "readonly change");
    assert.equal((await attemptFiles(changed, "change", undefined, "chmod")).get("chmod"), "ok");
  });
});
