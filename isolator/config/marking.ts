/** `marking` of the configuration: how it is written, and which rule holds for a container. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import type { Membership } from "../features/classes.js";
import {
  CHANGE_MODES,
  isLowerEffort,
  MAX_DSCP,
  MAX_PRIORITY,
  markingRules,
  parseDscp,
  parseMark,
  parsePriority,
  WRONG_DSCP_MODES,
  type MarkingPolicy,
  type MarkingValues,
} from "../features/marking.js";
import { compileEgress } from "../features/egress-tables.js";
import type { EgressDestination } from "../features/egress.js";
import { unknownClassIn } from "./classes.js";
import type { ContainerFacts } from "./facts.js";
import { isAllocatedTo } from "./match.js";
import { ANY, ClassName, DestinationSchema, toDestination } from "./egress.js";
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
    to: z.union([ClassName, DestinationSchema]).optional().meta({
      description:
        "Destinations that it is for, as egress has them: a class, or {class, cidr, ports, protocol}. What it does not set is as for all others.",
    }),
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
        "A packet with another DSCP, which got round setsockopt(). count: counted. rewrite: counted, and given the right one on the devices of marking_devices. drop: dropped, with an event.",
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
      "DSCP, mark and priority of what containers send, which their tasks cannot change: the first rule that is for a container counts, and the first one with `to` that fits where it goes before that. Of change and wrong_dscp the strictest. For a class that a container only claims it counts if it lowers: DSCP CS1 or LE, and nothing else. Labels bpf-isolator.dscp, bpf-isolator.mark and bpf-isolator.priority of a task come before the rules without `to` in trusted roles; elsewhere those count that lower.",
  });

/** Names of network devices, of at most 15 bytes (IFNAMSIZ). */
export const MarkingDevicesSchema = z
  .array(z.string().regex(/^[^\s/:]{1,15}$/, { error: "is no name of a network device" }))
  .max(64, { error: "has too many devices: give at most 64" })
  .default([])
  .meta({
    description:
      "Network devices on which packets get the right DSCP as they leave (wrong_dscp: rewrite), by a tc program: those that lead out of the host.",
  });

export interface MarkingRule extends Omit<MarkingPolicy, "destinations"> {
  /** Undefined: for all containers. */
  class?: string;
  /** Undefined: for all destinations. */
  to?: EgressDestination;
}

