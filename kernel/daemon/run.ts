/** One run in the daemon: its summary, its rank, and the way of its events into the store and out to clients. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunEvent, RunEventBody, RunSummary } from '../protocol/events.ts';
import { StepClock } from '../protocol/step-clock.ts';
import { RankProcess } from './rank-process.ts';
import type { Store } from './store.ts';

/** What a run needs of the daemon. */
export interface RunContext {
  readonly store: Store;
  readonly cacheDirectory: string;
  publishEvents(run: string, events: readonly RunEvent[]): void;
  publishSummary(summary: RunSummary): void;
  log(message: string): void;
}

/** Shortest time between two published summaries of a run, ms. */
const SUMMARY_INTERVAL = 100;

/** A run, whether it goes on or has ended. */
export class Run {
  summary: RunSummary;
  readonly config: ResolvedConfiguration;
  readonly #context: RunContext;
  #rank: RankProcess | undefined;
  #pending: RunEvent[] = [];
  #flushing: NodeJS.Immediate | undefined;
  #publishing: NodeJS.Timeout | undefined;
  readonly #clock = new StepClock();
  #storeError: string | undefined;
  /** How the rank said it ended; told to others when its process is gone, so that an ended run can be resumed or removed. */
  #lastWords: RunEventBody | undefined;
  #ended: Promise<void> = Promise.resolve();
  readonly #checkpointWaiters: ((path: string | Error) => void)[] = [];

  constructor(context: RunContext, summary: RunSummary, config: ResolvedConfiguration) {
    this.#context = context;
    this.summary = summary;
    this.config = config;
  }

  get isRunning(): boolean {
    return this.#rank !== undefined;
  }

  /** File that the rank's output goes to. */
  get logFile(): string {
    return join(this.summary.directory, 'log');
  }

  /** Starts the rank, continuing from a checkpoint where one is given. */
  start(resume?: string): void {
    mkdirSync(this.summary.directory, { recursive: true, mode: 0o700 });
    const { run, directory } = this.summary;
    this.#rank = new RankProcess(
      {
        task: 'train',
        run,
        config: this.config,
        directory,
        cacheDirectory: this.#context.cacheDirectory,
        ...(resume === undefined ? {} : { resume }),
      },
      this.logFile,
      (report) => {
        if (report.type === 'event' && report.event.event === 'end') this.#lastWords = report.event;
        else if (report.type === 'event') this.#append(report.event);
        else if (report.type === 'phase') this.#setPhase(report.phase);
      },
    );
    this.#change({ state: 'running', phase: 'starting', pids: [this.#rank.pid], error: null, endedAt: null });
    this.#ended = this.#rank.ended.then(({ error }) => this.#finish(error));
    this.#flush();
  }

  /** Asks the run to end with a checkpoint; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#rank?.stop();
    await this.#ended;
  }

  /** Resolves to the folder of a checkpoint written after the current step. Rejects when the run ends without one. */
  checkpoint(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#checkpointWaiters.push((result) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
      this.#rank?.send({ type: 'checkpoint' });
    });
  }

  /** Marks a run whose daemon died as interrupted; its metrics stay. */
  markInterrupted(): void {
    const error = 'The training daemon ended while this run went on: resume it from its newest checkpoint';
    this.#append({ event: 'end', status: 'interrupted', error });
    this.#flush();
  }

  #change(change: Partial<RunSummary>): void {
    this.summary = { ...this.summary, ...change };
    this.#publishing ??= setTimeout(() => {
      this.#publishing = undefined;
      this.#context.publishSummary(this.summary);
    }, SUMMARY_INTERVAL);
  }

  #setPhase(phase: string): void {
    this.#change({ phase });
  }

  #append(body: RunEventBody): void {
    const event = { ...body, sequence: this.summary.lastSequence + 1, time: Date.now() };
    this.#pending.push(event);
    this.#change({ lastSequence: event.sequence, ...this.#changeBy(event) });
    this.#flushing ??= setImmediate(() => this.#flush());
  }

  /** What an event changes in the summary. */
  #changeBy(event: RunEvent): Partial<RunSummary> {
    this.#clock.take(event);
    switch (event.event) {
      case 'start':
        return { step: event.resumedFrom ?? 0, phase: 'training' };
      case 'step':
        return {
          step: event.step,
          loss: event.loss,
          tokensPerSecond: event.tokensPerSecond,
          secondsLeft: this.#clock.secondsLeft(this.summary.steps),
          phase: 'training',
        };
      case 'evaluation':
        return { validationLoss: event.loss };
      case 'checkpoint':
        for (const settle of this.#checkpointWaiters.splice(0)) settle(event.path);
        return { checkpoint: event.path };
      case 'warning':
        if (event.code === 'checkpoint-failed') {
          for (const settle of this.#checkpointWaiters.splice(0)) settle(new Error(event.message));
        }
        return {};
      case 'end':
        return {
          state: event.status,
          error: event.error ?? null,
          endedAt: event.time,
          secondsLeft: null,
          pids: [],
          phase: undefined,
        };
    }
  }

  /** Stores what is pending, then publishes it: a client never sees an event that a crash could lose. */
  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const events = this.#pending;
    try {
      this.#context.store.append(this.summary, events);
    } catch (error) {
      this.#failStore(error as Error);
      return;
    }
    this.#pending = [];
    this.#context.publishEvents(this.summary.run, events);
  }

  /** The store takes no more (a full disk): the run is ended, since its metrics would be lost, and says why. */
  #failStore(error: Error): void {
    const first = this.#pending[0]?.sequence ?? this.summary.lastSequence;
    this.#context.log(`Run ${this.summary.run}: events from ${first} on cannot be stored: ${error.message}`);
    if (this.#storeError === undefined) {
      this.#storeError = `The store of runs cannot be written (${error.message}): events from number ${first} on are not stored. Free disk space, then resume the run`;
      this.#rank?.stop();
    }
    if (this.isRunning) return;
    this.#change({ state: 'failed', error: this.#storeError, pids: [], endedAt: Date.now() });
  }

  #finish(error: string | undefined): void {
    this.#rank = undefined;
    if (this.#storeError !== undefined) {
      this.#append({ event: 'end', status: 'failed', error: this.#storeError });
    } else {
      const text = error ?? 'The rank ended without saying why: its log may tell';
      this.#append(this.#lastWords ?? { event: 'end', status: 'failed', error: text });
    }
    this.#lastWords = undefined;
    const gone = new Error(`Run ${this.summary.run} ended before the checkpoint was written`);
    for (const settle of this.#checkpointWaiters.splice(0)) settle(gone);
    this.#flush();
    clearTimeout(this.#publishing);
    this.#publishing = undefined;
    this.#context.publishSummary(this.summary);
    this.#storeError = undefined;
  }
}
