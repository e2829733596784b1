/** What the renderer knows of one run: its curves, its state and how fast it goes. Pure: no page in here. */
import type { RunEvent, RunState } from '../../kernel/protocol/events.ts';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { RunSeries } from '../../kernel/protocol/run-series.ts';
import { StepClock } from '../../kernel/protocol/step-clock.ts';

/** The state that a plot shows; `unknown` when only the run's name is known. */
export type PlotState = RunState | 'starting' | 'unknown';

/** Curves and state of a run, from a saved snapshot, from events, or from both. */
export class RunStore {
  readonly run: string;
  name: string;
  steps: number;
  series = new RunSeries();
  /** Whether the curves are a snapshot's: fewer points than the run has. */
  decimated = false;
  /** Changes whenever values that were there before changed. */
  revision = 0;
  /** Why no events come, for people; undefined while they do or may. */
  unavailable: string | undefined;
  /** The newest warning of the run. */
  warning: string | undefined;
  #snapshotState: RunState | undefined;
  #clock = new StepClock();
  /** Whether events were seen, not only a saved plot. */
  #live = false;
  #started: number | undefined;
  #ended: number | undefined;
  #replacement: RunSeries | undefined;

  constructor(plot: Pick<PlotOutput, 'run' | 'name' | 'steps'>) {
    this.run = plot.run;
    this.name = plot.name;
    this.steps = plot.steps;
  }

  /** Number of the event that is needed next. */
  get next(): number {
    return (this.#replacement ?? this.series).lastSequence + 1;
  }

  get state(): PlotState {
    if (this.series.end) return this.series.end.status;
    if (this.#live) return this.series.train.step.length > 0 ? 'running' : 'starting';
    return this.#snapshotState ?? (this.unavailable === undefined ? 'starting' : 'unknown');
  }

  /** Whether the run is known to have come to an end. */
  get hasEnded(): boolean {
    return !['running', 'starting', 'unknown'].includes(this.state);
  }

  /** Why the run failed, if it did. */
  get error(): string | undefined {
    return this.series.end?.error;
  }

  /** Newest step, loss and speed; null where there is none. */
  get latest(): {
    step: number;
    loss: number | null;
    validationLoss: number | null;
    tokensPerSecond: number | null;
    learningRate: number | null;
  } {
    const { train, evaluation } = this.series;
    return {
      step: train.step.at(-1) ?? 0,
      loss: train.loss.at(-1) ?? null,
      validationLoss: evaluation.loss.at(-1) ?? null,
      tokensPerSecond: train.tokensPerSecond.at(-1) ?? null,
      learningRate: train.learningRate.at(-1) ?? null,
    };
  }

  /** Seconds until the last step at the recent speed; null when it is not running or too young to tell. */
  get secondsLeft(): number | null {
    return this.state === 'running' ? this.#clock.secondsLeft(this.steps) : null;
  }

  /** Seconds from the newest start to the end; null while it is not known. */
  get secondsTaken(): number | null {
    return this.#started === undefined || this.#ended === undefined
      ? null
      : (this.#ended - this.#started) / 1000;
  }

  /** Takes a saved plot. Curves that are known in full already are kept. */
  takePlot(plot: PlotOutput): void {
    this.name = plot.name;
    this.steps = plot.steps;
    const { snapshot } = plot;
    if (!snapshot || snapshot.lastSequence <= this.series.lastSequence) return;
    this.series = new RunSeries();
    for (const name of ['step', 'loss', 'learningRate', 'tokensPerSecond'] as const)
      (this.series.train[name] as (number | null)[]).push(...snapshot.train[name]);
    this.series.evaluation.step.push(...snapshot.evaluation.step);
    this.series.evaluation.loss.push(...snapshot.evaluation.loss);
    this.series.lastSequence = snapshot.lastSequence;
    this.#snapshotState = snapshot.state;
    this.decimated = true;
    this.#clock = new StepClock();
    this.#live = false;
    this.#started = this.#ended = undefined;
    this.revision++;
  }

  /** Collects the run's events from the first on, to take the snapshot's place when they are complete. */
  replaceSnapshot(): void {
    this.#replacement = new RunSeries();
  }

  /** Gives up waiting for the full curves. */
  keepSnapshot(): void {
    this.#replacement = undefined;
  }

  /** Takes a batch of events; false when events before it are missing, so that it has to be sent again from `next`. */
  append(events: readonly RunEvent[]): boolean {
    const first = events[0];
    if (!first) return true;
    if (first.sequence > this.next) return false;
    this.unavailable = undefined;
    const fresh = events.filter(({ sequence }) => sequence > this.series.lastSequence);
    for (const event of fresh) this.#observe(event);
    if (!this.#replacement) {
      this.series.append(events);
      return true;
    }
    this.#replacement.append(events);
    if (this.#replacement.lastSequence >= this.series.lastSequence) {
      this.series = this.#replacement;
      this.#replacement = undefined;
      this.decimated = false;
      this.revision++;
    }
    return true;
  }

  #observe(event: RunEvent): void {
    this.#clock.take(event);
    this.#live = true;
    switch (event.event) {
      case 'start':
        this.#started = event.time;
        this.#ended = undefined;
        this.#snapshotState = undefined;
        this.warning = undefined;
        this.revision++;
        break;
      case 'warning':
        this.warning = event.message;
        break;
      case 'end':
        this.#ended = event.time;
        break;
      case 'step':
      case 'evaluation':
      case 'checkpoint':
        break;
    }
  }
}
