/** Which containers an entry of the configuration is about: its `match`, as it is written, and whether it holds. */
import { z } from "zod";
import type { ContainerFacts } from "./facts.js";

const MAX_NAME = 1024;
const MAX_LABELS = 32;

/** Text that is compared with what an agent sends. */
export function name(description: string): z.ZodString {
  return z
    .string()
    .min(1, { error: "is empty: give a name" })
    .max(MAX_NAME, { error: `is too long: give at most ${MAX_NAME} characters` })
    .meta({ description });
}

/** Keys of every match. */
export const MATCH_KEYS = {
  role: name("Role of the framework that the container's resources are allocated to, exactly.").optional(),
  framework_id: name("Framework id, as the master gave it.").optional(),
  labels: z
    .record(name("Key."), z.string().max(MAX_NAME, { error: `is longer than ${MAX_NAME} characters` }))
    .refine((labels) => Object.keys(labels).length > 0, { error: "is empty: give at least one label" })
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, {
      error: `has too many labels: give at most ${MAX_LABELS}`,
    })
    .optional()
    .meta({ description: "Labels of the task or executor, all of which it must have. Users choose them." }),
};

/** What a container must have; at least one of them. */
export interface Match {
  role?: string;
  frameworkId?: string;
  principal?: string;
  executorId?: string;
  /** A path, in which a segment "*" stands for any one, and a last segment "**" for any number. */
  appId?: string;
  labels: [key: string, value: string][];
}

interface MatchInput {
  role?: string | undefined;
  framework_id?: string | undefined;
  principal?: string | undefined;
  executor_id?: string | undefined;
  app_id?: string | undefined;
  labels?: Record<string, string> | undefined;
}

export function toMatch({ role, framework_id, principal, executor_id, app_id, labels }: MatchInput): Match {
  return {
    ...(role === undefined ? {} : { role }),
    ...(framework_id === undefined ? {} : { frameworkId: framework_id }),
    ...(principal === undefined ? {} : { principal }),
    ...(executor_id === undefined ? {} : { executorId: executor_id }),
    ...(app_id === undefined ? {} : { appId: app_id }),
    labels: Object.entries(labels ?? {}),
  };
}

/** Every role that the container has is one of these, and it has one. */
export function isAllocatedTo({ roles }: ContainerFacts, allowed: readonly string[]): boolean {
  return roles.length > 0 && roles.every((role) => allowed.includes(role));
}

/**
 * Whether the master's word is part of it. All else is chosen by whoever runs the task, so by itself it counts for
 * containers of trusted roles only.
 */
export function isAnchored({ role, frameworkId, principal }: Match): boolean {
  return role !== undefined || frameworkId !== undefined || principal !== undefined;
}

/** Whether an app is one of a pattern's: of "/shop/**" are "/shop/cart" and "/shop/cart/db", "/shop" is not. */
export function matchesPath(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  const rest = wanted.at(-1) === "**";
  if (rest ? given.length < wanted.length : given.length !== wanted.length) return false;
  const named = rest ? wanted.slice(0, -1) : wanted;
  return named.every((segment, i) => segment === given[i] || (segment === "*" && given[i] !== ""));
}

/** Whether all of it holds for a container, whoever said so. */
export function holds(match: Match, facts: ContainerFacts): boolean {
  const { role, frameworkId, principal, executorId, appId, labels } = match;
  return (
    (role === undefined || isAllocatedTo(facts, [role])) &&
    (frameworkId === undefined || facts.frameworkId === frameworkId) &&
    (principal === undefined || facts.principal === principal) &&
    (executorId === undefined || facts.executorId === executorId) &&
    (appId === undefined || (facts.appId !== undefined && matchesPath(appId, facts.appId))) &&
    labels.every(([key, value]) => facts.labels.some(([k, v]) => k === key && v === value))
  );
}
