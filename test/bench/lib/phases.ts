/** Where the time of a container's start and removal goes: the isolator's own methods, timed from outside. */

/** ms in all, and in each phase; what is in no phase is only in the total. */
export interface Timing {
  total: number;
  phases: ReadonlyMap<string, number>;
}

type Method = (...args: unknown[]) => unknown;

/**
 * A clock for one thing at a time. Methods that are watched count for their phase while something is timed; within one
 * that is running, others do not count again.
 */
export class Phases {
  #current: Map<string, number> | undefined;
  #inside = false;

  /** Counts every call of a method for a phase from now on. @param owner a class, or the prototype of one */
  watch<T extends object>(phase: string, owner: T, ...methods: (keyof T)[]): void {
    for (const method of methods) {
      const original = owner[method] as Method;
      const count = this.#count.bind(this);
      const watched = function (this: unknown, ...args: unknown[]): unknown {
        return count(phase, () => original.apply(this, args));
      };
      Object.defineProperty(owner, method, { value: watched, configurable: true, writable: true });
    }
  }

  /** Times one thing from call to settled promise. */
  async time(what: () => Promise<unknown>): Promise<Timing> {
    const phases = (this.#current = new Map<string, number>());
    const from = performance.now();
    try {
      await what();
    } finally {
      this.#current = undefined;
    }
    return { total: performance.now() - from, phases };
  }

  #count(phase: string, call: () => unknown): unknown {
    const current = this.#current;
    if (!current || this.#inside) return call();
    const from = performance.now();
    const end = () => {
      this.#inside = false;
      current.set(phase, (current.get(phase) ?? 0) + performance.now() - from);
    };
    this.#inside = true;
    let pending = false;
    try {
      const result = call();
      if (!(result instanceof Promise)) return result;
      pending = true;
      return result.finally(end);
    } finally {
      if (!pending) end();
    }
  }
}
