/** Where an axis has its ticks. */

/** Round numbers (1, 2 or 5 times a power of ten) within [low, high], about `count` of them, ascending. */
export function niceTicks(low: number, high: number, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= rough * 0.999) ?? 10;
  const interval = factor * power;
  const ticks: number[] = [];
  for (let index = Math.ceil(low / interval - 1e-9); index * interval <= high + interval * 1e-9; index++) {
    // The product carries rounding noise (3 * 0.1), which labels must not show.
    ticks.push(Number((index * interval).toPrecision(12)));
  }
  return ticks;
}
