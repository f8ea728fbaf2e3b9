/**
 * Marking: DSCP, mark and priority of what a container sends, which its task cannot change. The kernel's side is
 * bpf/marking.h; README.md, "Marking", is the user's.
 */
import { IsolatorError } from "../errors.js";
import { layouts } from "../kernel/gen/layout.js";

export const CHANGE_MODES = ["ignore", "deny"] as const;
/** What becomes of a setsockopt() that would change it: done as far as the task can tell, or EPERM. */
export type ChangeMode = (typeof CHANGE_MODES)[number];

export const WRONG_DSCP_MODES = ["count", "drop"] as const;
/** What becomes of a packet with another DSCP: counted, or dropped with an event. */
export type WrongDscpMode = (typeof WRONG_DSCP_MODES)[number];

/** Bits of skb->mark. */
export interface Mark {
  /** No bits outside of the mask. */
  value: number;
  /** Bits outside of it are the task's, as far as it has the right to set marks. Not 0. */
  mask: number;
}

/** What is undefined is the task's own. At least one of the first three is there. */
export interface MarkingPolicy {
  /** 0 to 63: of IPv4's TOS and IPv6's traffic class without the two ECN bits. */
  dscp?: number;
  mark?: Mark;
  /** skb->priority, which queueing disciplines and VLAN devices go by. */
  priority?: number;
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
export function formatMarking(marking: Partial<MarkingPolicy> = {}): string {
  const { dscp, mark, priority } = marking;
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
export function isLowerEffort({ dscp, mark, priority }: MarkingPolicy): boolean {
  return (
    mark === undefined && priority === undefined && (dscp === DSCP_NAMES["CS1"] || dscp === DSCP_NAMES["LE"])
  );
}

const { policy_flags: flags } = layouts.enums;

/** Bits of enum policy_flags. */
export function markingFlags(marking?: MarkingPolicy): number {
  if (!marking) return 0;
  const bits = [
    marking.dscp === undefined ? 0 : flags.POLICY_SET_DSCP,
    marking.mark === undefined ? 0 : flags.POLICY_SET_MARK,
    marking.priority === undefined ? 0 : flags.POLICY_SET_PRIORITY,
    marking.change === "deny" ? flags.POLICY_DENY_MARKING : 0,
    marking.wrongDscp === "drop" ? flags.POLICY_DROP_DSCP : 0,
  ];
  return bits.reduce((all, bit) => all | bit, 0);
}

/** Fields of struct policy. */
export function markingFields(marking?: MarkingPolicy): {
  mark: number;
  mark_mask: number;
  priority: number;
  tos: number;
} {
  return {
    mark: marking?.mark?.value ?? 0,
    mark_mask: marking?.mark?.mask ?? 0,
    priority: marking?.priority ?? 0,
    tos: (marking?.dscp ?? 0) << 2,
  };
}

/** What markingFlags() and markingFields() were given. */
export function decodeMarking(value: {
  flags: number;
  mark: number;
  mark_mask: number;
  priority: number;
  tos: number;
}): MarkingPolicy | undefined {
  const has = (bit: number): boolean => (value.flags & bit) !== 0;
  if (!has(flags.POLICY_SET_DSCP | flags.POLICY_SET_MARK | flags.POLICY_SET_PRIORITY)) return undefined;
  return {
    ...(has(flags.POLICY_SET_DSCP) ? { dscp: value.tos >> 2 } : {}),
    ...(has(flags.POLICY_SET_MARK) ? { mark: { value: value.mark, mask: value.mark_mask } } : {}),
    ...(has(flags.POLICY_SET_PRIORITY) ? { priority: value.priority } : {}),
    change: has(flags.POLICY_DENY_MARKING) ? "deny" : "ignore",
    wrongDscp: has(flags.POLICY_DROP_DSCP) ? "drop" : "count",
  };
}

/** Whether a value that was stored is a marking. */
export function isMarking(value: unknown): value is MarkingPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { dscp, mark, priority, change, wrongDscp } = value as Partial<Record<keyof MarkingPolicy, unknown>>;
  const within = (number: unknown, most: number): boolean =>
    Number.isInteger(number) && (number as number) >= 0 && (number as number) <= most;
  const isMark = ({ value, mask }: Partial<Mark>): boolean =>
    within(value, MAX_MARK) && within(mask, MAX_MARK);
  return (
    (dscp === undefined || within(dscp, MAX_DSCP)) &&
    (mark === undefined || (typeof mark === "object" && mark !== null && isMark(mark))) &&
    (priority === undefined || within(priority, MAX_PRIORITY)) &&
    CHANGE_MODES.includes(change as ChangeMode) &&
    WRONG_DSCP_MODES.includes(wrongDscp as WrongDscpMode)
  );
}

/** Names of the hooks that the policy needs. */
export function markingHooks(marking?: MarkingPolicy): string[] {
  if (!marking) return [];
  return [
    "egress_full",
    "sock_ops_full",
    "setsockopt",
    "getsockopt",
    ...(marking.dscp === undefined ? [] : ["connect4", "connect6"]),
  ];
}
