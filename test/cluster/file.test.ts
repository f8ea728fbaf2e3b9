/** Endpoints from a file that is watched: all of it or nothing, whatever is done to it. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
// not in the VM: no kernel is asked
import { FileSource, toFileEndpoint } from "../../isolator/cluster/file.js";
import type { ClaimMap, Classifier } from "../../isolator/cluster/source.js";
import { formatClasses } from "../../isolator/features/classes.js";
import { formatPlace, placeOf } from "../../isolator/features/endpoints.js";
import { until } from "../support/wait.js";

const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-endpoints-"));
const sources: FileSource[] = [];
after(() => {
  for (const source of sources) source.stop();
  rmSync(directory, { recursive: true });
});

function classifier(...names: string[]): Classifier {
  return { names: new Set(names), classesOf: () => [] };
}

let count = 0;
function watched(text?: string) {
  const path = join(directory, `endpoints${count++}`);
  if (text !== undefined) writeFileSync(path, text);
  const source = new FileSource(path, classifier("web", "db"));
  const warnings: string[] = [];
  const sets: ClaimMap[] = [];
  sources.push(source);
  source.start({
    replace: (claims) => sets.push(claims),
    add: () => assert.fail("a file is all or nothing"),
    remove: () => assert.fail("a file is all or nothing"),
    principals: () => undefined,
    warn: (message) => warnings.push(message),
  });
  const list = (): string[] => {
    const last = sets.at(-1);
    return [...(last?.keys() ?? [])].map(
      (key) => `${formatPlace(placeOf(key))} ${formatClasses(last?.get(key)?.classes)}`,
    );
  };
  return { path, source, warnings, sets, list };
}

const line = (address: string, port: number | undefined, ...classes: string[]): string =>
  JSON.stringify({ address, ...(port === undefined ? {} : { port }), classes });
const file = (...lines: string[]): string =>
  [JSON.stringify({ version: 1, endpoints: lines.length }), ...lines, ""].join("\n");

describe("a file of endpoints", () => {
  it("is read, and read again when it is written or another one is put in its place", async () => {
    const { path, list, source } = watched(
      file(
        line("10.0.0.1", 80, "web"),
        line("10.0.0.0/8", undefined, "db"),
        line("fd00::1", 80, "!web", "db"),
      ),
    );
    await until(() => list().length === 3, "three endpoints");
    assert.deepEqual(list(), ["10.0.0.1:80 web", "10.0.0.0/8 db", "[fd00::1]:80 web (claimed), db"]);
    writeFileSync(path, file(line("10.0.0.2", 80, "web")));
    await until(() => list().join() === "10.0.0.2:80 web", "it was written");
    writeFileSync(`${path}.new`, file());
    renameSync(`${path}.new`, path);
    await until(() => list().length === 0, "another file");
    assert.equal(source.status().state, "current");
    assert.ok((source.status().age ?? -1) >= 0);
  });

  it("that is not there yet is waited for; one that is gone leaves what was read", async () => {
    const { path, list, source, warnings, sets } = watched();
    await until(() => source.status().error, "there is none");
    assert.equal(source.status().state, "waiting");
    writeFileSync(path, file(line("10.0.0.1", 80, "web")));
    await until(() => list().length === 1, "it is there");
    assert.equal(source.status().state, "current");
    rmSync(path);
    await until(() => source.status().state === "stale", "it is gone");
    assert.equal(sets.length, 1);
    assert.match(warnings.at(-1) ?? "", /ENOENT.*what was read before holds/);
  });

  it("written in the middle, or cut off, is not read before it is whole", async () => {
    const lines = Array.from({ length: 5000 }, (_, i) => line(`10.1.${i >> 8}.${i & 255}`, 80, "web"));
    const { path, list, source, sets } = watched(file(line("10.0.0.1", 80, "web")));
    await until(() => list().length === 1, "the first one");
    const text = file(...lines);
    writeFileSync(path, "");
    for (let at = 0; at < text.length; at += 20_000) {
      appendFileSync(path, text.slice(at, at + 20_000));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await until(() => list().length === 5000, "all of it");
    assert.deepEqual(
      sets.map(({ size }) => size),
      [1, 5000],
    );
    writeFileSync(path, text.slice(0, text.length / 2));
    await until(() => source.status().error, "half of it");
    assert.equal(list().length, 5000);
  });

  for (const [what, text, why] of [
    ["nothing", "", /line 1: the file is empty/],
    ["no JSON", "hello\n", /line 1: it is no JSON/],
    ["another version", '{"version":2,"endpoints":0}\n', /line 1: its version is not 1/],
    ["no number of endpoints", '{"version":1}\n', /line 1: "endpoints" is not the number/],
    ["too many lines", `${file()}${line("10.0.0.1", 1, "web")}\n`, /line 2: there are more than the 0/],
    ["too few lines", '{"version":1,"endpoints":2}\n', /the file ends here, and line 1 says that 2/],
    ["a bad address", file(line("10.0.0.300", 1, "web")), /line 2: "10.0.0.300" is no address/],
    ["a bad port", file(line("10.0.0.1", 65536, "web")), /line 2: "port" is not 1 to 65535/],
    ["a block with a port", file(line("10.0.0.0/8", 80, "web")), /line 2: a block of addresses has no port/],
    [
      "a bad protocol",
      file('{"address":"10.0.0.1","port":1,"protocol":"sctp","classes":[]}'),
      /"protocol" is not/,
    ],
    ["no classes", file('{"address":"10.0.0.1"}'), /line 2: "classes" is not a list of names/],
    ["no object", file("[]"), /line 2: it is no object/],
    ["a long line", file(line("10.0.0.1", 1, "x".repeat(5000))), /a line of it has more than 4096/],
  ] as const) {
    it(`with ${what} is not used, and what was read before is`, async () => {
      const { path, list, source } = watched(file(line("10.0.0.1", 80, "web")));
      await until(() => list().length === 1, "the first one");
      writeFileSync(path, text);
      await until(() => source.status().error, "an error");
      assert.match(source.status().error ?? "", why);
      assert.equal(list().length, 1);
      assert.equal(source.status().state, "stale");
    });
  }

  it("may name classes that the configuration does not have: they are counted, and known when it has them", async () => {
    const { list, source } = watched(file(line("10.0.0.1", 80, "web", "new"), line("10.0.0.2", 80, "new")));
    await until(() => list().length === 1, "one endpoint");
    assert.deepEqual(list(), ["10.0.0.1:80 web"]);
    assert.equal(source.status().ignored.get("endpoints in a class that the configuration does not have"), 2);
    source.reclassify(classifier("web", "new"));
    await until(() => list().length === 2, "two endpoints");
    assert.deepEqual(list(), ["10.0.0.1:80 web, new", "10.0.0.2:80 new"]);
  });

  it("is what --export writes", () => {
    assert.deepEqual(
      toFileEndpoint({
        ...{ address: "10.0.0.1", port: 1, protocol: "tcp", task: "f/t" },
        classes: [{ name: "web", claimed: true }, { name: "db" }],
      }),
      { address: "10.0.0.1", port: 1, protocol: "tcp", classes: ["!web", "db"], task: "f/t" },
    );
  });
});
