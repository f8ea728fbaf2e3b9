/** Whole commands, from fork to exit: /bin/true by itself, under `bpf-isolator run`, and behind a namespace. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { inNamespace, run } from "./command.js";
import { FREE_PORT, PORTS_EACH } from "./fleet.js";
import { isolate, release } from "./portmapping.js";
import type { Network } from "./topology.js";
import { builtCommand } from "./variants.js";

const TASK = "/bin/true";

/** Does one thing once. */
export type Command = () => Promise<void>;

/** Runs argv to its end. @throws Error with its standard error when it fails */
async function execute(argv: readonly string[]): Promise<void> {
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${argv.join(" ")}: exit ${code ?? "by signal"}: ${errors.trim()}`);
}

/** The task alone: what starting any process costs here. */
export const plain: Command = () => execute([TASK]);

/** Node alone: the part of `bpf-isolator run` that is not the isolator's. */
export const emptyNode: Command = () => execute([process.execPath, "-e", "0"]);

/** `bpf-isolator run` in an instance. @throws Error when the command is not built */
export function underRun(instance: string): Command {
  const argv = [process.execPath, builtCommand(), "run", "--instance", instance];
  const ports = `${FREE_PORT}-${FREE_PORT + PORTS_EACH - 1}`;
  return () => execute([...argv, "--ports", ports, "--", TASK]);
}

/** A network namespace with the links and filters of network/port_mapping, the task in it, and all of it removed. */
export function behindNamespace({ mesos }: Network): Command {
  const namespace = `${mesos.namespace}-task`;
  return async () => {
    run("ip", "netns", "add", namespace);
    try {
      isolate(mesos, namespace, FREE_PORT, FREE_PORT + PORTS_EACH - 1);
      await execute(inNamespace(namespace, TASK));
      release(mesos);
    } finally {
      run("ip", "netns", "delete", namespace);
    }
  };
}
