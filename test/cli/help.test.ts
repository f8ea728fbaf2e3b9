/** What the program says of itself: --help, the manual page, completion, colours. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { execute, isolator, runIsolator } from "../support/process.js";

const COMMANDS = [
  "run",
  "serve",
  "check",
  "list",
  "usage",
  "top",
  "status",
  "events",
  "endpoints",
  "services",
  "explain",
  "break-glass",
  "completion",
];

const directory = mkdtempSync(join(tmpdir(), "bpf-isolator-help-"));
after(() => {
  rmSync(directory, { recursive: true });
});

async function print(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runIsolator(args);
  assert.deepEqual([status, stderr], [0, ""]);
  return stdout;
}

async function has(command: string): Promise<boolean> {
  return (await execute(["sh", "-c", `command -v ${command}`])).status === 0;
}

/** Runs with a terminal. */
function onTerminal(command: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const line = command.map((word) => `'${word}'`).join(" ");
  return execute(["script", "--quiet", "--return", "--command", line, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", NO_COLOR: "", ...env },
  });
}

describe("--help", () => {
  for (const command of COMMANDS) {
    it(`of ${command} has an example and every exit status`, async () => {
      const text = await print(command, "--help");
      assert.match(text, /\nExamples:\n {2}# .*\n {2}bpf-isolator /);
      assert.match(text, /\nExit status:\n {2}(0 {2}|the command's)/);
    });
  }

  it("names all commands", async () => {
    const text = await print("--help");
    const named = [...(text.split("\nCommands:\n")[1]?.matchAll(/^ {2}([a-z-]+) /gm) ?? [])].map(
      ([, name = ""]) => name,
    );
    // So that another command's examples and statuses are looked at too.
    assert.deepEqual(named.filter((name) => name !== "help").sort(), [...COMMANDS].sort());
    assert.doesNotMatch(text, /manual/);
  });

  it("is near where a word is mistyped", async () => {
    assert.match((await runIsolator(["lst"])).stderr, /Did you mean list\?/);
    assert.match((await runIsolator(["run", "--port", "1", "--", "true"])).stderr, /Did you mean --ports\?/);
  });
});

describe("the manual page", () => {
  let page = "";
  before(async () => {
    page = await print("manual", "--date", "2026-11-25");
  });

  it("has each command with its options, examples and exit statuses", async () => {
    assert.match(page, /^\.TH BPF\\-ISOLATOR 1 "2026-11-25" "bpf\\-isolator \d/);
    const plain = page.replaceAll("\\-", "-");
    for (const command of COMMANDS) {
      assert(plain.includes(`.SS "bpf-isolator ${command}"`), command);
      const help = await print(command, "--help");
      for (const [, option = ""] of help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm))
        if (option !== "--help") assert(plain.includes(option), `${command} ${option}`);
    }
  });

  it("is right roff", async (context) => {
    if (!(await has("groff"))) {
      context.skip("no groff here");
      return;
    }
    const file = join(directory, "bpf-isolator.1");
    writeFileSync(file, page);
    const { status, stdout, stderr } = await execute(["groff", "-man", "-Tascii", "-ww", "-z", file]);
    assert.deepEqual([status, stdout, stderr], [0, "", ""]);
  });
});

describe("completion", () => {
  async function script(shell: string): Promise<string> {
    const file = join(directory, `completion.${shell}`);
    writeFileSync(file, await print("completion", shell));
    return file;
  }

  it("of bash knows commands, options, and the words of an option", async () => {
    const file = await script("bash");
    const complete = async (...words: string[]): Promise<string[]> => {
      const say = `source ${file}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bpf_isolator; echo "\${COMPREPLY[@]}"`;
      const { status, stdout, stderr } = await execute(["bash", "-c", say, "-", "bpf-isolator", ...words]);
      assert.deepEqual([status, stderr], [0, ""]);
      return stdout.trim().split(" ");
    };
    assert.deepEqual(await complete("ch"), ["check"]);
    assert.deepEqual(await complete("run", "--ephem"), ["--ephemeral"]);
    assert.deepEqual(await complete("run", "--ephemeral", ""), ["allow", "clients", "deny"]);
    assert.deepEqual(await complete("completion", ""), ["bash", "zsh", "fish"]);
    assert((await complete("run", "--", "tru")).includes("true"));
  });

  it("of fish knows the same", async (context) => {
    if (!(await has("fish"))) {
      context.skip("no fish here");
      return;
    }
    const file = await script("fish");
    const complete = async (line: string): Promise<string[]> => {
      const { status, stdout, stderr } = await execute([
        "fish",
        "-c",
        `source ${file}; complete -C '${line}'`,
      ]);
      assert.deepEqual([status, stderr], [0, ""]);
      return stdout
        .trim()
        .split("\n")
        .map((row) => row.split("\t")[0] ?? "");
    };
    assert.deepEqual(await complete("bpf-isolator ch"), ["check"]);
    assert.deepEqual(await complete("bpf-isolator run --ephemeral "), ["allow", "clients", "deny"]);
    assert.deepEqual(await complete("bpf-isolator run --ephem"), ["--ephemeral"]);
  });

  it("of zsh is a script that zsh takes", async (context) => {
    if (!(await has("zsh"))) {
      context.skip("no zsh here");
      return;
    }
    const file = await script("zsh");
    const load = `autoload -Uz compinit && compinit -D -u && source ${file} && print $_comps[bpf-isolator]`;
    const { stdout, stderr } = await execute(["zsh", "-f", "-c", load], {
      env: { ...process.env, HOME: directory },
    });
    assert.deepEqual([stdout, stderr], ["_bpf_isolator\n", ""]);
  });

  it("of another shell is refused by name", async () => {
    const { status, stderr } = await runIsolator(["completion", "tcsh"]);
    assert.equal(status, 1);
    assert.match(stderr, /Allowed choices are bash, zsh, fish/);
  });
});

describe("colours", () => {
  const check = isolator("check", "--instance", "t-colours");

  it("are on a terminal, and nowhere else", async () => {
    assert((await onTerminal(check)).stdout.includes("\u001b[32mworks\u001b[39m"));
    assert(!(await execute(check)).stdout.includes("\u001b"));
  });

  it("are off where the environment asks for that", async () => {
    for (const env of [{ NO_COLOR: "1" }, { TERM: "dumb" }]) {
      const { stdout } = await onTerminal(check, env);
      assert.match(stdout, /works here/);
      assert(!stdout.includes("\u001b"));
    }
  });
});
