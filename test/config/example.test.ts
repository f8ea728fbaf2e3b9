/** config/: the example is a valid file in all its parts and shows every key, and the JSON schema says the same. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { parseConfig } from "../../isolator/config/load.js";
import { ConfigSchema } from "../../isolator/config/schema.js";

const DIRECTORY = new URL("../../../config/", import.meta.url);
const example = readFileSync(new URL("isolator.yaml", DIRECTORY), "utf8");

/** A setting that is commented out has no space after the '#', or several. */
const SETTING = /^#(?=[a-z]| {2,}(?:-|[\w-]+:))/;

function uncomment(text: string): string {
  return text
    .split("\n")
    .map((line) => line.replace(SETTING, ""))
    .join("\n");
}

/** Runs of lines with settings. */
function blocks(): string[] {
  return example
    .split("\n\n")
    .map((paragraph) => paragraph.split("\n").filter((line) => SETTING.test(line)))
    .filter((lines) => lines.length > 0)
    .map((lines) => uncomment(lines.join("\n")));
}

const load = (text: string) => parseConfig(Buffer.from(text), "isolator.yaml").config;

describe("config/isolator.yaml", () => {
  it("sets nothing as it is", () => {
    assert.deepEqual(load(example), load(""));
  });

  it("shows every key, and each is valid by itself", () => {
    const keys = blocks().flatMap((block) => {
      load(block);
      return [...block.matchAll(/^(\w+):/gm)].map(([, key]) => key);
    });
    assert.deepEqual(keys.sort(), Object.keys(ConfigSchema.shape).sort());
  });

  it("is valid with everything in it", () => {
    const config = load(uncomment(example));
    assert.deepEqual(config.judged, { begin: 31000, end: 32000 });
    assert.deepEqual(config.trustedRoles, ["ops"]);
    assert.equal(config.exemptions.length, 3);
    assert.deepEqual(config.exemptions[2]?.labels, [["port-policy", "audit"]]);
  });
});

describe("README.md", () => {
  it("shows what is really said of a bad file", () => {
    const readme = readFileSync(new URL("../README.md", DIRECTORY), "utf8");
    const [, text = "", said = ""] =
      /\$ cat isolator\.yaml\n(.*?)\n\$ bpf-isolator serve [^\n]*\nbpf-isolator: (.*?)\n```/s.exec(readme) ??
      [];
    assert.throws(() => load(text), { code: "bad-config", message: said });
  });
});

interface JsonSchema {
  description?: string;
  additionalProperties?: unknown;
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  default?: unknown;
}

describe("config/isolator.schema.json", () => {
  const schema = JSON.parse(readFileSync(new URL("isolator.schema.json", DIRECTORY), "utf8")) as JsonSchema;

  const visit = (node: JsonSchema, path: string): void => {
    for (const [key, property] of Object.entries(node.properties ?? {})) {
      assert(property.description, `${path}.${key} is described`);
      visit(property, `${path}.${key}`);
    }
    if (node.properties) assert.equal(node.additionalProperties, false, `${path} takes no other keys`);
    if (node.items) visit(node.items, `${path}[]`);
  };

  it("describes every key and takes no others", () => {
    visit(schema, "");
  });

  it("names the defaults that the program has", () => {
    const defaults = Object.fromEntries(
      Object.entries(schema.properties ?? {})
        .filter(([, property]) => property.default !== undefined)
        .map(([key, property]) => [key, property.default]),
    );
    assert.deepEqual(defaults, { instance: "default", escape: "deny", ...ConfigSchema.parse({}) });
  });
});
