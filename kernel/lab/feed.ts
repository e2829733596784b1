/** One subscription per run, shared by its plot, its metrics and its `finished`; opened when first needed. */
import { RunSeries } from '../protocol/run-series.ts';
import { ask } from './connection.ts';
import { followRun } from './follow.ts';
import type { RunSummary } from './types.ts';

/** A run's curves, collected while it is followed. */
export class RunFeed {
  readonly series = new RunSeries();
  readonly #run: string;
  readonly #listeners = new Set<() => void>();
  #following: Promise<RunSummary> | undefined;

  constructor(run: string) {
    this.#run = run;
  }

  /** Follows until the run has ended; resolves to its last summary. Calls while it goes on share one subscription. */
  follow(): Promise<RunSummary> {
    if (!this.#following) {
      const following = this.#followToEnd().finally(() => {
        // A resumed run goes on after its end: the next call looks again.
        if (this.#following === following) this.#following = undefined;
      });
      this.#following = following;
    }
    return this.#following;
  }

  /** Calls `listener` after every batch of events; returns what ends that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes all events stored so far, without waiting for new ones. */
  async catchUp(): Promise<void> {
    for (;;) {
      const { events } = await ask((client) =>
        client.request('run.events', { run: this.#run, from: this.series.lastSequence + 1 }),
      );
      if (events.length === 0) return;
      this.series.append(events);
    }
  }

  async #followToEnd(): Promise<RunSummary> {
    const events = followRun(this.#run, { from: this.series.lastSequence + 1 });
    for (;;) {
      const { done, value } = await events.next();
      if (done) return value;
      this.series.append(value);
      for (const listener of this.#listeners) listener();
    }
  }
}
