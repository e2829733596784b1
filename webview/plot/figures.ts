/** What a plot says in words and figures. Pure: no page in here. */
import { formatCount, formatDuration, formatLoss, formatRate } from '../../kernel/protocol/format.ts';
import type { TooltipRow } from './chart-cursor.ts';
import type { PlotState, RunStore } from './run-store.ts';
import { lastUpTo, nearest } from './view-data.ts';

/** A label and a value under the plot's name; `tone` is the curve that it belongs to. */
export interface Figure {
  label: string;
  value: string;
  /** Said smaller after the value. */
  of?: string;
  tone?: 'train' | 'validation' | 'rate' | 'speed';
}

/** The figures that are known of a run. */
export function figures(store: RunStore): Figure[] {
  const { step, loss, validationLoss, tokensPerSecond } = store.latest;
  const known: (Figure | undefined)[] = [
    { label: 'Step', value: count(step), of: `/ ${count(store.steps)}` },
    step > 0 ? { label: 'Loss', value: formatLoss(loss), tone: 'train' } : undefined,
    store.series.evaluation.step.length > 0
      ? { label: 'Validation', value: formatLoss(validationLoss), tone: 'validation' }
      : undefined,
    tokensPerSecond === null
      ? undefined
      : { label: 'Tokens/s', value: formatCount(tokensPerSecond), tone: 'speed' },
    store.secondsLeft === null ? undefined : { label: 'Time left', value: formatDuration(store.secondsLeft) },
    store.secondsTaken === null ? undefined : { label: 'Took', value: formatDuration(store.secondsTaken) },
  ];
  return known.filter((figure) => figure !== undefined);
}

/** A state in a word. */
export function stateLabel(state: PlotState): string {
  return state === 'unknown' ? 'no contact' : state;
}

/** The picture in words, for those who do not see it. */
export function summary(store: RunStore): string {
  const { train, evaluation } = store.series;
  const first = train.step[0];
  if (first === undefined) return `Loss of ${store.name}: ${stateLabel(store.state)}, no steps yet`;
  let lowest = Infinity;
  for (const loss of train.loss) if (loss !== null && loss < lowest) lowest = loss;
  const parts = [
    `Loss of ${store.name}: ${stateLabel(store.state)}, step ${store.latest.step} of ${store.steps}`,
    `training loss from ${formatLoss(train.loss[0] ?? null)} at step ${first} to ${formatLoss(store.latest.loss)}`,
    `lowest ${formatLoss(Number.isFinite(lowest) ? lowest : null)}`,
    ...(evaluation.step.length > 0 ? [`validation loss ${formatLoss(store.latest.validationLoss)}`] : []),
  ];
  return parts.join(', ');
}

/** The values at one step, as the cursor and the table show them. */
export interface Reading {
  step: number;
  loss: number | null;
  smoothed: number | null;
  /** The newest evaluation at or before this step; absent before the first. */
  validation?: { step: number; loss: number | null };
  learningRate: number;
  tokensPerSecond: number;
}

/** The values at the trained step that is nearest to `step`; undefined before the first. */
export function readingAt(
  store: RunStore,
  smoothed: readonly (number | null)[],
  step: number,
): Reading | undefined {
  const { train, evaluation } = store.series;
  const index = nearest(train.step, step);
  const at = train.step[index];
  if (at === undefined) return undefined;
  const evaluated = lastUpTo(evaluation.step, at);
  const evaluatedStep = evaluation.step[evaluated];
  const validation =
    evaluatedStep === undefined
      ? {}
      : { validation: { step: evaluatedStep, loss: evaluation.loss[evaluated] ?? null } };
  return {
    step: at,
    loss: train.loss[index] ?? null,
    smoothed: smoothed[index] ?? null,
    ...validation,
    learningRate: train.learningRate[index] ?? 0,
    tokensPerSecond: train.tokensPerSecond[index] ?? 0,
  };
}

/** A reading in words, for screen readers as the cursor moves. */
export function speak(reading: Reading): string {
  return [
    `Step ${reading.step}`,
    `loss ${formatLoss(reading.loss)}`,
    ...(reading.validation?.step === reading.step
      ? [`validation loss ${formatLoss(reading.validation.loss)}`]
      : []),
    `learning rate ${formatRate(reading.learningRate)}`,
    `${formatCount(reading.tokensPerSecond)} tokens per second`,
  ].join(', ');
}

/** A reading as the tooltip shows it, the smoothed loss only where one is drawn. */
export function tooltipRows(reading: Reading, smooth: boolean): TooltipRow[] {
  const { step, loss, smoothed, validation, learningRate, tokensPerSecond } = reading;
  const evaluated =
    validation?.step === step ? 'Validation' : `Validation at ${count(validation?.step ?? 0)}`;
  return [
    { tone: 'train', label: 'Loss', value: formatLoss(loss) },
    ...(smooth ? [{ tone: 'train', label: 'Smoothed', value: formatLoss(smoothed) }] : []),
    ...(validation ? [{ tone: 'validation', label: evaluated, value: formatLoss(validation.loss) }] : []),
    { tone: 'rate', label: 'Learning rate', value: formatRate(learningRate) },
    { tone: 'speed', label: 'Tokens/s', value: formatCount(tokensPerSecond) },
  ];
}

/** Rows of the data table: every evaluated step, and others evenly up to `limit` in all, first and last included. */
export function tableRows(store: RunStore, smoothed: readonly (number | null)[], limit: number): Reading[] {
  const { train, evaluation } = store.series;
  const last = train.step.length - 1;
  const chosen = new Set(evaluation.step.slice(-limit).map((step) => nearest(train.step, step)));
  const room = Math.max(2, limit - chosen.size);
  for (let slot = 0; slot < room && last >= 0; slot++) chosen.add(Math.round((slot * last) / (room - 1)));
  return [...chosen]
    .filter((index) => index >= 0)
    .sort((a, b) => a - b)
    .map((index) => readingAt(store, smoothed, train.step[index] ?? 0))
    .filter((reading) => reading !== undefined);
}

/** Heads of the data table's columns. */
export const TABLE_HEADS = ['Step', 'Loss', 'Smoothed', 'Validation', 'Learning rate', 'Tokens/s'];

/** A row of the data table; a validation loss stands only at the step that it is of. */
export function tableCells(row: Reading): string[] {
  return [
    String(row.step),
    formatLoss(row.loss),
    formatLoss(row.smoothed),
    row.validation?.step === row.step ? formatLoss(row.validation.loss) : '',
    formatRate(row.learningRate),
    formatCount(row.tokensPerSecond),
  ];
}

/** `1 step`, `2 steps`. */
export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
