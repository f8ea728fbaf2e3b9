/** --usage-file: checked before the task starts, since after it there is nobody to ask. */
import { randomBytes } from "node:crypto";
import { accessSync, constants, renameSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { IsolatorError, messageOf } from "../errors.js";

function fail(path: string, error: unknown): IsolatorError {
  return new IsolatorError(
    "bad-argument",
    `--usage-file ${JSON.stringify(path)} cannot be written: ${messageOf(error)}`,
    error,
  );
}

/** True where it is a device, a pipe or the like, which is written to; a file is replaced whole. */
function isSpecial(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory()) throw new Error("it is a directory");
  return stats !== undefined && !stats.isFile();
}

/** @throws bad-argument */
export function checkUsageFile(path: string): void {
  try {
    if (path === "") throw new Error("it is empty");
    if (isSpecial(path)) accessSync(path, constants.W_OK);
    else accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    throw fail(path, error);
  }
}

/** Writes it whole or not at all. @throws bad-argument */
export function writeUsageFile(path: string, text: string): void {
  try {
    if (isSpecial(path)) {
      writeFileSync(path, text);
      return;
    }
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
    // "wx": never through a link that somebody laid there.
    writeFileSync(temporary, text, { flag: "wx" });
    renameSync(temporary, path);
  } catch (error) {
    throw fail(path, error);
  }
}
