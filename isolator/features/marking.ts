/**
 * Marking: DSCP, mark and priority of what a container sends, which its task cannot change. The kernel's side is
 * bpf/marking.h; README.md, "Marking", is the user's.
 */
import { createHash } from "node:crypto";
import { IsolatorError } from "../errors.js";
import { encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import type { EgressDestination, EgressPolicy } from "./egress.js";

export const CHANGE_MODES = ["ignore", "deny"] as const;
/** What becomes of a setsockopt() that would change it: done as far as the task can tell, or EPERM. */
export type ChangeMode = (typeof CHANGE_MODES)[number];

/** From the mildest on. */
export const WRONG_DSCP_MODES = ["count", "rewrite", "drop"] as const;
/**
 * What becomes of a packet with another DSCP: counted; counted, and given the right one by the program on the device, if
 * there is one; or dropped with an event.
 */
export type WrongDscpMode = (typeof WRONG_DSCP_MODES)[number];

/** Bits of skb->mark. */
export interface Mark {
  /** No bits outside of the mask. */
  value: number;
  /** Bits outside of it are the task's, as far as it has the right to set marks. Not 0. */
  mask: number;
}

/** What is undefined is the task's own. */
export interface MarkingValues {
  /** 0 to 63: of IPv4's TOS and IPv6's traffic class without the two ECN bits. */
  dscp?: number;
  mark?: Mark;
  /** skb->priority, which queueing disciplines and VLAN devices go by. */
  priority?: number;
}

/** Of what goes to some destinations: what it does not say is as for all others. */
export interface DestinationMarking extends MarkingValues {
  to: EgressDestination;
}

/** At least one of the values is there, or a destination. */
export interface MarkingPolicy extends MarkingValues {
  /** The first that fits holds. Undefined: none. */
  destinations?: DestinationMarking[];
  change: ChangeMode;
  wrongDscp: WrongDscpMode;
}

export const MAX_DSCP = 63;
const MAX_MARK = 0xffffffff;
/** SO_PRIORITY is an int. */
export const MAX_PRIORITY = 0x7fffffff;

/** RFC 2474 (CS), 2597 (AF), 3246 (EF), 5865 (VA), 8622 (LE); DF is the default, 0. */
export const DSCP_NAMES: Readonly<Record<string, number>> = {
  ...{ DF: 0, CS0: 0, LE: 1, CS1: 8, AF11: 10, AF12: 12, AF13: 14, CS2: 16, AF21: 18, AF22: 20, AF23: 22 },
  ...{
    CS3: 24,
    AF31: 26,
    AF32: 28,
    AF33: 30,
    CS4: 32,
    AF41: 34,
    AF42: 36,
    AF43: 38,
    CS5: 40,
    VA: 44,
    EF: 46,
  },
  ...{ CS6: 48, CS7: 56 },
};

function bad(what: string, text: string, why: string): IsolatorError {
  const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text;
  return new IsolatorError("bad-argument", `bad ${what} ${JSON.stringify(shown)}: ${why}`);
}

/** @param text a name or 0 to 63 @throws bad-argument */
export function parseDscp(text: string): number {
  const named = Object.entries(DSCP_NAMES).find(([name]) => name === text.toUpperCase());
  if (named) return named[1];
  if (/^\d{1,2}$/.test(text) && Number(text) <= MAX_DSCP) return Number(text);
  throw bad("DSCP", text, `give 0 to ${MAX_DSCP}, or a name as CS1, AF21 or EF`);
}

function parseWord(text: string): number | undefined {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text)) return undefined;
  const value = Number(text);
  return value <= MAX_MARK ? value : undefined;
}

/** Parses "0x10/0xff"; without a mask all bits are meant. @throws bad-argument */
export function parseMark(text: string): Mark {
  const [first = "", second, ...rest] = text.split("/");
  const value = parseWord(first);
  const mask = second === undefined ? MAX_MARK : parseWord(second);
  if (value === undefined || mask === undefined || rest.length > 0)
    throw bad("mark", text, "give a number of 32 bits, or value/mask, as in 4242 or 0x10/0xff");
  if (mask === 0) throw bad("mark", text, "its mask has no bits, so that it would set nothing");
  if ((value & ~mask) !== 0) throw bad("mark", text, "its value has bits that are not in its mask");
  return { value, mask };
}

