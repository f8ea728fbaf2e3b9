#!/usr/bin/env -S node --max-semi-space-size=4
/**
 * The command line. Every error of a command ends here, and is printed here and only here.
 *
 * The option of node's (MiB; 16 without it) bounds the space of what is new, three of which a daemon has, and with it how
 * long one collection of it keeps calls waiting. config/deb/command.sh has it too.
 */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { IsolatorError, messageOf } from "../errors.js";
import { FULL_MODES, parseBurst, parseRate } from "../features/bandwidth.js";
import { CONNECT_ERRNOS, MAX_LIMIT } from "../features/connections.js";
import { EGRESS_ERRNOS, EGRESS_EXISTING } from "../features/egress.js";
import { ESCAPE_MODES } from "../features/escape.js";
import { FILE_ERRNOS, parseFilePath } from "../features/files.js";
import { CHANGE_MODES, parseDscp, parseMark, parsePriority, WRONG_DSCP_MODES } from "../features/marking.js";
import { EPHEMERAL_MODES, EXTRA_PROTOCOLS, formatPorts } from "../features/ports.js";
import { SOCKET_KINDS } from "../features/sockets.js";
import type { BreakGlassOptions } from "./break-glass.js";
import type { CheckOptions } from "./check.js";
import { renderCompletion, SHELLS, type Shell } from "./completion.js";
import { addDocumentation } from "./documentation.js";
import { renderManual } from "./manual.js";
import { addOperatorCommands, OPERATOR_COMMANDS, OPERATOR_STATUS } from "./operator.js";
import type { RunOptions } from "./run.js";
import type { ServeOptions } from "./serve.js";
import { toAsciiJson } from "./table.js";
import { readVersion } from "./version.js";

/** Exit status of `run` when the command never ran; as env(1), timeout(1) and docker-run(1) have it. */
const RUN_FAILED = 125;
const RUN_STATUS: Partial<Record<string, number>> = {
  "command-not-executable": 126,
  "command-not-found": 127,
};

function parseOnce(text: string, previous: string | undefined): string {
  if (previous !== undefined) throw new InvalidArgumentError("Give it once, as a list.");
  return text;
}

/** An option that is a list of these words, and may be given several times. */
function listOf<T extends string>(words: readonly T[]): (text: string, previous: T[]) => T[] {
  return (text, previous) => {
    const named = text.split(",").map((name) => {
      const word = words.find((known) => known === name.trim());
      if (!word) throw new InvalidArgumentError(`Known: ${words.join(", ")}.`);
      return word;
    });
    return [...new Set([...previous, ...named])];
  };
}

/** A path of an option that may be given several times. */
function addPath(text: string, previous: string[]): string[] {
  return [...previous, parseFilePath(text)];
}

function collect(text: string, previous: string[]): string[] {
  return [...previous, text];
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d{1,10}$/.test(text) || limit < 1 || limit > MAX_LIMIT)
    throw new InvalidArgumentError(`Give a number of 1 to ${MAX_LIMIT}.`);
  return limit;
}

// Whoever reads denials may go before the task does (`2>&1 | head`): that is no reason to end it.
process.stderr.on("error", () => undefined);

const PORTS_EXAMPLE = formatPorts([
  { begin: 31000, end: 31005 },
  { begin: 31010, end: 31010 },
]);

const called = process.argv[2] ?? "";
const words = process.argv.slice(2);
/** Asked for, as far as can be told of a command line that is wrong. */
const wantsJson = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined).includes("--json");

/** An error in JSON: of `run` in the form of what else it tells. */
function errorLine(code: string, message: string): string {
  const error =
    called === "run" ? { event: "error", code, message } : { version: 1, error: { code, message } };
  return `${toAsciiJson(error)}\n`;
}

// What a command needs is loaded only when it is called: `serve` has the kernel verify its programs meanwhile.
const program = new Command("bpf-isolator")
  .description("gives tasks their own ports by cgroup v2 and BPF, with no network namespace")
  .version(readVersion())
  .enablePositionalOptions()
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => {
      write(wantsJson ? errorLine("bad-argument", text.trim().replace(/^error: /, "")) : text);
    },
  })
  .showHelpAfterError(wantsJson ? false : "(--help shows what there is)");

