/** A run's checkpoints, one after the other: written while training goes on. */
import type { Engine } from '../engine/engine.ts';
import type { Peers } from '../parallel/peers.ts';
import { CheckpointInWriting, PeerFailed, type CheckpointFacts, type StatePiece } from './checkpoint.ts';

/** Who hears what became of a checkpoint. */
export interface CheckpointListener {
  written(step: number, path: string): void;
  /** On the ranks that could not do their part, and on the first. */
  failed(step: number, reason: string): void;
}

/** See above. All ranks call the methods at the same points of their work. */
export class CheckpointWriter {
  /** Step of the newest checkpoint that is there; -1 when there is none. */
  newest = -1;
  readonly #engine: Engine;
  readonly #directory: string;
  readonly #peers: Peers;
  readonly #listener: CheckpointListener;
  #current: CheckpointInWriting | undefined;

  constructor(engine: Engine, directory: string, peers: Peers, listener: CheckpointListener) {
    this.#engine = engine;
    this.#directory = directory;
    this.#peers = peers;
    this.#listener = listener;
  }

  /** Whether this rank is still writing its part. */
  get isWriting(): boolean {
    return this.#current?.isWriting ?? false;
  }

  /** Writes a checkpoint and waits for it. */
  async write(pieces: readonly StatePiece[], facts: CheckpointFacts): Promise<void> {
    await this.begin(pieces, facts, false);
    await this.finish();
  }

  /**
   * Begins a checkpoint, once the one before is finished; none of a step that has one. With `changes` training may go on
   * meanwhile.
   */
  async begin(pieces: readonly StatePiece[], facts: CheckpointFacts, changes = true): Promise<void> {
    await this.finish();
    if (this.newest === facts.step) return;
    const { step } = facts;
    await this.#attempt(step, async () => {
      this.#current = await CheckpointInWriting.begin(
        this.#engine,
        this.#directory,
        pieces,
        facts,
        this.#peers,
        changes,
      );
    });
  }

  /** Waits for the checkpoint that is being written, if there is one. */
  async finish(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (!current) return;
    const { step } = current.facts;
    await this.#attempt(step, async () => {
      const path = await current.finish();
      this.newest = step;
      this.#listener.written(step, path);
    });
  }

  async #attempt(step: number, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (this.#peers.rank === 0 || !(error instanceof PeerFailed))
        this.#listener.failed(step, (error as Error).message);
    }
  }
}
