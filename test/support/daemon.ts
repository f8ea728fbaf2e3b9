/**
 * A daemon process in an instance of a test's own. It is in the network namespace of the test (network.ts), answers over
 * its real socket, and may be killed and started again. After the tests of the file its containers are cleaned up, it
 * ends, and nothing is left.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";
import { after } from "node:test";
import { IsolatorError } from "../../isolator/errors.js";
import { STATE_ROOT } from "../../isolator/containers/instance.js";
import { cgroupRoot, CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { pinRoot, removePins } from "../../isolator/kernel/pins.js";
import { bpf_isolator, codecs } from "../../isolator/mesos/messages.js";
import { ProtocolClient, socketPath } from "../../isolator/protocol/client.js";
import { JSON_TYPE, PROTOBUF } from "../../isolator/protocol/encoding.js";
import { RecordDecoder } from "../../isolator/mesos/recordio.js";
import { API_PATH } from "../../isolator/protocol/encoding.js";
import { assertNothingLeft, instanceName } from "./instance.js";
import { MAIN } from "./process.js";
import { until } from "./wait.js";

export const { Type } = bpf_isolator.Call;
export type Call = bpf_isolator.Call;
export type Response = bpf_isolator.Response;

/** How calls and their answers travel. */
export type Encoding = "protobuf" | "json";

/** A line of the daemon's log. */
export type LogLine = { level: number; msg: string; event?: string; container?: string } & Record<
  string,
  unknown
>;

export interface DaemonOptions {
  /** Text of its configuration file; without, it has one that is empty. */
  config?: string;
  env?: NodeJS.ProcessEnv;
  /** Commands that it is started through. */
  through?: readonly string[];
  /** Its main.js; this build's if not given. */
  main?: string;
}

/** A stream of records that a test reads in the background. */
export interface Watch {
  readonly records: Response[];
  /** Resolves when the daemon ends it. */
  readonly ended: Promise<void>;
  readonly isOpen: () => boolean;
  close: () => void;
}

export class TestDaemon {
  readonly instance = instanceName();
  /** Everything that all of its processes have logged. */
  readonly log: LogLine[] = [];
  readonly client = ProtocolClient.of(this.instance);
  readonly configFile: string;
  private readonly directory = mkdtempSync(join(tmpdir(), "bpf-isolator-daemon-"));
  private readonly streams = new Set<Watch>();
  private child: ChildProcess | undefined;
  private exited: Promise<number | string> = Promise.resolve(0);

  private constructor(private readonly options: DaemonOptions) {
    this.configFile = join(this.directory, "isolator.yaml");
    this.configure(options.config ?? "");
  }

