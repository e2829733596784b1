/** What of a run's curves is drawn: the visible window, decimated to the pixels that there are. Pure. */
import { decimate } from '../../kernel/protocol/decimate.ts';

/** A range of steps, both ends included. */
export interface Window {
  from: number;
  to: number;
}

/** Columns on one ascending `x`; undefined where a column has no point there, null where it has a gap. */
export interface Aligned {
  x: number[];
  columns: (number | null | undefined)[][];
}

/** A curve: values over ascending steps. */
export interface Curve {
  step: readonly number[];
  value: readonly (number | null)[];
}

/**
 * The curves within `window` and the points next to it on both sides, so that lines run out of the picture rather than
 * end in it, each with at most about five points per bucket, put on a common x.
 */
export function visible(curves: readonly Curve[], window: Window | undefined, buckets: number): Aligned {
  const parts = curves.map((curve) => decimated(cut(curve, window), buckets));
  const x = [...new Set(parts.flatMap(({ step }) => step))].sort((a, b) => a - b);
  const columns = parts.map(({ step, value }) => {
    let next = 0;
    return x.map((at) => (step[next] === at ? (value[next++] ?? null) : undefined));
  });
  return { x, columns };
}

/** The part of a curve that a window shows. */
export function cut(curve: Curve, window: Window | undefined): Curve {
  if (!window) return curve;
  const start = Math.max(0, lowerBound(curve.step, window.from) - 1);
  const end = Math.min(curve.step.length, lowerBound(curve.step, window.to) + 2);
  return { step: curve.step.slice(start, end), value: curve.value.slice(start, end) };
}

function decimated({ step, value }: Curve, buckets: number): { step: number[]; value: (number | null)[] } {
  const kept = decimate(step, value, Math.max(1, Math.floor(buckets)));
  return { step: kept.map((index) => step[index] ?? 0), value: kept.map((index) => value[index] ?? null) };
}

/** Values that a logarithmic axis cannot show become gaps; `dropped` counts them. */
export function positiveOnly(values: readonly (number | null)[]): {
  values: (number | null)[];
  dropped: number;
} {
  const kept = values.slice();
  let dropped = 0;
  for (let index = 0; index < kept.length; index++) {
    const value = kept[index] ?? null;
    if (value === null || value > 0) continue;
    kept[index] = null;
    dropped++;
  }
  return { values: kept, dropped };
}

/** Smallest and largest number with some room; on a logarithmic axis the room is a factor. */
export function valueRange(
  columns: readonly (readonly (number | null | undefined)[])[],
  logarithmic: boolean,
): [low: number, high: number] {
  let low = Infinity;
  let high = -Infinity;
  for (const column of columns) {
    for (const value of column) {
      if (value === null || value === undefined || (logarithmic && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return logarithmic ? [0.1, 10] : [0, 1];
  if (logarithmic) {
    const room = Math.max((high / low) ** 0.05, 1.01);
    return [low / room, high * room];
  }
  const room = high > low ? (high - low) * 0.06 : Math.abs(high) * 0.1 || 1;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}

/** Index of the point nearest to `step`; -1 when there is none. */
export function nearest(steps: readonly number[], step: number): number {
  const after = lowerBound(steps, step);
  if (after >= steps.length) return steps.length - 1;
  if (after === 0) return 0;
  return step - (steps[after - 1] ?? 0) < (steps[after] ?? 0) - step ? after - 1 : after;
}

/** Index of the last element that is not above `step`; -1 when there is none. */
export function lastUpTo(steps: readonly number[], step: number): number {
  const index = lowerBound(steps, step);
  return steps[index] === step ? index : index - 1;
}

/** Index of the first element that is not below `step`. */
function lowerBound(steps: readonly number[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((steps[middle] ?? 0) < step) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Ticks of a logarithmic axis: 1, 2 and 5 times powers of ten, all digits where the range is below a decade. */
export function logTicks(low: number, high: number): number[] {
  const factors = high / low > 20 ? [1] : high / low > 6 ? [1, 2, 5] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(12));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}
