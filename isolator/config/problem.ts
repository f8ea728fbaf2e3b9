/** Something wrong with a value of the configuration: where in the file's own terms, and what, with what is allowed. */
export interface Problem {
  path: PropertyKey[];
  message: string;
}

/** What there is of a list; nothing where it is none. */
export function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** What there is of a map of keys; nothing where it is none. */
export function asMap(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
