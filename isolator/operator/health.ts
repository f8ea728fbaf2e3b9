/**
 * GET /healthz and /readyz, for whoever decides by HTTP whether this daemon is to be started again, or to be asked. An
 * answer at all says that the event loop turns.
 */
import type { SelfCheckResult } from "../containers/self-check.js";
import type { Page } from "./pages.js";

/** ms without a look at all containers after which something holds it up: ten rounds. */
const STALE = 300_000;

const UNAVAILABLE = 503;

function answer(problems: readonly string[]): Awaited<ReturnType<Page>> {
  const text = problems.length === 0 ? "ok" : problems.join("\n");
  return { type: "text/plain", text: `${text}\n`, status: problems.length === 0 ? 200 : UNAVAILABLE };
}

/**
 * What keeps containers from being as their policies say.
 * @param result what the daemon's look at itself has found
 * @param started when the daemon started, ms since the epoch
 */
export function healthProblems({ at, failures }: SelfCheckResult, started: number): string[] {
  const late = Date.now() - (at ?? started);
  return [
    ...[...failures].map(([container, why]) => `container ${container}: ${why}`),
    ...(late > STALE ? [`containers have not been looked at for ${Math.round(late / 1000)} s`] : []),
  ];
}

/** Whether all containers are as their policies say. Parameters as of healthProblems(). */
export function healthPage(result: () => SelfCheckResult, started: number): Page {
  return () => Promise.resolve(answer(healthProblems(result(), started)));
}

/** Whether an agent's calls are answered. @param serving whether its socket takes them */
export function readyPage(serving: () => boolean): Page {
  return () => Promise.resolve(answer(serving() ? [] : ["calls are not taken now"]));
}
