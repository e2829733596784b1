/** Where a run goes on from: its newest checkpoint that is sound, on all ranks the same. */
import { basename } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { Peers } from '../parallel/peers.ts';
import {
  completeCheckpoints,
  loadPieces,
  readManifest,
  type Manifest,
  type StatePiece,
} from './checkpoint.ts';

/** A checkpoint and what it says of itself. */
export interface Beginning {
  readonly path: string;
  readonly manifest: Manifest;
}

/** Finds checkpoints of a run that can be gone on from. */
export class Beginnings {
  readonly #directory: string;
  readonly #peers: Peers;
  readonly #tell: (problem: string) => void;
  readonly #unusable = new Set<string>();

  /** `tell` hears what is wrong with a checkpoint that is passed over, on one rank. */
  constructor(directory: string, peers: Peers, tell: (problem: string) => void) {
    this.#directory = directory;
    this.#peers = peers;
    this.#tell = tell;
  }

  /** The checkpoint at `wanted`, or the newest before it whose manifest is sound. Throws the first problem when there is none. */
  async find(wanted: string): Promise<Beginning> {
    const all = await completeCheckpoints(this.#directory);
    const older = all.filter((path) => basename(path) < basename(wanted));
    let first: Error | undefined;
    for (const path of [wanted, ...older]) {
      if (this.#unusable.has(path)) continue;
      try {
        return { path, manifest: await readManifest(path) };
      } catch (error) {
        first ??= error as Error;
        this.#unusable.add(path);
        if (this.#peers.rank === 0) this.#tell((error as Error).message);
      }
    }
    throw first ?? new Error(`No checkpoint before ${wanted} can be used`);
  }

  /**
   * Loads it on all ranks into `pieces`, or the newest before it that all of them can read; resolves to what was loaded.
   * Throws the first problem when there is none.
   */
  async load(engine: Engine, wanted: Beginning, pieces: readonly StatePiece[]): Promise<Beginning> {
    const { path, manifest } = wanted;
    const problem = await loadPieces(engine, path, manifest, pieces)
      .then(() => engine.finish())
      .then(() => undefined)
      .catch((error: unknown) => error as Error);
    const failed = (await this.#peers.gather(Int32Array.of(problem === undefined ? 0 : 1))).indexOf(1);
    if (failed < 0) return wanted;
    this.#unusable.add(path);
    const reason = problem ?? new Error(`The checkpoint ${path} is damaged, as another rank says`);
    const older = await this.find(path).catch(() => {
      throw reason;
    });
    if (failed === this.#peers.rank) this.#tell(reason.message);
    return this.load(engine, older, pieces);
  }
}
