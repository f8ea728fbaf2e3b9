/** `bpf-isolator completion SHELL`: completion for bash, zsh and fish, from the program's own commands and options. */
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** What comes after an option or as an argument. */
type Value = { kind: "none" | "container" | "file" | "command" | "any" } | { kind: "words"; words: string[] };

interface CompletedOption {
  long: string;
  short: string | undefined;
  text: string;
  value: Value;
}

interface CompletedCommand {
  name: string;
  text: string;
  options: CompletedOption[];
  argument: Value;
}

const FILES = ["--config", "--usage-file"];
/** Arguments of commands that the program does not know the values of. */
const ARGUMENTS: Partial<Record<string, Value>> = {
  run: { kind: "command" },
  usage: { kind: "container" },
  completion: { kind: "words", words: [...SHELLS] },
};

function valueOf({ long, argChoices, required }: Option): Value {
  if (!required) return { kind: "none" };
  if (argChoices) return { kind: "words", words: argChoices };
  if (long === "--container") return { kind: "container" };
  return { kind: FILES.includes(long ?? "") ? "file" : "any" };
}

/** Text in single quotes of any of the three shells. */
function plain(text: string): string {
  return text.replaceAll(/['\\[\]:$`"]/g, " ").replaceAll(/\s+/g, " ");
}

function commandsOf(program: Command): CompletedCommand[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== "help")
    .map((command) => ({
      name: command.name(),
      text: plain(command.description()),
      options: command
        .createHelp()
        .visibleOptions(command)
        .map((option) => ({
          long: option.long ?? "",
          short: option.short ?? undefined,
          text: plain(option.description),
          value: valueOf(option),
        })),
      argument: ARGUMENTS[command.name()] ?? { kind: "none" },
    }));
}

/** Names of the containers, where they may be asked for (root). */
const NAMES = `bpf-isolator list 2>/dev/null | awk 'NR > 1 { print $1 }'`;

function bashWords(value: Value): string {
  switch (value.kind) {
    case "words":
      return `COMPREPLY=($(compgen -W '${value.words.join(" ")}' -- "$cur"))`;
    case "container":
      return `COMPREPLY=($(compgen -W "$(${NAMES})" -- "$cur"))`;
    case "file":
      return `compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur"))`;
    case "command":
      return `COMPREPLY=($(compgen -c -- "$cur"))`;
    default:
      return ":";
  }
}

function bash(commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name, options, argument }) => {
    const after = options
      .filter(({ value }) => value.kind !== "none")
      .map(
        ({ long, short, value }) =>
          `      ${short === undefined ? "" : `${short} | `}${long}) ${bashWords(value)}; return ;;\n`,
      );
    const own = options.map(({ long }) => long).join(" ");
    return (
      `  ${name})\n    case $prev in\n${after.join("")}    esac\n` +
      `    if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '${own}' -- "$cur")); else ${bashWords(argument)}; fi\n    ;;\n`
    );
  });
  return (
    "# bash completion for bpf-isolator, by `bpf-isolator completion bash`\n" +
    "_bpf_isolator() {\n" +
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i\n" +
    "  COMPREPLY=()\n" +
    "  for ((i = 2; i < COMP_CWORD; i++)); do\n" +
    "    if [[ ${COMP_WORDS[1]} == run && ${COMP_WORDS[i]} == -- ]]; then\n" +
    "      if declare -F _command_offset >/dev/null; then _command_offset $((i + 1))\n" +
    '      else COMPREPLY=($(compgen -c -f -- "$cur")); fi\n' +
    "      return\n    fi\n  done\n" +
    "  if ((COMP_CWORD == 1)); then\n" +
    `    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(" ")} --help --version' -- "$cur"))\n` +
    "    return\n  fi\n" +
    `  case \${COMP_WORDS[1]} in\n${cases.join("")}  esac\n}\n` +
    "complete -F _bpf_isolator bpf-isolator\n"
  );
}

function zshAction(value: Value, name: string): string {
  switch (value.kind) {
    case "none":
      return "";
    case "words":
      return `:${name}:(${value.words.join(" ")})`;
    case "container":
      return `:${name}:_bpf_isolator_containers`;
    case "file":
      return `:${name}:_files`;
    case "command":
      return ":command:_command_names";
    default:
      return `:${name}: `;
  }
}

function zsh(commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name, options, argument }) => {
    const specs = options.flatMap(({ long, short, text, value }) =>
      [long, ...(short === undefined ? [] : [short])].map(
        (flag) => `'${flag}[${text}]${zshAction(value, plain(long.replace(/^--/, "")))}'`,
      ),
    );
    const last =
      argument.kind === "command"
        ? ["'(-)1:command:_command_names'", "'*::arguments:_normal'"]
        : argument.kind === "none"
          ? []
          : [`'1${zshAction(argument, "name")}'`];
    return `    ${name}) _arguments -S ${[...specs, ...last].join(" \\\n      ")} ;;\n`;
  });
  return (
    "#compdef bpf-isolator\n# by `bpf-isolator completion zsh`\n" +
    `_bpf_isolator_containers() { compadd -- \${(f)"$(${NAMES})"} }\n` +
    "_bpf_isolator() {\n  local -a commands\n  commands=(\n" +
    `${commands.map(({ name, text }) => `    '${name}:${text}'\n`).join("")}  )\n` +
    "  if ((CURRENT == 2)); then _describe command commands; return; fi\n" +
    "  shift words; ((CURRENT--))\n" +
    `  case $words[1] in\n${cases.join("")}  esac\n}\n` +
    // Sourced, it registers itself; found in fpath, it is the function.
    'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _bpf_isolator "$@"; else compdef _bpf_isolator bpf-isolator; fi\n'
  );
}

function fishValue(value: Value): string {
  switch (value.kind) {
    case "none":
      return "";
    case "words":
      return ` -x -a '${value.words.join(" ")}'`;
    case "container":
      return " -x -a '(__bpf_isolator_containers)'";
    case "file":
      return " -r -F";
    default:
      return " -x";
  }
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap(({ name, text, options, argument }) => {
    const here = `-n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c bpf-isolator -n __fish_use_subcommand -a ${name} -d '${text}'`,
      ...options.map(
        ({ long, short, text: about, value }) =>
          `complete -c bpf-isolator ${here} -l ${long.slice(2)}${short === undefined ? "" : ` -s ${short.slice(1)}`}` +
          `${fishValue(value)} -d '${about}'`,
      ),
      ...(argument.kind === "command"
        ? [`complete -c bpf-isolator ${here} -x -a '(__fish_complete_subcommand --fcs-skip=2)'`]
        : argument.kind === "none"
          ? []
          : [`complete -c bpf-isolator ${here}${fishValue(argument)}`]),
    ];
  });
  return (
    "# fish completion for bpf-isolator, by `bpf-isolator completion fish`\n" +
    `function __bpf_isolator_containers\n  ${NAMES}\nend\n` +
    `complete -c bpf-isolator -f\n${lines.join("\n")}\n`
  );
}

/** @returns a script for the shell, which ends with a newline */
export function renderCompletion(program: Command, shell: Shell): string {
  const commands = commandsOf(program);
  return { bash, zsh, fish }[shell](commands);
}
