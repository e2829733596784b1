/** How a run's progress looks in a terminal: a bar that is redrawn in place, or a line now and then. */
import { formatCount, formatDuration, formatLoss } from '../protocol/format.ts';
import { RunSeries } from '../protocol/run-series.ts';
import type { RunEvent } from '../protocol/events.ts';
import { sparkline } from '../protocol/sparkline.ts';
import { StepClock } from '../protocol/step-clock.ts';

/** What a progress line tells. */
export interface ProgressState {
  readonly name: string;
  /** What is being done before the first step. */
  readonly phase?: string | undefined;
  readonly step: number;
  readonly steps: number;
  readonly loss: readonly (number | null)[];
  readonly validationLoss: number | null;
  readonly tokensPerSecond: number | null;
  readonly secondsLeft: number | null;
}

/** One line of at most `columns` characters; what matters least is left out first. */
export function progressLine(state: ProgressState, columns: number): string {
  if (state.step === 0) return clip(`${state.name}  ${state.phase ?? 'starting'} …`, columns);
  const digits = String(state.steps).length;
  const count = `${String(state.step).padStart(digits)}/${state.steps}`;
  const loss = `loss ${formatLoss(state.loss.at(-1) ?? null)}`;
  const validation = state.validationLoss === null ? [] : [`validation ${formatLoss(state.validationLoss)}`];
  const speed = state.tokensPerSecond === null ? [] : [`${formatCount(state.tokensPerSecond)} tokens/s`];
  const left = state.secondsLeft === null ? [] : [`${formatDuration(state.secondsLeft)} left`];
  const drawn = bar(state.step / state.steps, 16);
  const curve = state.loss.length < 2 ? [] : [sparkline(state.loss, 16)];
  const candidates = [
    [state.name, drawn, count, loss, ...validation, ...speed, ...left, ...curve],
    [drawn, count, loss, ...validation, ...speed, ...left, ...curve],
    [drawn, count, loss, ...validation, ...speed, ...left],
    [count, loss, ...speed, ...left],
    [count, loss, ...left],
    [count, loss],
  ].map((parts) => parts.join('  '));
  return candidates.find((line) => line.length <= columns) ?? clip(count, columns);
}

function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const full = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? '' : (' ▏▎▍▌▋▊▉'[eighths % 8] ?? '');
  return `▕${('█'.repeat(full) + part).padEnd(width)}▏`;
}

function clip(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** Least time between two redraws, ms. */
const REDRAW = 100;
/** Lines that a run's steps take where nothing can be redrawn. */
const LINES = 20;

/** Shows one run's progress on a terminal or in a log. */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #name: string;
  readonly #steps: number;
  readonly #series = new RunSeries();
  readonly #clock = new StepClock();
  #phase: string | undefined;
  #drawn = false;
  #drawnAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #linedAt = 0;

  constructor(stream: NodeJS.WriteStream, run: { name: string; steps: number }) {
    this.#stream = stream;
    this.#name = run.name;
    this.#steps = run.steps;
  }

  /** The curves seen so far. */
  get series(): RunSeries {
    return this.#series;
  }

  /** What the run does outside its steps. */
  phase(phase: string | undefined): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    if (this.#stream.isTTY) this.#scheduleDraw();
    else if (phase && phase !== 'training') this.#stream.write(`${this.#name}: ${phase}\n`);
  }

  /** Takes events in order. */
  update(events: readonly RunEvent[]): void {
    for (const event of events) {
      this.#series.append([event]);
      this.#clock.take(event);
      if (event.event === 'warning') this.line(`Warning (${event.code}): ${event.message}`);
      if (event.event === 'start' && event.resumedFrom) this.line(`Resumed after step ${event.resumedFrom}`);
      if (event.event !== 'step') continue;
      const due = Math.max(1, Math.floor(this.#steps / LINES));
      const isLine = event.step === 1 || event.step === this.#steps || event.step >= this.#linedAt + due;
      if (!this.#stream.isTTY && isLine) {
        this.#linedAt = event.step - (event.step % due);
        this.#stream.write(`${this.#text(Infinity)}\n`);
      }
    }
    if (this.#stream.isTTY) this.#scheduleDraw();
  }

  /** Writes a line of its own above the bar. */
  line(text: string): void {
    this.write(`${text}\n`);
  }

  /** Writes text where the bar stood, on any stream; the bar comes back below with the next step. */
  write(text: string, stream: NodeJS.WriteStream = this.#stream): void {
    this.#erase();
    stream.write(text);
  }

  /** Leaves the last bar on the screen and goes to the next line. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#stream.isTTY) return;
    this.#draw();
    this.#stream.write('\n');
    this.#drawn = false;
  }

  #text(columns: number): string {
    const { train, evaluation } = this.#series;
    const step = train.step.at(-1) ?? 0;
    return progressLine(
      {
        name: this.#name,
        phase: this.#phase,
        step,
        steps: this.#steps,
        loss: Number.isFinite(columns) ? train.loss : train.loss.slice(-1),
        validationLoss: evaluation.loss.at(-1) ?? null,
        tokensPerSecond: train.tokensPerSecond.at(-1) ?? null,
        secondsLeft: this.#clock.secondsLeft(this.#steps),
      },
      columns,
    );
  }

  #scheduleDraw(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#draw();
      },
      Math.max(0, this.#drawnAt + REDRAW - Date.now()),
    );
  }

  #draw(): void {
    // The last column stays free: some terminals wrap as soon as it is written.
    const columns = this.#stream.columns || 80;
    this.#stream.write(`\r\u001b[2K${this.#text(columns - 1)}`);
    this.#drawn = true;
    this.#drawnAt = Date.now();
  }

  #erase(): void {
    if (!this.#drawn) return;
    this.#stream.write('\r\u001b[2K');
    this.#drawn = false;
    this.#scheduleDraw();
  }
}
