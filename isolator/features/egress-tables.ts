/**
 * Rules for destinations as the kernel looks them up (bpf/egress_verdicts.h), those of egress and of markings.
 *
 * Rules are compiled so that a program never walks through them: for each block that a rule names, and each class, a
 * table says which rule is the first for each port, all blocks around it included. The lowest of what address and classes
 * come to holds.
 */
import { IsolatorError } from "../errors.js";
import { decode, encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseCidr } from "./addresses.js";
import { classId } from "./classes.js";
import {
  classNamed,
  DEFAULT_RULE,
  EGRESS_CODES,
  type EgressAction,
  type EgressDestination,
  type EgressPolicy,
} from "./egress.js";
import { prefixOf, type EndpointProtocol } from "./endpoints.js";
import type { PortRange } from "./ports.js";

const { egress_sizes: sizes, egress_kind: kinds } = layouts.enums;
const { CLASS_CLAIMED } = layouts.enums.class_bit;
const RANGES = layouts.structs.egress_ranges;
const KINDS = [kinds.EGRESS_TCP, kinds.EGRESS_UDP, kinds.EGRESS_OTHER];
const KIND_OF: Readonly<Record<EndpointProtocol, number>> = { tcp: kinds.EGRESS_TCP, udp: kinds.EGRESS_UDP };
/** Rules of a container. */
export const MAX_EGRESS_RULES = 4096;
/** Ranges of ports that the rules of one block or class make, for a protocol. */
export const MAX_EGRESS_RANGES = sizes.EGRESS_RANGES;
/** Bits before the address in the key of a block. */
const BLOCK_PREFIX = 96;

/** A rule as the kernel has it. */
interface Numbered {
  /** Number and action. */
  value: number;
  to: EgressDestination;
}

interface Block {
  /** "0.0.0.0/0" and "::/0" are the same, so that "*" is one. */
  address: Uint8Array;
  prefix: number;
}

function numbered({ rules, byDefault }: EgressPolicy): Numbered[] {
  const value = (number: number, action: EgressAction): number =>
    number * 2 ** sizes.EGRESS_ACTION_BITS + EGRESS_CODES[action];
  return [
    ...rules.map(({ to, action }, i) => ({ value: value(i + 1, action), to })),
    { value: value(DEFAULT_RULE, byDefault), to: {} },
  ];
}

function blockOf({ cidr = "::/0" }: EgressDestination): Block {
  const { address, mask } = parseCidr(cidr);
  return { address, prefix: prefixOf(mask) };
}

function contains(outer: Block, inner: Block): boolean {
  if (outer.prefix > inner.prefix) return false;
  const whole = outer.prefix >> 3;
  for (let i = 0; i < whole; i++) if (outer.address[i] !== inner.address[i]) return false;
  const rest = outer.prefix & 7;
  return rest === 0 || ((outer.address[whole] ?? 0) ^ (inner.address[whole] ?? 0)) >> (8 - rest) === 0;
}

const ANY_PORT: PortRange = { begin: 0, end: 65535 };

/** The first rule for each port: where it begins to hold, and its value. @param rules in their order */
function rangesFor(rules: readonly Numbered[], kind: number): { begin: number; first: number }[] {
  const fitting = rules
    .filter(({ to }) => to.protocol === undefined || KIND_OF[to.protocol] === kind)
    // What has no ports is named by no rule with ports.
    .filter(({ to }) => kind !== kinds.EGRESS_OTHER || to.ports === undefined);
  const begins = new Set([0]);
  for (const { to } of fitting) {
    for (const { begin, end } of to.ports ?? [ANY_PORT]) {
      begins.add(begin);
      if (end < ANY_PORT.end) begins.add(end + 1);
    }
  }
  const ranges: { begin: number; first: number }[] = [];
  for (const begin of [...begins].sort((a, b) => a - b)) {
    const rule = fitting.find(({ to }) =>
      (to.ports ?? [ANY_PORT]).some((range) => begin >= range.begin && begin <= range.end),
    );
    const first = rule?.value ?? 0;
    if (ranges.at(-1)?.first !== first) ranges.push({ begin, first });
  }
  return ranges;
}

function encodeRanges(ranges: readonly { begin: number; first: number }[]): Uint8Array {
  const pad = (values: number[], filler: number): number[] => [
    ...values,
    ...Array.from({ length: MAX_EGRESS_RANGES - values.length }, () => filler),
  ];
  return encode(RANGES, {
    begin: pad(
      ranges.map(({ begin }) => begin),
      65535,
    ),
    first: pad(
      ranges.map(({ first }) => first),
      0,
    ),
    count: ranges.length,
  });
}

