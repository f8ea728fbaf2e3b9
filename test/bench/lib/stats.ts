/** Order of samples and what is made of them: medians and quartiles of pair ratios. */

export interface Spread {
  n: number;
  min: number;
  q1: number;
  median: number;
  q3: number;
  max: number;
  /** 95 % confidence interval of the median, from order statistics: no assumption on the distribution. */
  low: number;
  high: number;
}

/** @throws Error when `values` is empty */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (position: number): number => interpolate(sorted, position);
  const last = sorted.length - 1;
  const reach = 0.98 * Math.sqrt(sorted.length);
  return {
    n: sorted.length,
    min: at(0),
    q1: at(last * 0.25),
    median: at(last * 0.5),
    q3: at(last * 0.75),
    max: at(last),
    low: at(Math.floor(last * 0.5 - reach)),
    high: at(Math.ceil(last * 0.5 + reach)),
  };
}

/** The value that a share of `values` is not above, between 0 and 1. @throws Error when `values` is empty */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return interpolate(sorted, (sorted.length - 1) * share);
}

function interpolate(sorted: readonly number[], position: number): number {
  const clamped = Math.min(Math.max(position, 0), sorted.length - 1);
  const below = sorted[Math.floor(clamped)];
  const above = sorted[Math.ceil(clamped)];
  if (below === undefined || above === undefined) throw new Error("no values");
  return below + (above - below) * (clamped - Math.floor(clamped));
}

/** Combines the samples that two variants took in the same pass: a ratio or a difference for each pair. */
export function pairs(
  a: readonly number[],
  b: readonly number[],
  combine: (a: number, b: number) => number,
): number[] {
  if (a.length !== b.length) throw new Error(`${a.length} samples against ${b.length}`);
  return a.map((value, index) => combine(value, b[index] ?? NaN));
}

/**
 * ABBA order for any number of variants: each round is one order and then the same backwards, so that a steady drift of
 * the machine hits all alike. The orders are shuffled, so that none always runs after the same other one, and the same
 * in each run of the benchmark.
 * @param count pairs of samples wanted; rounded up to whole rounds of two
 */
export function abbaRounds<T>(variants: readonly T[], count: number): T[][] {
  const random = generator(1);
  return Array.from({ length: Math.ceil(count / 2) }, () => {
    const order = shuffled(variants, random);
    return [...order, ...order.toReversed()];
  });
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
