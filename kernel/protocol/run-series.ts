/** The curves of a run, collected from its events: what plots draw and what a saved notebook keeps. */
import { decimate } from './decimate.ts';
import type { RunEvent, RunState, RunSummary } from './events.ts';
import type { PlotOutput } from './plot.ts';

/** One value per finished step; all columns have one length, `step` ascends strictly. */
export interface TrainColumns {
  step: number[];
  /** Mean training loss of the step, nats; null where it was not finite. */
  loss: (number | null)[];
  learningRate: number[];
  tokensPerSecond: number[];
}

/** One value per evaluation on the held-out split. */
export interface EvaluationColumns {
  step: number[];
  loss: (number | null)[];
}

/** Collects events into columns. Events may come in batches and twice; a resumed run's new steps replace old ones. */
export class RunSeries {
  readonly train: TrainColumns = { step: [], loss: [], learningRate: [], tokensPerSecond: [] };
  readonly evaluation: EvaluationColumns = { step: [], loss: [] };
  /** Sequence number of the newest event taken; 0 before the first. */
  lastSequence = 0;
  /** How the run ended, as the events tell; undefined while it goes on. */
  end: { status: RunState; error?: string } | undefined;

  /** Takes events in order; those that were taken before are passed over. */
  append(events: readonly RunEvent[]): void {
    for (const event of events) {
      if (event.sequence <= this.lastSequence) continue;
      this.lastSequence = event.sequence;
      this.#take(event);
    }
  }

  #take(event: RunEvent): void {
    switch (event.event) {
      case 'start':
        this.end = undefined;
        truncate(this.train, (event.resumedFrom ?? 0) + 1);
        truncate(this.evaluation, (event.resumedFrom ?? 0) + 1);
        break;
      case 'step':
        truncate(this.train, event.step);
        this.train.step.push(event.step);
        this.train.loss.push(event.loss);
        this.train.learningRate.push(event.learningRate);
        this.train.tokensPerSecond.push(event.tokensPerSecond);
        break;
      case 'evaluation':
        truncate(this.evaluation, event.step);
        this.evaluation.step.push(event.step);
        this.evaluation.loss.push(event.loss);
        break;
      case 'end':
        this.end = { status: event.status, ...(event.error === undefined ? {} : { error: event.error }) };
        break;
      case 'checkpoint':
      case 'warning':
        break;
    }
  }
}

/** Drops everything from `step` on: a resumed run takes those steps anew. */
function truncate(columns: TrainColumns | EvaluationColumns, step: number): void {
  let length = columns.step.length;
  while (length > 0 && (columns.step[length - 1] ?? 0) >= step) length--;
  for (const column of Object.values(columns) as unknown[][]) column.length = length;
}

/** Enough for a plot twice as wide as a notebook; a saved plot stays below about 90 kB. */
const SNAPSHOT_BUCKETS = 300;

/** What a plot of this run is, without any point: the viewer asks for the run's events. */
export function livePlotOutput(run: Pick<RunSummary, 'run' | 'name' | 'steps'>): PlotOutput {
  return { format: 'gpt-lab-plot', version: 1, run: run.run, name: run.name, steps: run.steps };
}

/** The plot as saved in a notebook: min/max-decimated columns, values rounded to 6 significant digits. */
export function toPlotOutput(
  run: Pick<RunSummary, 'run' | 'name' | 'steps' | 'state'>,
  series: RunSeries,
): PlotOutput {
  const { train, evaluation } = series;
  // Spikes of the speed are kept as well as those of the loss; the learning rate is smooth.
  const kept = new Set([
    ...decimate(train.step, train.loss, SNAPSHOT_BUCKETS),
    ...decimate(train.step, train.tokensPerSecond, SNAPSHOT_BUCKETS / 3),
  ]);
  const trainIndices = [...kept].sort((a, b) => a - b);
  const evaluationIndices = decimate(evaluation.step, evaluation.loss, SNAPSHOT_BUCKETS);
  return {
    ...livePlotOutput(run),
    snapshot: {
      state: run.state,
      train: {
        step: pick(train.step, trainIndices),
        loss: pick(train.loss, trainIndices),
        learningRate: pick(train.learningRate, trainIndices),
        tokensPerSecond: pick(train.tokensPerSecond, trainIndices),
      },
      evaluation: {
        step: pick(evaluation.step, evaluationIndices),
        loss: pick(evaluation.loss, evaluationIndices),
      },
      lastSequence: series.lastSequence,
    },
  };
}

function pick<T extends number | null>(column: readonly T[], indices: readonly number[]): T[] {
  return indices.map((index) => {
    const value = column[index] as T;
    return (typeof value === 'number' ? Number(value.toPrecision(6)) : value) as T;
  });
}
