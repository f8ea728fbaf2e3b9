/** The question to the kernel what becomes of a destination by a set of rules, and its answer. */
import { decode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { decodeClasses, type Membership } from "./classes.js";
import {
  EGRESS_ACTIONS,
  EGRESS_CODES,
  egressFields,
  type EgressAction,
  type EgressPolicy,
} from "./egress.js";
import type { PlaceKey } from "./endpoints.js";

const { egress_sizes } = layouts.enums;

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
  const number = (value: number): number => value >> egress_sizes.EGRESS_ACTION_BITS;
  const code = verdict.rule % 2 ** egress_sizes.EGRESS_ACTION_BITS;
  const [about] = decodeClasses([verdict.class], names);
  return {
    action: EGRESS_ACTIONS.find((name) => EGRESS_CODES[name] === code) ?? "deny",
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
