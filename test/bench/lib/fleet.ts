/** The containers of bench:lifecycle, in an instance of the benchmark's own, started and removed by the library. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Container } from "../../../isolator/containers/container.js";
import { Instance, STATE_ROOT } from "../../../isolator/containers/instance.js";
import { PortTable } from "../../../isolator/containers/port-table.js";
import { sweep as sweepLeftovers } from "../../../isolator/containers/leftovers.js";
import { Counts } from "../../../isolator/containers/counts.js";
import { prepareContainer } from "../../../isolator/containers/preparation.js";
import { Records } from "../../../isolator/containers/records.js";
import { CgroupNode } from "../../../isolator/kernel/cgroup.js";
import { BpfMap } from "../../../isolator/kernel/maps.js";
import { pinRoot } from "../../../isolator/kernel/pins.js";
import { Programs } from "../../../isolator/kernel/programs.js";
import { isAlive } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { Phases, type Timing } from "./phases.js";

/** Ports of each container, the first one of the first container, and the first one that no container has. */
export const PORTS_EACH = 6;
export const FIRST_PORT = 2000;
export const FREE_PORT = 61000;
/** Containers that can live beside one more. */
export const MOST = Math.floor((FREE_PORT - FIRST_PORT) / PORTS_EACH) - 1;

const PREFIX = "bench-";

/** What prepare() and cleanup() do, in the order in which they do it. */
export const PHASES = {
  start: ["sweep", "record", "programs", "node", "attach", "policy", "ports"],
  removal: ["node", "counts", "ports", "programs", "record", "last one out"],
} as const;

export class Fleet {
  readonly #phases = new Phases();
  readonly #living: Container[] = [];
  readonly #cleanup: Cleanup;
  readonly instance = Instance.open(`${PREFIX}${process.pid}`);
  #made = 0;

  private constructor(cleanup: Cleanup) {
    this.#cleanup = cleanup;
    const phases = this.#phases;
    phases.watch("sweep", Records.prototype, "abandoned");
    phases.watch("programs", Instance.prototype, "acquirePrograms");
    phases.watch("last one out", Instance.prototype, "removeIfUnused");
    phases.watch("record", Records.prototype, "reserve", "write", "remove");
    phases.watch("node", CgroupNode, "create");
    phases.watch("node", CgroupNode.prototype, "populated", "emptied", "remove");
    phases.watch("attach", CgroupNode.prototype, "withFd");
    phases.watch("policy", BpfMap.prototype, "update");
    phases.watch("ports", PortTable.prototype, "claim", "release");
    phases.watch("counts", Counts.prototype, "usage");
    phases.watch("programs", Programs.prototype, "close");
  }

  /** An empty fleet, whose containers `cleanup` removes. Sweeps what benchmarks that were killed left. */
  static async open(cleanup: Cleanup): Promise<Fleet> {
    await sweep();
    const fleet = new Fleet(cleanup);
    cleanup.add("removing containers", async () => {
      const errors: unknown[] = [];
      while (fleet.size > 0) await fleet.#removeLast().catch((error: unknown) => errors.push(error));
      if (errors.length > 0) throw errors[0];
      fleet.#checkGone();
    });
    return fleet;
  }

  /** Name of the instance. */
  get name(): string {
    return this.instance.name;
  }

  /** Living containers, in the order of their start. */
  get containers(): readonly Container[] {
    return this.#living;
  }

  /** How many live. */
  get size(): number {
    return this.#living.length;
  }

  /** Starts one container with ports of its own. */
  start(): Promise<Timing> {
    const begin = FIRST_PORT + this.size * PORTS_EACH;
    return this.#cleanup.guard(() =>
      this.#phases.time(async () => {
        const container = await prepareContainer(this.instance, {
          id: [`c${this.#made++}`],
          policy: {
            ports: [{ begin, end: begin + PORTS_EACH - 1 }],
            ephemeral: "allow",
            enforce: "on",
            allowProtocols: [],
          },
        });
        this.#living.push(container);
      }),
    );
  }

  /** Removes the container that was started last. */
  remove(): Promise<Timing> {
    return this.#cleanup.guard(() => this.#removeLast());
  }

  async #removeLast(): Promise<Timing> {
    // Taken off first: one that cannot be removed must not be tried for ever.
    const last = this.#living.pop();
    return this.#phases.time(async () => last?.cleanup());
  }

  /** @throws Error that names what the instance left behind */
  #checkGone(): void {
    const places = [pinRoot(this.name), this.instance.root, join(STATE_ROOT, this.name)];
    const left = places.filter((path) => existsSync(path));
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  }
}

/** Removes the instances of benchmarks that were killed before they could. */
async function sweep(): Promise<void> {
  if (!existsSync(STATE_ROOT)) return;
  for (const name of readdirSync(STATE_ROOT)) {
    if (!name.startsWith(PREFIX) || isAlive(Number(name.slice(PREFIX.length)))) continue;
    const instance = Instance.open(name);
    await instance.locked(async () => {
      await sweepLeftovers(instance);
      instance.removeIfUnused();
    });
  }
}
