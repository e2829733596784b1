/** `gpt-lab export`: a run's metrics as a table or as JSON, for other programs. */
import { renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DaemonClient } from '../daemon/client.ts';
import { ask } from '../lab/connection.ts';
import { withoutConfig } from '../lab/follow.ts';
import type { RunEvent, RunSummary } from '../protocol/events.ts';
import { defineCommand, EXIT, print, printJson } from './command.ts';
import { lookUp } from './runs.ts';

/** One finished step; the held-out loss where one was measured after it. */
export interface StepRow {
  readonly step: number;
  readonly tokens: number;
  readonly loss: number | null;
  readonly validationLoss: number | null;
  readonly learningRate: number;
  readonly gradientNorm: number | null;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  /** ms since the epoch. */
  readonly time: number;
}

const columns = ['step', 'tokens', 'loss', 'validationLoss', 'learningRate', 'gradientNorm'].concat([
  'seconds',
  'tokensPerSecond',
  'time',
]) as (keyof StepRow)[];

/** A row per step; steps that a resumed run took anew stand once, as they were taken last. */
export function stepRows(events: readonly RunEvent[]): StepRow[] {
  const rows = new Map<number, StepRow>();
  for (const event of events) {
    if (event.event === 'start') {
      for (const step of [...rows.keys()]) if (step > (event.resumedFrom ?? 0)) rows.delete(step);
    } else if (event.event === 'step') {
      const { step, tokens, loss, learningRate, gradientNorm, seconds, tokensPerSecond, time } = event;
      const measured = { learningRate, gradientNorm, seconds, tokensPerSecond, time };
      rows.set(step, { step, tokens, loss, validationLoss: null, ...measured });
    } else if (event.event === 'evaluation') {
      const row = rows.get(event.step);
      if (row) rows.set(event.step, { ...row, validationLoss: event.loss });
    }
  }
  return [...rows.values()];
}

/** Comma-separated values (RFC 4180) with a line of headings; null is an empty field. */
export function toCsv(rows: readonly StepRow[]): string {
  const lines = rows.map((row) => columns.map((column) => row[column] ?? '').join(','));
  return [columns.join(','), ...lines, ''].join('\r\n');
}

async function allEvents(client: DaemonClient, run: string): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for (let from = 1; ;) {
    const { events, next } = await client.request('run.events', { run, from });
    if (events.length === 0) return all;
    all.push(...events);
    from = next;
  }
}

/** The file's content. */
function format(kind: string, shown: RunSummary & { config?: unknown }, rows: readonly StepRow[]): string {
  if (kind === 'csv') return toCsv(rows);
  return `${JSON.stringify({ ...withoutConfig(shown), config: shown.config, metrics: rows }, null, 2)}\n`;
}

export const exportRun = defineCommand({
  name: 'export',
  summary: 'Write a run’s metrics, a row per step, to a file',
  notes: 'A run that goes on is written as it stands.',
  positionals: ['RUN'],
  options: {
    format: {
      type: 'text',
      value: 'csv|json',
      required: true,
      choices: ['csv', 'json'],
      help: 'json has the configuration too',
    },
    to: { type: 'text', value: 'PATH', required: true, help: 'the file, which is replaced' },
  },
  async run({ values, positionals: [wanted = ''] }) {
    const path = resolve(values.to);
    const rows = await ask(async (client) => {
      const { run } = await lookUp(client, wanted);
      const taken = stepRows(await allEvents(client, run));
      // Aside and renamed, so that a full disk leaves the old file.
      writeFileSync(`${path}.new`, format(values.format, await client.request('run.show', { run }), taken));
      renameSync(`${path}.new`, path);
      return taken.length;
    });
    if (values.json) printJson({ path, rows });
    else print(`${rows} steps are in ${path}`);
    return EXIT.done;
  },
});
