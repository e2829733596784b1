/** Numbers of a run as people read them: the same in the side bar, in plots and in the terminal. A dash for null. */

/** A duration in seconds, its two largest units: `45 s`, `1 min 05 s`, `2 h 10 min`, `3 d 04 h`. */
export function formatDuration(seconds: number | null): string {
  if (seconds === null || !Number.isFinite(seconds)) return '–';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${pad(Math.floor((whole % 86_400) / 3600))} h`;
}

/** A loss in nats with a fixed number of decimals, so that it does not jump while it falls: `3.214`. */
export function formatLoss(loss: number | null): string {
  if (loss === null || !Number.isFinite(loss)) return '–';
  return Math.abs(loss) >= 1000 || (loss !== 0 && Math.abs(loss) < 0.001)
    ? loss.toExponential(2)
    : loss.toFixed(3);
}

/** Three significant digits, and the unit that leaves fewest of them before the point; each is 1000 times the one before. */
function inUnits(value: number, units: readonly string[]): [digits: number, unit: string] {
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return [Number(scaled.toPrecision(3)), units[unit] ?? ''];
}

/** A count or rate with three significant digits and a unit prefix: `812`, `2.53k`, `124M`. */
export function formatCount(value: number): string {
  return inUnits(value, ['', 'k', 'M', 'G', 'T']).join('');
}

/** Bytes with three significant digits and a decimal unit: `812 B`, `75 MB`, `1.99 GB`. */
export function formatBytes(bytes: number): string {
  return inUnits(bytes, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']).join(' ');
}

/** A time with three significant digits: `820 µs`, `12.3 ms`, `1.25 s`; from a minute on as a duration. */
export function formatTime(seconds: number): string {
  if (seconds >= 60) return formatDuration(seconds);
  const [scaled, unit] =
    seconds >= 1 || seconds === 0
      ? [seconds, 's']
      : seconds >= 1e-3
        ? [seconds * 1e3, 'ms']
        : [seconds * 1e6, 'µs'];
  return `${Number(scaled.toPrecision(3))} ${unit}`;
}

/** A number with at most `digits` significant digits, without trailing zeros: `4.217`, `0.0003`. */
export function formatNumber(value: number | null, digits = 4): string {
  if (value === null || !Number.isFinite(value)) return '–';
  const rounded = Number(value.toPrecision(digits));
  if (rounded !== 0 && (Math.abs(rounded) < 1e-4 || Math.abs(rounded) >= 1e15))
    return rounded.toExponential();
  return String(rounded);
}

/** A learning rate as it is configured: `3e-4`, `2.85e-4`, `0`. */
export function formatRate(rate: number): string {
  return rate === 0 ? '0' : Number(rate.toPrecision(3)).toExponential();
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
