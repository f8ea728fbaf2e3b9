/** `bpf-isolator run`: a command as the only task of a container of its own, with no agent and no daemon. */
import { randomBytes } from "node:crypto";
import { accessSync, constants, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Container } from "../containers/container.js";
import { Instance } from "../containers/instance.js";
import { exitStatus, findCommand, Task } from "../containers/task.js";
import { IsolatorError, messageOf } from "../errors.js";
import { toResourceStatistics, type Usage } from "../features/accounting.js";
import { toDenial } from "../features/events.js";
import { formatPorts, parsePorts, type EphemeralMode, type ExtraProtocol } from "../features/ports.js";
import type { Policy } from "../features/policy.js";
import { Reporter } from "./reporter.js";
import { SignalRelay } from "./signals.js";

/** Options as the command line gives them. */
export interface RunOptions {
  ports?: string;
  ephemeral: EphemeralMode;
  audit?: boolean;
  allowProtocol: ExtraProtocol[];
  name?: string;
  instance: string;
  json?: boolean;
  usageFile?: string;
}

function checkUsageFile(file: string | undefined): void {
  if (file === undefined) return;
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch (error) {
    throw new IsolatorError(
      "bad-argument",
      `--usage-file ${file} cannot be written: ${messageOf(error)}`,
      error,
    );
  }
}

function writeUsage(file: string, usage: Usage): void {
  const text = `${JSON.stringify(toResourceStatistics(usage, Date.now() / 1000), null, 2)}\n`;
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/**
 * @param command the command and its arguments
 * @returns exit status: the command's own, 128 + number for a death by signal
 * @throws IsolatorError
 */
export async function run([command, ...args]: readonly string[], options: RunOptions): Promise<number> {
  const policy: Policy = {
    ports: options.ports === undefined ? [] : parsePorts(options.ports),
    ephemeral: options.ephemeral,
    enforce: options.audit ? "audit" : "on",
    allowProtocols: options.allowProtocol,
  };
  if (command === undefined) throw new IsolatorError("bad-argument", "no command is given");
  checkUsageFile(options.usageFile);
  const path = findCommand(command);
  const signals = new SignalRelay();
  const name = options.name ?? `run-${randomBytes(4).toString("hex")}`;
  const instance = Instance.open(options.instance);
  const reporter = new Reporter(name, options.json ?? false);
  const container = await Container.prepare(instance, {
    id: [name],
    policy,
    onEvent: (event) => {
      reporter.denial(() => toDenial(event, (cgroupId) => instance.nameOf(cgroupId)));
    },
  });
  let task: Task | undefined;
  let status: number;
  try {
    if (signals.ending) {
      status = exitStatus(null, signals.ending);
    } else {
      task = await Task.start(container.node, path, args);
      signals.to(task.child);
      status = await task.exited;
    }
  } finally {
    await container.cleanup();
    task?.close();
  }
  const usage = container.usage();
  reporter.summary(usage, Number(usage.eventsLost));
  if (options.usageFile !== undefined) writeUsage(options.usageFile, usage);
  return status;
}

/** For --help. */
export const PORTS_EXAMPLE = formatPorts([
  { begin: 31000, end: 31005 },
  { begin: 31010, end: 31010 },
]);