/** @throws bad-argument */
export function parsePriority(text: string): number {
  const value = parseWord(text);
  if (value !== undefined && value <= MAX_PRIORITY) return value;
  throw bad("priority", text, `give 0 to ${MAX_PRIORITY}`);
}

/** "0x10/0xff"; "0x10" where all bits are meant. */
export function formatMark({ value, mask }: Mark): string {
  return mask === MAX_MARK ? `0x${value.toString(16)}` : `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

/** "AF21" of 18; "18" where it has no name. */
export function formatDscp(dscp: number): string {
  return Object.entries(DSCP_NAMES).find(([, value]) => value === dscp)?.[0] ?? `${dscp}`;
}

/** "DSCP AF21, mark 0x10/0xff, priority 3"; "none". */
export function formatMarking({ dscp, mark, priority }: MarkingValues = {}): string {
  const parts = [
    ...(dscp === undefined ? [] : [`DSCP ${formatDscp(dscp)}`]),
    ...(mark === undefined ? [] : [`mark ${formatMark(mark)}`]),
    ...(priority === undefined ? [] : [`priority ${priority}`]),
  ];
  return parts.length > 0 ? parts.join(", ") : "none";
}

/**
 * Whether it only puts a container behind the others: nobody gains by it. DSCP CS1 and LE are lower effort (RFC 3662,
 * RFC 8622); what a mark or a priority means is the operator's.
 */
export function isLowerEffort({ dscp, mark, priority }: MarkingValues): boolean {
  return (
    mark === undefined && priority === undefined && (dscp === DSCP_NAMES["CS1"] || dscp === DSCP_NAMES["LE"])
  );
}

const { policy_flags: flags } = layouts.enums;

/** Of struct marking. */
const PARTS_SHIFT = Math.log2(flags.POLICY_SET_DSCP);

/** Bits of enum policy_flags that say which values there are. */
function valueFlags({ dscp, mark, priority }: MarkingValues): number {
  return (
    (dscp === undefined ? 0 : flags.POLICY_SET_DSCP) |
    (mark === undefined ? 0 : flags.POLICY_SET_MARK) |
    (priority === undefined ? 0 : flags.POLICY_SET_PRIORITY)
  );
}

/** Bits of enum policy_flags. */
export function markingFlags(marking?: MarkingPolicy): number {
  if (!marking) return 0;
  const { destinations = [], change, wrongDscp } = marking;
  const bits = [
    ...[marking, ...destinations].map(valueFlags),
    destinations.length > 0 ? flags.POLICY_MARK_DESTINATIONS : 0,
    change === "deny" ? flags.POLICY_DENY_MARKING : 0,
    wrongDscp === "drop" ? flags.POLICY_DROP_DSCP : 0,
    wrongDscp === "rewrite" ? flags.POLICY_REWRITE_DSCP : 0,
  ];
  return bits.reduce((all, bit) => all | bit, 0);
}

/** Fields of struct marking. */
function valueFields(values: MarkingValues) {
  return {
    mark: values.mark?.value ?? 0,
    mark_mask: values.mark?.mask ?? 0,
    priority: values.priority ?? 0,
    tos: (values.dscp ?? 0) << 2,
  };
}

/** Fields of struct policy. */
export function markingFields(marking: MarkingPolicy | undefined) {
  const values = marking ?? {};
  return {
    ...valueFields(values),
    marking_parts: valueFlags(values) >> PARTS_SHIFT,
  };
}

/**
 * The rules as those of egress are compiled: by their numbers the kernel finds the marking. What only lowers holds for
 * destinations that claim to be of a class, too.
 */
export function markingRules({ destinations = [] }: MarkingPolicy): EgressPolicy {
  return {
    rules: destinations.map(({ to, ...values }, i) => ({
      name: `marking ${i + 1}`,
      to,
      action: isLowerEffort(values) ? ("audit" as const) : ("allow" as const),
    })),
    byDefault: "allow",
  };
}

/** Names a set of rules in the kernel, by what is in it, beside those of egress. */
export function markingSet({ destinations = [], dscp, mark, priority }: MarkingPolicy): bigint {
  const text = JSON.stringify(["marking", destinations, dscp, mark, priority]);
  return createHash("sha256").update(text).digest().readBigUInt64LE() | 1n;
}

/** Value of the map marking_sets. */
export function encodeMarkingSet(marking: MarkingPolicy): Uint8Array {
  return encode(layouts.structs.marking_set, {
    set: markingSet(marking),
    by_class: marking.destinations?.some(({ to }) => to.class !== undefined) ? 1 : 0,
    reserved: 0,
  });
}

const RULE = layouts.structs.marking_rule;
export const MARKING_RULE_SIZE: number = RULE.size;

/** Entries of the map marking_rules: a destination has what its rule says, and else what holds for all. */
export function encodeMarkingRules(marking: MarkingPolicy): { key: Uint8Array; value: Uint8Array }[] {
  const { destinations = [], ...all } = marking;
  const set = markingSet(marking);
  return destinations.map((own, i) => {
    const values = { ...all, ...own };
    return {
      key: encode(RULE, { set, rule: i + 1, reserved: 0 }),
      value: encode(layouts.structs.marking, {
        ...valueFields(values),
        parts: valueFlags(values) >> PARTS_SHIFT,
        reserved: new Uint8Array(2),
      }),
    };
  });
}

/** What markingFlags() and markingFields() were given, but for destinations, which are not in it. */
export function decodeMarking(value: {
  flags: number;
  mark: number;
  mark_mask: number;
  priority: number;
  tos: number;
  marking_parts: number;
}): MarkingPolicy | undefined {
  const has = (bit: number): boolean => (value.flags & bit) !== 0;
  const hasPart = (bit: number): boolean => ((value.marking_parts << PARTS_SHIFT) & bit) !== 0;
  if (value.marking_parts === 0) return undefined;
  return {
    ...(hasPart(flags.POLICY_SET_DSCP) ? { dscp: value.tos >> 2 } : {}),
    ...(hasPart(flags.POLICY_SET_MARK) ? { mark: { value: value.mark, mask: value.mark_mask } } : {}),
    ...(hasPart(flags.POLICY_SET_PRIORITY) ? { priority: value.priority } : {}),
    change: has(flags.POLICY_DENY_MARKING) ? "deny" : "ignore",
    wrongDscp: has(flags.POLICY_DROP_DSCP) ? "drop" : has(flags.POLICY_REWRITE_DSCP) ? "rewrite" : "count",
  };
}

function areValues(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { dscp, mark, priority } = value as Partial<Record<keyof MarkingValues, unknown>>;
  const within = (number: unknown, most: number): boolean =>
    Number.isInteger(number) && (number as number) >= 0 && (number as number) <= most;
  const isMark = ({ value: bits, mask }: Partial<Mark>): boolean =>
    within(bits, MAX_MARK) && within(mask, MAX_MARK);
  return (
    (dscp === undefined || within(dscp, MAX_DSCP)) &&
    (mark === undefined || (typeof mark === "object" && mark !== null && isMark(mark))) &&
    (priority === undefined || within(priority, MAX_PRIORITY))
  );
}

/** Whether a value that was stored is a marking. */
export function isMarking(value: unknown): value is MarkingPolicy {
  if (!areValues(value)) return false;
  const { change, wrongDscp, destinations = [] } = value as Partial<Record<keyof MarkingPolicy, unknown>>;
  return (
    CHANGE_MODES.includes(change as ChangeMode) &&
    WRONG_DSCP_MODES.includes(wrongDscp as WrongDscpMode) &&
    Array.isArray(destinations) &&
    destinations.every(
      (each: unknown) => areValues(each) && typeof (each as Partial<DestinationMarking>).to === "object",
    )
  );
}

/** Whether packets of some sort have a DSCP. */
export function setsDscp({ dscp, destinations = [] }: MarkingPolicy): boolean {
  return dscp !== undefined || destinations.some((each) => each.dscp !== undefined);
}

/** Names of the hooks that the policy needs. */
export function markingHooks(marking?: MarkingPolicy): string[] {
  if (!marking) return [];
  return [
    "egress_full",
    "sock_ops_full",
    "setsockopt",
    "getsockopt",
    ...(setsDscp(marking) || marking.destinations ? ["connect4", "connect6"] : []),
  ];
}
