/** A run in words, the same in cells and in the terminal. */
import { formatCount, formatDuration, formatLoss } from '../protocol/format.ts';
import type { RunSummary } from './types.ts';

/** One line: `quickstart (20261124-…): running, step 12 of 300, loss 4.217, 25 s left`. */
export function describeRun(run: RunSummary): string {
  const parts = [`${run.name} (${run.run}): ${run.state}`];
  if (run.state === 'running' && run.phase) parts.push(run.phase);
  parts.push(`step ${run.step} of ${run.steps}`);
  if (run.loss !== null) parts.push(`loss ${formatLoss(run.loss)}`);
  if (run.validationLoss !== null) parts.push(`validation ${formatLoss(run.validationLoss)}`);
  if (run.state === 'running' && run.secondsLeft !== null)
    parts.push(`${formatDuration(run.secondsLeft)} left`);
  if (run.error !== null) parts.push(run.error);
  return parts.join(', ');
}

/** Rows for a table of runs, newest first, headings in the first row. `now` is ms since the epoch. */
export function runRows(runs: readonly RunSummary[], now: number): string[][] {
  return [
    ['RUN', 'NAME', 'STATE', 'STEP', 'LOSS', 'VALIDATION', 'TOKENS/S', 'TIME', 'LEFT'],
    ...runs
      .toSorted((a, b) => b.createdAt - a.createdAt)
      .map((run) => [
        run.run,
        run.name,
        run.state,
        `${run.step}/${run.steps}`,
        formatLoss(run.loss),
        formatLoss(run.validationLoss),
        run.tokensPerSecond === null ? '–' : formatCount(run.tokensPerSecond),
        formatDuration(((run.endedAt ?? now) - run.createdAt) / 1000),
        run.state === 'running' ? formatDuration(run.secondsLeft) : '',
      ]),
  ];
}
