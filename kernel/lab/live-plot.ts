/** The live loss plot under a cell. */
import { randomUUID } from 'node:crypto';
import { formatLoss } from '../protocol/format.ts';
import { PLOT_MIME } from '../protocol/plot-mime.ts';
import { plotSvg } from '../protocol/plot-svg.ts';
import { livePlotOutput, toPlotOutput } from '../protocol/run-series.ts';
import type { RunSeries } from '../protocol/run-series.ts';
import { sparkline } from '../protocol/sparkline.ts';
import type { RunFeed } from './feed.ts';
import { host } from './host.ts';
import type { MimeBundle } from './host.ts';
import type { RunSummary } from './types.ts';

/** Least time between two refreshes where no renderer draws the curve, ms: a picture of up to 100 kB each. */
const REFRESH = 2000;

/** What a plot needs to know of a run. */
export type PlottedRun = Pick<RunSummary, 'run' | 'name' | 'steps' | 'state'>;

/**
 * Shows the run's curve under the cell and keeps it growing until the run ends, also after the cell has ended. In VS
 * Code the renderer feeds itself; elsewhere the output is replaced by a new picture now and then.
 */
export function showPlot(run: PlottedRun, feed: RunFeed): void {
  const displayId = `gpt-lab-plot-${randomUUID()}`;
  const cell = host();
  if (process.env['GPT_LAB_LIVE_PLOTS'] === 'renderer' && run.state === 'running') {
    // Drawn from the daemon's events; the extension saves the snapshot when the run ends.
    const text = `${run.name}: the curve of run ${run.run} is drawn while it goes on`;
    cell.display({ [PLOT_MIME]: livePlotOutput(run), 'text/plain': text }, { displayId });
    return;
  }
  cell.display(plotBundle(run, feed.series), { displayId });
  if (run.state !== 'running' && feed.series.end) return;
  const refresh = (state: PlottedRun['state']): void => {
    cell.display(plotBundle({ ...run, state }, feed.series), { displayId, update: true });
  };

  let timer: NodeJS.Timeout | undefined;
  const endUpdates = feed.onChange(() => {
    timer ??= setTimeout(() => {
      timer = undefined;
      refresh('running');
    }, REFRESH);
  });
  const end = (state: PlottedRun['state']): void => {
    endUpdates();
    clearTimeout(timer);
    refresh(state);
  };
  feed.follow().then(
    (summary) => end(summary.state),
    (error: unknown) => {
      end(run.state);
      console.error(`The plot of ${run.name} has stopped growing:`, error);
    },
  );
}

/** Every form of the plot at this moment: for our renderer, for front ends that show SVG, for a terminal. */
export function plotBundle(run: PlottedRun, series: RunSeries): MimeBundle {
  const output = toPlotOutput(run, series);
  return {
    [PLOT_MIME]: output,
    'image/svg+xml': plotSvg(output),
    'text/plain': plotText(run, series),
  };
}

function plotText({ name, state, steps }: PlottedRun, { train, evaluation }: RunSeries): string {
  const validation =
    evaluation.loss.length > 0 ? `, validation ${formatLoss(evaluation.loss.at(-1) ?? null)}` : '';
  if (train.step.length === 0) return `${name}: ${state}, no steps yet`;
  const loss = formatLoss(train.loss.at(-1) ?? null);
  return (
    `${name}: ${state}, step ${train.step.at(-1) ?? 0} of ${steps}, loss ${loss}${validation}\n` +
    sparkline(train.loss, 60)
  );
}
