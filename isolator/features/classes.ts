/**
 * Classes: names that the configuration gives to containers, which other features' rules go by. Who is in one is
 * decided in config/classes.ts; README.md, "Classes", is the user's side.
 */

/** That a container is in a class. */
export interface Membership {
  name: string;
  /**
   * By nothing but what whoever runs the task has written. What a class grants is not granted to such a member; what
   * it takes away is taken away.
   */
  claimed?: true;
}

/** Whether a value that was stored is what classes of a container are. */
export function isMemberships(value: unknown): value is Membership[] {
  return (
    Array.isArray(value) &&
    value.every(
      (each: unknown) =>
        typeof each === "object" && each !== null && typeof (each as Partial<Membership>).name === "string",
    )
  );
}

/** "production, batch (claimed)"; "none". */
export function formatClasses(classes: readonly Membership[] = []): string {
  if (classes.length === 0) return "none";
  return classes.map(({ name, claimed }) => (claimed ? `${name} (claimed)` : name)).join(", ");
}
