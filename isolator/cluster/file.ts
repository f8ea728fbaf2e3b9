/**
 * Endpoints from a file that somebody else writes, and that is read again when it changes. What is read is all or
 * nothing: a file that is being written, or is cut off, leaves what was read before.
 *
 * It is lines of JSON, so that a file of a million endpoints is read without holding others up: the first says what it is
 * and how many follow, {"version":1,"endpoints":2}, and each of the others is one endpoint as `bpf-isolator endpoints
 * --export` writes it: {"address":"10.1.2.3","port":31000,"protocol":"tcp","classes":["web"]}.
 */
import { watch, type FSWatcher } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { IsolatorError, messageOf } from "../errors.js";
import type { Membership } from "../features/classes.js";
import {
  ENDPOINT_PROTOCOLS,
  keyOf,
  type Endpoint,
  type EndpointProtocol,
  type Place,
} from "../features/endpoints.js";
import {
  ClaimMap,
  type Classifier,
  type EndpointSource,
  type SourceSink,
  type SourceStatus,
} from "./source.js";
import { Ignored } from "./ignored.js";

export const FILE_VERSION = 1;
/** Endpoints of one file. */
export const MAX_ENDPOINTS = 2_000_000;
/** Bytes of a line. */
const MAX_LINE = 4096;
/** Lines that are read before others have their turn. */
const AT_ONCE = 500;
/** ms between two looks at a file whose directory cannot be watched, or whose change nobody told of. */
const LOOK = 5_000;
/** ms that a change is given to be all of it. */
const CALM = 100;

const UNKNOWN_CLASS = "endpoints in a class that the configuration does not have";

/** A line of the file. */
export interface FileEndpoint extends Place {
  /** "!" before one that is only claimed. */
  classes: string[];
  task?: string;
}

export function toFileEndpoint({ classes, ...rest }: Endpoint): FileEndpoint {
  const { address, port, protocol, task } = rest;
  return {
    address,
    ...(port === undefined ? {} : { port }),
    ...(protocol === undefined ? {} : { protocol }),
    classes: classes.map(({ name, claimed }) => (claimed ? `!${name}` : name)),
    ...(task === undefined ? {} : { task }),
  };
}

function bad(line: number, why: string): IsolatorError {
  return new IsolatorError("bad-config", `line ${line}: ${why}`);
}

function parseLine(text: string, line: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad(line, "it is no JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(line, "it is no object");
  return value as Record<string, unknown>;
}

/** @throws bad-config */
function readHead(text: string): number {
  const { version, endpoints } = parseLine(text, 1);
  if (version !== FILE_VERSION) throw bad(1, `its version is not ${FILE_VERSION}`);
  if (typeof endpoints !== "number" || !Number.isInteger(endpoints) || endpoints < 0)
    throw bad(1, '"endpoints" is not the number of lines that follow');
  if (endpoints > MAX_ENDPOINTS) throw bad(1, `${endpoints} endpoints are more than ${MAX_ENDPOINTS}`);
  return endpoints;
}

/** @throws bad-config, bad-argument */
function readEndpoint(text: string, line: number): FileEndpoint {
  const { address, port, protocol, classes, task } = parseLine(text, line);
  if (typeof address !== "string") throw bad(line, '"address" is missing');
  if (port !== undefined && !(Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65535))
    throw bad(line, '"port" is not 1 to 65535');
  if (protocol !== undefined && !ENDPOINT_PROTOCOLS.includes(protocol as EndpointProtocol))
    throw bad(line, `"protocol" is not ${ENDPOINT_PROTOCOLS.join(" or ")}`);
  if (protocol !== undefined && port === undefined) throw bad(line, '"protocol" needs "port"');
  if (address.includes("/") && port !== undefined) throw bad(line, "a block of addresses has no port");
  if (!Array.isArray(classes) || !classes.every((name) => typeof name === "string"))
    throw bad(line, '"classes" is not a list of names');
  return {
    address,
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(protocol === undefined ? {} : { protocol: protocol as EndpointProtocol }),
    classes,
    ...(typeof task === "string" ? { task: task.slice(0, MAX_LINE) } : {}),
  };
}

/** What a file says, by the classes of a configuration. */
class Reading {
  readonly claims = new ClaimMap();
  private readonly lists = new Map<string, readonly Membership[]>();
  private expected = -1;
  private line = 0;

  constructor(
    private readonly classifier: Classifier,
    private readonly ignored: Ignored,
  ) {}

  /** @throws bad-config, bad-argument */
  take(text: string): void {
    this.line++;
    if (this.line === 1) {
      this.expected = readHead(text);
      return;
    }
    if (this.line > this.expected + 1)
      throw bad(this.line, `there are more than the ${this.expected} that line 1 says`);
    const endpoint = readEndpoint(text, this.line);
    const classes = this.classesOf(endpoint.classes);
    if (classes.length === 0) return;
    let key: string;
    try {
      key = keyOf(endpoint);
    } catch (error) {
      throw bad(this.line, messageOf(error));
    }
    this.claims.add(key, { classes, task: endpoint.task ?? `line ${this.line}` });
  }

  end(): void {
    if (this.line === 0) throw bad(1, "the file is empty");
    if (this.line < this.expected + 1)
      throw bad(this.line, `the file ends here, and line 1 says that ${this.expected} endpoints follow`);
  }

  private classesOf(names: readonly string[]): readonly Membership[] {
    const text = names.join();
    const known = this.lists.get(text);
    if (known) return known;
    const given = names.map((name) =>
      name.startsWith("!") ? { name: name.slice(1), claimed: true as const } : { name },
    );
    const list = given.filter(({ name }) => this.classifier.names.has(name));
    if (list.length < given.length) this.ignored.count(UNKNOWN_CLASS);
    this.lists.set(text, list);
    return list;
  }
}

/** Splits what is read into lines, with others having their turn. @throws bad-config, and what reading throws */
async function readLines(file: FileHandle, take: (line: string) => void): Promise<void> {
  let rest = "";
  let count = 0;
  for await (const chunk of file.createReadStream({ encoding: "utf8", autoClose: false, start: 0 })) {
    const lines = (rest + (chunk as string)).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE || lines.some((line) => line.length > MAX_LINE))
      throw new IsolatorError("bad-config", `a line of it has more than ${MAX_LINE} characters`);
    for (const line of lines) {
      take(line);
      if (++count % AT_ONCE === 0) await breathe();
    }
  }
  if (rest !== "") take(rest);
}

