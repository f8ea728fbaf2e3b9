/** `judge` and `agent_ports` of the configuration: the ports that are judged. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import { parsePorts, type PortRange } from "../features/ports.js";
import type { Problem } from "./problem.js";

/** A port range in one text: the kernel's policy has room for one. */
function oneRange(text: string): PortRange | string {
  try {
    const [range, second] = parsePorts(text);
    if (range && !second) return range;
    return "has several ranges: give one, as in 31000-32000";
  } catch (error) {
    if (error instanceof IsolatorError) return error.message;
    throw error;
  }
}

export const JUDGED_KEYS = {
  judge: z.enum(["all", "agent_range"]).default("all").meta({
    description:
      "all: every port that is not the container's is refused. agent_range: only ports inside of agent_ports; one outside of it that no container owns is free to all.",
  }),
  agent_ports: z
    .string()
    .superRefine((text, context) => {
      const range = oneRange(text);
      if (typeof range === "string") context.addIssue({ code: "custom", message: range });
    })
    .optional()
    .meta({
      description:
        "The range of the agent's ports resource, as in 31000-32000; one range. For judge: agent_range.",
    }),
};

/** What no key alone shows. @param judge, agentPorts any values of the keys */
export function judgedProblems(judge: unknown, agentPorts: unknown): Problem[] {
  const problems: Problem[] = [];
  if (judge === "agent_range" && agentPorts === undefined) {
    problems.push({
      path: ["judge"],
      message: "agent_range needs agent_ports: give the agent's ports, as in agent_ports: 31000-32000",
    });
  }
  if (agentPorts !== undefined && (judge === undefined || judge === "all")) {
    problems.push({
      path: ["agent_ports"],
      message: "has no effect unless judge is agent_range: give judge: agent_range, or leave agent_ports out",
    });
  }
  return problems;
}

/** @returns the only ports that are judged; undefined: all */
export function toJudged(input: { judge: string; agent_ports?: string | undefined }): PortRange | undefined {
  const judged = input.judge === "agent_range" ? oneRange(input.agent_ports ?? "") : undefined;
  return typeof judged === "object" ? judged : undefined;
}