program
  .command("run")
  .description("run a command as the task of a container of its own; no agent, no daemon")
  .usage("[options] -- COMMAND [ARGS]")
  .argument("<command...>", "the command and its arguments")
  .option("-p, --ports <list>", `ports that it may bind: ${PORTS_EXAMPLE}; without: none`, parseOnce)
  .option(
    "-m, --map <list>",
    "port mappings, container port to host port: bind() to 80 gives 31000 with 80:31000, for one protocol with 53:31001/udp; without --ports the host ports are its ports",
    parseOnce,
  )
  .addOption(
    new Option("--ephemeral <mode>", "ports that the kernel chooses")
      .choices(EPHEMERAL_MODES)
      .default("allow"),
  )
  .option("--audit", "report what would be denied, deny nothing")
  .addOption(
    new Option("--allow-protocol <list>", `allow sockets of ${EXTRA_PROTOCOLS.join(", ")}`)
      .argParser(listOf(EXTRA_PROTOCOLS))
      .default([], "none"),
  )
  .addOption(
    new Option("--deny-socket <list>", `deny sockets: ${SOCKET_KINDS.join(", ")}`)
      .argParser(listOf(SOCKET_KINDS))
      .default([], "none"),
  )
  .addOption(
    new Option(
      "--allow-socket <list>",
      "allow packet, xdp and received where rules of egress would deny them",
    )
      .argParser(listOf(SOCKET_KINDS))
      .default([], "none"),
  )
  .addOption(
    new Option(
      "--escape <mode>",
      "ways out of the container's cgroup (default: deny where the kernel can)",
    ).choices(ESCAPE_MODES),
  )
  .option("--max-connections <n>", "connections that it may hold to one destination", parseLimit)
  .option("--max-connections-total <n>", "connections that it may hold in all", parseLimit)
  .option("--max-ephemeral-ports <n>", "ports that it may hold of those that the kernel chooses", parseLimit)
  .addOption(
    new Option("--connect-errno <errno>", "what a connect() over a limit gives (default: EAGAIN)").choices(
      CONNECT_ERRNOS,
    ),
  )
  .addOption(
    new Option("--dscp <dscp>", "DSCP of what it sends: 0-63, CS1, AF21, EF, ...").argParser(parseDscp),
  )
  .addOption(new Option("--mark <mark>", "mark of what it sends: value, or value/mask").argParser(parseMark))
  .addOption(new Option("--priority <number>", "priority of what it sends").argParser(parsePriority))
  .addOption(
    new Option("--marking-change <mode>", "setsockopt() that would change these (default: ignore)").choices(
      CHANGE_MODES,
    ),
  )
  .addOption(
    new Option("--wrong-dscp <mode>", "packets with another DSCP all the same (default: count)").choices(
      // Devices are the daemon's.
      WRONG_DSCP_MODES.filter((mode) => mode !== "rewrite"),
    ),
  )
  .addOption(
    new Option(
      "--egress-rate <rate>",
      "what it may send, IP headers included: 100Mbit, 12.5MB/s, ...",
    ).argParser(parseRate),
  )
  .addOption(new Option("--ingress-rate <rate>", "what it may receive").argParser(parseRate))
  .addOption(
    new Option("--egress-burst <size>", "bytes that it may send at once after a pause: 64KiB, ...").argParser(
      parseBurst,
    ),
  )
  .addOption(new Option("--ingress-burst <size>", "bytes that it may receive at once").argParser(parseBurst))
  .addOption(
    new Option("--on-full <mode>", "datagrams over the limit (default: drop, as a full queue does)").choices(
      FULL_MODES,
    ),
  )
  .option("--limit-loopback", "the loopback device counts too")
  .option("--departures", "departure times of packets where the device has sch_fq, instead of pacing")
  .option(
    "--deny-egress <to>",
    "where it may not connect or send to: 10.0.0.0/8:22, [::1]:80, class:web, *",
    collect,
    [],
  )
  .option("--allow-egress <to>", "exceptions from that", collect, [])
  .addOption(
    new Option("--egress-default <action>", "what holds where none of these fits (default: allow)").choices([
      "allow",
      "deny",
    ]),
  )
  .addOption(
    new Option("--egress-errno <errno>", "what connect() and sendmsg() then give (default: EPERM)").choices(
      EGRESS_ERRNOS,
    ),
  )
  .addOption(
    new Option(
      "--egress-existing <what>",
      "connections that these, classes or endpoints come to deny (default: keep)",
    ).choices(EGRESS_EXISTING),
  )
  .option(
    "--vip <address=backends>",
    "a virtual address and where connect() to it goes: 10.77.0.1:80=10.0.0.1:31000,10.0.0.2:31001",
    collect,
    [],
  )
  .option(
    "--deny-path <path>",
    "file, or directory with all below it, that it may not open or change",
    addPath,
    [],
  )
  .option("--readonly-path <path>", "the same: it may not be changed", addPath, [])
  .option("--allow-path <path>", "exception below one of those", addPath, [])
  .addOption(new Option("--path-errno <errno>", "what these give (default: EACCES)").choices(FILE_ERRNOS))
  .option("--class <name>", "put it into a class of the configuration, with that class's marking")
  .option("--config <file>", "configuration that has the class (default: /etc/bpf-isolator/isolator.yaml)")
  .option("-n, --name <name>", "name of the container (default: run- and eight digits)")
  .option(
    "--instance <name>",
    "instance: its containers share programs and know each other's ports",
    "default",
  )
  .option("--json", "tell denials and usage as one JSON object a line, on stderr")
  .option("--usage-file <file>", "write the usage there at the end, as JSON with Mesos's field names")
  .passThroughOptions()
  .action(async (command: string[], options: RunOptions) => {
    const { run } = await import("./run.js");
    process.exitCode = await run(command, options);
  });

