/** Command line of the benchmarks, and where their result goes. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { format } from "prettier";
import { readmeAround, writeReadme } from "./table.js";

/** Where the result goes. */
export interface Output {
  /** Replace the table in README.md instead of printing it. */
  write: boolean;
  /** Where to write every figure as JSON. */
  json: string | undefined;
}

/** Options of the benchmarks that compare `bpf-isolator run` with something else. */
export interface Options extends Output {
  /** Pairs of samples for each figure. */
  pairs: number;
  /** False: leave `bpf-isolator run` out. */
  ours: boolean;
}

/** An option of one benchmark: a whole number, or a flag where it has no default. */
interface Own {
  help: string;
  default?: number;
  least?: number;
}

/** @returns undefined after --help @throws Error on an option that is unknown or wrong */
export function readOptions(name: string, defaultPairs: number): Options | undefined {
  const read = parse(name, {
    pairs: { help: "pairs of samples for each figure", default: defaultPairs, least: 2 },
    "without-ours": { help: "leave bpf-isolator out, for work on the benchmark itself" },
  });
  return read && { ...read.output, pairs: Number(read.own["pairs"]), ours: !read.own["without-ours"] };
}

/** The same with --containers. */
export function readCount(
  name: string,
  defaultContainers: number,
): (Output & { containers: number }) | undefined {
  const read = parse(name, {
    containers: { help: "containers that live at one time", default: defaultContainers, least: 2 },
  });
  return read && { ...read.output, containers: Number(read.own["containers"]) };
}

/** How much bench:bandwidth does. */
export interface BandwidthOptions extends Output {
  /** Seconds that each flow sends. */
  seconds: number;
  /** Mbit/s of the lowest and the highest limit. */
  least: number;
  most: number;
}

export function readBandwidthOptions(name: string): BandwidthOptions | undefined {
  const read = parse(name, {
    seconds: { help: "seconds that each measurement takes", default: 10, least: 1 },
    least: { help: "Mbit/s of the lowest limit", default: 10, least: 10 },
    most: { help: "Mbit/s of the highest limit", default: 10_000, least: 10 },
  });
  if (!read) return undefined;
  const [seconds, least, most] = ["seconds", "least", "most"].map((name) => Number(read.own[name]));
  return { ...read.output, seconds: seconds ?? 0, least: least ?? 0, most: most ?? 0 };
}

/** How much bench:daemon does. */
export interface DaemonOptions extends Output {
  containers: number;
  /** Pairs of samples for each load. */
  pairs: number;
  /** Containers prepared, isolated and cleaned up, one after another. */
  cycles: number;
  /** Times that anything else is done. */
  repeats: number;
}

/** Options of bench:module. @returns undefined after --help @throws Error on an option that is unknown or wrong */
export function readModuleOptions(
  name: string,
  file: string,
): (Output & { launches: number; repeats: number }) | undefined {
  const read = parse(
    name,
    {
      launches: { help: "containers launched, one after another", default: 200, least: 2 },
      repeats: { help: "times that the usage of 500 containers is asked", default: 40, least: 2 },
    },
    file,
  );
  return (
    read && {
      ...read.output,
      launches: Number(read.own["launches"]),
      repeats: Number(read.own["repeats"]),
    }
  );
}

/** The same for bench:daemon: --quick does little of all. */
export function readDaemonOptions(name: string, most: number): DaemonOptions | undefined {
  const read = parse(name, {
    containers: { help: "containers that live at one time", default: 1000, least: 2 },
    pairs: { help: "pairs of samples for each load", default: 40, least: 2 },
    cycles: { help: "containers prepared, isolated and cleaned up", default: 1000, least: 2 },
    repeats: { help: "times that anything else is done", default: 7, least: 1 },
    quick: { help: "shows in half a minute that it works, and no more" },
  });
  if (!read) return undefined;
  const { quick, ...given } = read.own;
  const [containers, pairs, cycles, repeats] = quick
    ? [60, 2, 10, 1]
    : [given["containers"], given["pairs"], given["cycles"], given["repeats"]].map(Number);
  if (containers === undefined || containers > most)
    throw new Error(`--containers: there are ports for ${most} at the most`);
  return { ...read.output, containers, pairs: pairs ?? 0, cycles: cycles ?? 0, repeats: repeats ?? 0 };
}

function parse(
  name: string,
  own: Record<string, Own>,
  file?: string,
): { output: Output; own: Record<string, string | boolean | undefined> } | undefined {
  const values: Record<string, string | boolean | undefined> = parseArgs({
    options: {
      ...Object.fromEntries(
        Object.entries(own).map(([option, { default: value }]) => [
          option,
          value === undefined
            ? { type: "boolean" as const, default: false }
            : { type: "string" as const, default: String(value) },
        ]),
      ),
      write: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  }).values;
  if (values["help"]) {
    process.stdout.write(usage(name, own));
    return undefined;
  }
  for (const [option, { least = 0, default: value }] of Object.entries(own)) {
    if (value === undefined) continue;
    const given = Number(values[option]);
    if (!Number.isInteger(given) || given < least)
      throw new Error(`--${option} must be a whole number from ${least} on`);
  }
  const output = { write: values["write"] === true, json: values["json"] as string | undefined };
  // Now, and not after minutes of measuring.
  if (output.write) readmeAround(name, file);
  return { output, own: values };
}

function usage(name: string, own: Record<string, Own>): string {
  const lines: [string, string][] = [
    ...Object.entries(own).map(([option, { help, default: value }]): [string, string] =>
      value === undefined ? [`--${option}`, help] : [`--${option} N`, `${help} (default ${value})`],
    ),
    ["--write", "put the tables into README.md instead of printing them"],
    ["--json FILE", "write every figure"],
  ];
  const width = Math.max(...lines.map(([option]) => option.length));
  return (
    `Usage: sudo npm run ${name} -- ${lines.map(([option]) => `[${option}]`).join(" ")}\n\n` +
    lines.map(([option, help]) => `  ${option.padEnd(width)}  ${help}\n`).join("")
  );
}

/**
 * Prints the Markdown `text`, or puts it into README.md between the marks `name`, and writes the figures where asked.
 * It is formatted as the repository's check wants it, tables in even columns.
 */
export async function deliver(
  options: Output,
  name: string,
  text: string,
  figures: unknown,
  file?: string,
): Promise<void> {
  const markdown = (await format(text, { parser: "markdown", printWidth: 110 })).trim();
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
  if (options.write) writeReadme(name, markdown, file);
  else process.stdout.write(`${markdown}\n`);
}