  /** One that runs, and is ended after the tests of the file: called at its top level, not in a hook. */
  static async start(options: DaemonOptions = {}): Promise<TestDaemon> {
    const daemon = new TestDaemon(options);
    after(() => daemon.end());
    await daemon.start();
    return daemon;
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /** Writes the configuration file, for start() or SIGHUP. */
  configure(text: string): void {
    writeFileSync(this.configFile, text);
  }

  /** Starts the process and waits until it answers. @throws with what it said when it ends before that */
  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const { through = [], main = MAIN } = this.options;
    const serve = ["serve", "--instance", this.instance, "--config", this.configFile];
    const [file = "", ...args] = [...through, process.execPath, main, ...serve];
    const child = spawn(file, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.options.env, ...env },
    });
    this.child = child;
    this.exited = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | string);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const serving = new Promise<void>((resolve) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const entry = JSON.parse(line) as LogLine;
        this.log.push(entry);
        if (entry.msg.startsWith("serving instance")) resolve();
      });
    });
    const ended = await Promise.race([serving, this.exited]);
    if (ended !== undefined) throw new Error(`the daemon ended (${ended}): ${stderr.trim()}`);
  }

  /** Ends the process by a signal. @returns its exit status, or the signal's name */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> {
    this.child?.kill(signal);
    return this.exited;
  }

  async restart(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** Has it read its configuration again, and waits until it has. @returns what it says of that */
  async reload(text: string): Promise<string> {
    this.configure(text);
    const before = this.events("configuration").length;
    this.child?.kill("SIGHUP");
    return until(() => this.events("configuration")[before]?.msg, "the configuration is read again");
  }

  /** Logged events of a kind, of one container if it is named. */
  events(kind: string, container?: string): LogLine[] {
    return this.log.filter(
      (line) => line.event === kind && (container === undefined || line.container === container),
    );
  }

  /** Waits for an event that is logged. */
  event(kind: string, container?: string): Promise<LogLine> {
    return until(() => this.events(kind, container)[0], `event ${kind} of ${container ?? "anything"}`);
  }

  /** @throws IsolatorError, the daemon's */
  async call(call: Call, encoding: Encoding = "protobuf"): Promise<Response> {
    if (encoding === "protobuf") return this.client.call(call);
    const body = await buffer(await this.send(call, encoding));
    return checked(codecs.Response.parseJson(body.toString()));
  }

  /** Opens a stream; the daemon has heard of it when this resolves. */
  async stream(call: Call, encoding: Encoding = "protobuf"): Promise<Watch> {
    const message = await this.send(call, encoding);
    assert.equal(message.statusCode, 200);
    const records: Response[] = [];
    const decoder = new RecordDecoder(1024 * 1024);
    let open = true;
    message.on("data", (chunk: Buffer) => {
      for (const record of decoder.push(chunk)) {
        records.push(
          encoding === "json" ? codecs.Response.parseJson(record.toString()) : codecs.Response.decode(record),
        );
      }
    });
    // A daemon that is killed breaks it off.
    message.on("error", () => undefined);
    const ended = new Promise<void>((resolve) => {
      message.once("close", () => {
        open = false;
        this.streams.delete(stream);
        resolve();
      });
    });
    const stream: Watch = { records, ended, isOpen: () => open, close: () => message.destroy() };
    this.streams.add(stream);
    return stream;
  }

  private send(call: Call, encoding: Encoding): Promise<IncomingMessage> {
    const type = encoding === "json" ? JSON_TYPE : PROTOBUF;
    const body = encoding === "json" ? JSON.stringify(codecs.Call.toJson(call)) : codecs.Call.encode(call);
    return new Promise((resolve, reject) => {
      const sent = request({
        ...{ socketPath: socketPath(this.instance), path: API_PATH, method: "POST", agent: false },
        headers: { "Content-Type": type, "Content-Length": Buffer.byteLength(body) },
      });
      sent.once("response", resolve);
      sent.once("error", reject);
      sent.end(body);
    });
  }

  /** Cleans all containers up, ends the process, and fails when anything is left. Safe to repeat. */
  async end(): Promise<void> {
    try {
      if (this.child) await this.endWell();
    } catch (error) {
      await this.endBadly();
      throw error;
    } finally {
      this.child = undefined;
      this.client.close();
      for (const stream of this.streams) stream.close();
      rmSync(this.directory, { recursive: true, force: true });
    }
    assertNothingLeft(this.instance);
  }

  /** Whatever a daemon failed at: nothing of a test outlives it. */
  private async endBadly(): Promise<void> {
    this.child?.kill("SIGKILL");
    await this.exited;
    await CgroupNode.open(cgroupRoot(requireCgroup2(), this.instance))?.remove();
    rmSync(join(STATE_ROOT, this.instance), { recursive: true, force: true });
    removePins(pinRoot(this.instance));
  }

  private async endWell(): Promise<void> {
    if (this.child?.exitCode !== null || this.child.signalCode !== null) {
      this.configure("");
      await this.start();
    }
    const { list } = await this.call({ type: Type.LIST });
    for (const { container_id } of (list?.containers ?? []).filter(({ origin }) => origin === "agent"))
      await this.call({ type: Type.CLEANUP, cleanup: { container_id } });
    assert.equal(await this.stop(), 0);
  }
}

function checked(response: Response): Response {
  if (response.type !== bpf_isolator.Response.Type.ERROR) return response;
  const { code = "", message = "" } = response.error ?? {};
  throw new IsolatorError(code as "internal", message);
}
