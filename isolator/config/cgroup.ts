/** `cgroup` of the configuration: in whose cgroup v2 tree a container's node is. */
import { z } from "zod";

export const CGROUP_MODES = ["auto", "own", "agent"] as const;

export interface CgroupConfig {
  mode: (typeof CGROUP_MODES)[number];
  /** The agent's --cgroups_root. */
  agentRoot: string;
}

/** Names of directories: it is below the mount point of cgroup2, whatever is written here. */
const ROOT = /^(?!\.)[\w.-]{1,128}(\/(?!\.)[\w.-]{1,128}){0,7}$/;

export const CgroupSchema = z
  .strictObject({
    mode: z.enum(CGROUP_MODES).default("auto").meta({
      description:
        "auto: in the agent's tree where the agent has made a cgroup v2 node for the container, else in the isolator's own. own: always in the isolator's own. agent: always in the agent's.",
    }),
    agent_root: z
      .string()
      .regex(ROOT, {
        error: "is no --cgroups_root of an agent: give a path with no / at its ends, as in mesos",
      })
      .default("mesos")
      .meta({ description: "The agent's --cgroups_root." }),
  })
  .default({ mode: "auto", agent_root: "mesos" })
  .meta({
    description:
      "Where containers' cgroup v2 nodes are. An agent that uses cgroup v2 itself (Mesos 1.12 where there is no cgroup v1) has its own.",
  });

export function toCgroup({ mode, agent_root }: z.output<typeof CgroupSchema>): CgroupConfig {
  return { mode, agentRoot: agent_root };
}