program
  .command("serve")
  .description(
    "the daemon that an agent's module talks to; logs JSON lines on stdout, SIGHUP reads the configuration again",
  )
  .option("--config <file>", "configuration (default: /etc/bpf-isolator/isolator.yaml where that is)")
  .option("--instance <name>", "instance to serve (default: the configuration's, else default)")
  .action(async (options: ServeOptions) => {
    const { serve } = await import("./serve.js");
    process.exitCode = await serve(options);
  });

program
  .command("check")
  .description("say what this machine can and cannot do: 0 it works, 1 it cannot, 2 bad usage")
  .option("-p, --ports <list>", "the tasks' ports, to warn of (default: those of the live containers)")
  .option("--instance <name>", "instance whose containers to look at", "default")
  .option("--json", "print everything as one JSON document")
  .action(async (options: CheckOptions) => {
    const { check } = await import("./check.js");
    process.exitCode = check(options);
  });

addOperatorCommands(program);

program
  .command("break-glass")
  .description(
    "stop enforcing, with the daemon alive or dead, and go back to it: 0 done, 1 not for all, 2 bad usage, 3 does not last",
  )
  .option("--audit", "report what would be refused, refuse nothing")
  .option("--detach", "take the programs away: nothing is refused, reported or counted")
  .option("--restore", "enforce the policy again")
  .option("--container <name>", "this one and what is nested in it (default: all, those to come included)")
  .option("--instance <name>", "instance whose containers are meant", "default")
  .option("--json", "print what was done as JSON")
  .action(async (options: BreakGlassOptions) => {
    const { breakGlass } = await import("./break-glass.js");
    process.exitCode = await breakGlass(options);
  });

program
  .command("completion")
  .description("print a completion script for a shell")
  .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
  .action((shell: Shell) => {
    process.stdout.write(renderCompletion(program, shell));
  });

program
  .command("manual", { hidden: true })
  .description("print the manual page, in roff, for packages")
  .option("--date <date>", "its date", "")
  .action(({ date }: { date: string }) => {
    process.stdout.write(renderManual(program, readVersion(), date));
  });

addDocumentation(program);

const failed = called === "run" ? RUN_FAILED : 1;
const asksDaemon = OPERATOR_COMMANDS.includes(called);
/** Told apart from 1 by `check`, whose 1 is an answer, and by the commands that ask the daemon. */
const badUsage = called === "check" || called === "break-glass" || asksDaemon ? 2 : failed;
const statusOf = asksDaemon ? OPERATOR_STATUS : called === "run" ? RUN_STATUS : {};

/** With --json an error is a line of JSON too. */
function printError(code: string, message: string): void {
  const command = program.commands.find((each) => each.name() === called);
  const asked = command?.opts()["json"] === true;
  process.stderr.write(asked ? errorLine(code, message) : `bpf-isolator: ${message}\n`);
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : badUsage;
  } else if (error instanceof IsolatorError) {
    printError(error.code, error.message);
    process.exitCode = error.code === "bad-argument" ? badUsage : (statusOf[error.code] ?? failed);
  } else {
    // Not foreseen: one line for the user, all of it for who looks into it.
    printError("internal", `unexpected error: ${messageOf(error)} (DEBUG=1 shows where)`);
    if (process.env["DEBUG"]) console.error(error);
    process.exitCode = failed;
  }
}
