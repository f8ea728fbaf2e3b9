/** `marking` of the configuration: how it is written, and which rule holds for a container. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import type { Membership } from "../features/classes.js";
import {
  CHANGE_MODES,
  isLowerEffort,
  MAX_DSCP,
  MAX_PRIORITY,
  parseDscp,
  parseMark,
  WRONG_DSCP_MODES,
  type MarkingPolicy,
} from "../features/marking.js";
import { classNames } from "./classes.js";
import type { Problem } from "./problem.js";

const MAX_RULES = 1000;

/** A value that is a number or text, and is read by a function that says what is wrong with it. */
function parsed(parse: (text: string) => unknown): z.ZodType<number | string> {
  return z
    .union([z.number(), z.string()], { error: "is neither a number nor text" })
    .superRefine((value, context) => {
      try {
        parse(String(value));
      } catch (error) {
        if (!(error instanceof IsolatorError)) throw error;
        context.addIssue({ code: "custom", message: error.message });
      }
    });
}

const RuleSchema = z
  .strictObject({
    class: z
      .string()
      .optional()
      .meta({ description: "Class of the containers that it is for; without, all containers." }),
    dscp: parsed(parseDscp)
      .optional()
      .meta({ description: `DSCP: 0 to ${MAX_DSCP}, or a name as CS1, AF21, EF or LE.` }),
    mark: parsed(parseMark)
      .optional()
      .meta({ description: "Mark of the packets: 32 bits, or value/mask as in 0x10/0xff." }),
    priority: z
      .int({ error: `is no priority: give a whole number from 0 to ${MAX_PRIORITY}` })
      .min(0, { error: `is below 0: give 0 to ${MAX_PRIORITY}` })
      .max(MAX_PRIORITY, { error: `is above ${MAX_PRIORITY}` })
      .optional()
      .meta({ description: "Priority of the packets, as SO_PRIORITY sets it." }),
    change: z.enum(CHANGE_MODES).default("ignore").meta({
      description:
        "A setsockopt() of the task that would change it. ignore: succeeds and changes nothing. deny: EPERM, with an event.",
    }),
    wrong_dscp: z.enum(WRONG_DSCP_MODES).default("count").meta({
      description:
        "A packet with another DSCP, which got round setsockopt(). count: counted. drop: dropped, with an event.",
    }),
  })
  .meta({
    description: "DSCP, mark and priority of what the containers of a class send; at least one of them.",
  });

export const MarkingSchema = z
  .array(RuleSchema)
  .max(MAX_RULES, { error: `has too many rules: give at most ${MAX_RULES}` })
  .default([])
  .meta({
    description:
      "DSCP, mark and priority of what containers send, which their tasks cannot change: the first rule that is for a container counts. For a class that a container only claims it counts if it lowers: DSCP CS1 or LE, and nothing else.",
  });

export interface MarkingRule extends MarkingPolicy {
  /** Undefined: for all containers. */
  class?: string;
}

export function toMarking(input: z.output<typeof MarkingSchema>): MarkingRule[] {
  return input.map(({ class: name, dscp, mark, priority, change, wrong_dscp }) => ({
    ...(name === undefined ? {} : { class: name }),
    ...(dscp === undefined ? {} : { dscp: parseDscp(String(dscp)) }),
    ...(mark === undefined ? {} : { mark: parseMark(String(mark)) }),
    ...(priority === undefined ? {} : { priority }),
    change,
    wrongDscp: wrong_dscp,
  }));
}

/** What no key alone shows. @param marking any value of the key @param classes any value of `classes` */
export function markingProblems(marking: unknown, classes: unknown): Problem[] {
  if (!Array.isArray(marking)) return [];
  const known = classNames(classes);
  return marking.flatMap((rule: unknown, i): Problem[] => {
    if (typeof rule !== "object" || rule === null) return [];
    const values = rule as Record<string, unknown>;
    const problems: Problem[] = [];
    const { class: name } = values;
    if (typeof name === "string" && !known.includes(name)) {
      const some = known.length > 0 ? `: those are ${known.slice(0, 10).join(", ")}` : ", which has none";
      problems.push({
        path: ["marking", i, "class"],
        message: `there is no class ${JSON.stringify(name.slice(0, 64))} in classes${some}`,
      });
    }
    if (["dscp", "mark", "priority"].every((key) => values[key] === undefined)) {
      problems.push({ path: ["marking", i], message: "sets nothing: give dscp, mark or priority" });
    }
    if (values["wrong_dscp"] !== undefined && values["dscp"] === undefined) {
      problems.push({ path: ["marking", i, "wrong_dscp"], message: "has no effect without dscp" });
    }
    return problems;
  });
}

/** The first rule that is for a container. @param classes that it is in */
export function markingFor(
  rules: readonly MarkingRule[],
  classes: readonly Membership[],
): MarkingPolicy | undefined {
  const found = rules.find((rule) => {
    if (rule.class === undefined) return true;
    const membership = classes.find(({ name }) => name === rule.class);
    return membership !== undefined && (!membership.claimed || isLowerEffort(rule));
  });
  if (!found) return undefined;
  const marking: MarkingRule = { ...found };
  delete marking.class;
  return marking;
}
