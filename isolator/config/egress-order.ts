/**
 * Rules of egress that can never hold, since those before them fit all that they fit: one alone, or several together, by
 * ports and by blocks.
 */
import { parseCidr } from "../features/addresses.js";
import { serviceClass } from "../features/classes.js";
import type { EgressRule } from "../features/egress.js";
import { prefixOf } from "../features/endpoints.js";
import type { PortRange } from "../features/ports.js";

/** Class of the containers that a rule is for; "*": all. */
export interface RuleFrom extends EgressRule {
  from: string;
}

/** What there are tables for: raw and ping sockets are the last. */
const KINDS = ["tcp", "udp", "other"] as const;
type Kind = (typeof KINDS)[number];

const ANY_PORT: readonly PortRange[] = [{ begin: 0, end: 65535 }];

interface Ordered {
  number: number;
  from: string;
  /** The class, or the service, that it names. */
  named: string | undefined;
  /** Bits of its block, from the first on: "" holds all. */
  bits: string;
  /** By kind of protocol; a kind that is not there does not fit. */
  ports: Partial<Record<Kind, readonly PortRange[]>>;
  /** It grants, by what a container or a destination may only claim to be: to those that claim it, it does not hold. */
  grantsByClass: boolean;
  grants: boolean;
}

function bitsOf(cidr: string): string {
  const { address, mask } = parseCidr(cidr);
  const all = [...address].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return all.slice(0, prefixOf(mask));
}

function order({ from, to, action }: RuleFrom, number: number): Ordered {
  const named = to.service === undefined ? to.class : serviceClass(to.service);
  const fits = (kind: Kind): boolean => {
    if (kind === "other") return to.protocol === undefined && to.ports === undefined;
    return to.protocol === undefined || to.protocol === kind;
  };
  return {
    ...{ number, from, named },
    bits: to.cidr === undefined ? "" : bitsOf(to.cidr),
    ports: Object.fromEntries(KINDS.filter(fits).map((kind) => [kind, to.ports ?? ANY_PORT])),
    grants: action === "allow",
    grantsByClass: action === "allow" && (named !== undefined || from !== "*"),
  };
}

/** Whether one holds for all that the other does, as far as containers and claims go. */
function isInTheWay(earlier: Ordered, later: Ordered): boolean {
  if (earlier.from !== "*" && earlier.from !== later.from) return false;
  return !earlier.grantsByClass || later.grants;
}

/** @returns those of the rules that fit some of these ports, or undefined where all of them leave some */
function fitAll(rules: readonly Ordered[], kind: Kind, ports: readonly PortRange[]): Ordered[] | undefined {
  const used = new Set<Ordered>();
  for (const { begin, end } of ports) {
    for (let port = begin; port <= end;) {
      let found: PortRange | undefined;
      for (const rule of rules) {
        found = rule.ports[kind]?.find((range) => port >= range.begin && port <= range.end);
        if (found) used.add(rule);
        if (found) break;
      }
      if (!found) return undefined;
      port = found.end + 1;
    }
  }
  return [...used];
}

/** Blocks by their bits: each node has the rules for its block, and the blocks that are its halves. */
interface Node {
  rules: Ordered[];
  halves: [Node | undefined, Node | undefined];
}

const newNode = (): Node => ({ rules: [], halves: [undefined, undefined] });

/** The rules before one. */
class Earlier {
  private readonly blocks = newNode();
  private readonly named = new Map<string, Ordered[]>();

  add(rule: Ordered): void {
    if (rule.named !== undefined) {
      const known = this.named.get(rule.named) ?? [];
      known.push(rule);
      this.named.set(rule.named, known);
      return;
    }
    let node = this.blocks;
    for (const bit of rule.bits) node = node.halves[Number(bit) as 0 | 1] ??= newNode();
    node.rules.push(rule);
  }

  /** Those that leave nothing to a rule; undefined: they leave something. */
  whatCovers(rule: Ordered): number[] | undefined {
    const used = new Set<number>();
    for (const kind of KINDS) {
      const ports = rule.ports[kind];
      if (!ports) continue;
      const fits = (earlier: Ordered): boolean =>
        earlier.ports[kind] !== undefined && isInTheWay(earlier, rule);
      const around = (this.named.get(rule.named ?? "") ?? []).filter(fits);
      let node: Node | undefined = this.blocks;
      around.push(...node.rules.filter(fits));
      for (const bit of rule.bits) {
        node = node.halves[Number(bit) as 0 | 1];
        if (!node) break;
        around.push(...node.rules.filter(fits));
      }
      const cover = (within: Node | undefined, rules: readonly Ordered[]): boolean => {
        const all = fitAll(rules, kind, ports);
        for (const { number } of all ?? []) used.add(number);
        if (all) return true;
        // Where there are none for parts of it either, no half can be covered.
        return (
          within?.halves.every((half) => half && cover(half, [...rules, ...half.rules.filter(fits)])) ?? false
        );
      };
      if (!cover(node, around)) return undefined;
    }
    return [...used].sort((a, b) => a - b);
  }
}

/** @returns numbers of rules that can never hold, from 0, and of those before them that are why */
export function uselessRules(rules: readonly RuleFrom[]): { rule: number; by: number[] }[] {
  const earlier = new Earlier();
  return rules.map(order).flatMap((rule, i) => {
    const by = earlier.whatCovers(rule);
    // One that never holds is in nobody's way.
    if (!by) earlier.add(rule);
    return by ? [{ rule: i, by }] : [];
  });
}
