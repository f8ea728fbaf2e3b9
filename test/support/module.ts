/**
 * The Mesos module under test: built against the Mesos of MESOS_ROOT, or one that is installed where they are wont to be, into
 * dist/module/, and loaded by a real libprocess program (test/module/driver.cpp) that makes the calls of an agent. Without a
 * Mesos there is nothing to build it with.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { idOf } from "./agent.js";
import { until } from "./wait.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const BUILD = join(ROOT, "dist/module");

/** Where Mesos is installed when nobody says where. */
const PREFIXES = ["/usr", "/usr/local", "/opt/mesos"];
const HEADER = "include/mesos/version.hpp";
const LIBRARIES = ["lib/libmesos.so", "lib64/libmesos.so"];

function isMesos(prefix: string): boolean {
  const has = (file: string): boolean => existsSync(join(prefix, file));
  return has(HEADER) && LIBRARIES.some(has);
}

/** Prefix of the Mesos that the module is built for; undefined: there is none. */
export const MESOS_ROOT = process.env["MESOS_ROOT"] ?? PREFIXES.find(isMesos);

/** Why these tests are not run here; false: they are. */
export const SKIPPED =
  MESOS_ROOT === undefined
    ? `the C++ module was neither built nor tried: MESOS_ROOT is not set, and none of ${PREFIXES.join(", ")} has ${HEADER} ` +
      `and ${LIBRARIES.join(" or ")}. Give the prefix of an installed Mesos by MESOS_ROOT`
    : false;

function cmake(...args: string[]): void {
  const { status, stdout, stderr } = spawnSync("cmake", args, { encoding: "utf8", cwd: ROOT });
  assert.equal(status, 0, `cmake ${args.join(" ")}:\n${stdout}\n${stderr}`);
}

/** Builds the module and its driver, or what of them is out of date. */
export function buildModule(): void {
  mkdirSync(BUILD, { recursive: true });
  cmake("-S", "test/module", "-B", BUILD, `-DMESOS_ROOT=${MESOS_ROOT ?? ""}`, "-DCMAKE_BUILD_TYPE=Debug");
  cmake("--build", BUILD);
}

/** All of this test process's; whatever a test fails at, none stays. */
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

export type Json = Record<string, unknown>;

/** How a call has ended. */
export interface Outcome {
  ready?: Json;
  failed?: string;
  discarded?: true;
  /** How long it took. */
  ms: number;
}

/** An id of a container as JSON has it. */
export function jsonId(name: string): Json {
  const [root, ...nested] = idOf(name);
  return nested.reduce<Json>((parent, value) => ({ value, parent }), { value: root });
}

/** A program that has the module loaded. Its calls are those of Mesos's Isolator. */
export class Module {
  private readonly lines = new Map<number, Outcome>();
  private next = 1;

  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, Readable>,
    /** What the module says of itself, and where the program's libprocess listens. */
    readonly facts: Json,
    private readonly err: () => string,
  ) {}

  /** @throws with what it says when it does not load @param parameters as modules.json has them */
  static async load(parameters: Record<string, string>): Promise<Module> {
    const list = Object.entries(parameters).map(([key, value]) => ({ key, value }));
    const child = spawn(
      join(BUILD, "driver"),
      [join(BUILD, "module/libbpf_isolator.so"), JSON.stringify({ parameter: list })],
      { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, LIBPROCESS_IP: "127.0.0.1" } },
    );
    child.stdin.on("error", () => undefined);
    children.add(child);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const lines = createInterface({ input: child.stdout });
    const first = await Promise.race([once(lines, "line"), once(child, "close")]);
    if (typeof first[0] !== "string") throw new Error(stderr.trim());
    const module = new Module(child, JSON.parse(first[0]) as Json, () => stderr);
    lines.on("line", (line) => {
      const { n, ...outcome } = JSON.parse(line) as Outcome & { n: number };
      module.lines.set(n, outcome);
    });
    return module;
  }

  /** What it has logged. */
  get log(): string {
    return this.err();
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Makes a call. @returns its number, for outcome() and the like */
  start(call: string, more: Json): number {
    const n = this.next++;
    this.child.stdin.write(`${JSON.stringify({ n, call, ...more })}\n`);
    return n;
  }

  discard(n: number): void {
    this.child.stdin.write(`${JSON.stringify({ discard: n })}\n`);
  }

  isPending(n: number): boolean {
    return !this.lines.has(n);
  }

  /** @throws with what it said when the program ends meanwhile */
  async outcome(n: number): Promise<Outcome> {
    const { child } = this;
    const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
    await until(() => this.lines.has(n) || ended(), `call ${n} ends`, 60_000);
    const outcome = this.lines.get(n);
    assert(outcome, `the program has ended: ${this.err().slice(-2000)}`);
    return outcome;
  }

  call(call: string, more: Json): Promise<Outcome> {
    return this.outcome(this.start(call, more));
  }

  prepare(name: string, values: object): Promise<Outcome> {
    const whole = { directory: "/sandbox", command_info: {}, ...values };
    return this.call("prepare", { id: jsonId(name), config: whole });
  }

  isolate(name: string, pid: number): Promise<Outcome> {
    return this.call("isolate", { id: jsonId(name), pid });
  }

  update(name: string, ...resources: object[]): Promise<Outcome> {
    return this.call("update", { id: jsonId(name), resources });
  }

  /** Of "watch", "usage", "status" and "cleanup". */
  of(name: string, call: string): Promise<Outcome> {
    return this.call(call, { id: jsonId(name) });
  }

  /** @returns number of the call, which stays pending */
  watch(name: string): number {
    return this.start("watch", { id: jsonId(name) });
  }

  recover(names: readonly string[], orphans: readonly string[] = []): Promise<Outcome> {
    return this.call("recover", {
      states: names.map((name) => ({ container_id: jsonId(name), pid: 1, directory: "/sandbox" })),
      orphans: orphans.map(jsonId),
    });
  }

  /** Ends the program, as an agent that is stopped. */
  async end(): Promise<void> {
    const closed = once(this.child, "close");
    this.child.stdin.end();
    await closed;
  }

  async kill(): Promise<void> {
    const closed = once(this.child, "close");
    this.child.kill("SIGKILL");
    await closed;
  }
}
