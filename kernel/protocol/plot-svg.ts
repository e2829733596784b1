/** The loss curve as a self-contained SVG: what GitHub, Jupyter and mail show of a saved plot. */
import { decimate } from './decimate.ts';
import { formatLoss } from './format.ts';
import type { PlotOutput } from './plot.ts';
import { niceTicks } from './ticks.ts';

// Middle tones that are readable on white and on near-black alike, since the background is the viewer's.
const INK = '#808080';
const TRAIN = '#3b82f6';
const VALIDATION = '#e8710a';
const FONT = 'font-family="system-ui, -apple-system, Segoe UI, sans-serif"';

/** Space around the plot area: left for tick labels, top for title and legend. */
const MARGIN = { top: 52, right: 18, bottom: 42, left: 58 };

interface Frame {
  readonly x: (step: number) => number;
  readonly y: (loss: number) => number;
  readonly steps: readonly [number, number];
  readonly losses: readonly [number, number];
  readonly width: number;
  readonly height: number;
}

/**
 * Training and validation loss over steps, with axes, labels, title and legend; `width` and `height` in CSS pixels.
 * Without a snapshot, or before the first step, the plot area says that there is no data yet.
 */
export function plotSvg(plot: PlotOutput, size: { width?: number; height?: number } = {}): string {
  const { width = 640, height = 320 } = size;
  const train = plot.snapshot?.train ?? { step: [], loss: [] };
  const evaluation = plot.snapshot?.evaluation ?? { step: [], loss: [] };
  const frame = makeFrame(
    [...train.step, ...evaluation.step],
    [...train.loss, ...evaluation.loss].filter((loss) => loss !== null),
    width,
    height,
  );
  const title = plot.snapshot
    ? `${plot.name} · ${plot.snapshot.state}, step ${train.step.at(-1) ?? 0} of ${plot.steps}`
    : plot.name;
  const label = describe(title, train.loss, evaluation.loss);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(label)}">`,
    `<title>${escapeXml(label)}</title>`,
    text(MARGIN.left, 22, 'start', title, 'font-size="14" font-weight="600"'),
    ...legend(train.loss, evaluation.loss),
    ...(frame ? axes(frame) : [text(width / 2, height / 2, 'middle', 'No steps yet')]),
    ...(frame ? [curve(frame, train, TRAIN, 1.5), curve(frame, evaluation, VALIDATION, 2)] : []),
    ...(frame ? dots(frame, evaluation) : []),
    '</svg>',
  ].join('\n');
}

type Columns = { readonly step: readonly number[]; readonly loss: readonly (number | null)[] };

/** Scales that map the data's range, with a little room, to the plot area; undefined without any finite value. */
function makeFrame(
  steps: readonly number[],
  losses: readonly number[],
  width: number,
  height: number,
): Frame | undefined {
  if (losses.length === 0) return undefined;
  const [firstStep, lastStep] = extent(steps);
  const [lowest, highest] = extent(losses);
  const room = (highest - lowest || Math.abs(highest) || 1) * 0.05;
  const [low, high] = [Math.max(lowest - room, Math.min(0, lowest)), highest + room];
  const left = firstStep === lastStep ? firstStep - 1 : firstStep;
  const plotWidth = width - MARGIN.left - MARGIN.right;
  const plotHeight = height - MARGIN.top - MARGIN.bottom;
  return {
    x: (step) => MARGIN.left + ((step - left) / (lastStep - left)) * plotWidth,
    y: (loss) => MARGIN.top + (1 - (loss - low) / (high - low)) * plotHeight,
    steps: [left, lastStep],
    losses: [low, high],
    width,
    height,
  };
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function axes({ x, y, steps, losses, width, height }: Frame): string[] {
  const bottom = height - MARGIN.bottom;
  const right = width - MARGIN.right;
  const grid = (d: string): string => `<path d="${d}" stroke="${INK}" stroke-opacity="0.25" fill="none"/>`;
  return [
    ...niceTicks(...losses, 5).flatMap((loss) => [
      grid(`M${MARGIN.left} ${round(y(loss))}H${right}`),
      text(MARGIN.left - 8, y(loss) + 4, 'end', String(loss)),
    ]),
    ...niceTicks(...steps, 8)
      .filter(Number.isInteger)
      .flatMap((step) => [
        grid(`M${round(x(step))} ${MARGIN.top}V${bottom}`),
        text(x(step), bottom + 16, 'middle', String(step)),
      ]),
    `<path d="M${MARGIN.left} ${MARGIN.top}V${bottom}H${right}" stroke="${INK}" fill="none"/>`,
    text((MARGIN.left + right) / 2, height - 8, 'middle', 'step'),
    `<g transform="rotate(-90 14 ${(MARGIN.top + bottom) / 2})">${text(14, (MARGIN.top + bottom) / 2, 'middle', 'loss (nats per token)')}</g>`,
  ];
}

/** One path per unbroken stretch of finite values, at most one bucket per pixel. */
function curve({ x, y, width }: Frame, { step, loss }: Columns, colour: string, stroke: number): string {
  let d = '';
  let pen = 'M';
  for (const index of decimate(step, loss, width - MARGIN.left - MARGIN.right)) {
    const value = loss[index] ?? null;
    if (value === null) {
      pen = 'M';
      continue;
    }
    d += `${pen}${round(x(step[index] ?? 0))} ${round(y(value))}`;
    pen = 'L';
  }
  return `<path d="${d}" stroke="${colour}" stroke-width="${stroke}" stroke-linejoin="round" fill="none"/>`;
}

/** Evaluations are few: each is marked, until the marks would touch. */
function dots({ x, y }: Frame, { step, loss }: Columns): string[] {
  if (step.length > 60) return [];
  return step.flatMap((at, index) => {
    const value = loss[index] ?? null;
    return value === null
      ? []
      : [`<circle cx="${round(x(at))}" cy="${round(y(value))}" r="3" fill="${VALIDATION}"/>`];
  });
}

function legend(train: Columns['loss'], evaluation: Columns['loss']): string[] {
  const entry = (at: number, colour: string, name: string, loss: Columns['loss']): string[] => {
    if (loss.length === 0) return [];
    return [
      `<path d="M${at} 38h18" stroke="${colour}" stroke-width="3"/>`,
      text(at + 24, 42, 'start', `${name} ${formatLoss(loss.at(-1) ?? null)}`),
    ];
  };
  return [
    ...entry(MARGIN.left, TRAIN, 'training', train),
    ...entry(MARGIN.left + 140, VALIDATION, 'validation', evaluation),
  ];
}

function describe(title: string, train: Columns['loss'], evaluation: Columns['loss']): string {
  const last = (loss: Columns['loss']): string => formatLoss(loss.at(-1) ?? null);
  return (
    `Loss of ${title}` +
    (train.length > 0 ? `; training ${last(train)}` : '') +
    (evaluation.length > 0 ? `; validation ${last(evaluation)}` : '')
  );
}

function text(
  x: number,
  y: number,
  anchor: 'start' | 'middle' | 'end',
  content: string,
  attributes = 'font-size="12"',
): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${INK}" ${FONT} ${attributes}>${escapeXml(content)}</text>`;
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text that is safe in XML; control characters, which XML 1.0 has no spelling for, are dropped. */
function escapeXml(content: string): string {
  return content
    .replace(/[\p{Cc}\uFFFE\uFFFF]/gu, ' ')
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
