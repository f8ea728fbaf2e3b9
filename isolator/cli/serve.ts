/**
 * `bpf-isolator serve`: the daemon that an agent's module talks to. It logs JSON lines on stdout (pino), for a service
 * manager's journal. SIGHUP reads the configuration again; SIGTERM and SIGINT end it, and what it looks after stays
 * enforced and counted. Here is what is done first, so that the kernel can verify the programs of an instance that has none
 * in a thread, while the rest of the daemon is read from disk (serving.ts).
 */
import { setFlagsFromString } from "node:v8";
import { loadAhead } from "../kernel/load.js";
import { isPinned, isPinnedAnywhere } from "../kernel/pins.js";

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

/** What is in its way is in the way of loading them later too, and is told then. */
function begin(): Promise<void> {
  return loadAhead().catch(() => undefined);
}

/**
 * Runs the daemon to its end.
 * @returns exit status
 * @throws bad-config, and all that serveInstance() throws
 */
export async function serve({ config, instance }: ServeOptions): Promise<number> {
  setFlagsFromString(COLLECT_SOONER);
  // The configuration may name the instance, and takes a while to be read: most often it makes no difference.
  const loaded = instance === undefined ? isPinnedAnywhere() : isPinned(instance);
  let ahead = loaded ? undefined : begin();
  const { ConfigHolder } = await import("../config/holder.js");
  const { chooseInstance } = await import("../config/load.js");
  const holder = ConfigHolder.open(config);
  const { instance: name, notice } = chooseInstance(holder.source, instance);
  if (!isPinned(name)) ahead ??= begin();
  const { serveInstance } = await import("./serving.js");
  return serveInstance({
    holder,
    name,
    ...(notice === undefined ? {} : { notice }),
    ahead: ahead ?? Promise.resolve(),
  });
}
