/**
 * Classes: names that the configuration gives to containers, which other features' rules go by. Who is in one is
 * decided in config/classes.ts; README.md, "Classes", is the user's side.
 */
import { createHash } from "node:crypto";
import { layouts } from "../kernel/gen/layout.js";

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

const { CLASS_CLAIMED } = layouts.enums.class_bit;
const SET = layouts.structs.class_set;

/** Classes of one endpoint or container that the programs know; the configuration's first. */
export const KNOWN_CLASSES: number = SET.fields.ids.count;

const ids = new Map<string, number>();

/**
 * The kernel's name for a class: a part of the hash of its name, so that all processes agree without having to talk.
 * The configuration has no two classes with the same one. 1 to 2^30 - 1.
 */
export function classId(name: string): number {
  const known = ids.get(name);
  if (known !== undefined) return known;
  const id = createHash("sha256").update(name).digest().readUInt32BE() % (CLASS_CLAIMED - 1);
  ids.set(name, id + 1);
  return id + 1;
}

/** What a class is named for rules that name a service: no class of the configuration can be called so. */
export function serviceClass(name: string): string {
  return `service ${name}`;
}

/** Value of a struct class_set: those beyond KNOWN_CLASSES are left out. */
export function encodeClasses(classes: readonly Membership[]): Uint8Array {
  const words = new Uint32Array(KNOWN_CLASSES);
  classes.slice(0, KNOWN_CLASSES).forEach(({ name, claimed }, i) => {
    words[i] = classId(name) + (claimed ? CLASS_CLAIMED : 0);
  });
  return new Uint8Array(words.buffer);
}

/** What programs do not know of a place's or a container's classes, in words; undefined: they know all. */
export function tooManyClasses(classes: readonly Membership[] = []): string | undefined {
  if (classes.length <= KNOWN_CLASSES) return undefined;
  const left = classes.slice(KNOWN_CLASSES).map(({ name }) => name);
  return `it is in ${classes.length} classes, and rules for destinations know the first ${KNOWN_CLASSES} of them: not ${left.join(", ")}`;
}

/**
 * @param ids of a struct class_set
 * @param names of all classes that there may be; one that is not among them is "class 0x..."
 */
export function decodeClasses(ids: readonly number[], names: readonly string[]): Membership[] {
  const byId = new Map(names.map((name) => [classId(name), name]));
  return ids
    .filter((id) => id !== 0)
    .map((id) => {
      const plain = id % CLASS_CLAIMED;
      const name = byId.get(plain) ?? `class 0x${plain.toString(16)}`;
      return id >= CLASS_CLAIMED ? { name, claimed: true } : { name };
    });
}
