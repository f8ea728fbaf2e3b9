/** The manual page, bpf-isolator(1), from the commands' own help. */
import type { Command, Option } from "commander";
import { aboutOf, ENVIRONMENT, FILES } from "./documentation.js";

/** Text for roff: nothing in it is a request or an escape, and a hyphen is the one that is typed. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^(?=[.'])/gm, "\\&");
}

const section = (title: string): string => `.SH ${title}`;
const item = (term: string, text: string): string[] => [".TP", `\\fB${roff(term)}\\fR`, roff(text)];

function optionText(option: Option): string {
  const { description, argChoices, defaultValueDescription } = option;
  const defaultValue: unknown = option.defaultValue;
  const choices = argChoices ? ` One of ${argChoices.join(", ")}.` : "";
  const value = defaultValueDescription ?? (typeof defaultValue === "string" ? defaultValue : undefined);
  return `${description}.${choices}${value === undefined ? "" : ` Default: ${value}.`}`;
}

function commandText(command: Command): string[] {
  const { examples, status } = aboutOf(command.name());
  const helper = command.createHelp();
  return [
    `.SS "bpf\\-isolator ${roff(command.name())}"`,
    `\\fBbpf\\-isolator ${roff(`${command.name()} ${command.usage()}`)}\\fR`,
    ".PP",
    roff(`${command.description()}.`),
    ...helper
      .visibleOptions(command)
      .filter(({ long }) => long !== "--help")
      .flatMap((option) => item(option.flags, optionText(option))),
    ...(status.length > 0 ? [".PP", "Exit status:"] : []),
    ...status.flatMap(([value, meaning]) => item(value, meaning)),
    ...(examples.length > 0 ? [".PP", "Examples:"] : []),
    ...examples.flatMap(([what, line]) => [".PP", `${roff(what)}:`, ".RS", ".nf", roff(line), ".fi", ".RE"]),
  ];
}

/**
 * @param date of the page, as 2026-11-25; empty: none
 * @returns roff with the macros of man(7)
 */
export function renderManual(program: Command, version: string, date: string): string {
  const commands = program.createHelp().visibleCommands(program);
  return `${[
    `.TH BPF\\-ISOLATOR 1 "${date}" "bpf\\-isolator ${version}" "User Commands"`,
    section("NAME"),
    `bpf\\-isolator \\- ${roff(program.description())}`,
    section("SYNOPSIS"),
    "\\fBbpf\\-isolator\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]",
    section("DESCRIPTION"),
    "Each container has a cgroup v2 node of its own, with BPF programs on it: a",
    "bind() outside of its ports is EPERM, and its traffic is counted. Needs root,",
    "Linux 6.1 and libbpf 1.",
    section("COMMANDS"),
    ...commands.filter((command) => command.name() !== "help").flatMap(commandText),
    section("ENVIRONMENT"),
    ...ENVIRONMENT.flatMap(([name, what]) => item(name, what)),
    section("FILES"),
    ...FILES.flatMap(([path, what]) => item(path, what)),
    section('"SEE ALSO"'),
    "README.md; \\fBcgroups\\fR(7), \\fBsystemctl\\fR(1)",
  ].join("\n")}\n`;
}
