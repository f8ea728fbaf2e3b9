/** Classes of containers: `classes` of the configuration, and which of them a container is in. */
import { z } from "zod";
import { classId, type Membership } from "../features/classes.js";
import type { ContainerFacts } from "./facts.js";
import { holds, isAllocatedTo, isAnchored, MATCH_KEYS, name, toMatch, type Match } from "./match.js";
import type { Problem } from "./problem.js";

const MAX_CLASSES = 1000;
/** Names of classes in a message. */
const MAX_NAMED = 10;

/** Of a class. No dots, spaces or brackets, so that it can stand in lists and in other texts. */
export const CLASS_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

const PATH = /^(\/[^/*\s]+|\/\*)*(\/\*\*)?$/;

const ClassSchema = z
  .strictObject({
    name: z
      .string()
      .regex(CLASS_NAME, {
        error:
          "is not a name of a class: give 1 to 64 letters, digits, '_' and '-', beginning with a letter or digit",
      })
      .meta({ description: "Name that rules go by; each once." }),
    match: z
      .strictObject({
        ...MATCH_KEYS,
        principal: name(
          "Principal that the framework has authenticated as, exactly. Only a master's stream tells it: give endpoints.master.",
        ).optional(),
        app_id: z
          .string()
          .min(1, { error: "is empty: give a path, as in /shop/**" })
          .max(1024, { error: "is too long: give at most 1024 characters" })
          .regex(PATH, {
            error:
              "is not a path: give one as in /shop/cart, /shop/*/db or /shop/**, where * is one segment and ** at the end all that is below",
          })
          .optional()
          .meta({
            description:
              "Id of the app, from the name in the task's DiscoveryInfo: Marathon writes cart.shop for /shop/cart. Users choose it.",
          }),
      })
      .meta({ description: "Which containers: all that is given here must hold. At least one key." }),
  })
  .meta({ description: "A name for containers." });

export const ClassesSchema = z
  .array(ClassSchema)
  .max(MAX_CLASSES, { error: `has too many classes: give at most ${MAX_CLASSES}` })
  .default([])
  .meta({
    description:
      "Classes of containers, which rules go by. A container is in each class that it matches. One that it matches by labels or app_id alone, and in no trusted role, is only claimed: it gives nothing, it only takes away.",
  });

export interface ContainerClass {
  name: string;
  match: Match;
}

export function toClasses(input: z.output<typeof ClassesSchema>): ContainerClass[] {
  return input.map(({ name, match }) => ({ name, match: toMatch(match) }));
}

/** @param classes any value of the key */
function classNames(classes: unknown): string[] {
  if (!Array.isArray(classes)) return [];
  return classes.flatMap((entry: unknown) => {
    const name = typeof entry === "object" && entry !== null ? (entry as { name?: unknown }).name : undefined;
    return typeof name === "string" ? [name] : [];
  });
}

/** Finds names that are of no class. @param classes any value of the key */
export function unknownClassIn(classes: unknown): (path: PropertyKey[], name: unknown) => Problem[] {
  const known = new Set(classNames(classes));
  const some = [...known].slice(0, MAX_NAMED).join(", ");
  const which = some === "" ? ", which has none" : `: those are ${some}`;
  return (path, name) =>
    typeof name !== "string" || known.has(name)
      ? []
      : [{ path, message: `there is no class ${JSON.stringify(name.slice(0, 64))} in classes${which}` }];
}

/** What no key alone shows. @param classes any value of the key */
export function classProblems(classes: unknown): Problem[] {
  if (!Array.isArray(classes)) return [];
  const seen = new Map<string, number>();
  const ids = new Map<number, string>();
  return classes.flatMap((entry: unknown, i): Problem[] => {
    if (typeof entry !== "object" || entry === null) return [];
    const { name, match } = entry as { name?: unknown; match?: unknown };
    const problems: Problem[] = [];
    if (typeof name === "string") {
      const first = seen.get(name);
      if (first === undefined) seen.set(name, i);
      else
        problems.push({
          path: ["classes", i, "name"],
          message: `is the name of classes[${first}] already: give each class one of its own`,
        });
      const other = ids.get(classId(name));
      if (other === undefined) ids.set(classId(name), name);
      else if (other !== name)
        problems.push({
          path: ["classes", i, "name"],
          message: `has by chance the same number in the kernel as ${other}: give one of them another name`,
        });
    }
    if (typeof match === "object" && match !== null && Object.keys(match).length === 0) {
      problems.push({
        path: ["classes", i, "match"],
        message:
          "is empty, which would match every container: give role, framework_id, principal, labels or app_id",
      });
    }
    return problems;
  });
}

/**
 * Every class that a container is in, in the order of the configuration.
 * @param trustedRoles whose users are believed
 */
export function classesOf(
  classes: readonly ContainerClass[],
  facts: ContainerFacts,
  trustedRoles: readonly string[],
): Membership[] {
  const trusted = isAllocatedTo(facts, trustedRoles);
  return classes
    .filter(({ match }) => holds(match, facts))
    .map(({ name, match }) => (isAnchored(match) || trusted ? { name } : { name, claimed: true }));
}
