/** The way of one run's events to one plot, through hidden editors, lost daemons and removed runs. No editor in here. */
import { setTimeout as delay } from 'node:timers/promises';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { RunEvent, RunSummary } from '../../kernel/protocol/events.ts';

/** Messages to one plot come this often at most, ms; what comes meanwhile is in the next. */
const BATCH_INTERVAL = 100;
/** A batch of so many is the past, which is sent as fast as the plot takes it. */
const FULL_BATCH = 1000;

/** Whom the events are for. */
export interface PlotListener {
  /** Resolves to false when the plot cannot be reached, since its editor is hidden. */
  events(events: RunEvent[]): PromiseLike<boolean>;
  /** The run cannot be followed; `reason` is for people. */
  unavailable(reason: string): void;
}

/** What a plot has asked for. */
export class PlotSubscription {
  readonly run: string;
  readonly #listener: PlotListener;
  /** Number of the next event that the plot has not got. */
  #next: number;
  #following: AbortController | undefined;
  /** Whether the last message did not arrive. */
  #hidden = false;
  /** Whether the daemon has said no: it would say so again. */
  #refused = false;

  /** For the events of `run` from number `from` on. */
  constructor({ run, from }: { run: string; from: number }, listener: PlotListener) {
    this.run = run;
    this.#next = from;
    this.#listener = listener;
  }

  /**
   * Sends what the plot has not got and goes on with what comes. To be called whenever there may be something new;
   * `summary` is what is known of the run. Nothing happens when the plot has everything, or cannot get it.
   */
  follow(client: DaemonClient, summary: RunSummary | undefined): void {
    const complete = summary && summary.state !== 'running' && summary.lastSequence < this.#next;
    if (this.#following || this.#hidden || this.#refused || complete) return;
    const following = new AbortController();
    this.#following = following;
    this.#send(client, following)
      .catch((error: unknown) => {
        if (following.signal.aborted) return;
        this.#refused = true;
        this.#listener.unavailable(error instanceof Error ? error.message : String(error));
      })
      .finally(() => {
        if (this.#following === following) this.#following = undefined;
      });
  }

  /** The daemon has gone: with the next one it goes on where it was. */
  lost(reason: string): void {
    this.end();
    this.#refused = false;
    this.#listener.unavailable(reason);
  }

  /** The plot's editor is visible again. */
  shown(): void {
    this.#hidden = false;
  }

  /** Sends nothing any more. */
  end(): void {
    this.#following?.abort();
    this.#following = undefined;
  }

  async #send(client: DaemonClient, following: AbortController): Promise<void> {
    const { signal } = following;
    for await (const events of client.follow(this.run, { from: this.#next, signal })) {
      const arrived = await this.#listener.events(events);
      if (signal.aborted) return;
      if (!arrived) {
        this.#hidden = true;
        this.end();
        return;
      }
      this.#next = Math.max(this.#next, (events.at(-1)?.sequence ?? 0) + 1);
      // The client collects meanwhile.
      if (events.length < FULL_BATCH) await delay(BATCH_INTERVAL, undefined, { signal });
    }
  }
}
