/** `egress` of the configuration: where containers of which class may connect and send to. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { z } from "zod";
import { IsolatorError } from "../errors.js";
import { parseCidr } from "../features/addresses.js";
import type { Membership } from "../features/classes.js";
import { compileEgress, MAX_EGRESS_RULES } from "../features/egress-tables.js";
import {
  EGRESS_ACTIONS,
  EGRESS_ERRNOS,
  EGRESS_EXISTING,
  EGRESS_PROTOCOLS,
  type EgressAction,
  type EgressDestination,
  type EgressErrno,
  type EgressPolicy,
  type EgressRule,
} from "../features/egress.js";
import { parsePorts } from "../features/ports.js";
import { isServiceName } from "../features/services.js";
import { unknownClassIn, CLASS_NAME } from "./classes.js";
import { uselessRules } from "./egress-order.js";
import type { Problem } from "./problem.js";

/** Room for the rules that are there without being written. */
const MAX_RULES = MAX_EGRESS_RULES - 16;
export const ANY = "*";

/** What is let through whatever the rules say, by name: rules before the first. */
export const EGRESS_EXCEPTIONS = ["agent", "dns"] as const;
export type EgressException = (typeof EGRESS_EXCEPTIONS)[number];

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

export const ClassName = z.string().refine((text) => text === ANY || CLASS_NAME.test(text), {
  error: 'is no name of a class: give one, or "*" for all',
});

export const DestinationSchema = z
  .strictObject({
    class: z.string().regex(CLASS_NAME, { error: "is no name of a class" }).optional(),
    service: z
      .string()
      .refine(isServiceName, { error: "is no name of a service: give one, as in /web" })
      .optional()
      .meta({ description: "Only where it is reached by this service." }),
    cidr: z.string().superRefine(readable(parseCidr)).optional().meta({
      description: "A block such as 10.0.0.0/8 or fd00::/8, or one address.",
    }),
    ports: z.string().superRefine(readable(parsePorts)).optional().meta({
      description: "Ports and ranges in one text, as in 5432,8000-8010.",
    }),
    protocol: z.enum(EGRESS_PROTOCOLS).optional().meta({ description: "Default: all, raw and ping too." }),
  })
  .meta({ description: "All that is given must hold; one of class, service and cidr." });

const RuleSchema = z
  .strictObject({
    from: ClassName.meta({ description: 'Class of the container that connects or sends; "*": all.' }),
    to: z.union([ClassName, DestinationSchema]).meta({
      description: 'Class of the destination, "*" for all, or {class, cidr, ports, protocol}.',
    }),
    action: z.enum(EGRESS_ACTIONS).meta({ description: "audit: let through and reported." }),
  })
  .meta({ description: "The first rule that fits holds." });

export const EgressSchema = z
  .array(RuleSchema)
  .max(MAX_RULES, { error: `has too many rules: give at most ${MAX_RULES}` })
  .default([])
  .meta({
    description:
      "Where containers may connect and send to: the first rule that fits holds. Default: anywhere.",
  });

export const EgressDefaultSchema = z
  .enum(["allow", "deny"])
  .default("allow")
  .meta({ description: "What holds where no rule of egress fits." });

export const EgressErrnoSchema = z
  .enum(EGRESS_ERRNOS)
  .default("EPERM")
  .meta({ description: "What connect() and sendmsg() give where egress denies them." });

export const EgressExistingSchema = z.enum(EGRESS_EXISTING).default("keep").meta({
  description:
    "What becomes of connections that exist when rules, classes or endpoints change so that they would be denied: keep leaves them, terminate ends them.",
});

export const EgressExceptionsSchema = z
  .array(z.enum(EGRESS_EXCEPTIONS))
  .default([...EGRESS_EXCEPTIONS])
  .meta({
    description:
      "Let through before any rule of egress. agent: the agent's own address, which executors live by. dns: port 53 of the name servers in /etc/resolv.conf.",
  });

export interface ClassedRule extends EgressRule {
  from: string;
}

export interface EgressConfig {
  rules: ClassedRule[];
  byDefault: "allow" | "deny";
  errno: EgressErrno;
  exceptions: EgressException[];
  existing: (typeof EGRESS_EXISTING)[number];
}

type RuleInput = z.output<typeof RuleSchema>;

export function toDestination(to: RuleInput["to"]): EgressDestination {
  if (typeof to === "string") return to === ANY ? {} : { class: to };
  return {
    ...(to.class === undefined ? {} : { class: to.class }),
    ...(to.service === undefined ? {} : { service: to.service }),
    ...(to.cidr === undefined ? {} : { cidr: to.cidr }),
    ...(to.ports === undefined ? {} : { ports: parsePorts(to.ports) }),
    ...(to.protocol === undefined ? {} : { protocol: to.protocol }),
  };
}

export function toEgressRules(rules: readonly RuleInput[]): ClassedRule[] {
  return rules.map(({ from, to, action }, i) => ({
    name: `egress[${i}]`,
    from,
    to: toDestination(to),
    action,
  }));
}

