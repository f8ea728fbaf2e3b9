/** Mesos's container ids, checked: they come from whoever talks to an agent. */
import { IsolatorError } from "../errors.js";
import type { mesos } from "./gen/types.js";

/** Mesos's own limit, in bytes (NAME_MAX less what its directories add). */
const MAX_BYTES = 242;
/**
 * Deeper than any container that can be prepared, so that cleanup() of one whose prepare() was refused for its depth
 * still succeeds.
 */
const MAX_LEVELS = 32;
/**
 * Control characters, space and separators, which Mesos does not allow; half a surrogate pair, and what a decoder puts
 * for bytes that are no UTF-8: two such ids would look the same.
 */
// eslint-disable-next-line no-control-regex -- they are what it is about
const NOT_ALLOWED = /[\u0000- \u007f./\\\ufffd]|\p{Surrogate}/u;

function checkValue(value: string): string {
  const shown = JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  const bytes = Buffer.byteLength(value);
  if (bytes < 1 || bytes > MAX_BYTES) {
    throw new IsolatorError(
      "bad-container-id",
      `the container id ${shown} has ${bytes} bytes: give it 1 to ${MAX_BYTES}`,
    );
  }
  if (NOT_ALLOWED.test(value)) {
    throw new IsolatorError(
      "bad-container-id",
      `the container id ${shown} is not one of Mesos's: no control character, space, ".", "/" or "\\" may be in it, ` +
        "and it has to be UTF-8",
    );
  }
  return value;
}

/**
 * The values from the root down.
 * @throws bad-container-id
 */
export function toContainerId(id: mesos.ContainerID): readonly [string, ...string[]] {
  let values: [string, ...string[]] = [checkValue(id.value)];
  for (let parent = id.parent; parent; parent = parent.parent) {
    if (values.length === MAX_LEVELS) {
      throw new IsolatorError(
        "bad-container-id",
        `the container id ends in ${JSON.stringify(id.value)} and is nested more than ${MAX_LEVELS} deep`,
      );
    }
    values = [checkValue(parent.value), ...values];
  }
  return values;
}

/** Mesos's message of an id that is given from the root down. */
export function fromContainerId([root, ...nested]: readonly [string, ...string[]]): mesos.ContainerID {
  return nested.reduce<mesos.ContainerID>((parent, value) => ({ value, parent }), { value: root });
}
