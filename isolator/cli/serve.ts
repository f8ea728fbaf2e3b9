/**
 * `bpf-isolator serve`: the daemon that an agent's module talks to. It logs JSON lines on stdout (pino), for a service
 * manager's journal. SIGHUP reads the configuration again; SIGTERM and SIGINT end it, and what it looks after stays
 * enforced and counted. Here is what is done first, so that the kernel can verify the programs of an instance that has none
 * in a thread, while the rest of the daemon is read from disk (serving.ts).
 */
import { setFlagsFromString } from "node:v8";
import { ConfigHolder } from "../config/holder.js";
import { chooseInstance } from "../config/load.js";
import { loadAhead } from "../kernel/load.js";
import { isPinned } from "../kernel/pins.js";

/** Options as the command line gives them. */
export interface ServeOptions {
  config?: string;
  instance?: string;
}

/**
 * Objects that are gone are collected when there is 30 % more than lived at the last collection; V8 waits for several times as
 * much. It looks at the flag before each, and takes one that it does not know for none.
 */
const COLLECT_SOONER = "--heap-growing-percent=30";

/**
 * Runs the daemon to its end.
 * @returns exit status
 * @throws bad-config, and all that serveInstance() throws
 */
export async function serve(options: ServeOptions): Promise<number> {
  setFlagsFromString(COLLECT_SOONER);
  const holder = ConfigHolder.open(options.config);
  const { instance: name, notice } = chooseInstance(holder.source, options.instance);
  const ahead = isPinned(name) ? Promise.resolve() : loadAhead();
  // What is in its way is in the way of loading them later too, and is told then.
  const settled = ahead.catch(() => undefined);
  const { serveInstance } = await import("./serving.js");
  return serveInstance({ holder, name, ...(notice === undefined ? {} : { notice }), ahead: settled });
}
