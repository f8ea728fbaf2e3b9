/** `bpf-isolator break-glass`: one command that stops enforcing, and says how to go back. Works without a daemon. */
import { breakGlass as apply, type GlassProblem, type GlassWord } from "../containers/break-glass.js";
import type { GlassMode } from "../containers/glass.js";
import { Instance } from "../containers/instance.js";
import type { ContainerId } from "../containers/names.js";
import { IsolatorError } from "../errors.js";
import { bpf_isolator, fromContainerId } from "../mesos/messages.js";
import { withDaemon } from "./daemon.js";
import { printable, toAsciiJson } from "./table.js";

/** Options as the command line gives them. */
export interface BreakGlassOptions {
  instance: string;
  container?: string;
  audit?: boolean;
  detach?: boolean;
  restore?: boolean;
  json?: boolean;
}

const DONE: Record<GlassMode | "restore", string> = {
  audit: "nothing is refused any more, what would be is reported and counted",
  detach: "the programs are taken away: nothing is refused, reported or counted any more",
  restore: "the policy is enforced again",
};

/** @throws bad-argument */
function modeOf({ audit, detach, restore }: BreakGlassOptions): GlassMode | "restore" {
  const modes = (["audit", "detach", "restore"] as const).filter((_, i) => [audit, detach, restore][i]);
  const [mode, second] = modes;
  if (mode === undefined || second !== undefined) {
    throw new IsolatorError("bad-argument", "give one of --audit, --detach and --restore");
  }
  return mode;
}

function wayBack({ instance, container }: BreakGlassOptions): string {
  const options = [
    ...(instance === "default" ? [] : [`--instance ${instance}`]),
    ...(container === undefined ? [] : [`--container ${container}`]),
  ];
  return ["bpf-isolator break-glass --restore", ...options].join(" ");
}

/** Exit status where all is done, and some of it does not last. */
const UNWRITTEN = 3;
/** Of the daemon, which may hang, and that be the reason for all this. ms */
const ANSWER = 5_000;

/** @throws as withDaemon(); request-timeout */
async function tell(
  instance: string,
  id: ContainerId | undefined,
  words: readonly GlassWord[],
): Promise<void> {
  const of = (which: ContainerId | undefined) => which && { container_id: fromContainerId(which) };
  const call = {
    type: bpf_isolator.Call.Type.BREAK_GLASS,
    break_glass: {
      ...of(id),
      words: words.map((word) => ({ ...of(word.id), ...(word.mode && { mode: word.mode }) })),
    },
  };
  await withDaemon(instance, (client) => {
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => {
        reject(new IsolatorError("request-timeout", `it did not answer within ${ANSWER / 1000} s`));
      }, ANSWER).unref();
    });
    return Promise.race([client.call(call), late]);
  });
}

function problemLines(what: string, problems: readonly GlassProblem[]): string[] {
  return problems.map(
    ({ container, reason }) => `${what}${container === "" ? "" : ` for ${printable(container)}`}: ${reason}`,
  );
}

/** @returns exit status: 0 all is done; 1 some could not be done; 3 all is done, and some of it does not last */
export async function breakGlass(options: BreakGlassOptions): Promise<number> {
  const mode = modeOf(options);
  const instance = Instance.open(options.instance);
  const { containers, failures, unwritten } = await apply(
    instance,
    mode === "restore" ? undefined : mode,
    options.container,
    (id, words) => tell(instance.name, id, words),
  );
  const back = mode === "restore" ? null : wayBack(options);
  if (options.json) {
    const facts = {
      version: 1,
      instance: instance.name,
      mode,
      containers,
      failures,
      unwritten,
      restore: back,
    };
    process.stdout.write(`${toAsciiJson(facts, 2)}\n`);
  } else {
    const where = options.container === undefined ? `instance ${instance.name}, new containers too` : "";
    const lines = [
      `${DONE[mode]}: ${[...containers.map(printable), where].filter(Boolean).join(", ")}`,
      // As where the instance's name is a wrong one.
      ...(containers.length + failures.length + unwritten.length === 0
        ? [`instance ${instance.name} has no container now: this is for those to come`]
        : []),
      ...problemLines("failed", failures),
      ...problemLines("not written down", unwritten),
      ...(back === null ? [] : [`Back: ${back}`]),
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  }
  return failures.length > 0 ? 1 : unwritten.length > 0 ? UNWRITTEN : 0;
}
