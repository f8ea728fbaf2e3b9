/**
 * Egress: where a container may connect and send to, by ordered rules that name classes and blocks of addresses. The
 * kernel's side is bpf/egress.h; README.md, "Egress", is the user's.
 *
 * Rules are compiled so that a program never walks through them: for each block that a rule names, and each class, a
 * table says which rule is the first for each port, all blocks around it included. The lowest of what address and classes
 * come to holds.
 */
import { createHash } from "node:crypto";
import { constants } from "node:os";
import { IsolatorError } from "../errors.js";
import { decode, encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseCidr } from "./addresses.js";
import { classId, decodeClasses, serviceClass, type Membership } from "./classes.js";
import { ENDPOINT_PROTOCOLS, prefixOf, type EndpointProtocol, type PlaceKey } from "./endpoints.js";
import type { PortRange } from "./ports.js";

export const EGRESS_ACTIONS = ["allow", "deny", "audit"] as const;
export type EgressAction = (typeof EGRESS_ACTIONS)[number];

export const EGRESS_EXISTING = ["keep", "terminate"] as const;

export const EGRESS_ERRNOS = ["EPERM", "ECONNREFUSED", "EHOSTUNREACH", "EACCES"] as const;
export type EgressErrno = (typeof EGRESS_ERRNOS)[number];

/** All that is given must hold; nothing given is every destination. */
export interface EgressDestination {
  class?: string;
  /** Name of the service by which it is reached: "/web". Not with a class or a block. */
  service?: string;
  /** "10.0.0.0/8", or one address. Not with a class. */
  cidr?: string;
  ports?: PortRange[];
  protocol?: EndpointProtocol;
}

export interface EgressRule {
  /** For people: "egress[3]", "--deny-egress", "the agent". */
  name: string;
  to: EgressDestination;
  action: EgressAction;
}

/** Rules of one container: those whose `from` it is not are left out. */
export interface EgressPolicy {
  rules: EgressRule[];
  /** Where no rule fits. */
  byDefault: "allow" | "deny";
  /** Undefined: EPERM. */
  errno?: EgressErrno;
  /** Connections that exist, and that the rules come to deny, are ended. Undefined: they live on. */
  existing?: "terminate";
}

const {
  egress_sizes: sizes,
  egress_action: actions,
  egress_kind: kinds,
  policy_flags: flags,
} = layouts.enums;
const { CLASS_CLAIMED } = layouts.enums.class_bit;
const RANGES = layouts.structs.egress_ranges;
const LEVELS = layouts.structs.termination.fields.chain.count;
const KINDS = [kinds.EGRESS_TCP, kinds.EGRESS_UDP, kinds.EGRESS_OTHER];
const KIND_OF: Readonly<Record<EndpointProtocol, number>> = { tcp: kinds.EGRESS_TCP, udp: kinds.EGRESS_UDP };

/** Number of what holds where no rule fits. */
export const DEFAULT_RULE = sizes.EGRESS_RULES - 1;
/** Rules of a container. */
export const MAX_EGRESS_RULES = 4096;
/** Ranges of ports that the rules of one block or class make, for a protocol. */
export const MAX_EGRESS_RANGES = sizes.EGRESS_RANGES;
/** Bits before the address in the key of a block. */
const BLOCK_PREFIX = 96;

const ACTIONS: Readonly<Record<EgressAction, number>> = {
  allow: actions.EGRESS_ALLOW,
  deny: actions.EGRESS_DENY,
  audit: actions.EGRESS_AUDIT,
};

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
    number * 2 ** sizes.EGRESS_ACTION_BITS + ACTIONS[action];
  return [
    ...rules.map(({ to, action }, i) => ({ value: value(i + 1, action), to })),
    { value: value(DEFAULT_RULE, byDefault), to: {} },
  ];
}

