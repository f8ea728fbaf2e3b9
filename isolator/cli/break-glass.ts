/** `bpf-isolator break-glass`: one command that stops enforcing, and says how to go back. Works without a daemon. */
import { breakGlass as apply } from "../containers/break-glass.js";
import type { GlassMode } from "../containers/glass.js";
import { Instance } from "../containers/instance.js";
import { IsolatorError } from "../errors.js";
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

/** @returns exit status: 0 all is done, 1 for some containers it could not be done */
export async function breakGlass(options: BreakGlassOptions): Promise<number> {
  const mode = modeOf(options);
  const instance = Instance.open(options.instance);
  const { containers, failures } = await apply(
    instance,
    mode === "restore" ? undefined : mode,
    options.container,
  );
  const back = mode === "restore" ? null : wayBack(options);
  if (options.json) {
    const facts = { version: 1, instance: instance.name, mode, containers, failures, restore: back };
    process.stdout.write(`${toAsciiJson(facts, 2)}\n`);
  } else {
    const where = options.container === undefined ? `instance ${instance.name}, new containers too` : "";
    const lines = [
      `${DONE[mode]}: ${[...containers.map(printable), where].filter(Boolean).join(", ")}`,
      // As where the instance's name is a wrong one.
      ...(containers.length + failures.length === 0
        ? [`instance ${instance.name} has no container now: this is for those to come`]
        : []),
      ...failures.map(
        ({ container, reason }) =>
          `failed${container === "" ? "" : ` for ${printable(container)}`}: ${reason}`,
      ),
      ...(back === null ? [] : [`Back: ${back}`]),
    ];
    process.stdout.write(`${lines.join("\n")}\n`);
  }
  return failures.length > 0 ? 1 : 0;
}
