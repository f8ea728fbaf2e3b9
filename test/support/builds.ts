/** Other builds of the whole program, made from this one: what an upgrade starts from, and ends in. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readLayouts } from "../../isolator/kernel/btf.js";
import { ENUMS, STRUCTS } from "../../isolator/kernel/object.js";
import { DIST } from "./process.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * @param directory where it is made, in a directory `name`
 * @param change edits its bpf/
 * @returns its main.js
 */
function make(directory: string, name: string, change: (bpf: string) => void): string {
  const root = join(directory, name);
  mkdirSync(join(root, "dist"), { recursive: true });
  cpSync(join(DIST, "isolator"), join(root, "dist/isolator"), { recursive: true });
  cpSync(join(ROOT, "bpf"), join(root, "bpf"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(root, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(root, "node_modules"));
  change(join(root, "bpf"));
  execFileSync("bash", [join(root, "bpf/build.sh")], { stdio: ["ignore", "ignore", "inherit"] });
  const layouts = JSON.stringify(readLayouts(join(root, "dist/bpf/isolator.bpf.o"), STRUCTS, ENUMS));
  writeFileSync(join(root, "dist/isolator/kernel/gen/layout.js"), `export const layouts = ${layouts};\n`);
  return join(root, "dist/isolator/cli/main.js");
}

/** The build that a main.js is of, as buildId() says there. */
export function buildOf(main: string): string {
  const object = join(dirname(main), "../../bpf/isolator.bpf.o");
  return createHash("sha256").update(readFileSync(object)).digest("hex").slice(0, 12);
}

/** One with the same data layouts and another object file. */
export function sameLayouts(directory: string): string {
  return make(directory, "same", (bpf) => {
    appendFileSync(join(bpf, "isolator.bpf.c"), '\nconst char OTHER_BUILD[] SEC("other_build") = "yes";\n');
  });
}

/** One with other layouts of all that is kept or travels: fewer levels, more counters, more of an event. */
export function otherLayouts(directory: string): string {
  return make(directory, "other", (bpf) => {
    const layout = join(bpf, "layout");
    for (const [name, was, is] of [
      ["levels.h", "#define LEVELS 4", "#define LEVELS 2"],
      ["accounting.h", "struct counters {", "struct counters {\n\t__u64 ahead_of_all;"],
      ["events.h", "struct event {", "struct event {\n\t__u64 ahead_of_all;"],
    ] as const) {
      const text = readFileSync(join(layout, name), "utf8");
      assert(text.includes(was), was);
      writeFileSync(join(layout, name), text.replace(was, is));
    }
    for (const name of readdirSync(layout)) {
      const text = readFileSync(join(layout, name), "utf8");
      writeFileSync(join(layout, name), text.replaceAll("_Static_assert", "// _Static_assert"));
    }
  });
}
