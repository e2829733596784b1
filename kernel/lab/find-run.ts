/** Which run somebody means. */
import type { RunSummary } from './types.ts';

/** No run, or more than one, fits what was asked for. */
export class NoSuchRun extends Error {
  override readonly name = 'NoSuchRun';
}

/** The run with id `wanted`, or whose id alone starts with it; `last` is the newest. Throws NoSuchRun. */
export function findRun(runs: readonly RunSummary[], wanted: string): RunSummary {
  const exact = runs.find(({ run }) => run === wanted);
  if (exact) return exact;
  const newestFirst = runs.toSorted((a, b) => b.createdAt - a.createdAt);
  const [newest] = newestFirst;
  if (!newest) throw new NoSuchRun(`There is no run ${wanted}: no run has been started yet`);
  if (wanted === 'last') return newest;
  const fitting = wanted === '' ? [] : newestFirst.filter(({ run }) => run.startsWith(wanted));
  const [only] = fitting;
  if (only && fitting.length === 1) return only;
  throw new NoSuchRun(
    fitting.length > 1
      ? `${fitting.length} runs start with ${wanted}: ${list(fitting)}`
      : `There is no run ${wanted}: the newest are ${list(newestFirst)}`,
  );
}

function list(runs: readonly RunSummary[]): string {
  const shown = runs.slice(0, 5).map(({ run, name }) => `${run} (${name})`);
  return shown.join(', ') + (runs.length > shown.length ? ', …' : '');
}
