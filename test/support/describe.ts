/** Suites that only some machines can run. */
import { describe, it } from "node:test";

/**
 * A suite, or one test that is skipped in its place: node:test does not count a suite that is skipped.
 * @param why it cannot run here; false: it can
 */
export function describeUnless(why: string | false, name: string, suite: () => void | Promise<void>): void {
  if (why === false) describe(name, suite);
  else it(name, { skip: why }, () => undefined);
}
