/** `endpoints` of the configuration: where it comes from which address of the cluster is in which class. */
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import { parseCidr } from "../features/addresses.js";
import { ENDPOINT_PROTOCOLS, type Endpoint, type EndpointProtocol } from "../features/endpoints.js";
import { listPorts, parsePorts } from "../features/ports.js";
import { CLASS_NAME, unknownClassIn } from "./classes.js";
import type { Problem } from "./problem.js";

const MAX_STATIC = 1000;
/** Of all static entries together: what is more belongs into a file. */
const MAX_STATIC_PORTS = 10_000;
const MAX_MASTERS = 16;
const MAX_PATH = 4096;

export const MASTER_ENCODINGS = ["protobuf", "json"] as const;
export type MasterEncoding = (typeof MASTER_ENCODINGS)[number];

/** What `check` throws for a person, as a problem of the value. */
function readable(check: (text: string) => unknown): (text: string, context: z.RefinementCtx) => void {
  return (text, context) => {
    try {
      check(text);
    } catch (error) {
      if (!(error instanceof IsolatorError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
    }
  };
}

const path = (description: string): z.ZodString =>
  z
    .string()
    .max(MAX_PATH, { error: `is longer than ${MAX_PATH} characters` })
    .regex(/^\//, { error: "is no absolute path: give one, as in /var/lib/bpf-isolator/endpoints" })
    .meta({ description });

const StaticSchema = z
  .strictObject({
    class: z
      .string()
      .regex(CLASS_NAME, { error: "is not a name of a class" })
      .meta({ description: "Class of the configuration that it is in." }),
    address: z
      .string()
      .superRefine(readable(parseCidr))
      .meta({ description: "An address, or a block such as 10.0.0.0/8 or fd00::/8." }),
    ports: z.string().superRefine(readable(parsePorts)).optional().meta({
      description: "Ports and ranges in one text, as in 5432,8000-8010. Default: the whole address.",
    }),
    protocol: z.enum(ENDPOINT_PROTOCOLS).optional().meta({ description: "Of the ports. Default: both." }),
  })
  .meta({ description: "One entry a class; entries of the same place add up." });

function isUrl(text: string): boolean {
  try {
    const { protocol, username, password } = new URL(text);
    return (protocol === "http:" || protocol === "https:") && username === "" && password === "";
  } catch {
    return false;
  }
}

const MasterSchema = z
  .strictObject({
    urls: z
      .array(
        z.string().refine(isUrl, { error: "is no URL of a master: give one, as in http://10.1.2.3:5050" }),
      )
      .min(1, { error: "is empty: give at least one master" })
      .max(MAX_MASTERS, { error: `has too many masters: give at most ${MAX_MASTERS}` })
      .meta({ description: "Masters of the cluster; any of them says which one leads." }),
    encoding: z.enum(MASTER_ENCODINGS).default("protobuf").meta({ description: "What is asked for." }),
    credential: path(
      'File with {"principal": ..., "secret": ...}, as Mesos has it, for a master that wants one. Read at each connect.',
    ).optional(),
    address_attribute: z
      .string()
      .min(1, { error: "is empty: give the name of an attribute" })
      .max(1024)
      .optional()
      .meta({
        description:
          "Attribute of agents (--attributes) with more addresses of theirs, IPv6 above all: the master itself knows one of each.",
      }),
  })
  .meta({
    description: "The v1 operator API of a Mesos master. For a few hosts of a cluster, not for all agents.",
  });

export const EndpointsSchema = z
  .strictObject({
    static: z
      .array(StaticSchema)
      .max(MAX_STATIC, { error: `has too many entries: give at most ${MAX_STATIC}, or a file` })
      .default([])
      .meta({ description: "Endpoints that stay. They win over those of the file and the master." }),
    file: path(
      "File of endpoints, read again when it changes. They win over those of the master.",
    ).optional(),
    master: MasterSchema.optional(),
  })
  .default({ static: [] })
  .meta({ description: "Which addresses and ports of the cluster are in which class. Default: none." });

export interface MasterConfig {
  urls: string[];
  encoding: MasterEncoding;
  credential?: string;
  addressAttribute?: string;
}

/** Plain data, so that two can be compared by their JSON. */
export interface EndpointsConfig {
  static: Endpoint[];
  file?: string;
  master?: MasterConfig;
}

type StaticInput = z.output<typeof StaticSchema>;

function expand({ address, ports, protocol }: Omit<StaticInput, "class">): Omit<Endpoint, "classes">[] {
  if (ports === undefined) return [{ address }];
  const more: { protocol?: EndpointProtocol } = protocol === undefined ? {} : { protocol };
  return listPorts(parsePorts(ports)).map((port) => ({ address, port, ...more }));
}

/** Places of several entries are in all of their classes, in the order of the entries. */
function toStatic(entries: readonly StaticInput[]): Endpoint[] {
  const found = new Map<string, Endpoint & { classes: { name: string }[] }>();
  for (const { class: name, ...entry } of entries) {
    for (const place of expand(entry)) {
      const key = JSON.stringify(place);
      const known = found.get(key) ?? { ...place, classes: [] };
      if (!known.classes.some((member) => member.name === name)) known.classes.push({ name });
      found.set(key, known);
    }
  }
  return [...found.values()];
}

export function toEndpoints(input: z.output<typeof EndpointsSchema>): EndpointsConfig {
  const { file, master } = input;
  return {
    static: toStatic(input.static),
    ...(file === undefined ? {} : { file }),
    ...(master === undefined
      ? {}
      : {
          master: {
            urls: master.urls,
            encoding: master.encoding,
            ...(master.credential === undefined ? {} : { credential: master.credential }),
            ...(master.address_attribute === undefined ? {} : { addressAttribute: master.address_attribute }),
          },
        }),
  };
}

function portsIn(text: unknown): number {
  try {
    return typeof text === "string" ? listPorts(parsePorts(text)).length : 1;
  } catch (error) {
    if (error instanceof IsolatorError) return 0;
    throw error;
  }
}

/** What no key alone shows. @param endpoints, classes any values of the keys */
export function endpointProblems(endpoints: unknown, classes: unknown): Problem[] {
  const entries = (endpoints as { static?: unknown } | null | undefined)?.static;
  if (!Array.isArray(entries)) return [];
  const unknown = unknownClassIn(classes);
  let ports = 0;
  return entries.flatMap((entry: unknown, i): Problem[] => {
    if (typeof entry !== "object" || entry === null) return [];
    const { class: name, address, ports: list, protocol } = entry as Record<string, unknown>;
    const at = ["endpoints", "static", i];
    const problems: Problem[] = unknown([...at, "class"], name);
    if (list !== undefined && typeof address === "string" && address.includes("/"))
      problems.push({
        path: [...at, "ports"],
        message: "are of single addresses only: leave them out for a block",
      });
    if (protocol !== undefined && list === undefined)
      problems.push({
        path: [...at, "protocol"],
        message: "has no effect without ports: give those, or leave it out",
      });
    const before = ports;
    ports += portsIn(list);
    if (before <= MAX_STATIC_PORTS && ports > MAX_STATIC_PORTS)
      problems.push({
        path: [...at, "ports"],
        message: `make more than ${MAX_STATIC_PORTS} endpoints with those before: give a file of endpoints instead`,
      });
    return problems;
  });
}
