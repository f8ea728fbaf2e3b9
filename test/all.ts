/**
 * `npm test` after the checks of the code: the tests of this machine (run.ts) and the kernel lab (vm/main.ts), both at once,
 * since the former spend much of their time waiting. Tests of this machine are shown as they run, and the lab's lines of
 * progress; what the lab's guests said comes after.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));

interface Outcome {
  name: string;
  status: number;
  /** ms */
  took: number;
}

/** @param output file descriptor for its stdout */
function run(name: string, program: string, output: number | "inherit"): Promise<Outcome> {
  const started = Date.now();
  const child = spawn(process.execPath, [join(HERE, program)], { stdio: ["ignore", output, "inherit"] });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ name, status: code ?? 1, took: Date.now() - started });
    });
  });
}

const said = join(tmpdir(), `bpf-isolator-lab-${process.pid}.log`);
const output = openSync(said, "w", 0o600);
try {
  const outcomes = await Promise.all([
    run("this machine", "run.js", "inherit"),
    run("kernel lab", "vm/main.js", output),
  ]);
  process.stdout.write(readFileSync(said));
  for (const { name, status, took } of outcomes)
    console.log(`${name}: ${status === 0 ? "passed" : "FAILED"} in ${(took / 1000).toFixed(0)} s`);
  process.exitCode = outcomes.some(({ status }) => status !== 0) ? 1 : 0;
} finally {
  closeSync(output);
  rmSync(said, { force: true });
}
