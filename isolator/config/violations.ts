/** `violations` of the configuration: how many refusals end a container. */
import { z } from "zod";

/** What a container that goes on doing what it may not gets. */
export const VIOLATION_ACTIONS = ["log", "kill"] as const;

const MAX_LIMIT = 1_000_000;
/** s. */
const MAX_WINDOW = 3600;

export interface ViolationRule {
  /** Refusals. */
  limit: number;
  /** s. */
  window: number;
  action: (typeof VIOLATION_ACTIONS)[number];
}

export const ViolationsSchema = z
  .strictObject({
    limit: z.number().int().min(1).max(MAX_LIMIT).meta({
      description: "So many refusals of what the container itself tried.",
    }),
    window: z.number().int().min(1).max(MAX_WINDOW).meta({ description: "Within so many seconds." }),
    action: z.enum(VIOLATION_ACTIONS).meta({
      description:
        "log: an event, once in each window. kill: the agent ends the container, and its task fails with a message that says why; also when a process has left the container's cgroup.",
    }),
  })
  .meta({
    description: "Containers that go on doing what they may not. Default: refused, and nothing more.",
  });