export interface CompiledEgress {
  /** Key and value, without the set. */
  blocks: { address: Uint8Array; prefix: number; kind: number; value: Uint8Array }[];
  classes: { class: number; kind: number; value: Uint8Array }[];
}

function tooMany(what: string, n: number): IsolatorError {
  return new IsolatorError(
    "bad-argument",
    `the rules for egress make ${n} ranges of ports for ${what}: at most ${MAX_EGRESS_RANGES} are possible`,
  );
}

/** @throws bad-argument where it is more than the kernel's tables hold */
export function compileEgress(policy: EgressPolicy): CompiledEgress {
  if (policy.rules.length > MAX_EGRESS_RULES)
    throw new IsolatorError(
      "bad-argument",
      `there are ${policy.rules.length} rules for egress: at most ${MAX_EGRESS_RULES} are possible`,
    );
  const rules = numbered(policy);
  const compiled: CompiledEgress = { blocks: [], classes: [] };
  const byBlock = new Map<string, Block & { rules: Numbered[] }>();
  for (const rule of rules.filter(({ to }) => classNamed(to) === undefined)) {
    const block = blockOf(rule.to);
    const key = `${block.prefix} ${Buffer.from(block.address).toString("hex")}`;
    const known = byBlock.get(key) ?? { ...block, rules: [] };
    known.rules.push(rule);
    byBlock.set(key, known);
  }
  // Sorted, the blocks around one are those on the stack.
  const sorted = [...byBlock.values()].sort(
    (a, b) => Buffer.compare(a.address, b.address) || a.prefix - b.prefix,
  );
  const around: (typeof sorted)[number][] = [];
  for (const block of sorted) {
    for (let last = around.at(-1); last && !contains(last, block); last = around.at(-1)) around.pop();
    around.push(block);
    const all = around.flatMap(({ rules: own }) => own).sort((a, b) => a.value - b.value);
    for (const kind of KINDS) {
      const ranges = rangesFor(all, kind);
      if (ranges.length > MAX_EGRESS_RANGES)
        throw tooMany(`${formatAddress(block.address)} and its surroundings`, ranges.length);
      compiled.blocks.push({
        address: block.address,
        prefix: block.prefix,
        kind,
        value: encodeRanges(ranges),
      });
    }
  }
  const names = new Set(rules.flatMap(({ to }) => classNamed(to) ?? []));
  for (const name of names) {
    const own = rules.filter(({ to }) => classNamed(to) === name);
    // What is granted is not granted for a claim; what is taken away is taken away.
    const taking = own.filter(({ value }) => value % 2 ** sizes.EGRESS_ACTION_BITS !== EGRESS_CODES.allow);
    for (const [list, claimed] of [
      [own, 0],
      [taking, CLASS_CLAIMED],
    ] as const) {
      for (const kind of KINDS) {
        const ranges = rangesFor(list, kind);
        if (ranges.length > MAX_EGRESS_RANGES) throw tooMany(`class ${name}`, ranges.length);
        if (ranges.every(({ first }) => first === 0)) continue;
        compiled.classes.push({ class: classId(name) + claimed, kind, value: encodeRanges(ranges) });
      }
    }
  }
  return compiled;
}

/** Key of egress_blocks. */
export function encodeEgressBlock(
  set: bigint,
  { address, prefix, kind }: Pick<CompiledEgress["blocks"][number], "address" | "prefix" | "kind">,
): Uint8Array {
  return encode(layouts.structs.egress_block, {
    prefix: BLOCK_PREFIX + prefix,
    set: [Number(set & 0xffffffffn), Number(set >> 32n)],
    kind,
    address,
  });
}

/** Key of egress_classes. */
export function encodeEgressClass(
  set: bigint,
  { class: id, kind }: { class: number; kind: number },
): Uint8Array {
  return encode(layouts.structs.egress_class, { set, class: id, kind });
}

export const EGRESS_BLOCK_SIZE: number = layouts.structs.egress_block.size;

export const EGRESS_CLASS_SIZE: number = layouts.structs.egress_class.size;

/** The set that a key of egress_blocks, egress_classes or marking_rules belongs to. */
export function setOfKey(key: Uint8Array): bigint {
  // Those of the last two begin alike and are as long.
  if (key.length === EGRESS_CLASS_SIZE) return decode(layouts.structs.egress_class, key).set;
  const [low = 0, high = 0] = decode(layouts.structs.egress_block, key).set;
  return BigInt(low) | (BigInt(high) << 32n);
}
