/** "Did you mean": the known word that a mistyped one is nearest to. */

/** Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment). */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** @returns the nearest of `known`, or undefined where none is near */
export function suggest(word: string, known: readonly string[]): string | undefined {
  // Case and the way of joining words are the usual mistakes.
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_ ]/g, "");
  const wanted = plain(word);
  if (wanted.length > 64) return undefined;
  const near = known
    .map((candidate) => ({ candidate, far: distance(wanted, plain(candidate)) }))
    .filter(({ candidate, far }) => far <= Math.max(1, Math.floor(candidate.length / 4)))
    .sort((a, b) => a.far - b.far);
  return near[0]?.candidate;
}
