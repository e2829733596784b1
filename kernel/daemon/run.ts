/** One run in the daemon: its summary, its ranks, and the way of its events into the store and out to clients. */
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RankState, RunEvent, RunEventBody, RunSummary } from '../protocol/events.ts';
import type { RankReport } from '../protocol/rank.ts';
import { StepClock } from '../protocol/step-clock.ts';
import { RankGroup } from './rank-group.ts';
import type { RankEnd } from './rank-process.ts';
import type { Store } from './store.ts';

/** What a run needs of the daemon. */
export interface RunContext {
  readonly store: Store;
  readonly cacheDirectory: string;
  publishEvents(run: string, events: readonly RunEvent[]): void;
  publishSummary(summary: RunSummary): void;
  log(message: string): void;
}

type EndBody = Extract<RunEventBody, { event: 'end' }>;

/** Shortest time between two published summaries of a run, ms. */
const SUMMARY_INTERVAL = 100;
/** Time after which a store that took no more is tried again, ms. */
const STORE_RETRY = 5_000;

/** A run, whether it goes on or has ended. */
export class Run {
  summary: RunSummary;
  readonly config: ResolvedConfiguration;
  readonly #context: RunContext;
  #ranks: RankGroup | undefined;
  readonly #rankStates = new Map<number, RankState>();
  /** Number of the newest event; `summary.lastSequence` is that of the newest one stored. */
  #sequence: number;
  #pending: RunEvent[] = [];
  #flushing: NodeJS.Immediate | undefined;
  #publishing: NodeJS.Timeout | undefined;
  #retrying: NodeJS.Timeout | undefined;
  readonly #clock = new StepClock();
  #storeError: string | undefined;
  /** Times that the ranks were started again since somebody started the run. */
  #restarts = 0;
  #stopping = false;
  /** The ranks' own word on how they ended; told once their processes are gone. */
  #lastWord: EndBody | undefined;
  #ended: Promise<void> = Promise.resolve();
  readonly #checkpointWaiters: ((path: string | Error) => void)[] = [];

  constructor(context: RunContext, summary: RunSummary, config: ResolvedConfiguration) {
    this.#context = context;
    this.summary = summary;
    this.config = config;
    this.#sequence = summary.lastSequence;
  }

  get isRunning(): boolean {
    return this.#ranks !== undefined;
  }

