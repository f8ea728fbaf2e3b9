/** `exemptions` of the configuration: containers that are not enforced. */
import { z } from "zod";
import { MATCH_KEYS, name, toMatch, type Match } from "./match.js";
import { asList, asMap, type Problem } from "./problem.js";

const MAX_EXEMPTIONS = 1000;

const ExemptionMatch = z
  .strictObject({
    role: MATCH_KEYS.role,
    framework_id: MATCH_KEYS.framework_id,
    executor_id: name("Executor id; for a command task its task id. The framework chooses it.").optional(),
    labels: MATCH_KEYS.labels,
  })
  .meta({ description: "Which containers: all that is given here must hold. At least one key." });

const ExemptionSchema = z
  .strictObject({
    match: ExemptionMatch,
    enforce: z.enum(["off", "audit"]).meta({
      description:
        "audit: report what would be denied and deny nothing. off: not even report it, only count it.",
    }),
  })
  .meta({ description: "Containers that are not enforced. The first entry that matches counts." });

export const ExemptionsSchema = z
  .array(ExemptionSchema)
  .max(MAX_EXEMPTIONS, { error: `has too many entries: give at most ${MAX_EXEMPTIONS}` })
  .default([])
  .meta({ description: "Containers that are not enforced: the first entry that matches counts." });

export interface Exemption extends Match {
  enforce: "off" | "audit";
}

/** What no key alone shows. @param exemptions, trustedRoles any values of the keys */
export function exemptionProblems(exemptions: unknown, trustedRoles: unknown): Problem[] {
  const problems: Problem[] = [];
  asList(exemptions).forEach((exemption, i) => {
    const { match } = asMap(exemption);
    if (typeof match !== "object" || match === null) return;
    const path = ["exemptions", i, "match"];
    const { role, framework_id, executor_id, labels } = match as Record<string, unknown>;
    if (role !== undefined || framework_id !== undefined || asList(trustedRoles).length > 0) {
      if (Object.keys(match).length > 0) return;
    }
    if (executor_id !== undefined || labels !== undefined) {
      problems.push({
        path,
        message:
          "labels and executor_id are chosen by the framework's users, who could exempt themselves: give role or " +
          "framework_id as well, or name the roles whose users are trusted in trusted_roles",
      });
    } else if (Object.keys(match).length === 0) {
      problems.push({
        path,
        message:
          "is empty, which would match every container: give role, framework_id, executor_id or labels",
      });
    }
  });
  return problems;
}

export function toExemptions(input: z.output<typeof ExemptionsSchema>): Exemption[] {
  return input.map(({ match, enforce }) => ({ ...toMatch(match), enforce }));
}
