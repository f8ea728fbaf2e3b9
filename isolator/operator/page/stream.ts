/** GET /events, and what to do when it breaks off: the browser connects again, and so does this where it gives up. */
import type { FeatureView, ShownEvent, Snapshot, Tick } from "../wire.js";

export interface Handlers {
  snapshot: (snapshot: Snapshot) => void;
  tick: (tick: Tick) => void;
  log: (events: readonly ShownEvent[]) => void;
  features: (features: readonly FeatureView[]) => void;
  /** @param up whether what is shown is as it is now */
  connection: (up: boolean) => void;
}

/** ms until the first try after the browser has given up, and at most. */
const FIRST_WAIT = 2_000;
const LONGEST_WAIT = 30_000;

export function connect(handlers: Handlers, wait = FIRST_WAIT): void {
  const source = new EventSource("/events");
  let next = wait;
  for (const name of ["snapshot", "tick", "log", "features"] as const) {
    // What the daemon sends has the types that both are compiled with.
    const handle = handlers[name] as (value: unknown) => void;
    source.addEventListener(name, (event: MessageEvent<string>) => {
      handle(JSON.parse(event.data));
      if (name !== "snapshot") return;
      next = FIRST_WAIT;
      handlers.connection(true);
    });
  }
  source.addEventListener("error", () => {
    handlers.connection(false);
    // Any answer but 200 ends it for good: too many pages, a daemon that is on its way out.
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(() => {
      connect(handlers, Math.min(LONGEST_WAIT, next * 2));
    }, next);
  });
}
