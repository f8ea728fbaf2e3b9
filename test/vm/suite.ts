/**
 * Which test files run in the guest. Node starts in 1.2 s there and code runs about 15 times slower than here, so it is
 * the tests that face the kernel, not all.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { PROJECT } from "./image.js";

/** Folders of test/ whose tests depend on the kernel. */
const FOLDERS = ["kernel", "features", "bypass", "containers"];

/** A line of a test's source that keeps it on the host, and the reason. */
const OPT_OUT = /^\/\/ not in the VM: (.+)$/m;

export interface Suite {
  /** Compiled test files, relative to the project. */
  files: string[];
  /** Test files that opted out, with their reasons. */
  left: { file: string; reason: string }[];
}

/** All compiled test files below a folder of dist/test, relative to the project, in order. */
export function testFiles(folder: string): string[] {
  const directory = join(PROJECT, "dist/test", folder);
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => relative(PROJECT, join(directory, name)))
    .sort();
}

/** Those of the files that are in a part of the suite. @param part beginnings of their paths below test/; all without */
export function filesOf(part: readonly string[] | undefined, files: readonly string[]): string[] {
  return files.filter((file) => part?.some((start) => file.startsWith(`dist/test/${start}`)) ?? true);
}

export function guestSuite(): Suite {
  const suite: Suite = { files: [], left: [] };
  for (const file of FOLDERS.flatMap(testFiles)) {
    const source = join(PROJECT, file.replace(/^dist\//, "").replace(/\.js$/, ".ts"));
    const reason = existsSync(source) ? OPT_OUT.exec(readFileSync(source, "utf8"))?.[1] : undefined;
    if (reason === undefined) suite.files.push(file);
    else suite.left.push({ file, reason });
  }
  return suite;
}
