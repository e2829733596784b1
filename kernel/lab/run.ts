/** One training run, as cells hold it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { resolve } from 'node:path';
import { inspect } from 'node:util';
import { ask } from './connection.ts';
import { RunEnded } from './errors.ts';
import { RunFeed } from './feed.ts';
import { followRun, withoutConfig } from './follow.ts';
import { Generation } from './generation.ts';
import { DISPLAY, host } from './host.ts';
import type { MimeBundle } from './host.ts';
import { showPlot } from './live-plot.ts';
import { describeRun } from './run-text.ts';
import type { Evaluation, GenerateOptions, Metrics, RunEvent, RunSummary } from './types.ts';

/**
 * A training run. It lives in the daemon: it goes on when the cell has ended, when the notebook is closed and when the
 * kernel is restarted; `runs(id)` finds it again.
 */
export class Run {
  /** The run's id: `runs(id)` finds it again in any notebook. */
  readonly id: string;
  /** The name shown in lists and plots. */
  readonly name: string;
  #last: RunSummary;
  readonly #feed: RunFeed;
  #finished: Promise<RunSummary> | undefined;

  /** @internal Use `train()` or `runs()`. */
  constructor(summary: RunSummary) {
    this.id = summary.run;
    this.name = summary.name;
    this.#last = summary;
    this.#feed = new RunFeed(summary.run);
  }

  /**
   * Resolves to the final summary when the run has finished or was stopped; rejects with the run's error when it failed
   * or was interrupted. Interrupting a cell that awaits it leaves the run going.
   */
  get finished(): Promise<RunSummary> {
    if (this.#finished) return this.#finished;
    const finished = this.#waitForEnd();
    this.#finished = finished;
    finished.catch((error: unknown) => {
      // The loss of the daemon is not the run's end: whoever asks again waits again.
      if (!(error instanceof RunEnded) && this.#finished === finished) this.#finished = undefined;
    });
    return finished;
  }

  /** Shows the live plot of the loss under the cell. It keeps growing after the cell has ended. */
  plot(): void {
    showPlot(this.#last, this.#feed);
  }

  /**
   * Lets the model continue `prompt`; the text appears under the cell as it comes. A running run writes a checkpoint
   * first and goes on training. Interrupting the cell ends it.
   *
   * @example
   * await run.generate('Call me', { tokens: 100, temperature: 0.7 });
   *
   * @throws {LabError} when the run has no checkpoint, or the prompt a character that its vocabulary lacks.
   */
  async generate(prompt: string, options: GenerateOptions = {}): Promise<Generation> {
    const { stream = true, ...sampling } = options;
    if (stream) process.stdout.write(prompt);
    const result = await ask((client) =>
      client.request(
        'generate',
        { target: this.id, prompt, ...sampling },
        {
          signal: host().interruptSignal(),
          // Bound to this cell: the connection that brings the text belongs to the cell that opened it.
          onProgress: AsyncLocalStorage.bind((progress: unknown) => {
            if (stream) process.stdout.write((progress as { text: string }).text);
          }),
        },
      ),
    );
    if (stream) process.stdout.write('\n');
    return new Generation(prompt, result);
  }

  /**
   * Mean cross-entropy, nats per token, of a text file (UTF-8; relative to the notebook) under the newest weights.
   *
   * @throws {LabError} when the run has no checkpoint or the file cannot be read.
   */
  async evaluate(file: string): Promise<Evaluation> {
    const cell = host();
    return ask((client) =>
      client.request(
        'evaluate',
        { target: this.id, text: resolve(cell.cwd, file) },
        { signal: cell.interruptSignal() },
      ),
    );
  }

  /**
   * Stops the run after its current step with a checkpoint; `resume()` continues it.
   *
   * @param options `force`: end it at once instead; the steps since its newest checkpoint are lost.
   * @throws {LabError} when it has ended already.
   */
  async stop({ force = false }: { force?: boolean } = {}): Promise<RunSummary> {
    return this.#note(await ask((client) => client.request('run.stop', { run: this.id, force })));
  }

  /**
   * Writes a checkpoint of the running run after its current step; resolves to its folder.
   *
   * @throws {LabError} when the run does not run, or ends before.
   */
  async checkpoint(): Promise<string> {
    const { path } = await ask((client) => client.request('run.checkpoint', { run: this.id }));
    return path;
  }

  /**
   * Continues a stopped, failed or interrupted run from its newest checkpoint, under the same id and with bitwise the
   * losses that it would have had; from its start where it has none.
   *
   * @throws {LabError} when it is running or has finished.
   */
  async resume(): Promise<this> {
    await ask((client) => client.request('run.resume', { run: this.id }));
    this.#finished = undefined;
    await this.summary();
    return this;
  }

  /**
   * Deletes the run: its metrics, its log and its checkpoints.
   *
   * @throws {LabError} when it is running.
   */
  async remove(): Promise<void> {
    await ask((client) => client.request('run.remove', { run: this.id }));
  }

  /** How the run stands now. */
  async summary(): Promise<RunSummary> {
    return this.#note(withoutConfig(await ask((client) => client.request('run.show', { run: this.id }))));
  }

  /** The run's configuration with every default filled in. */
  async config(): Promise<Record<string, unknown>> {
    const { config } = await ask((client) => client.request('run.show', { run: this.id }));
    return config as Record<string, unknown>;
  }

  /** The curves so far: every step's loss, learning rate and speed, and every evaluation. */
  async metrics(): Promise<Metrics> {
    await this.#feed.catchUp();
    const { train, evaluation } = this.#feed.series;
    return structuredClone({ train, evaluation });
  }

  /**
   * Every event from number `from` (default: the first), then new ones as they come, until the run has ended.
   *
   * @example
   * for await (const event of run.events()) if (event.event === 'step') console.log(event.step, event.loss);
   */
  async *events(options: { from?: number } = {}): AsyncGenerator<RunEvent, void, void> {
    const signal = host().interruptSignal();
    for await (const batch of followRun(this.id, { from: options.from ?? 1, signal })) yield* batch;
  }

  /** What the run's processes wrote to stdout and stderr. */
  async logs(): Promise<string> {
    let text = '';
    for (let offset = 0; ;) {
      const part = await ask((client) => client.request('run.logs', { run: this.id, offset }));
      if (part.text === '') return text;
      text += part.text;
      offset = part.offset;
    }
  }

  /** As a cell's result: how the run stands now. */
  async [DISPLAY](): Promise<MimeBundle> {
    return { 'text/plain': describeRun(await this.summary()) };
  }

  /** @internal In the console and in lists: how the run stood when it was last asked. */
  [inspect.custom](): string {
    return describeRun(this.#last);
  }

  #note(summary: RunSummary): RunSummary {
    this.#last = summary;
    return summary;
  }

  #waitForEnd(): Promise<RunSummary> {
    const end = this.#feed.follow().then((summary) => {
      this.#note(summary);
      if (summary.state === 'finished' || summary.state === 'stopped') return summary;
      throw new RunEnded(
        `Run ${this.name} ${summary.state === 'failed' ? 'failed' : 'was interrupted'}: ${summary.error ?? 'no reason is known'}`,
      );
    });
    return end;
  }
}
