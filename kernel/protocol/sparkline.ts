/** A curve as one line of text. */

const BARS = '▁▂▃▄▅▆▇█';

/**
 * `values` as at most `width` block characters, lowest to highest; a character stands for the mean of its share of
 * the values, a space for a share without any finite value.
 */
export function sparkline(values: readonly (number | null)[], width: number): string {
  const count = Math.min(width, values.length);
  const means: (number | null)[] = [];
  for (let index = 0; index < count; index++) {
    const from = Math.floor((index * values.length) / count);
    const share = values
      .slice(from, Math.max(from + 1, Math.floor(((index + 1) * values.length) / count)))
      .filter((value) => value !== null);
    means.push(share.length === 0 ? null : share.reduce((sum, value) => sum + value, 0) / share.length);
  }
  const finite = means.filter((value) => value !== null);
  const lowest = Math.min(...finite);
  const highest = Math.max(...finite);
  const scale = highest > lowest ? (BARS.length - 1) / (highest - lowest) : 0;
  return means
    .map((mean) => (mean === null ? ' ' : BARS.charAt(Math.round((mean - lowest) * scale))))
    .join('');
}
