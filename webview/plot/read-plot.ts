/**
 * Checks what comes into the page: a notebook's output may be anything. By hand, since the schemas of kernel/protocol
 * would bring 450 kB of validation library into every notebook; the test holds both to the same answers.
 */
import type { PlotMessage, PlotOutput } from '../../kernel/protocol/plot.ts';

/** The plot of an output's JSON. @throws Error that says what is wrong with it */
export function readPlot(value: unknown): PlotOutput {
  const plot = record(value, 'the plot');
  if (plot['format'] !== 'gpt-lab-plot')
    throw new Error(`format is ${show(plot['format'])}: "gpt-lab-plot" is expected`);
  if (plot['version'] !== 1)
    throw new Error(`version is ${show(plot['version'])}: this renderer reads version 1`);
  for (const key of ['run', 'name']) if (typeof plot[key] !== 'string') throw wrong(key, plot[key], 'a text');
  if (!Number.isInteger(plot['steps'])) throw wrong('steps', plot['steps'], 'a whole number');
  if (plot['snapshot'] !== undefined) checkSnapshot(record(plot['snapshot'], 'snapshot'));
  return plot as PlotOutput;
}

/** A message of the extension, or undefined when it is none of ours. */
export function readMessage(value: unknown): PlotMessage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { type, plot, events, reason } = value as Record<string, unknown>;
  const valid =
    typeof plot === 'string' &&
    ((type === 'events' && Array.isArray(events)) || (type === 'unavailable' && typeof reason === 'string'));
  return valid ? (value as PlotMessage) : undefined;
}

const STATES = ['running', 'finished', 'stopped', 'failed', 'interrupted'];

function checkSnapshot(snapshot: Record<string, unknown>): void {
  const { state, lastSequence } = snapshot;
  if (typeof state !== 'string' || !STATES.includes(state)) throw wrong('state', state, STATES.join(', '));
  if (!Number.isInteger(lastSequence)) throw wrong('lastSequence', lastSequence, 'a whole number');
  checkColumns(snapshot, 'train', ['step', 'learningRate', 'tokensPerSecond']);
  checkColumns(snapshot, 'evaluation', ['step']);
}

/** All columns are lists of one length; `loss` may have gaps, the `complete` ones may not. */
function checkColumns(snapshot: Record<string, unknown>, part: string, complete: string[]): void {
  const columns = record(snapshot[part], part);
  const lengths = ['loss', ...complete].map((name) => {
    const column: unknown = columns[name];
    const allowed = (entry: unknown): boolean =>
      typeof entry === 'number' || (name === 'loss' && entry === null);
    if (!Array.isArray(column) || !column.every(allowed))
      throw wrong(`${part}.${name}`, column, 'a list of numbers');
    return column.length;
  });
  if (new Set(lengths).size > 1)
    throw new Error(`the columns of ${part} have different lengths: ${lengths.join(', ')}`);
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw wrong(what, value, 'an object');
  return value as Record<string, unknown>;
}

function wrong(key: string, value: unknown, allowed: string): Error {
  return new Error(`${key} is ${show(value)}: ${allowed} is expected`);
}

function show(value: unknown): string {
  return (JSON.stringify(value) as string | undefined)?.slice(0, 60) ?? 'missing';
}