/** Name servers of this host. */
export function nameServers(text = readText("/etc/resolv.conf")): string[] {
  return text.split("\n").flatMap((line) => {
    const address = /^\s*nameserver\s+([0-9a-fA-F.:]+)\s*$/.exec(line)?.[1];
    return address !== undefined && isIP(address) !== 0 ? [address] : [];
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function exceptionRules(
  exceptions: readonly EgressException[],
  agent: { ip: string; port: number } | undefined,
): EgressRule[] {
  const allow = (name: string, cidr: string, port: number): EgressRule => ({
    name,
    to: { cidr, ports: [{ begin: port, end: port }] },
    action: "allow",
  });
  return [
    ...(exceptions.includes("agent") && agent && isIP(agent.ip)
      ? [allow("the agent", agent.ip, agent.port)]
      : []),
    ...(exceptions.includes("dns")
      ? nameServers()
          .slice(0, 8)
          .map((address) => allow("DNS", address, 53))
      : []),
  ];
}

/** Whether a rule is about a container: what a claimed class would be granted is not granted. */
function isFrom(rule: ClassedRule, classes: readonly Membership[]): boolean {
  if (rule.from === ANY) return true;
  const member = classes.find(({ name }) => name === rule.from);
  return member !== undefined && (!member.claimed || rule.action !== "allow");
}

/** @returns undefined where no rule is about the container and all is allowed */
export function egressFor(
  { rules, byDefault, errno, exceptions, existing }: EgressConfig,
  classes: readonly Membership[],
  agent: { ip: string; port: number } | undefined,
): EgressPolicy | undefined {
  const own = rules.filter((rule) => isFrom(rule, classes));
  if (own.length === 0 && byDefault === "allow") return undefined;
  return {
    rules: [
      ...exceptionRules(exceptions, agent),
      ...own.map(({ name, to, action }) => ({ name, to, action })),
    ],
    byDefault,
    ...(errno === "EPERM" ? {} : { errno }),
    ...(existing === "keep" ? {} : { existing }),
  };
}

/** What no key alone shows. @param egress, classes any values of the keys */
export function egressProblems(egress: unknown, classes: unknown): Problem[] {
  const parsed = EgressSchema.safeParse(egress);
  if (!parsed.success) return [];
  const rules = parsed.data;
  const notIn = unknownClassIn(classes);
  const problems: Problem[] = [];
  const unknown = (path: PropertyKey[], name: string): void => {
    if (name !== ANY) problems.push(...notIn(path, name));
  };
  rules.forEach((rule, i) => {
    const at = ["egress", i];
    unknown([...at, "from"], rule.from);
    if (typeof rule.to === "string") unknown([...at, "to"], rule.to);
    else if (rule.to.class !== undefined) unknown([...at, "to", "class"], rule.to.class);
    if (typeof rule.to === "object" && rule.to.class !== undefined && rule.to.cidr !== undefined)
      problems.push({ path: [...at, "to"], message: "has both a class and a block: give one of them" });
    if (
      typeof rule.to === "object" &&
      rule.to.service !== undefined &&
      (rule.to.class ?? rule.to.cidr) !== undefined
    )
      problems.push({
        path: [...at, "to"],
        message: "has a service and a class or a block: give one of them",
      });
  });
  if (problems.length > 0) return problems;
  try {
    // All of them together are the most that any container has.
    compileEgress({ rules: toEgressRules(rules), byDefault: "allow" });
  } catch (error) {
    if (!(error instanceof IsolatorError)) throw error;
    return [{ path: ["egress"], message: error.message }];
  }
  for (const { rule, by } of uselessRules(toEgressRules(rules))) {
    const names = by.slice(0, 4).map((each) => `egress[${each}]`);
    const [fit, those] = by.length === 1 ? ["fits", "that one"] : ["together fit", "them"];
    const list = [...names, ...(by.length > names.length ? [`${by.length - names.length} more`] : [])];
    problems.push({
      path: ["egress", rule],
      message: `can never hold: ${list.join(", ")} ${fit} all that it fits. Put it before ${those}, or take it away`,
    });
  }
  return problems;
}

/** Rules of `run`: of an option's text, "10.0.0.0/8:22", "[fd00::1]:80", "class:web", "*". @throws bad-argument */
export function parseEgressOption(text: string, action: EgressAction, option: string): EgressRule {
  const bad = (why: string): IsolatorError =>
    new IsolatorError(
      "bad-argument",
      `${option} ${JSON.stringify(text.slice(0, 60))} ${why}: give a block or an address, with ports if need be, as in ` +
        "10.0.0.0/8:22, [fd00::/8]:80-90, 10.1.2.3, class:web, or *",
    );
  const match =
    /^(?:\[([^\]]+)\]|(class:[^:]+)|([^:[\]]+)|([0-9a-fA-F:./]*:[0-9a-fA-F:./]*))(?::([0-9,-]+))?$/.exec(
      text,
    );
  if (!match) throw bad("cannot be read");
  const [, bracketed, named, plain, bare, ports] = match;
  const host = bracketed ?? plain ?? bare;
  let to: EgressDestination = {};
  if (named !== undefined) to = { class: named.slice("class:".length) };
  else if (host !== undefined && host !== ANY) {
    parseCidr(host);
    to = { cidr: host };
  }
  return {
    name: `${option} ${text}`,
    to: { ...to, ...(ports === undefined ? {} : { ports: parsePorts(ports) }) },
    action,
  };
}
