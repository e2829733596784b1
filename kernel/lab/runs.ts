/** Finds runs again. */
import { findRun } from './find-run.ts';
import { ask } from './connection.ts';
import { DISPLAY } from './host.ts';
import type { MimeBundle } from './host.ts';
import { runRows } from './run-text.ts';
import { Run } from './run.ts';
import { htmlTable, textTable } from './table.ts';

/**
 * `await runs()`: all runs, newest first, shown as a table. `await runs('20261124')`: the one run whose id starts so,
 * `await runs('last')`: the newest one, to plot it, to generate from it, to resume it.
 *
 * @throws {NoSuchRun} when no run fits, or more than one.
 */
export function runs(): Promise<Run[]>;
export function runs(run: string): Promise<Run>;
export async function runs(run?: string): Promise<Run[] | Run> {
  const summaries = await ask((client) => client.request('run.list', {}));
  if (run !== undefined) {
    const found = findRun(summaries, run);
    const attached = new Run(found);
    // The curve of an ended run is fetched here, so that plot() shows all of it at once.
    if (found.state !== 'running') await attached.metrics();
    return attached;
  }
  const list = summaries.toSorted((a, b) => b.createdAt - a.createdAt).map((summary) => new Run(summary));
  const show = (): MimeBundle => {
    if (summaries.length === 0) return { 'text/plain': 'No runs yet: train() starts one.' };
    const rows = runRows(summaries, Date.now());
    return { 'text/plain': textTable(rows), 'text/html': htmlTable(rows) };
  };
  return Object.defineProperty(list, DISPLAY, { value: show, enumerable: false });
}
