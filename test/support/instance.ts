/** Instances of a test's own, and the proof that nothing of them is left. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import type { Container } from "../../isolator/containers/container.js";
import { Instance, STATE_ROOT } from "../../isolator/containers/instance.js";
import type { ContainerId } from "../../isolator/containers/names.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import type { Policy } from "../../isolator/features/policy.js";
import { parsePorts } from "../../isolator/features/ports.js";
import type { KernelEvent } from "../../isolator/kernel/events.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { pinRoot } from "../../isolator/kernel/pins.js";

let count = 0;

/** A name that no other test process uses. */
export function instanceName(): string {
  return `t${process.pid}-${count++}`;
}

/** Paths of an instance that exist. */
export function leftovers(instance: string): string[] {
  const places = [
    pinRoot(instance),
    join(requireCgroup2(), "bpf-isolator", instance),
    join(STATE_ROOT, instance),
  ];
  return places.filter((path) => existsSync(path));
}

/** Fails when an instance left anything. */
export function assertNothingLeft(instance: string): void {
  assert.deepEqual(leftovers(instance), [], `instance ${instance} left something behind`);
}

export function policy(ports: string | undefined, more: Partial<Policy> = {}): Policy {
  // Attempts' other ends leave the node for the outside: only tests of `escape` deny that.
  const base: Policy = { ephemeral: "allow", enforce: "on", allowProtocols: [], escape: "allow" };
  return {
    ...base,
    ...(ports === undefined ? {} : { ports: ports === "" ? [] : parsePorts(ports) }),
    ...more,
  };
}

/** A container of the test's own with its events, removed after the tests of the file. */
export class Cell {
  private constructor(
    readonly container: Container,
    private readonly events: KernelEvent[],
  ) {}

  static async create(instance: Instance, id: ContainerId, rules: Policy, parent?: Cell): Promise<Cell> {
    const events: KernelEvent[] = [];
    const container = await prepareContainer(instance, {
      id,
      policy: rules,
      ...(parent ? { parent: parent.container } : {}),
      onEvent: (event) => events.push(event),
    });
    return new Cell(container, events);
  }

  /** All events so far. */
  poll(): KernelEvent[] {
    this.container.pollEvents();
    return this.events;
  }
}

/** An instance whose containers the test makes; after the tests of the file all are removed, and nothing is left. */
export function testInstance(): {
  instance: Instance;
  cell: (id: ContainerId, rules: Policy, parent?: Cell) => Promise<Cell>;
} {
  const instance = Instance.open(instanceName());
  const cells: Cell[] = [];
  after(async () => {
    for (const cell of cells.reverse()) await cell.container.cleanup();
    assertNothingLeft(instance.name);
  });
  return {
    instance,
    cell: async (id, rules, parent) => {
      const cell = await Cell.create(instance, id, rules, parent);
      cells.push(cell);
      return cell;
    },
  };
}
