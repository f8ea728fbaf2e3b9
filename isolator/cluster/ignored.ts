/** Counts of what was ignored of a source, by kind. */
export class Ignored {
  private readonly counts = new Map<string, number>();

  count(kind: string, n = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + n);
  }

  get all(): ReadonlyMap<string, number> {
    return this.counts;
  }
}
