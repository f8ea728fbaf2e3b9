/** The configuration file: found, read with bounds, and checked, with every mistake told by its place in the file. */
import { isUtf8 } from "node:buffer";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { IsolatorError, messageOf, systemCode } from "../errors.js";
import { formatPath, readConfig } from "./problems.js";
import { DEFAULT_INSTANCE, type Config } from "./schema.js";
import { readYaml, type Position } from "./yaml.js";

/** Read where --config names no other; it need not be there. */
export const DEFAULT_CONFIG_FILE = "/etc/bpf-isolator/isolator.yaml";

/** Bytes. */
export const MAX_CONFIG_SIZE = 256 * 1024;
/** A file of another kind altogether has thousands. */
const MAX_PROBLEMS = 50;

export interface LoadedConfig {
  config: Config;
  file: string;
  /** False: the default file is not there, and everything is at its default. */
  found: boolean;
  /** "FILE:LINE:COLUMN: KEY" of a key. */
  at: (...path: string[]) => string;
}

/** All that is wrong with a file. */
export class ConfigError extends IsolatorError {
  /** @param problems one line each, with file, line, column and key where there are any */
  constructor(
    readonly problems: readonly string[],
    cause?: unknown,
  ) {
    super("bad-config", `the configuration cannot be used:\n${problems.join("\n")}`, cause);
  }
}

/** Where the first byte stands that is no UTF-8. */
function findBadByte(bytes: Buffer): Position {
  let begin = 0;
  for (let line = 1; ; line++) {
    const newline = bytes.indexOf(0x0a, begin);
    const end = newline < 0 ? bytes.length : newline;
    const text = bytes.subarray(begin, end);
    if (!isUtf8(text)) return { line, column: text.toString("utf8").indexOf("\ufffd") + 1 };
    if (newline < 0) return { line, column: 1 };
    begin = newline + 1;
  }
}

/** @returns undefined: there is no such file @throws ConfigError */
function readFile(file: string): Buffer | undefined {
  let fd: number | undefined;
  try {
    // A pipe with no writer would be waited for.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) throw new Error("it is not a regular file");
    const buffer = Buffer.alloc(MAX_CONFIG_SIZE + 1);
    let size = 0;
    for (let n = -1; n !== 0 && size < buffer.length; size += n) {
      n = readSync(fd, buffer, size, buffer.length - size, null);
    }
    if (size > MAX_CONFIG_SIZE) throw new Error(`it has more than ${MAX_CONFIG_SIZE} bytes`);
    return buffer.subarray(0, size);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw new ConfigError([`${file}: it cannot be read: ${messageOf(error)}`], error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * @param bytes the file's contents
 * @param file its name, for errors
 * @throws ConfigError (bad-config) with all that is wrong
 */
export function parseConfig(bytes: Buffer, file: string): LoadedConfig {
  const place = ({ line, column }: Position): string => `${file}:${line}:${column}`;
  if (!isUtf8(bytes)) {
    throw new ConfigError([`${place(findBadByte(bytes))}: it is not UTF-8 text: save it as UTF-8`]);
  }
  const text = readYaml(new TextDecoder().decode(bytes));
  const found = text.problems.length > 0 ? [] : readConfig(text.value);
  if (!Array.isArray(found)) {
    const at = (...path: string[]): string => `${place(text.locate(path, true))}: ${formatPath(path)}`;
    return { config: found, file, found: true, at };
  }
  const problems = [
    ...text.problems,
    ...found.map(({ path, key, message }) => ({
      ...text.locate(path, key),
      message: path.length > 0 ? `${formatPath(path)}: ${message}` : `the file ${message}`,
    })),
  ]
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .map((problem) => `${place(problem)}: ${problem.message}`);
  const hidden = problems.length - MAX_PROBLEMS;
  throw new ConfigError(
    hidden > 0 ? [...problems.slice(0, MAX_PROBLEMS), `${file}: and ${hidden} more`] : problems,
  );
}

/**
 * @param given file of --config, which must be there; undefined: the default one, which need not
 * @param byDefault the default file
 * @throws ConfigError (bad-config)
 */
export function loadConfig(given?: string, byDefault = DEFAULT_CONFIG_FILE): LoadedConfig {
  const file = given ?? byDefault;
  const bytes = readFile(file);
  if (bytes) return parseConfig(bytes, file);
  if (given !== undefined)
    throw new ConfigError([`${file}: there is no such file: give --config one that there is`]);
  return { ...parseConfig(Buffer.alloc(0), file), found: false };
}

/**
 * The instance: that of the command line, else that of the file.
 * @param given --instance, if it was given
 * @returns with a notice for the operator where the two differ
 */
export function chooseInstance(
  { config, at }: LoadedConfig,
  given: string | undefined,
): { instance: string; notice?: string } {
  const { instance } = config;
  if (given === undefined) return { instance: instance ?? DEFAULT_INSTANCE };
  if (instance === undefined || instance === given) return { instance: given };
  return {
    instance: given,
    notice: `${at("instance")} is ${JSON.stringify(instance)}, but --instance ${given} on the command line wins`,
  };
}
