/** What --help and the manual page say beyond the options: examples, exit statuses, files. One source for both. */
import type { Command } from "commander";

interface About {
  examples: readonly (readonly [what: string, command: string])[];
  /** Exit statuses beside 0. */
  status: readonly (readonly [status: string, meaning: string])[];
}

const ASKS_DAEMON: About["status"] = [
  ["1", "an error"],
  ["2", "bad usage"],
  ["3", "no daemon answers"],
];

const ABOUT: Readonly<Partial<Record<string, About>>> = {
  run: {
    examples: [
      [
        "a server that may listen on six ports",
        "bpf-isolator run --ports 31000-31005 -- nginx -g 'daemon off;'",
      ],
      ["what would be refused, with nothing refused", "bpf-isolator run --audit -- COMMAND"],
      ["usage at the end, for a script", "bpf-isolator run --usage-file usage.json -- COMMAND"],
    ],
    status: [
      ["the command's", "it ran; 128 + number for a death by signal"],
      ["125", "bpf-isolator itself failed"],
      ["126", "COMMAND cannot be executed"],
      ["127", "COMMAND is not found"],
    ],
  },
  serve: {
    examples: [
      ["as the service does", "bpf-isolator serve"],
      ["another instance", "bpf-isolator serve --instance blue --config /etc/bpf-isolator/blue.yaml"],
    ],
    status: [["1", "an error: the configuration, the kernel, another daemon"]],
  },
  check: {
    examples: [
      ["before the first task", "bpf-isolator check --ports 31000-32000"],
      ["for a script", "bpf-isolator check --json"],
    ],
    status: [
      ["1", "it cannot work on this machine"],
      ["2", "bad usage"],
    ],
  },
  list: {
    examples: [
      ["the containers of an instance", "bpf-isolator list --instance blue"],
      ["names alone", "bpf-isolator list --json | jq -r '.containers[].name'"],
    ],
    status: ASKS_DAEMON,
  },
  usage: { examples: [["by the beginning of its name", "bpf-isolator usage 3f2a"]], status: ASKS_DAEMON },
  top: {
    examples: [
      ["those that send most first", "bpf-isolator top --sort sent"],
      ["three times, for a file", "bpf-isolator top --count 3 --interval 10 >top.txt"],
    ],
    status: ASKS_DAEMON,
  },
  status: { examples: [["the daemon, as JSON", "bpf-isolator status --json"]], status: ASKS_DAEMON },
  events: {
    examples: [
      ["denials as they come", "bpf-isolator events --follow"],
      ["those of one container", "bpf-isolator events --container web-1 --json"],
    ],
    status: ASKS_DAEMON,
  },
  endpoints: {
    examples: [["the cluster's addresses by class", "bpf-isolator endpoints"]],
    status: ASKS_DAEMON,
  },
  services: {
    examples: [["those without a backend", "bpf-isolator services | grep none"]],
    status: ASKS_DAEMON,
  },
  explain: {
    examples: [
      ["which rule decides, and why", "bpf-isolator explain web-1 10.0.3.7:5432"],
      ["of a datagram, as JSON", "bpf-isolator explain web-1 'udp:[fd00::1]:53' --json"],
    ],
    status: ASKS_DAEMON,
  },
  "break-glass": {
    examples: [
      ["refuse nothing from now on, and report it", "bpf-isolator break-glass --audit"],
      ["and back", "bpf-isolator break-glass --restore"],
    ],
    status: [
      ["1", "not done for all"],
      ["2", "bad usage"],
      ["3", "done, and it does not last, since it could not be written down"],
    ],
  },
  completion: {
    examples: [
      ["bash", "bpf-isolator completion bash >/etc/bash_completion.d/bpf-isolator"],
      ["zsh", "bpf-isolator completion zsh >/usr/local/share/zsh/site-functions/_bpf-isolator"],
      ["fish", "bpf-isolator completion fish >/etc/fish/completions/bpf-isolator.fish"],
    ],
    status: [["1", "an error, bad usage too"]],
  },
};

/** Of the manual page. */
export const FILES: readonly (readonly [path: string, what: string])[] = [
  ["/etc/bpf-isolator/isolator.yaml", "configuration of the daemon"],
  ["/run/bpf-isolator/INSTANCE/", "locks, records of the containers, the daemon's socket"],
  ["/sys/fs/bpf/bpf-isolator/INSTANCE/", "pinned programs and maps, while a container lives"],
  ["<cgroup2>/bpf-isolator/INSTANCE/CONTAINER", "the node of a container"],
];

export const ENVIRONMENT: readonly (readonly [name: string, what: string])[] = [
  ["NO_COLOR", "not empty: no colours on a terminal either"],
  ["DEBUG", "not empty: an unexpected error shows where it came from"],
];

export function aboutOf(name: string): About {
  return ABOUT[name] ?? { examples: [], status: [] };
}

function afterHelp(name: string): string {
  const { examples, status } = aboutOf(name);
  const width = Math.max(1, ...status.map(([value]) => value.length));
  const statuses = status[0]?.[0].startsWith("the") ? status : [["0", "done"] as const, ...status];
  return [
    ...(examples.length > 0 ? ["", "Examples:"] : []),
    ...examples.flatMap(([what, command]) => [`  # ${what}`, `  ${command}`]),
    ...(status.length > 0 ? ["", "Exit status:"] : []),
    ...(status.length > 0 ? statuses.map(([value, meaning]) => `  ${value.padEnd(width)}  ${meaning}`) : []),
  ].join("\n");
}

/** Gives every command of the program its examples and exit statuses. */
export function addDocumentation(program: Command): void {
  for (const command of program.commands) command.addHelpText("after", () => afterHelp(command.name()));
}
