/** Numbers of a run as people read them: the same in the side bar, in plots and in the terminal. */

/** A duration in seconds, its two largest units: `45 s`, `12 min`, `1 h 5 min`, `2 d 3 h`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 10) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A loss in nats: `3.214`; `not finite` for null, as events carry NaN and infinities. */
export function formatLoss(loss: number | null): string {
  if (loss === null) return 'not finite';
  return Math.abs(loss) >= 1000 || (loss !== 0 && Math.abs(loss) < 0.001)
    ? loss.toExponential(2)
    : loss.toFixed(3);
}

/** A count or rate with three significant digits and a unit prefix: `812`, `2.53k`, `1.2M`. */
export function formatCount(value: number): string {
  const units = ['', 'k', 'M', 'G', 'T'];
  let scaled = value;
  let unit = 0;
  while (Math.abs(scaled) >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${Number(scaled.toPrecision(3))}${units[unit] ?? ''}`;
}

/** A learning rate: `3e-4`, `2.85e-4`, `0`. */
export function formatRate(rate: number): string {
  if (rate === 0) return '0';
  return Number(rate.toPrecision(3)).toExponential();
}