export function toMarking(input: z.output<typeof MarkingSchema>): MarkingRule[] {
  return input.map(({ class: name, to, dscp, mark, priority, change, wrong_dscp }) => ({
    ...(name === undefined ? {} : { class: name }),
    ...(to === undefined ? {} : { to: toDestination(to) }),
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
  const notIn = unknownClassIn(classes);
  const unknown = (path: PropertyKey[], name: unknown): Problem[] => (name === ANY ? [] : notIn(path, name));
  const problems = marking.flatMap((rule: unknown, i): Problem[] => {
    if (typeof rule !== "object" || rule === null) return [];
    const values = rule as Record<string, unknown>;
    const at = ["marking", i];
    const { class: name, to } = values;
    const own: Problem[] = unknown([...at, "class"], name);
    if (typeof to === "string") own.push(...unknown([...at, "to"], to));
    if (typeof to === "object" && to !== null) {
      const { class: target, cidr } = to as Record<string, unknown>;
      own.push(...unknown([...at, "to", "class"], target));
      if (target !== undefined && cidr !== undefined)
        own.push({ path: [...at, "to"], message: "has both a class and a block: give one of them" });
    }
    if (["dscp", "mark", "priority"].every((key) => values[key] === undefined)) {
      own.push({ path: at, message: "sets nothing: give dscp, mark or priority" });
    }
    if (values["wrong_dscp"] !== undefined && values["dscp"] === undefined) {
      own.push({ path: [...at, "wrong_dscp"], message: "has no effect without dscp" });
    }
    return own;
  });
  const parsed = MarkingSchema.safeParse(marking);
  if (problems.length > 0 || !parsed.success) return problems;
  try {
    // All of them together are the most that any container has.
    const destinations = toMarking(parsed.data).flatMap(({ to, ...rule }) => (to ? { ...rule, to } : []));
    compileEgress(markingRules({ change: "ignore", wrongDscp: "count", destinations }));
  } catch (error) {
    if (!(error instanceof IsolatorError)) throw error;
    problems.push({ path: ["marking"], message: error.message });
  }
  return problems;
}

function valuesOf({ dscp, mark, priority }: MarkingRule): MarkingValues {
  return {
    ...(dscp === undefined ? {} : { dscp }),
    ...(mark === undefined ? {} : { mark }),
    ...(priority === undefined ? {} : { priority }),
  };
}

/** The one of some modes that stands last in the list of all. */
function strictest<Mode>(all: readonly Mode[], modes: readonly Mode[]): Mode {
  const most = Math.max(0, ...modes.map((mode) => all.indexOf(mode)));
  return all[most] as Mode;
}

/** The first rule that is for a container, and all of those with destinations. @param classes that it is in */
export function markingFor(
  rules: readonly MarkingRule[],
  classes: readonly Membership[],
): MarkingPolicy | undefined {
  const own = rules.filter((rule) => {
    if (rule.class === undefined) return true;
    const membership = classes.find(({ name }) => name === rule.class);
    return membership !== undefined && (!membership.claimed || isLowerEffort(rule));
  });
  const all = own.find(({ to }) => to === undefined);
  const destinations = own.flatMap((rule) => (rule.to ? { to: rule.to, ...valuesOf(rule) } : []));
  if (!all && destinations.length === 0) return undefined;
  const used = own.filter((rule) => rule === all || rule.to !== undefined);
  return {
    ...(all ? valuesOf(all) : {}),
    ...(destinations.length > 0 ? { destinations } : {}),
    change: strictest(
      CHANGE_MODES,
      used.map(({ change }) => change),
    ),
    wrongDscp: strictest(
      WRONG_DSCP_MODES,
      used.map(({ wrongDscp }) => wrongDscp),
    ),
  };
}

/** Keys of the labels with which a task asks for a marking of its own. */
export const MARKING_LABELS = {
  dscp: "bpf-isolator.dscp",
  mark: "bpf-isolator.mark",
  priority: "bpf-isolator.priority",
} as const;

const LABEL_PARSERS: { [K in keyof typeof MARKING_LABELS]-?: (text: string) => MarkingValues[K] } = {
  dscp: parseDscp,
  mark: parseMark,
  priority: parsePriority,
};

interface Asked {
  /** What of it counts: all for containers of trusted roles, else what only lowers. */
  counted: MarkingValues;
  /** Labels that come to nothing, in words. */
  problems: string[];
}

/** What labels ask for; of those with the same key the first counts. */
function asked(facts: ContainerFacts, trustedRoles: readonly string[]): Asked {
  const values: MarkingValues = {};
  const problems: string[] = [];
  for (const name of Object.keys(MARKING_LABELS) as (keyof typeof MARKING_LABELS)[]) {
    const label = facts.labels.find(([key]) => key === MARKING_LABELS[name]);
    if (!label) continue;
    try {
      Object.assign(values, { [name]: LABEL_PARSERS[name](label[1]) });
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
      problems.push(`its label ${label[0]} is none: ${error.message}`);
    }
  }
  const { dscp } = values;
  const lowered = dscp !== undefined && isLowerEffort({ dscp }) ? { dscp } : {};
  const counted = isAllocatedTo(facts, trustedRoles) ? values : lowered;
  const refused = (Object.keys(values) as (keyof typeof MARKING_LABELS)[]).filter(
    (name) => !(name in counted),
  );
  problems.push(
    ...refused.map(
      (name) =>
        `its label ${MARKING_LABELS[name]} counts in trusted_roles only${name === "dscp" ? ", but for CS1 and LE" : ""}`,
    ),
  );
  return { counted, problems };
}

/**
 * The configuration's marking with what a task's labels ask for. A nested container whose marking is its parent's keeps
 * that: one of its own would take the place of the parent's mark too.
 * @param trustedRoles whose users are believed
 */
export function withAsked(
  marking: MarkingPolicy | undefined,
  facts: ContainerFacts,
  trustedRoles: readonly string[],
): MarkingPolicy | undefined {
  const { counted } = asked(facts, trustedRoles);
  if (Object.keys(counted).length === 0 || keepsParents(marking, facts, trustedRoles)) return marking;
  return { change: "ignore", wrongDscp: "count", ...marking, ...counted };
}

function keepsParents(
  marking: MarkingPolicy | undefined,
  facts: ContainerFacts,
  trustedRoles: readonly string[],
): boolean {
  return facts.nested && !marking && !isAllocatedTo(facts, trustedRoles);
}

/** Labels that ask for a marking and give none, in words. @param marking that the container has */
export function badMarks(
  facts: ContainerFacts,
  trustedRoles: readonly string[],
  marking: MarkingPolicy | undefined,
): string[] {
  const { counted, problems } = asked(facts, trustedRoles);
  if (Object.keys(counted).length > 0 && keepsParents(marking, facts, trustedRoles))
    problems.push(
      `its label ${MARKING_LABELS.dscp} does not count in a nested container, which has its parent's`,
    );
  return problems;
}
