/**
 * `npm test` after set-up: the checks of the code, the tests of this machine (run.ts) and the kernel lab (vm/main.ts), all at
 * once, since tests spend much of their time waiting. Tests of this machine are shown as they run, and the lab's lines of
 * progress; what the lab's guests said comes after. What is wrong with the code is shown when it is known, and at the end.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-test-"));

interface Outcome {
  name: string;
  status: number;
  /** ms */
  took: number;
}

/** Output that is kept until it is shown. */
class Kept {
  private readonly file: string;
  readonly fd: number;

  constructor(name: string) {
    this.file = join(directory, name);
    this.fd = openSync(this.file, "w", 0o600);
  }

  show(): void {
    process.stdout.write(readFileSync(this.file));
  }
}

/** @param stdout and `stderr`: file descriptors; this process's own if not given */
function run(
  name: string,
  command: string,
  args: string[],
  { stdout, stderr }: { stdout?: number; stderr?: number } = {},
): Promise<Outcome> {
  const started = Date.now();
  const child = spawn(command, args, { stdio: ["ignore", stdout ?? "inherit", stderr ?? "inherit"] });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ name, status: code ?? 1, took: Date.now() - started });
    });
  });
}

function say({ name, status, took }: Outcome): void {
  console.log(`${name}: ${status === 0 ? "passed" : "FAILED"} in ${(took / 1000).toFixed(0)} s`);
}

const lab = new Kept("lab");
const code = new Kept("code");
try {
  const outcomes = await Promise.all([
    run("checks of the code", "npm", ["run", "--silent", "check:code"], {
      stdout: code.fd,
      stderr: code.fd,
    }).then((outcome) => {
      if (outcome.status !== 0) code.show();
      say(outcome);
      return outcome;
    }),
    run("this machine", process.execPath, [join(HERE, "run.js")]),
    run("kernel lab", process.execPath, [join(HERE, "vm/main.js")], { stdout: lab.fd }),
  ]);
  lab.show();
  if (outcomes[0].status !== 0) code.show();
  outcomes.forEach(say);
  process.exitCode = outcomes.some(({ status }) => status !== 0) ? 1 : 0;
} finally {
  for (const { fd } of [lab, code]) closeSync(fd);
  rmSync(directory, { recursive: true });
}
