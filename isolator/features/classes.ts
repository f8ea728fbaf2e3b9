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

/** "production, batch (claimed)"; "none". */
export function formatClasses(classes: readonly Membership[] = []): string {
  if (classes.length === 0) return "none";
  return classes.map(({ name, claimed }) => (claimed ? `${name} (claimed)` : name)).join(", ");
}
