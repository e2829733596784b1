/** Fewer points for the same picture: what a plot may drop without dropping a spike. */

/**
 * Indices to keep, ascending, so that a line through `x`, `y` looks the same when drawn `buckets` pixels wide: of
 * every bucket of equal width in `x` the first, the smallest, the largest and the last point, and the first null, so
 * that gaps stay gaps. At most 5 per bucket; everything when there are no more points than that. `x` is ascending.
 */
export function decimate(x: readonly number[], y: readonly (number | null)[], buckets: number): number[] {
  const count = Math.min(x.length, y.length);
  if (!Number.isInteger(buckets) || buckets < 1)
    throw new RangeError(`buckets is ${buckets}: a whole number from 1 on is needed`);
  if (count <= buckets * 5) return Array.from({ length: count }, (_, index) => index);

  const first = x[0] ?? 0;
  const span = (x[count - 1] ?? 0) - first;
  const bucketOf = (index: number): number =>
    span > 0 ? Math.min(buckets - 1, Math.floor((((x[index] ?? 0) - first) / span) * buckets)) : 0;

  const kept: number[] = [];
  for (let start = 0; start < count;) {
    const bucket = bucketOf(start);
    let end = start + 1;
    while (end < count && bucketOf(end) === bucket) end++;
    kept.push(...extremes(y, start, end));
    start = end;
  }
  return kept;
}

/** First, smallest, largest, last and first null of `y[start..end)`, ascending, each once. */
function extremes(y: readonly (number | null)[], start: number, end: number): number[] {
  let low = -1;
  let high = -1;
  let gap = -1;
  let lowest = Infinity;
  let highest = -Infinity;
  for (let index = start; index < end; index++) {
    const value = y[index] ?? null;
    if (value === null) {
      if (gap < 0) gap = index;
      continue;
    }
    if (value < lowest) [lowest, low] = [value, index];
    if (value > highest) [highest, high] = [value, index];
  }
  const indices = new Set([start, low, high, gap, end - 1].filter((index) => index >= 0));
  return [...indices].sort((a, b) => a - b);
}
