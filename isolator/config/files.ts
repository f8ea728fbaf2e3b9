/** `files` of the configuration: how it is written, and which rules hold for a container. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import type { Membership } from "../features/classes.js";
import {
  FILE_ERRNOS,
  isStricter,
  makeRules,
  MAX_FILE_RULES,
  modeOf,
  parseFilePath,
  sortRules,
  type FileMode,
  type FileRule,
  type FilesPolicy,
} from "../features/files.js";
import { unknownClassIn } from "./classes.js";
import type { ContainerFacts } from "./facts.js";
import type { Problem } from "./problem.js";

const MAX_ENTRIES = 1000;

function paths(description: string) {
  return z
    .array(
      z.string().superRefine((text, context) => {
        try {
          parseFilePath(text);
        } catch (error) {
          if (!(error instanceof IsolatorError)) throw error;
          context.addIssue({ code: "custom", message: error.message });
        }
      }),
    )
    .max(MAX_FILE_RULES, { error: `has too many paths: give at most ${MAX_FILE_RULES}` })
    .default([])
    .meta({ description });
}

const EntrySchema = z
  .strictObject({
    class: z
      .string()
      .optional()
      .meta({ description: "Class of the containers that it is for; without, all containers." }),
    deny: paths("Files, and directories with all below them, that may be neither opened nor changed."),
    readonly: paths("The same, that may not be changed."),
    allow: paths("Exceptions below those of deny and readonly: the nearest path above a file holds."),
    errno: z.enum(FILE_ERRNOS).default("EACCES").meta({ description: "What is refused gives it." }),
  })
  .meta({
    description:
      "What of the file systems the containers of a class may not open or change. Absolute paths, no patterns. Needs BPF LSM: without, such a container is not started.",
  });

export const FilesSchema = z
  .array(EntrySchema)
  .max(MAX_ENTRIES, { error: `has too many entries: give at most ${MAX_ENTRIES}` })
  .default([])
  .meta({
    description:
      "Rules for files: the first entry that is for a container counts. What is for classes that it only claims comes on top, as far as it is stricter.",
  });

export interface FilesRule extends FilesPolicy {
  /** Undefined: for all containers. */
  class?: string;
}

/** @param input what FilesSchema accepts and filesProblems() finds nothing in */
export function toFiles(input: z.output<typeof FilesSchema>): FilesRule[] {
  return input.map(({ class: name, deny, readonly, allow, errno }) => ({
    ...(name === undefined ? {} : { class: name }),
    rules: makeRules({ deny, readonly, allow }),
    errno,
  }));
}

/** Lists of paths of an entry that may have any other problems. */
function pathsIn(values: Record<string, unknown>): Record<FileMode, string[]> {
  const list = (key: FileMode): string[] => {
    const value = values[key];
    return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
  };
  return { deny: list("deny"), readonly: list("readonly"), allow: list("allow") };
}

/** What no key alone shows. @param files any value of the key @param classes any value of `classes` */
export function filesProblems(files: unknown, classes: unknown): Problem[] {
  if (!Array.isArray(files)) return [];
  const unknown = unknownClassIn(classes);
  return files.flatMap((entry: unknown, i): Problem[] => {
    if (typeof entry !== "object" || entry === null) return [];
    const values = entry as Record<string, unknown>;
    const problems: Problem[] = unknown(["files", i, "class"], values["class"]);
    const lists = pathsIn(values);
    if (lists.deny.length === 0 && lists.readonly.length === 0) {
      problems.push({ path: ["files", i], message: "refuses nothing: give deny or readonly" });
    } else {
      const problem = problemOf(lists);
      if (problem !== undefined) problems.push({ path: ["files", i], message: problem });
    }
    return problems;
  });
}

function problemOf(lists: Record<FileMode, string[]>): string | undefined {
  try {
    // A path that is none has a problem of its own.
    for (const path of Object.values(lists).flat()) parseFilePath(path);
  } catch {
    return undefined;
  }
  try {
    makeRules(lists);
    return undefined;
  } catch (error) {
    if (error instanceof IsolatorError) return error.message;
    throw error;
  }
}

/** Keys of the labels with which a task asks for rules of its own: a path each, as often as needed. */
export const PATH_LABELS = {
  deny: "bpf-isolator.deny_path",
  readonly: "bpf-isolator.readonly_path",
} as const;
type PathLabel = keyof typeof PATH_LABELS;

/** @returns undefined for another label; the error where the value is no path */
function parseLabel([key, value]: [string, string]): FileRule | IsolatorError | undefined {
  const mode = (Object.keys(PATH_LABELS) as PathLabel[]).find((each) => PATH_LABELS[each] === key);
  if (mode === undefined) return undefined;
  try {
    return { path: parseFilePath(value), mode };
  } catch (error) {
    if (error instanceof IsolatorError) return error;
    throw error;
  }
}

/** Labels that ask for a rule and give no path, in words. */
export function badPaths({ labels }: ContainerFacts): string[] {
  return labels.flatMap((label) => {
    const found = parseLabel(label);
    return found instanceof IsolatorError ? [`its label ${label[0]} is none: ${found.message}`] : [];
  });
}

/**
 * The rules for a container: those of the first entry that is for it, and on top what is stricter of entries for classes
 * that it only claims, and of its labels. So nobody gains by a claim.
 * @param classes that it is in
 */
export function filesFor(
  entries: readonly FilesRule[],
  classes: readonly Membership[],
  { labels }: Pick<ContainerFacts, "labels">,
): FilesPolicy | undefined {
  const first = entries.find((entry) => entry.class === undefined || isIn(classes, entry.class, false));
  const claimed = entries.filter((entry) => entry.class !== undefined && isIn(classes, entry.class, true));
  const rules = new Map(first?.rules.map(({ path, mode }) => [path, mode]));
  const asked = labels.flatMap((label) => {
    const rule = parseLabel(label);
    return rule === undefined || rule instanceof IsolatorError ? [] : [rule];
  });
  for (const { path, mode } of [...claimed.flatMap((entry) => entry.rules), ...asked])
    if (isStricter(mode, modeOf(rules, path))) rules.set(path, mode);
  if (![...rules.values()].some((mode) => mode !== "allow")) return undefined;
  return { rules: sortRules(rules), errno: (first ?? claimed[0])?.errno ?? "EACCES" };
}

function isIn(classes: readonly Membership[], name: string, claimed: boolean): boolean {
  return classes.some((each) => each.name === name && (each.claimed ?? false) === claimed);
}
