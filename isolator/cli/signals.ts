/** Signals to `run` are the task's: from the first moment on, so that one during set-up is not lost. */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";

const PASSED_ON: NodeJS.Signals[] = [
  "SIGHUP",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGINT",
  "SIGQUIT",
  "SIGCONT",
];
/** The terminal sends these to all of its foreground processes by itself. */
const FROM_TERMINAL: NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];
/** They end a process that does nothing about them. */
const ENDING: NodeJS.Signals[] = ["SIGHUP", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT"];

/** Whether the terminal's ^C reaches this process's group, and so the task, without anybody's help. */
function isForeground(): boolean {
  // Fields 5 and 8 of proc_pid_stat(5); the name in field 2 may hold spaces and parentheses.
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return fields[2] !== undefined && fields[2] === fields[5];
}

export class SignalRelay {
  private readonly handlers = new Map<NodeJS.Signals, () => void>();
  private readonly pending: NodeJS.Signals[] = [];
  private child: ChildProcess | undefined;

  constructor() {
    for (const signal of PASSED_ON) {
      const handler = (): void => {
        this.receive(signal);
      };
      this.handlers.set(signal, handler);
      process.on(signal, handler);
    }
  }

  /** The first signal so far that would have ended the task, had there been one. */
  get ending(): NodeJS.Signals | undefined {
    return this.pending.find((signal) => ENDING.includes(signal));
  }

  /** From now on signals go to this process; those that came before it are delivered. */
  to(child: ChildProcess): void {
    this.child = child;
    for (const signal of this.pending.splice(0)) child.kill(signal);
  }

  /** Signals have their usual effect again. */
  close(): void {
    for (const [signal, handler] of this.handlers) process.off(signal, handler);
  }

  private receive(signal: NodeJS.Signals): void {
    if (!this.child) this.pending.push(signal);
    else if (!FROM_TERMINAL.includes(signal) || !isForeground()) this.child.kill(signal);
  }
}
