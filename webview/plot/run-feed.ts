/** One run's events from the extension: asked for while some plot shows the run, and asked for again after a gap. */
import type { PlotMessage, PlotOutput, PlotRequest } from '../../kernel/protocol/plot.ts';
import { RunStore } from './run-store.ts';

/** How messages reach the extension; undefined where there is none, e.g. in an exported page. */
export type Post = ((request: PlotRequest) => void) | undefined;

/** The store of one run, its subscription, and the plots that are drawn from it. */
export class RunFeed {
  readonly store: RunStore;
  readonly #post: Post;
  readonly #plot = crypto.randomUUID();
  readonly #listeners = new Set<() => void>();

  constructor(plot: PlotOutput, post: Post) {
    this.store = new RunStore(plot);
    this.#post = post;
  }

  /** Whether there is anybody to ask. */
  get connected(): boolean {
    return this.#post !== undefined;
  }

  /** Calls `listener` after every change while the returned function has not been called. */
  show(plot: PlotOutput, listener: () => void): () => void {
    this.takePlot(plot);
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#subscribe();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#post?.({ type: 'unsubscribe', plot: this.#plot });
    };
  }

  /**
   * Takes a newer form of the plot's output. While the run is followed its curves are known in full: then the last
   * events, which may still be on their way, are better than a snapshot.
   */
  takePlot(plot: PlotOutput): void {
    const { store } = this;
    const followed = this.connected && !store.decimated && store.next > 1 && store.unavailable === undefined;
    if (!followed) store.takePlot(plot);
    else if (plot.snapshot && plot.snapshot.lastSequence >= store.next) this.#subscribe();
    this.#changed();
  }

  /** Messages of other plots are passed over. */
  receive(message: PlotMessage): void {
    if (message.plot !== this.#plot) return;
    if (message.type === 'unavailable') {
      this.store.keepSnapshot();
      this.store.unavailable = message.reason;
    } else if (!this.store.append(message.events)) {
      this.#subscribe();
      return;
    }
    this.#changed();
  }

  /** Asks for what was missed while the page was hidden: the run's steps, its end, or that it was resumed. */
  refresh(): void {
    if (this.#listeners.size > 0) this.#subscribe();
  }

  /** Asks for every point of a run of which only the saved ones are known. */
  requestAll(): void {
    if (!this.store.decimated || !this.#post || this.store.next === 1) return;
    this.store.replaceSnapshot();
    this.#subscribe();
  }

  /** Asks the run to end after its current step. */
  stop(): void {
    this.#post?.({ type: 'stop', run: this.store.run });
  }

  #subscribe(): void {
    this.#post?.({ type: 'subscribe', plot: this.#plot, run: this.store.run, from: this.store.next });
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
