/** What the documents say: examples that can be used, links that lead somewhere, and a fix for every error. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../../isolator/config/load.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const DOCUMENTS = ["README.md", "config/README.md", "bpf/README.md", "test/README.md", "isolator/README.md"];

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

/** Fenced blocks of a language. */
function blocks(file: string, language: string): string[] {
  return [...read(file).matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, "gm"))].map(
    ([, text = ""]) => text,
  );
}

describe("the documents", () => {
  it("show configuration that is right", () => {
    const found = blocks("config/README.md", "yaml");
    assert(found.length > 0);
    for (const [i, text] of found.entries()) parseConfig(Buffer.from(text), `example ${i + 1}`);
  });

  it("show Marathon's apps as JSON, on the host's network", () => {
    const apps = blocks("config/README.md", "json");
    assert(apps.length > 0);
    for (const text of apps) {
      const { networks } = JSON.parse(text) as { networks: { mode: string }[] };
      assert.deepEqual(networks, [{ mode: "host" }]);
    }
  });

  for (const file of DOCUMENTS) {
    it(`link from ${file} to what is there`, () => {
      for (const [, target = ""] of read(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)/g))
        if (target !== "") assert(existsSync(join(ROOT, dirname(file), target)), `${file}: ${target}`);
    });
  }
});

describe("the way from error to fix", () => {
  const text = read("isolator/README.md");

  it("knows every code", () => {
    const [, list = ""] = /export type ErrorCode =([^;]*);/.exec(read("isolator/errors.ts")) ?? [];
    const codes = [...list.matchAll(/"([a-z-]+)"/g)].map(([, code = ""]) => code);
    assert(codes.length > 30);
    assert.deepEqual(
      codes.filter((code) => !text.includes(`\`${code}\``)),
      [],
    );
  });

  it("quotes what the program really says", () => {
    const sources = readdirSync(join(ROOT, "isolator"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => read(join("isolator", name)))
      .join("\n");
    const [, table = ""] = /## What bpf-isolator says\n([^]*?)\n## /.exec(text) ?? [];
    const quotes = [...table.matchAll(/^\| `([^`]+)`/gm)].map(([, quote = ""]) => quote);
    assert(quotes.length > 25);
    assert.deepEqual(
      quotes.filter((quote) => !sources.includes(quote)),
      [],
    );
  });
});
