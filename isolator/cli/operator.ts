/** The commands that ask a daemon: list, usage, top, status, events, endpoints, services, explain. */
import { InvalidArgumentError, Option, type Command } from "commander";
import type { DaemonOptions } from "./daemon.js";
import type { EndpointsOptions } from "./endpoints.js";
import type { EventsOptions } from "./events.js";
import type { TopOptions } from "./top.js";

/** What `top` may sort by. */
export const SORTS = ["received", "sent", "denied", "connections", "pids", "name"] as const;
export type Sort = (typeof SORTS)[number];

/** Exit status of these commands for the errors that scripts tell apart. 1: any other. */
export const OPERATOR_STATUS: Partial<Record<string, number>> = { "no-daemon": 3, "shutting-down": 3 };

export const OPERATOR_COMMANDS = [
  "list",
  "usage",
  "top",
  "status",
  "events",
  "endpoints",
  "services",
  "explain",
];

function add(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .option("--instance <name>", "instance whose daemon to ask", "default")
    .option("--json", "print it as JSON");
}

function parseInterval(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0.1 && seconds <= 3600)) throw new InvalidArgumentError("Give 0.1 to 3600 seconds.");
  return seconds;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("Give a number of 1 or more.");
  return Number(text);
}

/** What each needs is loaded only when it is called. */
export function addOperatorCommands(program: Command): void {
  add(program, "list", "list the containers: their ports, processes, traffic and denials").action(
    async (options: DaemonOptions) => {
      const { list } = await import("./list.js");
      process.exitCode = await list(options);
    },
  );
  add(program, "usage", "show all that is counted of a container")
    .argument("<name>", "its name, or the beginning of it")
    .action(async (name: string, options: DaemonOptions) => {
      const { usage } = await import("./usage.js");
      process.exitCode = await usage(name, options);
    });
  program
    .command("top")
    .description(
      "show the containers live, those first that do most; the keys that it takes are on its screen",
    )
    .option("--instance <name>", "instance whose daemon to ask", "default")
    .addOption(new Option("--sort <column>", "what is first").choices(SORTS).default("received"))
    .option("--reverse", "last first")
    .option("--interval <seconds>", "time between two looks", parseInterval, 1)
    .option("--count <n>", "end after so many looks (default: at q, or a signal)", parseCount)
    .action(async (options: TopOptions) => {
      const { top } = await import("./top.js");
      process.exitCode = await top(options);
    });
  add(program, "status", "show the daemon: version, agent, containers, configuration").action(
    async (options: DaemonOptions) => {
      const { status } = await import("./status.js");
      process.exitCode = await status(options);
    },
  );
  add(program, "endpoints", "list which addresses and ports of the cluster are in which class")
    .option("--class <name>", "only those in this class of the configuration")
    .option("--export", "print them as a file that endpoints.file of another daemon reads")
    .action(async (options: EndpointsOptions) => {
      const { endpoints } = await import("./endpoints.js");
      process.exitCode = await endpoints(options);
    });
  add(program, "services", "list virtual addresses, their backends, and how these are").action(
    async (options: DaemonOptions) => {
      const { services } = await import("./services.js");
      process.exitCode = await services(options);
    },
  );
  add(program, "explain", "say which rule decides on a connection of a container, by the kernel's own tables")
    .argument("<name>", "the container, or the beginning of its name")
    .argument("<destination>", "as in 10.1.2.3:80, udp:10.1.2.3:53, [fd00::1]:443, or an address alone")
    .action(async (name: string, destination: string, options: DaemonOptions) => {
      const { explain } = await import("./explain.js");
      process.exitCode = await explain(name, destination, options);
    });
  add(
    program,
    "events",
    "show what happened: denials, containers, the daemon's own; JSON is one object a line",
  )
    .option("-f, --follow", "go on with what happens, until a signal")
    .option("--container <name>", "only events of this container and those nested in it")
    .action(async (options: EventsOptions) => {
      const { events } = await import("./events.js");
      process.exitCode = await events(options);
    });
}
