/** The configuration as a test writes it. */
import assert from "node:assert/strict";
import { ConfigError, parseConfig } from "../../isolator/config/load.js";
import type { Config } from "../../isolator/config/schema.js";

export const yaml = (text: string): Config => parseConfig(Buffer.from(text), "f.yaml").config;

/** What is said of a bad one, a line for each mistake, without the file's name. */
export function problems(text: string): string {
  try {
    yaml(text);
  } catch (error) {
    assert(error instanceof ConfigError);
    return error.problems.map((line) => line.replace(/^f\.yaml:/, "")).join("\n");
  }
  assert.fail(`accepted: ${text}`);
}