  /** How each rank stood when it last said so, in rank order. */
  get rankStates(): RankState[] {
    return [...this.#rankStates.values()].sort((a, b) => a.rank - b.rank);
  }

  /** File that the ranks' output goes to. */
  get logFile(): string {
    return join(this.summary.directory, 'log');
  }

  /** Starts the run, continuing from a checkpoint where one is given. Throws when its folder cannot be made. */
  start(resume?: string): void {
    mkdirSync(this.summary.directory, { recursive: true, mode: 0o700 });
    this.#storeError = undefined;
    this.#restarts = 0;
    this.#stopping = false;
    this.#ended = this.#startRanks(resume).then((end) => this.#finish(end));
    this.#flush();
  }

  /** Starts the ranks; resolves to how they ended. */
  #startRanks(resume?: string): Promise<RankEnd> {
    const { run, directory } = this.summary;
    this.#lastWord = undefined;
    const { data, pipeline, tensor } = this.config.parallel;
    this.#ranks = new RankGroup(
      {
        task: 'train',
        run,
        config: this.config,
        directory,
        cacheDirectory: this.#context.cacheDirectory,
        ...(resume === undefined ? {} : { resume }),
      },
      data * pipeline * tensor,
      this.logFile,
      (report) => this.#hear(report),
    );
    const { pids } = this.#ranks;
    this.#change({ state: 'running', phase: 'starting', pids, error: null, endedAt: null });
    return this.#ranks.ended;
  }

  /** Asks the run to end with a checkpoint, or ends it at once; resolves when it has ended. */
  async stop({ force = false } = {}): Promise<void> {
    this.#stopping = true;
    if (force) this.#ranks?.kill();
    else this.#ranks?.stop();
    await this.#ended;
  }

  /** Resolves to the folder of a checkpoint written after the current step. Rejects when the run ends without one. */
  checkpoint(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#checkpointWaiters.push((result) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
      });
      this.#ranks?.requestCheckpoint();
    });
  }

  /** Marks a run whose daemon died as interrupted; its metrics stay. */
  markInterrupted(): void {
    const error = 'The training daemon ended while this run went on: resume it from its newest checkpoint';
    this.#append({ event: 'end', status: 'interrupted', error });
    this.#flush();
  }

  #hear(report: RankReport): void {
    if (report.type === 'phase') this.#change({ phase: report.phase });
    if (report.type === 'state') this.#rankStates.set(report.state.rank, report.state);
    if (report.type !== 'event') return;
    if (report.event.event === 'end') this.#lastWord = report.event;
    else this.#append(report.event);
  }

  #change(change: Partial<RunSummary>): void {
    this.summary = { ...this.summary, ...change };
    this.#publishing ??= setTimeout(() => this.#publishSummary(), SUMMARY_INTERVAL);
  }

  #publishSummary(): void {
    clearTimeout(this.#publishing);
    this.#publishing = undefined;
    this.#context.publishSummary(this.summary);
  }

  #append(body: RunEventBody): void {
    const event = { ...body, sequence: ++this.#sequence, time: Date.now() };
    this.#pending.push(event);
    this.#change(this.#changeBy(event));
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
        this.#settleCheckpoints(event.path);
        return { checkpoint: event.path };
      case 'warning':
        if (event.code === 'checkpoint-failed') this.#settleCheckpoints(new Error(event.message));
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

  #settleCheckpoints(result: string | Error): void {
    for (const settle of this.#checkpointWaiters.splice(0)) settle(result);
  }

  /** Stores what is pending, then publishes it: a client never sees an event that a crash could lose. */
  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const events = this.#pending;
    const summary = { ...this.summary, lastSequence: this.#sequence };
    try {
      this.#context.store.append(summary, events);
    } catch (error) {
      this.#failStore(error as Error);
      return;
    }
    this.#pending = [];
    this.summary = summary;
    this.#context.publishEvents(summary.run, events);
  }

  /**
   * The store takes no more (a full disk): the run is stopped, since its metrics would be lost. What is pending waits
   * in memory until the store takes it.
   */
  #failStore(error: Error): void {
    if (this.#storeError === undefined) {
      this.#storeError = `The store of runs cannot be written (${error.message}): the run was stopped, since its metrics would be lost. Free disk space, then resume it`;
      this.#context.log(`Run ${this.summary.run}: ${this.#storeError}`);
      this.#ranks?.stop();
    }
    this.#retrying ??= setTimeout(() => {
      this.#retrying = undefined;
      this.#flush();
      this.#publishSummary();
    }, STORE_RETRY);
  }

  /** The run was removed: what still waits to be stored or told is dropped. */
  forget(): void {
    clearTimeout(this.#retrying);
    clearTimeout(this.#publishing);
    clearImmediate(this.#flushing);
    this.#pending = [];
  }

  async #finish(end: RankEnd): Promise<void> {
    this.#rankStates.clear();
    if (this.#mayRestart(end)) {
      this.#restarts++;
      const { checkpoint } = this.summary;
      const from = checkpoint === null ? 'the start' : basename(checkpoint);
      const message = `${end.error ?? ''}\nThe run goes on from ${from}: restart ${this.#restarts} of at most ${this.config.training.maxRestarts}`;
      this.#context.log(`Run ${this.summary.run}: ${message}`);
      this.#append({ event: 'warning', code: 'restarted', message });
      return this.#finish(await this.#startRanks(checkpoint ?? undefined));
    }
    this.#ranks = undefined;
    for (const body of this.#lastEvents(end)) this.#append(body);
    this.#settleCheckpoints(new Error(`Run ${this.summary.run} ended before the checkpoint was written`));
    this.#flush();
    this.#publishSummary();
  }

  /** A rank that was lost may be started again; what a rank says itself would only be said once more. */
  #mayRestart({ silent = false, killed }: RankEnd): boolean {
    const isLost = silent && !killed && this.#lastWord === undefined && this.#storeError === undefined;
    return isLost && !this.#stopping && this.#restarts < this.config.training.maxRestarts;
  }

  /** How the run ends, from what its rank said and how its process ended. */
  #lastEvents({ error, killed }: RankEnd): RunEventBody[] {
    if (this.#storeError !== undefined) return [{ event: 'end', status: 'failed', error: this.#storeError }];
    if (this.#lastWord !== undefined) return [this.#lastWord];
    if (killed) {
      const message = `The run was ended without a last checkpoint: steps after ${this.summary.checkpoint ?? 'the start'} are lost to a resume`;
      return [
        { event: 'warning', code: 'killed', message },
        { event: 'end', status: 'stopped' },
      ];
    }
    return [
      {
        event: 'end',
        status: 'failed',
        error: error ?? 'The rank ended without saying why: its log may tell',
      },
    ];
  }
}