/** The class that a rule is about; a service is one too. */
function classNamed({ class: name, service }: EgressDestination): string | undefined {
  return service === undefined ? name : serviceClass(service);
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
    const taking = own.filter(({ value }) => value % 2 ** sizes.EGRESS_ACTION_BITS !== ACTIONS.allow);
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

const sets = new WeakMap<EgressPolicy, bigint>();

/** Names a set of rules in the kernel: by what is in it, so that containers with the same rules share it. */
export function egressSet(policy: EgressPolicy): bigint {
  const known = sets.get(policy);
  if (known !== undefined) return known;
  const text = JSON.stringify([policy.rules.map(({ to, action }) => [to, action]), policy.byDefault]);
  const set = createHash("sha256").update(text).digest().readBigUInt64LE() | 1n;
  sets.set(policy, set);
  return set;
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

/** Bits of enum policy_flags. */
export function egressFlags(policy?: EgressPolicy): number {
  return policy ? flags.POLICY_EGRESS : 0;
}

/** Fields of struct policy. */
export function egressFields(policy?: EgressPolicy) {
  return {
    egress_set: policy ? egressSet(policy) : 0n,
    egress_classes: policy?.rules.some(({ to }) => classNamed(to) !== undefined) ? 1 : 0,
    egress_errno: policy ? constants.errno[policy.errno ?? "EPERM"] : 0,
  };
}

/** Value of terminations. @param chain cgroup ids from the root container down to this one */
export function encodeTermination(policy: EgressPolicy, chain: readonly bigint[]): Uint8Array {
  const { egress_set, egress_classes } = egressFields(policy);
  return encode(layouts.structs.termination, {
    set: egress_set,
    by_class: egress_classes,
    level: chain.length - 1,
    chain: Array.from({ length: LEVELS }, (_, i) => chain[i] ?? 0n),
  });
}

/** Names of the hooks that the policy needs. */
export function egressHooks(policy?: EgressPolicy): string[] {
  return policy ? ["connect4", "connect6", "egress_full"] : [];
}

/** Whether a stored value is a policy for egress. */
export function isEgress(value: unknown): value is EgressPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { rules, byDefault, existing } = value as Partial<Record<keyof EgressPolicy, unknown>>;
  return (
    Array.isArray(rules) &&
    (byDefault === "allow" || byDefault === "deny") &&
    (existing === undefined || existing === "terminate")
  );
}

/** Which rule, by its number. */
export function ruleName(policy: EgressPolicy | undefined, number: number): string {
  if (number === DEFAULT_RULE) return "the default";
  return policy?.rules[number - 1]?.name ?? (number === 0 ? "no rule" : `rule ${number}`);
}

/** "class web, tcp port 80", "10.0.0.0/8", "everything". */
export function formatDestination({
  class: name,
  service,
  cidr,
  ports,
  protocol,
}: EgressDestination): string {
  const parts = [
    name === undefined
      ? service === undefined
        ? (cidr ?? "everything")
        : `service ${service}`
      : `class ${name}`,
    ...(protocol === undefined ? [] : [protocol]),
    ...(ports === undefined
      ? []
      : [`ports ${ports.map(({ begin, end }) => (begin === end ? begin : `${begin}-${end}`)).join(",")}`]),
  ];
  return parts.join(", ");
}

/** How often a rule has spoken. */
export interface EgressHits {
  rule: number;
  denied: bigint;
  audited: bigint;
}

/** Every key that a container may have in egress_hits: the same bytes each time, good until the next. */
export function* hitKeys(
  cgroupId: bigint,
  { rules }: EgressPolicy,
): Generator<{ key: Uint8Array; rule: number; denied: boolean }> {
  const { fields } = layouts.structs.egress_hit;
  const key = encode(layouts.structs.egress_hit, { cgroup_id: cgroupId, rule: 0, action: 0 });
  const view = new DataView(key.buffer, key.byteOffset);
  for (let i = 0; i <= rules.length + 1; i++) {
    const rule = i > rules.length ? DEFAULT_RULE : i;
    view.setUint32(fields.rule.offset, rule, LITTLE);
    for (const denied of [true, false]) {
      view.setUint32(fields.action.offset, denied ? actions.EGRESS_DENY : actions.EGRESS_AUDIT, LITTLE);
      yield { key, rule, denied };
    }
  }
}

/** Why a destination is judged as it is, from the kernel's own tables. */
export interface EgressExplanation {
  action: EgressAction;
  /** The rule that decides; byBlock, byClass: the first of each kind, if there is one. */
  rule: number;
  byBlock?: number;
  byClass?: number;
  /** The class that byClass is about. */
  class?: Membership;
  destination: { local: boolean; owner?: bigint; classes: Membership[] };
}

/** Bytes of a frame (bpf/egress.h). */
const FRAME = 72;
const QUESTION = { key: 0, byClass: 20, set: 24 } as const;

/** The question what becomes of a destination by a set of rules. */
export function encodeEgressQuestion(key: PlaceKey, policy: EgressPolicy): Uint8Array {
  const frame = new Uint8Array(FRAME);
  frame.set(Buffer.from(key, "latin1"), QUESTION.key);
  const { egress_set, egress_classes } = egressFields(policy);
  frame.set(new Uint8Array(new Uint32Array([egress_classes]).buffer), QUESTION.byClass);
  frame.set(new Uint8Array(new BigUint64Array([egress_set]).buffer), QUESTION.set);
  return frame;
}

/** @param names of all classes that there may be */
export function decodeExplanation(answer: Uint8Array, names: readonly string[]): EgressExplanation {
  const verdict = decode(layouts.structs.egress_verdict, answer);
  const found = decode(layouts.structs.endpoint_found, answer.slice(layouts.structs.egress_verdict.size));
  const number = (value: number): number => value >> sizes.EGRESS_ACTION_BITS;
  const code = verdict.rule % 2 ** sizes.EGRESS_ACTION_BITS;
  const [about] = decodeClasses([verdict.class], names);
  return {
    action: EGRESS_ACTIONS.find((name) => ACTIONS[name] === code) ?? "deny",
    rule: number(verdict.rule),
    ...(verdict.by_block === 0 ? {} : { byBlock: number(verdict.by_block) }),
    ...(verdict.by_class === 0 ? {} : { byClass: number(verdict.by_class) }),
    ...(about && verdict.by_class !== 0 ? { class: about } : {}),
    destination: {
      local: found.local !== 0,
      ...(found.owner === 0n ? {} : { owner: found.owner }),
      classes: decodeClasses(found.ids, names),
    },
  };
}

/** Protocols that a rule may name. */
export const EGRESS_PROTOCOLS = ENDPOINT_PROTOCOLS;
