/**
 * `npm test` after set-up: every test file by node's own runner, one file after another since the machine has few
 * cores. Those of test/vm/ are run by the kernel lab (test/vm/main.ts). Arguments name files or folders of test/; without, all.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(fileURLToPath(import.meta.url));
/** No test waits that long for anything; a hang is a failure with a name. ms */
const TIMEOUT = 600_000;

const wanted = process.argv.slice(2);
const files = readdirSync(ROOT, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.js") && !file.startsWith("vm/"))
  .filter((file) => wanted.length === 0 || wanted.some((name) => file.startsWith(name)))
  .sort();
if (files.length === 0) {
  console.error(`no test file begins with ${wanted.join(", ")}`);
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  [
    ...["--test", "--test-concurrency=1", `--test-timeout=${TIMEOUT}`, "--test-reporter=spec"],
    ...files.map((file) => relative(process.cwd(), join(ROOT, file))),
  ],
  { stdio: "inherit" },
);
process.exitCode = status ?? 1;