interface Stamp {
  ino: bigint;
  size: bigint;
  mtimeNs: bigint;
}

function same(a: Stamp | undefined, b: Stamp): boolean {
  return a?.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

export class FileSource implements EndpointSource {
  readonly name = "file";
  private readonly ignored = new Ignored();
  private sink: SourceSink | undefined;
  private watcher: FSWatcher | undefined;
  private timer: NodeJS.Timeout | undefined;
  private reading: Promise<void> | undefined;
  private again = false;
  private stopped = false;
  /** The file that was read last, well or not. */
  private seen: Stamp | undefined;
  private readAt: number | undefined;
  private error: string | undefined;

  constructor(
    private readonly path: string,
    private classifier: Classifier,
  ) {}

  start(sink: SourceSink): void {
    this.sink = sink;
    try {
      // The directory: a file that is renamed into place is another one.
      this.watcher = watch(dirname(this.path), (_, name) => {
        if (name === null || name === basename(this.path)) this.look(CALM);
      });
      this.watcher.on("error", () => this.watcher?.close());
    } catch {
      // It is looked at now and then all the same.
    }
    this.look(0);
  }

  reclassify(classifier: Classifier): void {
    this.classifier = classifier;
    this.seen = undefined;
    this.look(0);
  }

  stop(): void {
    this.stopped = true;
    this.watcher?.close();
    clearTimeout(this.timer);
  }

  status(): SourceStatus {
    return {
      name: this.name,
      where: this.path,
      state: this.readAt === undefined ? "waiting" : this.error === undefined ? "current" : "stale",
      ...(this.readAt === undefined ? {} : { age: (performance.now() - this.readAt) / 1000 }),
      ...(this.error === undefined ? {} : { error: this.error }),
      ignored: this.ignored.all,
    };
  }

  private look(delay: number): void {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.readIfChanged();
    }, delay).unref();
  }

  private readIfChanged(): void {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = this.read().finally(() => {
      this.reading = undefined;
      const soon = this.again;
      this.again = false;
      this.look(soon ? CALM : LOOK);
    });
  }

  private async read(): Promise<void> {
    try {
      const before = await stat(this.path, { bigint: true });
      if (same(this.seen, before)) return;
      const claims = await this.readWhole(before);
      if (this.stopped) return;
      this.seen = before;
      this.readAt = performance.now();
      this.error = undefined;
      this.sink?.replace(claims);
    } catch (error) {
      this.fail(messageOf(error));
    }
  }

  /** @throws bad-config where it is not whole, or is written meanwhile */
  private async readWhole(before: Stamp): Promise<ClaimMap> {
    const file = await open(this.path);
    try {
      const classifier = this.classifier;
      const reading = new Reading(classifier, this.ignored);
      await readLines(file, (line) => {
        reading.take(line);
      });
      reading.end();
      if (!same(before, await file.stat({ bigint: true })) || classifier !== this.classifier)
        throw new IsolatorError("bad-config", "it was written while it was read: it is read again");
      return reading.claims;
    } catch (error) {
      // Not read again before it changes, unless it has done so already.
      this.seen = same(before, await file.stat({ bigint: true })) ? before : undefined;
      if (this.seen === undefined) this.again = true;
      throw error;
    } finally {
      await file.close();
    }
  }

  private fail(message: string): void {
    const error = `${this.path}: ${message}`;
    if (this.error !== error) {
      const kept = this.readAt === undefined ? "" : "; what was read before holds";
      this.sink?.warn(`${error}${kept}`);
    }
    this.error = error;
  }
}
